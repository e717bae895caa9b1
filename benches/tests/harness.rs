//! The harness as users run it, in a small run on the real services.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `bench` with few events, and returns what it has printed and reported.
fn bench(output: &Path, arguments: &[&str]) -> (Output, Value) {
    let ended = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--contenders", "projectionist,limit", "--rounds", "1"])
        .arg("--output")
        .arg(output)
        .args(arguments)
        .output()
        .expect("the harness can be started");
    let report = std::fs::read(output.join("report.json")).unwrap_or_else(|error| {
        panic!(
            "no report: {error}\n{}",
            String::from_utf8_lossy(&ended.stderr)
        )
    });
    let report = serde_json::from_slice(&report).expect("the report is JSON");
    (ended, report)
}

fn told(ended: &Output) -> String {
    let [stdout, stderr] = [&ended.stdout, &ended.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{stdout}\n{stderr}")
}

#[test]
fn contenders_that_make_the_right_documents_get_their_figures() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (ended, report) = bench(
        folder.path(),
        &[
            "--workloads",
            "hot,shared",
            "--events",
            "20000",
            "--partitions",
            "2",
        ],
    );
    assert!(ended.status.success(), "{}", told(&ended));

    let cases = report["cases"].as_array().expect("cases are a list");
    assert_eq!(cases.len(), 2);
    for case in cases {
        let summaries = case["summaries"].as_array().expect("summaries are a list");
        assert_eq!(summaries.len(), 2);
        for summary in summaries {
            assert_eq!(summary["wrong"], Value::Null, "{summary:#}");
            assert!(summary["events"].as_u64() > Some(20_000), "{summary:#}");
            for figure in ["peak_memory_bytes", "start_seconds"] {
                assert!(
                    summary[figure]["median"].as_f64() > Some(0.0),
                    "{summary:#}"
                );
            }
        }
    }
    assert!(folder.path().join("plot.svg").is_file());
    let table = String::from_utf8_lossy(&ended.stdout);
    assert!(
        table.contains("shared, 200-byte values, 2 partitions"),
        "{table}"
    );
}

#[test]
fn steady_events_have_latencies() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (ended, report) = bench(
        folder.path(),
        &["--workloads", "unique", "--rate", "300", "--seconds", "3"],
    );
    assert!(ended.status.success(), "{}", told(&ended));
    for summary in report["cases"][0]["summaries"].as_array().expect("a list") {
        let figure = |name: &str| summary[name]["median"].as_f64().expect("it was measured");
        assert!(figure("p50_ms") > 0.0, "{summary:#}");
        assert!(figure("p50_ms") <= figure("p999_ms"), "{summary:#}");
    }
}
