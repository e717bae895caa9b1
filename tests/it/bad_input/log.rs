//! Logs and outputs that nobody reads, or that are written to deceive whoever does.

use std::io::{PipeReader, Write as _, pipe};
use std::process::Stdio;

use projectionist_tests::host::{Host, command, program};
use projectionist_tests::kafka::Topic;
use serde_json::Value;

use crate::parked::list;
use crate::settings::{Settings, documents, number, produce, tally, until_stored};

/// What a pipe holds before its writer waits.
const PIPE_BYTES: usize = 64 << 10;

/// Where a host's log goes, and what keeps it there.
type Reader = fn() -> (Stdio, Option<PipeReader>);

fn gone() -> (Stdio, Option<PipeReader>) {
    let (_, writer) = pipe().expect("a pipe");
    (writer.into(), None)
}

fn full_disk() -> (Stdio, Option<PipeReader>) {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    (full.expect("Linux has it").into(), None)
}

fn stalled() -> (Stdio, Option<PipeReader>) {
    let (reader, mut writer) = pipe().expect("a pipe");
    // Full from the first line on.
    writer
        .write_all(&[b'\n'; PIPE_BYTES])
        .expect("there is room for just so much");
    (writer.into(), Some(reader))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_ends_nothing_and_holds_nothing_up() {
    let readers: [(&str, Reader, bool); 3] = [
        ("gone", gone, true),
        ("full disk", full_disk, true),
        // The lines of one start fit into the host's own buffer.
        ("stalled", stalled, false),
    ];
    for (name, reader, is_lost) in readers {
        let topic = Topic::create("unread", 1).await.expect("a topic");
        let settings = Settings::tally(&topic, "");
        let database = settings.database().await;
        let config = settings.config();
        let (stderr, _reader) = reader();
        let mut host = Host::start_logging_to(&config, stderr).expect("a host");
        let mut numbers = Vec::new();
        for n in 0..600 {
            numbers.push(number(&format!("poison-{n}"), -1));
        }
        let healthy = [number("healthy", 7)];
        numbers.extend_from_slice(&healthy);
        produce(&topic, &numbers);

        until_stored(&database, numbers.len()).await;
        assert_eq!(documents(&database).await, tally(&healthy), "{name}");
        host.wait_until_ready().await;
        let (status, page) = host.get("/metrics").expect("an answer");
        assert_eq!(status, 200, "{name}");
        let lost = page
            .lines()
            .find_map(|line| line.strip_prefix("projectionist_log_lines_dropped_total "));
        let lost: f64 = lost.expect(&page).parse().expect("a number");
        assert_eq!(lost > 0.0, is_lost, "{name}: {lost} lines");
        assert!(host.end().await.expect("it ends").success(), "{name}");
        database.drop().await.expect("the database is dropped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_that_recurs_is_one_line() {
    let topic = Topic::create("recurs", 1).await.expect("a topic");
    let settings = Settings::tally(&topic, "");
    let database = settings.database().await;
    let config = settings.config();
    let host = Host::start(&config).expect("a host");
    let poison: Vec<_> = (1..=200)
        .map(|n| number(&format!("poison-{n}"), -n))
        .collect();
    produce(&topic, &poison);
    until_stored(&database, poison.len()).await;
    let log = host.log();
    let parked = log.lines().filter(|line| line.contains("parked, with"));
    assert_eq!(parked.count(), 1, "{log}");
    assert!(host.terminate().await.expect("it ends").success());
    database.drop().await.expect("the database is dropped");
}

#[test]
fn output_that_nobody_reads_ends_a_command_as_the_system_would() {
    let config = Settings::tally_of("unread").config();
    let path = config.path();
    let path = path.to_str().expect("a path of letters");
    let cases: [(&[&str], i32); 4] = [
        (&["check", "--print", "--config", path], 141),
        (&["check", "--config", path], 141),
        (&["token", "orders", "0", "7"], 141),
        // clap's own.
        (&["plugin", "--help"], 0),
    ];
    for (arguments, code) in cases {
        let output = program()
            .args(arguments)
            .stdout(gone().0)
            .output()
            .expect("a command");
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        assert_eq!(output.stderr, b"", "{arguments:?}: {output:?}");
    }

    let output = program()
        .args(["token", "orders", "0", "7"])
        .stdout(full_disk().0)
        .output()
        .expect("a command");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("cannot print: No space left"), "{text}");

    // What is wrong is told by the code, where nobody reads what is said.
    for stderr in [gone().0, full_disk().0] {
        let status = program()
            .args(["check", "--config", "/nowhere.toml"])
            .stderr(stderr)
            .status()
            .expect("a command");
        assert_eq!(status.code(), Some(64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_events_bring_is_shown_and_commands_no_terminal() {
    // To the clipboard; a line of somebody else's; from right to left.
    let key = "a\u{1b}]52;c;cm0gLXJm\u{7}\nhost/flights/0/7\tkey b\u{202e}\u{9b}2J\u{2028}";
    let topic = Topic::create("hidden", 1).await.expect("a topic");
    let settings = Settings::tally(&topic, "");
    let database = settings.database().await;
    let config = settings.config();
    let host = Host::start(&config).expect("a host");
    produce(&topic, &[number(key, -1)]);
    until_stored(&database, 1).await;

    let listed = command(&["parked", "list"], &config).expect("a command");
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let shown = r"a\u{1b}]52;c;cm0gLXJm\u{7}\nhost/flights/0/7\tkey b\u{202e}\u{9b}2J\u{2028}";
    assert!(listed.stdout.contains(shown), "{}", listed.stdout);
    let exact = list(&config);
    assert_eq!(exact[0]["key"], Value::from(key));
    let json = command(&["parked", "list", "--json"], &config).expect("a command");
    for text in [&listed.stdout, &json.stdout, &host.log()] {
        let hidden = ['\u{1b}', '\u{7}', '\u{202e}', '\u{9b}', '\u{2028}'];
        assert!(!text.contains(hidden), "{text:?}");
    }
    assert!(host.terminate().await.expect("it ends").success());
    database.drop().await.expect("the database is dropped");
}
