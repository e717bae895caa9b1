//! Which plugin a projection runs, decided by command and over HTTP.

use projectionist_tests::guests;

use crate::commands::{plugin, stdout};
use crate::site::{BOARD, CI, Site, TOKENS};

/// Uploads a guest; answers its hash.
fn upload(site: &Site, guest: &str) -> String {
    let file = guests::path(guest).display().to_string();
    let uploaded = stdout(&plugin(site, CI, &["upload", &file]));
    let hash = uploaded.split('\t').next().expect("it stands first");
    hash.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_shadowed_activated_and_rolled_back_by_command() {
    let site = Site::start("deployments", TOKENS).await;
    let lenient = upload(&site, "tally_lenient");

    let shadowed = stdout(&plugin(&site, CI, &["shadow", "tally", &lenient[..8]]));
    let beside = format!("\tbeside it {lenient}\tby ci");
    assert!(shadowed.contains(&beside), "{shadowed}");
    let shown = stdout(&plugin(&site, BOARD, &["revisions", "tally"]));
    assert!(shown.starts_with("2\t"), "the newest first: {shown}");
    assert!(shown.contains("the candidate folded 0 events"), "{shown}");
    let stopped = stdout(&plugin(&site, CI, &["shadow", "tally", "--stop"]));
    assert!(!stopped.contains("beside it"), "{stopped}");

    let reason = ["--reason", "negative numbers are fine"];
    let activate = [&["activate", "tally", &lenient, "--wait"], &reason[..]].concat();
    let activated = plugin(&site, CI, &activate);
    let said = String::from_utf8_lossy(&activated.stderr);
    assert!(said.contains("has changed over"), "{activated:?}");
    let (_, body) = site.get("/projections", BOARD);
    assert_eq!(body["projections"][0]["plugin"], *lenient, "{body}");
    let activated = stdout(&activated);
    let line = format!("\tactivated\truns {lenient}\tby ci\tnegative numbers are fine\n");
    assert!(activated.ends_with(&line), "{activated}");
    let rolled_back = stdout(&plugin(&site, CI, &["rollback", "tally"]));
    let line = format!("\tinstead of {lenient}\tby ci\n");
    assert!(rolled_back.contains("\trolled back\t"), "{rolled_back}");
    assert!(rolled_back.ends_with(&line), "{rolled_back}");

    let (status, body) = site.get("/projections/tally/revisions", BOARD);
    assert_eq!(status, 200, "{body}");
    let revisions = body["revisions"].as_array().expect("a list").iter();
    let changes: Vec<_> = revisions.map(|r| r["change"].clone()).collect();
    let expected = [
        "rolled-back",
        "activated",
        "shadowed",
        "shadowed",
        "configured",
    ];
    assert_eq!(changes, expected);
    let recorded = stdout(&plugin(&site, BOARD, &["changes"]));
    for action in ["activate", "shadow", "rollback"] {
        let action = format!("\t{action}\t");
        assert!(recorded.contains(&action), "{action}: {recorded}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_cannot_be_is_refused_with_the_reason() {
    let site = Site::start("decisions", TOKENS).await;
    let lenient = upload(&site, "tally_lenient");
    let policy = upload(&site, "placement_first");
    let other = upload(&site, "mirror");
    let cases = [
        (
            CI,
            vec!["activate", "tally", "0123456789"],
            1,
            "there is no plugin 0123456789",
        ),
        (
            CI,
            vec!["activate", "nobody", &lenient],
            1,
            "there is no projection \"nobody\"",
        ),
        (CI, vec!["activate", "tally", &policy], 64, "placement"),
        (
            CI,
            vec!["activate", "tally.placement", &policy],
            1,
            "policies are called",
        ),
        (
            CI,
            vec!["revisions", "main.routing"],
            1,
            "policies are called",
        ),
        (
            CI,
            vec!["rollback", "../parked"],
            1,
            "is no projection or policy",
        ),
        (CI, vec!["activate", "tally", &other], 64, "views"),
        (CI, vec!["rollback", "tally"], 1, "no plugin before"),
        (CI, vec!["shadow", "tally", "--stop"], 1, "has no candidate"),
        (
            BOARD,
            vec!["activate", "tally", &lenient],
            1,
            "role \"deploy\"",
        ),
        (BOARD, vec!["rollback", "tally"], 1, "role \"deploy\""),
    ];
    for (token, arguments, code, words) in cases {
        let refused = plugin(&site, token, &arguments);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(told.contains(words), "{arguments:?}: {told}");
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {told}");
    }
    for body in ["", "{", "{}", r#"{"plugin":1}"#, r#"{"plug":"x"}"#] {
        let path = "/projections/tally/activate";
        let (status, told) = site.ask("POST", path, CI, body.as_bytes());
        assert!(matches!(status, 400 | 422), "{body}: {status} {told}");
        assert!(told["detail"].is_string(), "{told}");
    }
    let (_, body) = site.get("/projections/tally/revisions", BOARD);
    let revisions = body["revisions"].as_array().expect("a list");
    assert_eq!(revisions.len(), 1, "nothing was decided: {body}");
}
