//! The commands for authors of plugins, as they are run.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use projectionist_tests::guests;
use projectionist_tests::host::binary;
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "plugin_kit/project.rs"]
mod project;

/// A folder of fixtures for the plugin `mirror`.
struct Fixtures(TempDir);

impl Fixtures {
    /// One case, "case", of these events.
    fn new(events: &str) -> Self {
        let fixtures = Fixtures(tempfile::tempdir().expect("a folder"));
        fixtures.write("case.events.jsonl", events);
        fixtures
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("a file");
    }

    fn expected(&self) -> Value {
        let text = fs::read(self.0.path().join("case.expected.json")).expect("a file");
        serde_json::from_slice(&text).expect("JSON")
    }

    fn test(&self, more: &[&str]) -> (Option<i32>, String) {
        self.test_file(&guests::path("mirror"), more)
    }

    /// The exit code, and all that was printed.
    fn test_file(&self, wasm: &Path, more: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(binary())
            .args(["plugin", "test"])
            .arg(wasm)
            .arg("--fixtures")
            .arg(self.0.path())
            .args(more)
            .output()
            .expect("the host is built");
        said(&output)
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&*output.stdout, &*output.stderr].concat();
    let text = String::from_utf8(text).expect("a text");
    (output.status.code(), text)
}

const EVENTS: &str = r#"
{"key": "a", "value": {"n": 1, "left": "out"}}
{"key": "b", "value": {"n": 2}}
{"key": "c", "value": {"n": 3}}
{"key": "b"}
{"key": "a", "value": "no object"}
{"key": "a", "value": {"n": 4}}
{"key": "c", "value": {"n": 5}}
"#;

#[test]
fn fixtures_are_accepted_once_and_hold_from_then_on() {
    let fixtures = Fixtures::new(EVENTS);
    fixtures.write("case.config.json", r#"{"include": ["n"]}"#);

    let (code, text) = fixtures.test(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("case.expected.json is not there"), "{text}");
    assert!(text.contains("1 of 1 cases differ"), "{text}");

    let (code, text) = fixtures.test(&["--update"]);
    assert_eq!((code, &*text), (Some(0), "case: updated\n"));
    let expected = fixtures.expected();
    assert_eq!(
        expected["documents"],
        json!({"mirror": {"a": {"n": 1}, "c": {"n": 5}}})
    );
    assert_eq!(expected["rejected"][0]["line"], json!(6));
    let waiting = json!({"line": 7, "reason": "waits for the event of its key in line 6"});
    assert_eq!(expected["rejected"][1], waiting);
    assert_eq!(expected["rejected"].as_array().map(Vec::len), Some(2));

    let (code, text) = fixtures.test(&[]);
    assert_eq!((code, &*text), (Some(0), "case: ok\n"));
}

#[test]
fn a_difference_is_shown_and_fails() {
    let fixtures = Fixtures::new(r#"{"key": "a", "value": {"n": 1, "same": true}}"#);
    let other = json!({"documents": {"mirror": {"a": {"n": 2, "same": true}}}});
    fixtures.write("case.expected.json", &other.to_string());
    let (code, text) = fixtures.test(&[]);
    assert_eq!(code, Some(1), "{text}");
    for line in ["case: differs", "-        \"n\": 2,", "+        \"n\": 1,"] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert_eq!(fixtures.expected(), other, "only --update changes it");
}

#[test]
fn what_cannot_be_tested_is_told_apart_from_what_differs() {
    let fixtures = Fixtures::new("{\"key\": \"a\"}\n{\"kye\": \"a\"}\n");
    let (code, text) = fixtures.test(&["--update"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("case.events.jsonl") && text.contains("line 2"),
        "{text}"
    );

    let fixtures = Fixtures::new("");
    fixtures.write("case.config.json", r#"{"unknown": 1}"#);
    let (code, text) = fixtures.test(&[]);
    assert_eq!(code, Some(64), "{text}");
    assert!(
        text.contains("unknown key \"unknown\"; known here: exclude, include, rename"),
        "{text}"
    );

    let (code, text) = fixtures.test_file(Path::new("/dev/null"), &[]);
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("is an empty file"), "{text}");

    let empty = Fixtures(tempfile::tempdir().expect("a folder"));
    let (code, text) = empty.test(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("has no case"), "{text}");
}

#[test]
fn a_new_project_is_written_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let new = || {
        let output = Command::new(binary())
            .args(["plugin", "new", "accounts", "--lang", "rust"])
            .current_dir(folder.path())
            .output()
            .expect("the host is built");
        said(&output)
    };
    let (code, text) = new();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("accounts/README.md"), "{text}");
    assert!(folder.path().join("accounts/src/lib.rs").is_file());

    let (code, text) = new();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("accounts is there and not empty"), "{text}");
}

/// The sources of the templates are built as guests of this repository, so what a project starts
/// from is known to build.
#[test]
fn a_new_policy_is_written_and_the_host_takes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| {
        let output = Command::new(binary())
            .args(arguments)
            .current_dir(folder.path())
            .output();
        said(&output.expect("the host is built"))
    };
    for (kind, described) in [
        ("routing", "routing policy"),
        ("placement", "placement policy"),
    ] {
        let (code, text) = run(&["plugin", "new", kind, "--lang", "rust", "--kind", kind]);
        assert_eq!(code, Some(0), "{text}");
        let written = folder.path().join(kind).join("src/lib.rs");
        let written = fs::read_to_string(written).expect("the policy's source");
        assert!(
            written.contains(&format!("const NAME: &str = \"{kind}\";")),
            "{written}"
        );

        let file = guests::path(&format!("template_{kind}"))
            .display()
            .to_string();
        let config = format!("{kind}/config.json");
        let (code, text) = run(&["plugin", "check", &file, "--config", &config]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(described), "{text}");
        fs::write(folder.path().join("wrong.json"), "{}").expect("a file");
        let (code, text) = run(&["plugin", "check", &file, "--config", "wrong.json"]);
        assert_eq!(code, Some(64), "{text}");
        assert!(text.contains("is missing"), "{text}");
    }

    let (code, text) = run(&["plugin", "new", "mine", "--lang", "c", "--kind", "routing"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("say --lang rust"), "{text}");
}
