use super::*;
use crate::observe::markers::Rates;
use crate::observe::server::Operations;
use crate::statistics::Percentiles;
use crate::workload::Workload;

fn figures(rate: f64) -> Figures {
    Figures {
        start_seconds: 0.5,
        start_cpu_seconds: 0.1,
        seconds: 10.0,
        rates: Some(Rates {
            seconds: 10.0,
            all: rate,
            first_quarter: rate + 1.0,
            last_quarter: rate - 1.0,
        }),
        cpu_seconds_per_million_events: 4.25,
        peak_memory_bytes: 64 * 1024 * 1024,
        operations: Operations::default(),
        operations_per_event: 1.0,
        latency_ms: Percentiles::of(vec![1_000, 2_000]),
    }
}

fn outcome(contender: Contender, round: u32, ended: Result<f64, &str>) -> Outcome {
    Outcome {
        contender,
        round,
        events: 1_000,
        wrong: ended.err().map(ToOwned::to_owned),
        figures: ended.ok().map(figures),
    }
}

fn case(mode: Mode, workload: Workload) -> Case {
    let plan = Plan {
        workload,
        events: 1_000,
        partitions: 4,
        value_bytes: 200,
        seed: 0,
        work_rounds: 0,
    };
    let outcomes = vec![
        outcome(Contender::Projectionist, 0, Ok(100.0)),
        outcome(Contender::Limit, 0, Ok(200.0)),
        outcome(
            Contender::Limit,
            1,
            Err("k1: count is 2, and must be 1\nits log"),
        ),
        outcome(Contender::Projectionist, 1, Ok(140.0)),
    ];
    let left_out = vec![(
        Contender::KafkaConnect,
        "a sink computes nothing".to_owned(),
    )];
    Case::new(&plan, mode, outcomes, left_out)
}

#[test]
fn a_contender_that_was_wrong_once_has_no_figure() {
    let case = case(Mode::Flood, Workload::Hot);
    assert!(!case.is_right());
    let [right, wrong] = case.summaries.as_slice() else {
        panic!("there were two contenders");
    };
    assert_eq!(
        right.events_per_second.map(|spread| spread.median),
        Some(120.0)
    );
    assert_eq!(wrong.events_per_second, None);
    assert_eq!(wrong.peak_memory_bytes, None);
    assert!(
        wrong
            .wrong
            .as_ref()
            .is_some_and(|text| text.starts_with("wrong in 1 of 2 rounds"))
    );
}

#[test]
fn a_contender_with_a_run_that_is_too_short_has_no_rate() {
    let long = outcome(Contender::Limit, 0, Ok(1e6));
    let mut short = outcome(Contender::Limit, 1, Ok(1e7));
    if let Some(rates) = short.figures.as_mut().and_then(|of| of.rates.as_mut()) {
        rates.seconds = 0.9;
    }
    let summary = Summary::of(Contender::Limit, &[&long, &short]);
    assert_eq!(summary.events_per_second, None);
    assert_eq!(summary.last_quarter_events_per_second, None);
    let peak = summary.peak_memory_bytes.map(|of| of.max);
    assert_eq!(peak, Some(67_108_864.0));
    let summary = Summary::of(Contender::Limit, &[&long, &long]);
    assert_eq!(summary.events_per_second.map(|of| of.median), Some(1e6));
}

#[test]
fn a_table_shows_medians_with_their_spread_and_says_what_is_wrong() {
    let expected = "\
hot, 200-byte values, 4 partitions

| contender     | events |      events/s | first quarter | last quarter | CPU s/million | peak MiB | MongoDB ops/event | start s |
|---------------|-------:|--------------:|--------------:|-------------:|--------------:|---------:|------------------:|--------:|
| projectionist |   1000 | 120 (100–140) | 121 (101–141) | 119 (99–139) |           4.2 |       64 |              1.00 |    0.50 |
| limit         |   1000 |         wrong |               |              |               |          |                   |         |
limit: wrong in 1 of 2 rounds: k1: count is 2, and must be 1
kafka-connect: left out, a sink computes nothing
";
    assert_eq!(table(&case(Mode::Flood, Workload::Hot)), expected);
}

#[test]
fn a_table_of_a_steady_case_shows_latencies() {
    let text = table(&case(Mode::Steady { rate: 1_000.0 }, Workload::Flights));
    assert!(
        text.starts_with("flights, 4 partitions, 1000 events/s\n"),
        "{text}"
    );
    assert!(
        text.contains("p99.9 ms") && text.contains(" 2.0 |"),
        "{text}"
    );
    assert!(!text.contains("last quarter"), "{text}");
}

#[test]
fn the_plot_has_a_bar_for_each_contender_with_a_figure() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("plot.svg");
    let report = Report {
        machine: Machine {
            cpu: "any".to_owned(),
            cores: 2,
            memory_bytes: 0,
            mongodb_version: "6.0.5".to_owned(),
            mongodb_history_window_seconds: None,
        },
        arguments: Vec::new(),
        cases: vec![case(Mode::Flood, Workload::Hot)],
    };
    plot(&report, &path).expect("it can be drawn");
    let svg = std::fs::read_to_string(&path).expect("it was written");
    for text in [
        "hot, 200-byte values",
        "projectionist",
        "120.0",
        "limit",
        "wrong",
    ] {
        assert!(svg.contains(text), "{text} is missing:\n{svg}");
    }
    assert_eq!(svg.matches("#1F77B4").count(), 1, "{svg}");

    let json = folder.path().join("report.json");
    report.write_json(&json).expect("it can be written");
    let json = std::fs::read(&json).expect("it was written");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    assert_eq!(
        json["cases"][0]["summaries"][0]["events_per_second"]["median"],
        120.0
    );
    assert_eq!(
        json["cases"][0]["summaries"][1]["events_per_second"],
        serde_json::Value::Null
    );
}
