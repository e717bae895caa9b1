//! Plugins that are uploaded, and files that are none.

use std::collections::HashMap;
use std::sync::Barrier;

use projectionist::plugin::MODULE_BYTES_MAX;
use projectionist_tests::guests;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::access::assert_problem;
use crate::site::{BOARD, CI, DUTY, Site, TOKENS};

/// Hashes are found by their first digits from this number of digits on.
const DIGITS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn plugins_of_each_kind_are_uploaded_listed_and_shown() {
    let site = Site::start("uploads", TOKENS).await;
    assert_eq!(site.uploaded(), [] as [Value; 0]);
    let mut uploaded = Vec::new();
    for (guest, kind) in [
        ("tally_lenient", "projection"),
        ("placement_first", "placement"),
        ("routing_first", "routing"),
    ] {
        let file = guests::guest(guest);
        let (status, plugin) = site.upload(CI, &file);
        assert_eq!(status, 201, "{guest}: {plugin}");
        assert_eq!(plugin["kind"], kind);
        assert_eq!(plugin["uploaded_by"], "ci");
        assert_eq!(plugin["size_bytes"], file.len());
        assert_eq!(plugin["sha256"], format!("{:x}", Sha256::digest(&file)));
        assert_eq!(plugin["projection"].is_object(), kind == "projection");
        // Who comes later changes nothing.
        assert_eq!(site.upload(DUTY, &file), (200, plugin.clone()));
        let hash = plugin["sha256"].as_str().expect("a text");
        for hash in [hash, &hash[..16]] {
            let shown = site.get(&format!("/plugins/{hash}"), BOARD);
            assert_eq!(shown, (200, plugin.clone()), "{hash}");
        }
        uploaded.push(plugin);
    }
    uploaded.sort_by_key(|plugin| plugin["sha256"].to_string());
    assert_eq!(site.uploaded(), uploaded);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_plugins_are_refused_with_the_reason() {
    let site = Site::start("refused", TOKENS).await;
    let tally = guests::guest("tally_lenient");
    let large = vec![0; MODULE_BYTES_MAX + 1];
    let files: [(&[u8], u16, &str); 5] = [
        (b"", 422, "is an empty file"),
        (b"#!/bin/sh", 422, "is not Wasm"),
        (&tally[..1000], 422, "is not valid Wasm"),
        (b"\0asm\x01\0\0\0", 422, "does not say which interfaces"),
        (&large, 413, "the most that this host takes"),
    ];
    for (file, status, words) in files {
        let answer = site.send("PUT", "/plugins", CI, file);
        assert_problem(&answer, status, words);
    }
    assert_eq!(site.uploaded(), [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_that_names_no_plugin_or_several_is_refused() {
    let site = Site::start("hashes", TOKENS).await;
    let file = guests::guest("routing_first");
    let (one, other) = alike(&file);
    for file in [&one, &other] {
        assert_eq!(site.upload(CI, file).0, 201);
    }
    let hash = format!("{:x}", Sha256::digest(&one));
    let show = |hash: &str| site.send("GET", &format!("/plugins/{hash}"), BOARD, b"");
    let prefix = &hash[..DIGITS];
    assert_problem(
        &show(prefix),
        409,
        "is the start of several plugins' hashes",
    );
    assert_eq!(show(&hash).status, 200);
    let unknown = "0".repeat(64);
    assert_problem(&show(&unknown), 404, "there is no plugin 0000");
    assert_problem(&show(&hash[..DIGITS - 1]), 400, "is no plugin's hash");
    assert_problem(&show("latest"), 400, "is no plugin's hash");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_nothing_runs_is_removed() {
    let site = Site::start("removal", TOKENS).await;
    let own = format!("{:x}", Sha256::digest(guests::guest("tally")));
    let file = guests::guest("tally_lenient");
    let (status, plugin) = site.upload(CI, &file);
    assert_eq!(status, 201, "{plugin}");
    let hash = plugin["sha256"].as_str().expect("a text").to_owned();
    let remove = |hash: &str| site.send("DELETE", &format!("/plugins/{hash}"), CI, b"");
    let activate = |hash: &str| {
        let body = format!(r#"{{"plugin":"{hash}"}}"#);
        site.ask("POST", "/projections/tally/activate", CI, body.as_bytes())
            .0
    };
    assert_problem(&remove(&own), 409, "\"tally\" runs plugin");
    // What runs, and what a rollback would return to.
    assert_eq!(activate(&hash), 200);
    for used in [&hash, &own] {
        assert_problem(&remove(used), 409, "\"tally\" runs plugin");
    }
    let (status, _) = site.ask("POST", "/projections/tally/rollback", CI, b"");
    assert_eq!(status, 200);
    let removed = remove(&hash[..16]);
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(
        serde_json::from_str::<Value>(&removed.body).expect("JSON"),
        plugin
    );
    assert_problem(&remove(&hash), 404, "there is no plugin");
    assert_eq!(activate(&hash), 404);
    assert_eq!(site.uploaded(), [] as [Value; 0]);
    let (_, changes) = site.get("/changes", BOARD);
    let found = changes["changes"].as_array().expect("a list").iter();
    let mut removals =
        found.filter(|change| change["action"] == "remove" && change["outcome"] == "done");
    assert_eq!(removals.next().expect("it is kept")["subject"], *hash);
    assert!(removals.next().is_none());
    // It can come again, and go by a command.
    assert_eq!(site.upload(CI, &file).0, 201);
    let output = projectionist_tests::host::program()
        .args(["plugin", "remove", &hash, "--config"])
        .arg(site.config.path())
        .env("PROJECTIONIST_TOKEN", "0123456789-delivery")
        .output()
        .expect("the binary; build it with `make build`");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.uploaded(), [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_plugins_are_kept_and_half_of_them_of_one_token() {
    // The configuration's own is one of them.
    let quota = format!("{TOKENS}[plugins]\nuploads = 4\n");
    let site = Site::start("quota", &quota).await;
    let file = guests::guest("routing_first");
    let another = |salt: u8| [&file[..], &[0, 6, 4, b's', b'a', b'l', b't', salt]].concat();
    assert_eq!(site.upload(CI, &another(1)).0, 201);
    assert_eq!(site.upload(CI, &another(2)).0, 201);
    let third = another(3);
    let refused = site.send("PUT", "/plugins", CI, &third);
    assert_problem(&refused, 409, "under your name already");
    assert_eq!(site.upload(CI, &another(2)).0, 200, "it is there already");
    assert_eq!(site.upload(DUTY, &third).0, 201);
    let refused = site.send("PUT", "/plugins", DUTY, &another(4));
    assert_problem(&refused, 409, "as many as may be uploaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_upload_a_file_at_once_one_is_the_first() {
    let site = Site::start("twice", TOKENS).await;
    let file = guests::guest("tally_lenient");
    let start = Barrier::new(2);
    let upload = |token| {
        start.wait();
        site.upload(token, &file)
    };
    let (one, other) = std::thread::scope(|threads| {
        let one = threads.spawn(|| upload(CI));
        let other = upload(DUTY);
        (one.join().expect("no panic"), other)
    });
    assert_eq!(one.1, other.1);
    let mut statuses = [one.0, other.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201]);
    assert_eq!(site.uploaded(), [one.1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_uploads_at_once_a_few_are_taken_and_the_rest_sent_away() {
    let site = Site::start("thousand", TOKENS).await;
    let file = guests::guest("tally_lenient");
    let uploads = 1_000;
    let start = Barrier::new(uploads);
    let answers: Vec<_> = std::thread::scope(|threads| {
        let upload = || {
            start.wait();
            site.send("PUT", "/plugins", CI, &file)
        };
        let running: Vec<_> = (0..uploads).map(|_| threads.spawn(upload)).collect();
        let joined = running.into_iter().map(|thread| thread.join());
        joined.map(|answer| answer.expect("no panic")).collect()
    });
    let mut counts: HashMap<u16, usize> = HashMap::new();
    for answer in &answers {
        *counts.entry(answer.status).or_default() += 1;
        if answer.status == 503 {
            assert_problem(answer, 503, "other uploads are waiting already");
            assert!(answer.head.contains("retry-after: 5"), "{answer:?}");
        }
    }
    let count = |status| counts.get(&status).copied().unwrap_or(0);
    assert_eq!(count(201), 1, "{counts:?}");
    assert!(count(200) > 0 && count(503) > 0, "{counts:?}");
    assert_eq!(count(200) + count(201) + count(503), uploads, "{counts:?}");

    // Those who come later find places.
    assert_eq!(site.upload(CI, &file).0, 200);
    let readiness = site.host.readiness().expect("an answer");
    assert_eq!(readiness["ready"], true, "{readiness}");
}

/// Two plugins that differ in a section without meaning, and whose hashes start alike.
fn alike(file: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let hash = Sha256::new_with_prefix(file);
    let mut seen: HashMap<String, [u8; 11]> = HashMap::new();
    for salt in 0..u32::MAX {
        let [a, b, c, d] = salt.to_le_bytes();
        let section = [0, 9, 4, b's', b'a', b'l', b't', a, b, c, d];
        let digits = format!("{:x}", hash.clone().chain_update(section).finalize());
        if let Some(other) = seen.insert(digits[..DIGITS].to_owned(), section) {
            return ([file, &other].concat(), [file, &section].concat());
        }
    }
    unreachable!("there are only so many first digits")
}
