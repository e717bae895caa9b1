//! The same by command, as a user types it.

use std::path::Path;
use std::process::{Command, Output};

use projectionist_tests::guests;
use projectionist_tests::host::{binary, free_address};
use serde_json::Value;

use crate::site::{BOARD, CI, Site, TOKENS};

/// Runs `projectionist plugin …`, with a token in its environment.
pub(crate) fn plugin(site: &Site, token: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command
        .arg("plugin")
        .args(arguments)
        .env("PROJECTIONIST_CONFIG", site.config.path())
        .env("PROJECTIONIST_TOKEN", token.unwrap_or_default());
    command.output().expect("the host's binary")
}

pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_uploaded_listed_and_shown_by_command() {
    let site = Site::start("commands", TOKENS).await;
    let file = guests::path("tally_lenient");
    let uploaded = stdout(&plugin(&site, CI, &["upload", text(&file)]));
    let again = plugin(&site, CI, &["upload", text(&file)]);
    assert_eq!(stdout(&again), uploaded);
    assert!(String::from_utf8_lossy(&again.stderr).contains("there already"));
    let listed = stdout(&plugin(&site, BOARD, &["list"]));
    assert!(listed.contains(&uploaded), "{listed}");
    let columns: Vec<&str> = uploaded.split('\t').collect();
    assert_eq!(columns[1..3], ["tally 0.1.0", "projection"], "{uploaded}");
    assert!(columns[4].starts_with("by ci at 20"), "{uploaded}");

    let hash = columns[0];
    let shown = stdout(&plugin(&site, BOARD, &["show", &hash[..8]]));
    for line in ["tally 0.1.0: projection", &format!("  sha256    {hash}")] {
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
    let in_json: [&[&str]; 2] = [&["show", hash, "--json"], &["list", "--json"]];
    for arguments in in_json {
        let json = stdout(&plugin(&site, BOARD, arguments));
        let objects = json.lines().map(serde_json::from_str::<Value>);
        let mut objects = objects.map(|object| object.expect("one JSON object a line"));
        let found = objects.find(|object| object["sha256"] == hash);
        let found = found.expect("it is uploaded");
        assert_eq!(found["uploaded_by"], "ci", "{found}");
    }
    let changes = stdout(&plugin(&site, BOARD, &["changes", "--limit", "1"]));
    let change = "\tci from 127.0.0.1\tupload\t";
    assert!(
        changes.contains(change) && changes.contains("there already"),
        "{changes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_a_host_refuses_ends_with_the_reason() {
    let site = Site::start("refusals", TOKENS).await;
    site.config
        .add_file("script.wasm", b"#!/bin/sh")
        .expect("a file");
    site.config
        .add_file("token", b"0123456789-board\n")
        .expect("a file");
    site.config.add_file("no-token", b"\n").expect("a file");
    let folder = site.config.path();
    let beside = |name: &str| folder.with_file_name(name);
    let (script, token, no_token) = (beside("script.wasm"), beside("token"), beside("no-token"));
    let tally = guests::path("tally");
    let nobody = format!("http://{}", free_address().expect("an address"));
    let cases: [(Option<&str>, &[&str], i32, &str); 10] = [
        (None, &["list"], 1, "needs a token"),
        (
            None,
            &["list", "--token-file", text(&no_token)],
            64,
            "holds no token",
        ),
        (
            BOARD,
            &["upload", text(&tally)],
            1,
            "needs a token of role \"deploy\"",
        ),
        (CI, &["upload", text(&script)], 64, "is not Wasm"),
        (
            CI,
            &["show", "0123456789"],
            1,
            "there is no plugin 0123456789",
        ),
        (CI, &["show", "../parked"], 1, "is no plugin's hash"),
        (CI, &["logs", "orders"], 1, "no projection \"orders\""),
        (CI, &["list", "--url", &nobody], 69, "no host answers at"),
        (
            CI,
            &["list", "--url", "https://example.org"],
            64,
            "does not start with http://",
        ),
        (CI, &["changes", "--limit", "0"], 1, "limit=0 is no number"),
    ];
    for (token, arguments, code, words) in cases {
        let output = plugin(&site, token, arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
    // A token in a file comes before the one in the environment.
    stdout(&plugin(
        &site,
        Some("a guess"),
        &["list", "--token-file", text(&token)],
    ));
}
