//! Who may do what.

use projectionist_tests::host::Answer;
use projectionist_tests::wait;
use serde_json::Value;

use crate::site::{BOARD, CI, Site, TOKENS};

/// Method, path and role of each route that needs a token.
pub(crate) const ROUTES: [(&str, &str, &str); 15] = [
    ("GET", "/projections", "read"),
    ("GET", "/projections/{name}/logs", "read"),
    ("GET", "/projections/{name}/revisions", "read"),
    ("POST", "/projections/{name}/activate", "deploy"),
    ("POST", "/projections/{name}/shadow", "deploy"),
    ("POST", "/projections/{name}/rollback", "deploy"),
    ("GET", "/plugins", "read"),
    ("GET", "/plugins/{hash}", "read"),
    ("PUT", "/plugins", "deploy"),
    ("DELETE", "/plugins/{hash}", "deploy"),
    ("GET", "/changes", "read"),
    ("GET", "/parked", "read"),
    (
        "GET",
        "/parked/{projection}/{topic}/{partition}/{offset}",
        "read",
    ),
    (
        "POST",
        "/parked/{projection}/{topic}/{partition}/{offset}/drain",
        "operate",
    ),
    (
        "POST",
        "/parked/{projection}/{topic}/{partition}/{offset}/skip",
        "operate",
    ),
];

/// The others.
pub(crate) const OPEN: [&str; 4] = ["/metrics", "/health/live", "/health/ready", "/openapi.json"];

/// A path of a route.
fn example(path: &str) -> String {
    let examples = [
        ("{name}", "tally"),
        ("{hash}", "0123"),
        ("{projection}", "tally"),
        ("{topic}", "t"),
        ("{partition}", "0"),
        ("{offset}", "1"),
    ];
    examples
        .iter()
        .fold(path.to_owned(), |path, (name, example)| {
            path.replace(name, example)
        })
}

