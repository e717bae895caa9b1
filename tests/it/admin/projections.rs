//! What is told of projections, and what their plugins log.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use projectionist_tests::host::binary;
use projectionist_tests::{guests, wait};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::access::assert_problem;
use crate::commands::{plugin, stdout};
use crate::site::{BOARD, Site, TOKENS};

#[tokio::test(flavor = "multi_thread")]
async fn projections_are_listed_with_what_they_run_and_where_they_stand() {
    let site = Site::start("projections", TOKENS).await;
    let (status, body) = site.get("/projections", BOARD);
    assert_eq!(status, 200);
    let [tally] = &body["projections"].as_array().expect("a list")[..] else {
        panic!("not one projection: {body}");
    };
    assert_eq!(
        (&tally["name"], &tally["state"]),
        (&"tally".into(), &"running".into())
    );
    let hash = format!("{:x}", Sha256::digest(guests::guest("tally")));
    assert_eq!(tally["plugin"], hash);
    let partitions = tally["partitions"].as_object().expect("an object");
    let [partition] = &partitions.values().collect::<Vec<_>>()[..] else {
        panic!("not one partition: {body}");
    };
    assert_eq!(
        (&partition["state"], &partition["next"]),
        (&"running".into(), &0.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_logs_is_read_and_followed() {
    let site = Site::start("logs", TOKENS).await;
    let path = "/projections/tally/logs";
    assert_eq!(site.get(path, BOARD).1["lines"], Value::Array(vec![]));
    site.overflow("a");
    let lines = wait::until("the plugin's lines", async || {
        let (_, body) = site.get(path, BOARD);
        let lines = body["lines"].as_array().expect("a list").clone();
        if lines.is_empty() {
            Err(body)
        } else {
            Ok(lines)
        }
    })
    .await;
    let line = &lines[0];
    assert_eq!(
        (&line["number"], &line["level"]),
        (&1.into(), &"error".into()),
        "{line}"
    );
    let message = line["message"].as_str().expect("a text");
    assert!(message.contains("overflow"), "{message}");

    let printed = stdout(&plugin(&site, BOARD, &["logs", "tally", "--tail", "1"]));
    assert!(
        printed.contains("\terror\t") && printed.contains("overflow"),
        "{printed}"
    );

    // Who follows sees what comes later, too.
    let mut following = Command::new(binary())
        .args([
            "plugin", "logs", "tally", "--follow", "--json", "--tail", "1",
        ])
        .env("PROJECTIONIST_CONFIG", site.config.path())
        .env("PROJECTIONIST_TOKEN", BOARD.unwrap_or_default())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the host's binary");
    let mut printed = BufReader::new(following.stdout.take().expect("it is piped")).lines();
    let mut next = || {
        let line = printed.next().expect("it goes on").expect("text");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        line["number"].as_u64().expect("a number")
    };
    let last = next();
    site.overflow("b");
    assert_eq!(next(), last + 1);
    following.kill().expect("it runs");
    following.wait().expect("it has ended");

    let after = format!("{path}?after={last}&tail=1000");
    let (_, body) = site.get(&after, BOARD);
    assert_eq!(body["lines"][0]["number"], last + 1, "{body}");
    let refused = [
        ("/projections/orders/logs", 404, "no projection \"orders\""),
        (
            "/projections/tally/logs?tail=1001",
            400,
            "no number from 1 to 1000",
        ),
        (
            "/projections/tally/logs?after=now",
            400,
            "after=now is no number",
        ),
    ];
    for (path, status, words) in refused {
        assert_problem(&site.send("GET", path, BOARD, b""), status, words);
    }
}
