//! `projectionist plugin check`, as a user runs it.

use std::path::Path;
use std::process::Output;

use projectionist::plugin::About;
use projectionist_tests::guests::path;
use projectionist_tests::host::program;

use super::about;

fn check(file: &Path, arguments: &[&str]) -> Output {
    program()
        .args(["plugin", "check"])
        .arg(file)
        .args(arguments)
        .output()
        .expect("the host's binary; build it with `make build`")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn a_plugin_in_order_is_told_for_people_and_for_programs() {
    let file = path("misbehaving");
    let text = stdout(&check(&file, &[]));
    let lines = [
        "misbehaving 0.1.0: projection",
        "  Does what no plugin should.",
        "  language  Rust",
        "  view      \"own\": one document for each key",
        "  view      \"any\": any event may touch any document",
        "  header    \"note\"",
        "  schema    {\"type\":[\"object\",\"string\"]}",
    ];
    for line in lines {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let json: About = serde_json::from_str(&stdout(&check(&file, &["--json"]))).expect("JSON");
    assert_eq!(json, about("misbehaving"));
    let text = stdout(&check(&path("routing_first"), &[]));
    assert!(
        text.starts_with("first-routing 0.1.0: routing policy\n"),
        "{text}"
    );
}

#[test]
fn a_plugin_out_of_order_ends_with_64_and_the_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).expect("a new file");
        file
    };
    let script = write("script.wasm", "#!/bin/sh");
    let declined = write("declined.json", "\"decline\"");
    let taken = write("taken.json", "\"echo\"");
    let unfit = write("unfit.json", "5");
    let torn = write("torn.json", "{\"a\":");
    let absent = directory.path().join("absent.wasm");
    let text = |file: &Path| file.to_str().expect("a name of letters").to_owned();

    let misbehaving = path("misbehaving");
    stdout(&check(&misbehaving, &["--config", &text(&taken)]));
    let cases = [
        (
            check(&script, &[]),
            64,
            "plugin \"script.wasm\" is not Wasm",
        ),
        (
            check(&misbehaving, &["--config", &text(&declined)]),
            64,
            "there is no behaviour of this name",
        ),
        (
            check(&misbehaving, &["--config", &text(&unfit)]),
            64,
            "the configuration: a number is not of types \"string\", \"object\"",
        ),
        (
            check(&misbehaving, &["--config", &text(&torn)]),
            64,
            "torn.json is not JSON",
        ),
        (
            check(&path("routing_first"), &["--config", &text(&taken)]),
            64,
            "does not take the configuration of the policy",
        ),
        (check(&absent, &[]), 1, "cannot read plugin "),
    ];
    for (output, code, reason) in cases {
        assert_eq!(output.status.code(), Some(code), "{reason}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(reason), "{reason}: {stderr}");
    }
}
