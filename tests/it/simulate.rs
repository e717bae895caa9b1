//! `projectionist balance simulate`, as it is run: the shipped policies side by side.

use std::fs;
use std::process::Command;

use projectionist_tests::guests;
use projectionist_tests::host::binary;
use serde_json::Value;

/// The exit code, and what was printed on either stream.
fn simulate(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .args(["balance", "simulate"])
        .args(arguments)
        .output()
        .expect("the host is built");
    let streams = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&streams).into_owned(),
    )
}

/// One result for each policy, in their order.
///
/// Time is made up but for the limit of a call: on a machine that is busy enough a policy may seem
/// to stall, and what stood in for it says nothing of it. Then it is tried again.
fn results(arguments: &[&str]) -> Vec<Value> {
    for _ in 0..10 {
        let (code, text) = simulate(&[arguments, &["--json"]].concat());
        assert_eq!(code, Some(0), "{text}");
        let result = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"));
        let results: Vec<Value> = text.lines().map(result).collect();
        if results
            .iter()
            .all(|result| result["stood-in"].as_u64().unwrap_or(0) == 0)
        {
            return results;
        }
    }
    panic!("a policy of {arguments:?} is at fault each time");
}

fn number(result: &Value, key: &str) -> f64 {
    result[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} of {result}"))
}

/// One of three copies is ten times slower than the others.
#[test]
fn policies_that_look_at_time_spare_a_slow_copy() {
    let policies = ["built-in", "round-robin", "least-time", "peak-ewma"];
    let named: Vec<&str> = policies
        .iter()
        .flat_map(|policy| ["--policy", policy])
        .collect();
    let arguments = [&["reads", "--rate", "1000", "--seconds", "20"], &*named].concat();
    let results = results(&arguments);
    let p99 = |place: usize| number(&results[place], "p99-ms");
    for (policy, result) in policies.iter().zip(&results) {
        assert_eq!(result["policy"], *policy);
    }
    assert_eq!(
        results[0]["shares"], results[1]["shares"],
        "both take turns"
    );
    assert!(
        p99(2) < p99(0) / 4.0 && p99(3) < p99(0) / 4.0,
        "{results:?}"
    );
}

#[test]
fn hashes_keep_keys_and_clients_together_and_the_others_spread_them() {
    let policies = [
        "hash",
        "consistent-hash",
        "ip-hash",
        "least-connections",
        "random-two",
    ];
    let named: Vec<&str> = policies
        .iter()
        .flat_map(|policy| ["--policy", policy])
        .collect();
    let copies = [
        "--copy", "a=200us", "--copy", "b=200us", "--copy", "c=200us",
    ];
    let load = ["reads", "--seconds", "5", "--keys", "1", "--clients", "1"];
    for result in results(&[&load[..], &copies, &named].concat()) {
        let shares = result["shares"].as_array().expect("a share of each copy");
        let most = shares.iter().filter_map(Value::as_f64).fold(0.0, f64::max);
        let is_hash = result["policy"]
            .as_str()
            .is_some_and(|name| name.ends_with("hash"));
        assert!(if is_hash { most == 1.0 } else { most < 0.6 }, "{result}");
    }
}

/// The target: the busiest lane has at most 1.15 × the mean where no slot alone exceeds it.
#[test]
fn least_loaded_makes_skewed_slots_even() {
    let policies = ["built-in", "hash-slots", "least-loaded", "isolate-hot"];
    let named: Vec<&str> = policies
        .iter()
        .flat_map(|policy| ["--policy", policy])
        .collect();
    let load = ["slots", "--zipf", "1", "--busy", "3", "--lanes", "4"];
    let results = results(&[&load[..], &named].concat());
    let spread = |place: usize| number(&results[place], "settled-spread");
    assert_eq!(
        results[0]["spread-by-second"],
        results[1]["spread-by-second"]
    );
    assert_eq!(results[1]["moves"], 0);
    assert!(spread(0) > 1.15, "the load is skewed: {}", spread(0));
    assert!(spread(2) <= 1.15, "{}", spread(2));
    assert!(number(&results[2], "p99-wait-ms") <= number(&results[0], "p99-wait-ms"));
}

#[test]
fn logs_are_replayed_and_shown_with_a_plot() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let read = |n| format!("{{\"at-ms\": {n}, \"key\": \"k-{n}\", \"client\": \"10.0.0.1\"}}\n");
    let reads = file("reads.jsonl", (0..3_000).map(read).collect());
    let own = guests::path("routing_first").display().to_string();
    let (code, text) = simulate(&["reads", "--log", &reads, "--policy", &own]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "3000 reads",
        "routing_first   100.0%     0.0%     0.0%",
        "p99 over time",
        "│",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let second = "{\"1\": 700000, \"5\": 100000}\n";
    let slots = file("slots.jsonl", second.repeat(20));
    let (code, text) = simulate(&["slots", "--log", &slots, "--policy", "isolate-hot"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("20 seconds") && text.contains("spread over time"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_simulated_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.jsonl");
    fs::write(&path, "{\"at-ms\": 1}\n").expect("a file");
    let log = path.display().to_string();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["reads", "--log", &log], 1, "line 1: missing field `key`"),
        (
            &["slots", "--log", "/dev/null"],
            1,
            "there is no second to simulate",
        ),
        (
            &["reads", "--policy", "nearest"],
            1,
            "nearest.wasm; policies are built-in, the names",
        ),
        (
            &["reads", "--policy", "least-loaded"],
            64,
            "is a placement policy, not a routing policy",
        ),
        (
            &["reads", "--policy", "least-time={\"unit-us\": 0}"],
            64,
            "does not take the configuration",
        ),
        (&["reads", "--copy", "a"], 2, "a copy is NAME=TIME"),
        (&["slots", "--zipf=-1"], 2, "a number from 0 to 10"),
    ];
    for (arguments, code, reason) in cases {
        let (found, text) = simulate(arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {text}");
        assert!(text.contains(reason), "{arguments:?}: {text}");
    }
}
