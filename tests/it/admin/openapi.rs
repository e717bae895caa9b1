//! The document that describes the API, held to what a running host does.

use std::collections::BTreeSet;

use projectionist_tests::guests;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::access::{OPEN, ROUTES, assert_problem};
use crate::site::{BOARD, CI, DUTY, Site, TOKENS};

/// Panics where an answer is not of this schema.
fn assert_fits(document: &Value, schema: &str, answer: &Value) {
    let root = json!({
        "$ref": format!("#/components/schemas/{schema}"),
        "components": document["components"],
    });
    let validator = jsonschema::validator_for(&root).expect("a schema");
    let problems: Vec<String> = validator
        .iter_errors(answer)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{schema}: {problems:?} in {answer}");
}

/// The schema that the document has for an answer.
fn schema(document: &Value, method: &str, path: &str, status: u16) -> String {
    let answer = &document["paths"][path][method]["responses"][status.to_string()];
    let content = answer["content"].as_object().expect("it has a body");
    let schema = content.values().next().expect("a kind of content");
    let name = schema["schema"]["$ref"].as_str().expect("a reference");
    let name = name.rsplit('/').next().expect("a name");
    name.to_owned()
}

fn hash_of(guest: &str) -> String {
    format!("{:x}", Sha256::digest(guests::guest(guest)))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_is_in_the_document_with_its_role_and_no_other_is() {
    let site = Site::start("routes", TOKENS).await;
    let (status, document) = site.get("/openapi.json", None);
    assert_eq!((status, &document["openapi"]), (200, &"3.1.0".into()));
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("an object") {
        for (method, operation) in item.as_object().expect("an object") {
            let role = &operation["security"][0]["token"][0];
            let role = role.as_str().unwrap_or("").to_owned();
            documented.insert((method.to_uppercase(), path.clone(), role));
        }
    }
    // What `access` finds each of them to need.
    let known = ROUTES.iter().copied();
    let known = known.chain(OPEN.iter().map(|path| ("GET", *path, "")));
    let known: BTreeSet<_> = known
        .map(|(method, path, role)| (method.to_owned(), path.to_owned(), role.to_owned()))
        .collect();
    assert_eq!(documented, known);

    let elsewhere = site.send("GET", "/plugin", BOARD, b"");
    assert_problem(&elsewhere, 404, "there is nothing at this path");
    let otherwise = site.send("DELETE", "/plugins", DUTY, b"");
    assert_problem(&otherwise, 405, "this path has other methods");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_fit_their_schemas() {
    let site = Site::start("schemas", TOKENS).await;
    let (_, document) = site.get("/openapi.json", None);
    for guest in ["tally_lenient", "placement_first"] {
        let (status, plugin) = site.upload(CI, &guests::guest(guest));
        assert_fits(
            &document,
            &schema(&document, "put", "/plugins", status),
            &plugin,
        );
    }
    let (status, refused) = site.upload(CI, b"#!/bin/sh");
    assert_eq!(schema(&document, "put", "/plugins", status), "Problem");
    assert_fits(&document, "Problem", &refused);
    let hash = hash_of("tally");

    // Parked events and lines of a log: two numbers whose sum is too large.
    site.overflow("a");
    let key = site.parked().await;
    let id = key["id"].as_str().expect("a text");
    let parked = "/parked/{projection}/{topic}/{partition}/{offset}";
    let pages = [
        ("/health/ready", "/health/ready".to_owned()),
        ("/projections", "/projections".to_owned()),
        (
            "/projections/{name}/logs",
            "/projections/tally/logs".to_owned(),
        ),
        (
            "/projections/{name}/revisions",
            "/projections/tally/revisions".to_owned(),
        ),
        ("/plugins", "/plugins".to_owned()),
        ("/plugins/{hash}", format!("/plugins/{hash}")),
        ("/parked", "/parked".to_owned()),
        (parked, format!("/parked/{id}")),
        ("/changes", "/changes".to_owned()),
        ("/openapi.json", "/openapi.json".to_owned()),
    ];
    for (path, page) in pages {
        let (status, answer) = site.get(&page, BOARD);
        assert_eq!(status, 200, "{page}: {answer}");
        assert_fits(&document, &schema(&document, "get", path, status), &answer);
        let empty = answer.as_object().expect("an object").values();
        let empty = empty.filter(|value| value.as_array().is_some_and(Vec::is_empty));
        // But for the reasons of a host that is ready, there is something to hold to the schema.
        assert!(
            page == "/health/ready" || empty.count() == 0,
            "{page}: {answer}"
        );
    }
    // The other one that was uploaded.
    let unused = hash_of("placement_first");
    let (status, removed) = site.ask("DELETE", &format!("/plugins/{unused}"), CI, b"");
    assert_eq!(status, 200, "{removed}");
    let removed_schema = schema(&document, "delete", "/plugins/{hash}", status);
    assert_fits(&document, &removed_schema, &removed);
    let upload = &document["paths"]["/plugins"]["put"]["requestBody"];
    let upload = &upload["content"]["application/octet-stream"]["schema"];
    assert_eq!(upload["contentMediaType"], "application/wasm", "{upload}");
    let projection = "/projections/{name}";
    let body = format!(r#"{{"plugin":"{}"}}"#, hash_of("tally_lenient"));
    let requests = [
        (
            format!("{projection}/shadow"),
            "/projections/tally/shadow".to_owned(),
            body.as_str(),
        ),
        (
            format!("{projection}/activate"),
            "/projections/tally/activate".to_owned(),
            &body,
        ),
        (
            format!("{projection}/rollback"),
            "/projections/tally/rollback".to_owned(),
            "",
        ),
        (format!("{parked}/drain"), format!("/parked/{id}/drain"), ""),
    ];
    for (path, page, body) in requests {
        let (status, answer) = site.ask("POST", &page, DUTY, body.as_bytes());
        assert!((200..300).contains(&status), "{page}: {answer}");
        assert_fits(
            &document,
            &schema(&document, "post", &path, status),
            &answer,
        );
    }
}