/// What every refusal looks like.
pub(crate) fn assert_problem(answer: &Answer, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let is_problem = answer
        .head
        .contains("content-type: application/problem+json");
    assert!(is_problem, "{answer:?}");
    let problem: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["title"].is_string(), "{problem}");
    let detail = problem["detail"].as_str().expect("a text");
    assert!(detail.contains(words), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_needs_a_token_with_a_role_that_is_large_enough() {
    let site = Site::start("access", TOKENS).await;
    for (method, path, role) in ROUTES {
        let path = example(path);
        let send = |token| site.send(method, &path, token, b"");
        let nobody = send(None);
        assert_problem(&nobody, 401, "needs a token");
        assert!(
            nobody.head.contains("www-authenticate: bearer"),
            "{nobody:?}"
        );
        let guess = send(Some("0123456789-guess"));
        assert_problem(&guess, 401, "not one of the host's");
        assert!(guess.head.contains("www-authenticate: bearer"), "{guess:?}");

        let too_small: &[_] = match role {
            "read" => &[],
            "deploy" => &[BOARD],
            _ => &[BOARD, CI],
        };
        for token in too_small {
            let words = format!("needs a token of role \"{role}\"");
            assert_problem(&send(*token), 403, &words);
        }
    }
    // The smallest role that is named above is large enough.
    assert_eq!(site.get("/plugins", BOARD).0, 200);
    assert_problem(
        &site.send("PUT", "/plugins", CI, b""),
        422,
        "is an empty file",
    );
    for page in OPEN {
        assert_eq!(site.host.get(page).expect("an answer").0, 200, "{page}");
    }
    assert!(
        !site.host.log().contains("0123456789"),
        "a token is in the log"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_without_tokens_whoever_comes_may_everything() {
    let site = Site::start("loopback", "").await;
    assert_eq!(site.get("/plugins", None).0, 200);
    assert_problem(
        &site.send("PUT", "/plugins", None, b""),
        422,
        "is an empty file",
    );
    let path = "/parked/tally/t/0/1/drain";
    assert_problem(
        &site.send("POST", path, None, b""),
        404,
        "nothing is parked as",
    );
}

/// A token that is for no projection, and one that is for the only one.
const LIMITED: &str = r#"
[host.tokens.none]
token = "0123456789-nobody"
role = "operate"
projections = []
[host.tokens.team]
token = "0123456789-the-team"
role = "operate"
projections = ["tally"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_be_for_some_projections_only() {
    let site = Site::start("limited", &format!("{TOKENS}{LIMITED}")).await;
    let (none, team) = (Some("0123456789-nobody"), Some("0123456789-the-team"));
    site.overflow("a");
    let parked = site.parked().await;
    let id = parked["id"].as_str().expect("a text");
    let requests = [
        ("GET", "/projections/tally/logs".to_owned()),
        ("GET", "/projections/tally/revisions".to_owned()),
        ("POST", "/projections/tally/activate".to_owned()),
        ("POST", "/projections/tally/shadow".to_owned()),
        ("POST", "/projections/tally/rollback".to_owned()),
        ("GET", format!("/parked/{id}")),
        ("POST", format!("/parked/{id}/drain")),
        ("POST", format!("/parked/{id}/skip")),
        ("POST", "/projections/main.routing/activate".to_owned()),
    ];
    for (method, path) in &requests {
        let refused = site.send(method, path, none, b"");
        assert_problem(&refused, 403, "the token of \"none\" is not for");
    }
    for (method, path) in &requests[..requests.len() - 1] {
        let answer = site.send(method, path, team, b"");
        assert_ne!(answer.status, 403, "{method} {path}: {answer:?}");
    }
    let routing = site.send("POST", &requests[requests.len() - 1].1, team, b"");
    assert_problem(&routing, 403, "is not for \"main.routing\"");
    // Lists leave out what concerns others.
    for (path, list) in [
        ("/projections", "projections"),
        ("/parked", "parked"),
        ("/changes", "changes"),
    ] {
        let count = |token| {
            let (status, body) = site.get(path, token);
            assert_eq!(status, 200, "{path}: {body}");
            body[list].as_array().expect("a list").len()
        };
        assert_eq!(count(none), 0, "{path}");
        assert!(count(team) > 0, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_tokens_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("tokens");
    let write = |text: &str| std::fs::write(&file, text).expect("a file");
    write("0123456789-first\n");
    let tokens = format!(
        "[host.tokens.ci]\ntoken-file = \"{}\"\nrole = \"read\"\n",
        file.display()
    );
    let site = Site::start("token-files", &tokens).await;
    let status = |token| site.send("GET", "/plugins", Some(token), b"").status;
    assert_eq!(
        (status("0123456789-first"), status("0123456789-second")),
        (200, 401)
    );
    // Both count while the new one is handed out.
    write("0123456789-first\n0123456789-second\n");
    wait::until("the second token", async || {
        match status("0123456789-second") {
            200 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(status("0123456789-first"), 200);
    write("0123456789-second\n");
    wait::until("the end of the first token", async || {
        match status("0123456789-first") {
            401 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(status("0123456789-second"), 200);
    // What cannot be used changes nothing.
    write("short\n");
    wait::until("a word in the log", async || {
        let log = site.host.log();
        let told = log.contains("cannot be used") && log.contains("tokens.ci.token-file");
        told.then_some(()).ok_or(log)
    })
    .await;
    assert_eq!(status("0123456789-second"), 200);
    assert!(
        !site.host.log().contains("0123456789-"),
        "a token is in the log"
    );
}

/// The status and the body of a page that is asked for by this name.
fn by_name(site: &Site, path: &str, host: &str, more: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};

    let mut stream = std::net::TcpStream::connect(site.config.listen).expect("a connection");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n"
    )
    .expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).expect("a status");
    (status.parse().expect("a number"), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_events_bring_is_told_to_those_who_may_look() {
    let more = "[projections.tally.parking]\non-fault = \"stop\"\n";
    let names = "names = [\"host.example.org\"]\n";
    let site = Site::start("details", &format!("{names}{TOKENS}{more}")).await;
    site.overflow("a");
    let whole = wait::until("the partition to stand still", async || {
        let (_, body) = site.get("/health/ready", BOARD);
        match body["ready"] == false {
            true => Ok(body),
            false => Err(body),
        }
    })
    .await;
    let (status, told) = site.get("/health/ready", None);
    assert_eq!(status, 503);
    let partition = |body: &Value| {
        let partitions = body["projections"]["tally"]["partitions"].as_object();
        let mut partitions = partitions.expect("an object").values();
        partitions.next().expect("a partition").clone()
    };
    let (all, some) = (partition(&whole), partition(&told));
    assert_eq!(some["state"], "stopped");
    assert_eq!(some["code"], all["code"]);
    let reason = all["reason"].as_str().expect("a text");
    assert_eq!(some["reason"], "told to tokens of role read");
    assert!(!told.to_string().contains(reason), "{told}");
    let (long, short) = (&whole["reasons"][0], &told["reasons"][0]);
    let (long, short) = (
        long.as_str().expect("a text"),
        short.as_str().expect("a text"),
    );
    assert!(
        long.starts_with(short) && short.ends_with("stands still"),
        "{short}"
    );

    // By which names the open pages are asked for.
    for page in OPEN {
        let page_by = |host, more| by_name(&site, page, host, more).0;
        let is_served = |status| status == 200 || status == 503;
        assert!(is_served(page_by("host.example.org", "")), "{page}");
        assert!(is_served(page_by("10.1.2.3:9464", "")), "{page}");
        assert_eq!(page_by("rebound.example.org", ""), 403, "{page}");
        let token = "authorization: Bearer 0123456789-board\r\n";
        assert!(is_served(page_by("rebound.example.org", token)), "{page}");
        assert_eq!(page_by("localhost\r\nhost: localhost", ""), 400, "{page}");
    }
}
