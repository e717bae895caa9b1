//! What stays of what somebody has changed.

use projectionist_tests::guests;
use projectionist_tests::host::command;
use serde_json::{Value, json};

use crate::access::assert_problem;
use crate::site::{BOARD, CI, DUTY, Site, TOKENS};

fn changes(site: &Site, query: &str) -> Vec<Value> {
    let (status, body) = site.get(&format!("/changes{query}"), BOARD);
    assert_eq!(status, 200, "{body}");
    body["changes"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changed_what_and_what_came_of_it_is_kept_from_the_newest_on() {
    let site = Site::start("changes", TOKENS).await;
    assert_eq!(changes(&site, ""), [] as [Value; 0]);
    let (_, plugin) = site.upload(CI, &guests::guest("tally_lenient"));
    site.upload(DUTY, b"#!/bin/sh");
    let path = "/parked/tally/t/0/1";
    let reason = br#"{"offset": 1, "reason": "a test"}"#;
    assert_eq!(
        site.ask("POST", &format!("{path}/skip"), DUTY, reason).0,
        404
    );
    // These change nothing.
    assert_eq!(site.upload(BOARD, b"").0, 403);
    assert_eq!(site.upload(None, b"").0, 401);
    assert_eq!(site.get("/parked", BOARD).0, 200);

    let found = changes(&site, "");
    let told: Vec<Value> = found
        .iter()
        .map(|c| {
            json!([
                c["by"],
                c["from"],
                c["host"],
                c["action"],
                c["subject"],
                c["outcome"]
            ])
        })
        .collect();
    let here = "127.0.0.1";
    let expected = [
        json!(["duty", here, "host", "skip", "tally/t/0/1", "refused"]),
        json!([
            "duty",
            here,
            "host",
            "upload",
            "a file of 9 bytes",
            "refused"
        ]),
        json!(["ci", here, "host", "upload", plugin["sha256"], "done"]),
    ];
    assert_eq!(told, expected, "{found:?}");
    assert!(
        found[0]["detail"]
            .as_str()
            .is_some_and(|d| d.contains("a test"))
    );
    let reason = found[1]["reason"].as_str().expect("a text");
    assert!(reason.contains("is not Wasm"), "{reason}");
    let detail = found[2]["detail"].as_str().expect("a text");
    assert!(detail.contains("tally"), "{detail}");
    assert_eq!(found[2]["at_ms"].as_i64().map(|at| at > 0), Some(true));

    let last = found[1]["id"].as_str().expect("a text");
    assert_eq!(changes(&site, "?limit=2"), found[..2]);
    assert_eq!(
        changes(&site, &format!("?limit=2&older-than={last}")),
        found[2..]
    );
    let log = site.host.log();
    assert!(log.contains("a change was refused"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_asks_of_the_stores_is_kept_too() {
    let site = Site::start("commands", "").await;
    let drained = command(&["parked", "drain", "tally/t/0/1"], &site.config);
    let drained = drained.expect("a command");
    assert_eq!(drained.code, Some(1), "{drained:?}");
    let (_, body) = site.get("/changes", None);
    let change = &body["changes"][0];
    let told = [
        &change["from"],
        &change["action"],
        &change["subject"],
        &change["outcome"],
    ];
    assert_eq!(
        told,
        ["command line", "drain", "tally/t/0/1", "refused"],
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_changes_is_for_those_who_may_read() {
    let site = Site::start("readers", TOKENS).await;
    assert_problem(
        &site.send("GET", "/changes", None, b""),
        401,
        "needs a token",
    );
    let refused = [
        ("limit=1001", "limit=1001 is no number from 1 to 1000"),
        ("limit=all", "limit=all is no number"),
        ("since=yesterday", "no parameter \"since\" here"),
    ];
    for (query, words) in refused {
        let answer = site.send("GET", &format!("/changes?{query}"), BOARD, b"");
        assert_problem(&answer, 400, words);
    }
}
