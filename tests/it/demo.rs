//! `projectionist demo` with a plugin of the user's own.

use std::process::{Command, Output};

use projectionist_tests::guests;
use projectionist_tests::host::binary;

fn demo(events: &str) -> Output {
    let folder = tempfile::tempdir().expect("the test needs a temporary folder");
    let file = folder.path().join("events.jsonl");
    std::fs::write(&file, events).expect("it can be written");
    let demo = Command::new(binary())
        .args(["demo", "--plugin"])
        .arg(guests::path("tally"))
        .arg("--events")
        .arg(&file)
        .output();
    demo.expect("the host's binary")
}

#[test]
fn a_plugin_of_ones_own_is_run_on_ones_own_events() {
    let ran = demo(
        r#"{"key": "a", "value": {"n": 1}}
{"key": "b", "value": {"n": 7}}
{"key": "a", "value": {"n": 2}}
{"key": "c", "value": {"n": -1}}
"#,
    );
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{ran:?}");
    for part in [
        "4 events, each folded by 1 plugin",
        r#""count":2,"sum":3"#,
        r#""count":1,"sum":7"#,
        "view \"tally\" has 2 documents",
        "parked: key \"c\", 1 event: the plugin rejected the event: -1 is negative",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn events_that_are_none_are_named_by_their_line() {
    for (events, part) in [("", "no events"), ("{\"key\": 1}\n{", "line 2 is no event")] {
        let ran = demo(events);
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(told.contains(part), "{told}");
        assert!(told.contains("events.jsonl"), "{told}");
        assert_eq!(ran.status.code(), Some(64), "{told}");
    }
}
