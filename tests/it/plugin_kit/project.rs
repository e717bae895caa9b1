//! Building, timing and watching a project.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use projectionist_tests::{guests, signal, wait};
use serde_json::Value;
use tempfile::TempDir;

use super::{binary, said};

/// What counts as a project in C, whose Makefile makes the plugin of `source.bin`: no compiler is
/// needed for it.
fn project(guest: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    write("projectionist.h", b"");
    write(
        "Makefile",
        b"plugin.wasm: source.bin\n\tcp source.bin plugin.wasm\n",
    );
    write("source.bin", &guests::guest(guest));
    write(
        "fixtures/case.events.jsonl",
        b"{\"key\": \"a\", \"value\": {\"n\": 1}}\n",
    );
    folder
}

fn run(arguments: &[&str], folder: &Path) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the host is built");
    said(&output)
}

#[test]
fn a_project_is_built_by_its_own_tools_and_checked() {
    let folder = project("tally");
    let (code, text) = run(&["plugin", "build"], folder.path());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("plugin.wasm\ntally "), "{text}");
    assert!(text.contains("language  Rust"), "{text}");

    fs::remove_file(folder.path().join("source.bin")).expect("a file");
    fs::remove_file(folder.path().join("plugin.wasm")).expect("a file");
    let (code, text) = run(&["plugin", "build"], folder.path());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("`make --silent` failed in ."), "{text}");

    let empty = tempfile::tempdir().expect("a folder");
    let (code, text) = run(&["plugin", "build"], empty.path());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(". is no plugin's project"), "{text}");
}

#[test]
fn a_bench_tells_what_an_event_costs() {
    let folder = project("tally");
    let events = folder.path().join("events.jsonl");
    let lines =
        (0..2_000).map(|n| format!("{{\"key\": \"{}\", \"value\": {{\"n\": 1}}}}\n", n % 7));
    fs::write(&events, lines.collect::<String>()).expect("a file");
    let bench = [
        "plugin",
        "bench",
        "source.bin",
        "--events",
        "events.jsonl",
        "--seconds",
        "1",
    ];
    let (code, text) = run(&[&bench[..], &["--json"]].concat(), folder.path());
    assert_eq!(code, Some(0), "{text}");
    let cost: Value = serde_json::from_str(&text).expect("JSON");
    for figure in [
        "plugin-ns-per-event",
        "host-ns-per-event",
        "compile-ms",
        "memory-bytes",
    ] {
        assert!(cost[figure].as_f64() > Some(0.0), "{figure}: {cost}");
    }
    assert!(cost["batches"].as_u64() >= Some(2), "{cost}");

    fs::write(&events, "{\"key\": \"a\", \"value\": {\"n\": -1}}\n").expect("a file");
    let (code, text) = run(&bench, folder.path());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("leave out what it rejects"), "{text}");
    assert!(text.contains("-1 is negative"), "{text}");
}

/// A running `plugin dev`, which is killed in the end.
struct Dev {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Dev {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(binary())
            .args(["plugin", "dev"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the host is built");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The test may be over.
                sender.send(line).ok();
            }
        });
        Dev {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line behind those that were waited for.
    async fn wait_for(&mut self, wanted: &str) {
        wait::until(wanted, async || {
            self.seen.extend(self.lines.try_iter());
            match self.seen.iter().position(|line| line == wanted) {
                Some(at) => {
                    self.seen.drain(..=at);
                    Ok(())
                }
                None => Err(self.seen.join("\n")),
            }
        })
        .await;
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn a_change_is_built_and_folded_again_until_the_session_is_interrupted() {
    const WAITING: &str = "waiting for changes; Ctrl-C ends this";
    let folder = project("tally");
    let mut dev = Dev::start(folder.path());
    dev.wait_for("./plugin.wasm: built").await;
    dev.wait_for("case: not as expected").await;
    dev.wait_for(WAITING).await;

    let events = folder.path().join("fixtures/case.events.jsonl");
    fs::write(&events, "{\"key\": \"a\", \"value\": {\"n\": 2}}\n").expect("a file");
    dev.wait_for("case: not as expected, and changed").await;
    dev.wait_for("  + sum: 2").await;
    dev.wait_for(WAITING).await;

    let source = folder.path().join("source.bin");
    fs::write(&source, "no plugin").expect("a file");
    dev.wait_for(WAITING).await;
    fs::write(&source, guests::guest("mirror")).expect("a file");
    dev.wait_for("./plugin.wasm: built").await;
    dev.wait_for("mirror/a").await;

    // As Ctrl-C, which tests in the background of a shell ignore, and what they start with them.
    signal::send(&dev.child, "TERM").expect("a signal");
    let child = &mut dev.child;
    wait::until("the session to end", async || {
        child.try_wait().ok().flatten().ok_or("running")
    })
    .await;
}
