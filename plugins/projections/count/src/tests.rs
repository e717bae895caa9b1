use projectionist_sdk::testing::{Harness, Record};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const SALES: &str = r#"{
    "group-by": ["/country", {"pointer": "/item/kind", "as": "kind"}],
    "sum": {"revenue": "/price"},
    "min": {"cheapest": "/price", "first": "/at"},
    "max": {"dearest": "/price", "last": "/at"}
}"#;

fn count(config: &str) -> Harness<Count> {
    Harness::new(config).expect("the configuration is right")
}

fn sale(country: &str, kind: &str, more: &str) -> Record {
    let value = format!(r#"{{"country": "{country}", "item": {{"kind": "{kind}"}}, {more}}}"#);
    Record::default().value(value)
}

#[test]
fn a_group_has_its_count_sums_and_extremes() {
    let mut count = count(SALES);
    count
        .project([
            sale("DE", "shoe", r#""price": 30, "at": "2024-05-02""#),
            sale("DE", "shoe", r#""price": 19.90, "at": "2024-05-01""#),
            sale(
                "DE",
                "hat|cap",
                r#""price": 9007199254740993, "at": "2024-05-03""#,
            ),
            sale("DE", "shoe", r#""price": null"#),
        ])
        .expect("all have a group");
    count
        .project([sale("DE", "hat|cap", r#""price": 0"#)])
        .expect("it has a group");

    assert_eq!(
        json!(count.documents()),
        json!({
            "DE|shoe": {
                "country": "DE", "kind": "shoe", "count": 3,
                "revenue": {"$numberDecimal": "49.9"},
                "cheapest": {"$numberDecimal": "19.9"}, "dearest": 30,
                "first": "2024-05-01", "last": "2024-05-02",
            },
            "DE|hat\\|cap": {
                "country": "DE", "kind": "hat|cap", "count": 2,
                "revenue": 9007199254740993_i64,
                "cheapest": 0, "dearest": 9007199254740993_i64,
                "first": "2024-05-03", "last": "2024-05-03",
            },
        })
    );
}

#[test]
fn without_groups_one_document_counts_all_but_tombstones() {
    let mut count = count(r#"{"count": "events"}"#);
    count
        .project([
            Record::json("a", &json!({})),
            Record::tombstone("a"),
            Record::default().value("{}"),
        ])
        .expect("any object will do");
    assert_eq!(json!(count.documents()), json!({"all": {"events": 2}}));
}

#[test]
fn a_date_is_grouped_by_the_unit_that_is_asked_for() {
    let mut count = count(
        r#"{"group-by": [{"pointer": "/at", "unit": "day"}, {"pointer": "/at", "unit": "hour", "as": "hour"}]}"#,
    );
    let events = [
        "\"2024-05-01T12:00:00Z\"",
        "\"2024-05-01T14:59:59.9+02:00\"",
        "1714564800000",
        "\"2024-05-01T13:00:00Z\"",
    ];
    count
        .project(events.map(|at| Record::default().value(format!("{{\"at\": {at}}}"))))
        .expect("all are dates");
    assert_eq!(
        json!(count.documents()),
        json!({
            "2024-05-01|2024-05-01T12": {"at": "2024-05-01", "hour": "2024-05-01T12", "count": 3},
            "2024-05-01|2024-05-01T13": {"at": "2024-05-01", "hour": "2024-05-01T13", "count": 1},
        })
    );
    let rejected = count
        .project([Record::default().value(r#"{"at": "soon"}"#)])
        .expect_err("no date");
    assert!(
        rejected.reason.starts_with("/at is \"soon\", and no date"),
        "{}",
        rejected.reason
    );
}

#[test]
fn equal_values_are_one_group_whatever_their_spelling() {
    let mut count = count(r#"{"group-by": ["/n"]}"#);
    let values = ["1", "1.0", "10e-1", "\"1\"", "true", "\"\\u0031\""];
    count
        .project(values.map(|n| Record::default().value(format!("{{\"n\": {n}}}"))))
        .expect("all name a group");
    assert_eq!(
        json!(count.documents()),
        json!({"1": {"n": "1", "count": 5}, "true": {"n": "true", "count": 1}})
    );
}

#[test]
fn an_event_without_a_group_is_rejected_or_ignored_as_configured() {
    let event = || Record::json("a", &json!({"country": null}));
    let rejected = count(r#"{"group-by": ["/country"]}"#)
        .project([event()])
        .expect_err("no group");
    assert_eq!(
        rejected.reason,
        "the event has no /country, which names its group"
    );
    let mut ignoring = count(r#"{"group-by": ["/country"], "missing": "ignore"}"#);
    ignoring.project([event()]).expect("it is ignored");
    assert!(ignoring.documents().is_empty());
}

#[test]
fn what_cannot_be_counted_is_rejected_with_the_reason() {
    let cases = [
        (
            r#"{"g": {}, "n": 1}"#,
            "/g is an object, which names no group",
        ),
        (
            r#"{"g": 1e40, "n": 1}"#,
            "/g is a number of too many digits",
        ),
        (r#"{"g": "", "n": 1}"#, "id would be empty"),
        (
            r#"{"g": 1, "n": "1"}"#,
            "/n is a string, and \"n\" takes numbers",
        ),
        (
            r#"{"g": 1, "n": 1e40}"#,
            "/n is 1e40, which has more than 34 digits",
        ),
        (
            r#"{"g": 1, "x": [1]}"#,
            "/x is an array, and \"x\" takes numbers and strings",
        ),
        ("[1]", "expected an object"),
    ];
    for (value, reason) in cases {
        let mut count = count(r#"{"group-by": ["/g"], "sum": {"n": "/n"}, "max": {"x": "/x"}}"#);
        let rejected = count
            .project([Record::default().key("k").value(value)])
            .expect_err(value);
        assert!(rejected.reason.contains(reason), "{}", rejected.reason);
        assert!(count.documents().is_empty(), "{value}");
    }
    let mut full = count(r#"{"sum": {"n": "/n"}}"#);
    let largest = Record::default().value(format!(r#"{{"n": {}}}"#, "9".repeat(34)));
    full.project([largest.clone()]).expect("34 digits fit");
    let rejected = full.project([largest]).expect_err("35 do not");
    assert_eq!(
        rejected.reason,
        "the sum \"n\" would have more than 34 digits"
    );
}

#[test]
fn a_wrong_configuration_says_why() {
    let cases = [
        (r#"{"group-by": ["/a/x", "/b/x"]}"#, "would be named \"x\""),
        (r#"{"sum": {"count": "/n"}}"#, "would be named \"count\""),
        (r#"{"group-by": ["/_id"]}"#, "\"_id\" cannot name a field"),
        (r#"{"count": "$n"}"#, "\"$n\" cannot name a field"),
        (r#"{"group-by": ["/a.b"]}"#, "for it has a dot"),
        (r#"{"sum": {"n\u0000": "/n"}}"#, "has a null in it"),
        (r#"{"sum": {"n": "n"}}"#, "is no JSON pointer"),
        (r#"{"groups": []}"#, "unknown field `groups`"),
        (r#"{"id-separator": "\\"}"#, "backslash"),
    ];
    for (config, reason) in cases {
        let problem = Harness::<Count>::new(config).err().expect(config);
        assert!(problem.contains(reason), "{config}: {problem}");
    }
}

proptest! {
    /// However the events are ordered and cut into batches, the documents are the same, and the
    /// sums those of integers.
    #[test]
    fn order_and_batches_make_no_difference(
        events in prop::collection::vec((0u8..3, -1_000_000i64..1_000_000, 0u8..3), 1..40),
        seed in any::<prop::sample::Index>(),
    ) {
        let record = |&(group, number, scale): &(u8, i64, u8)| {
            let value = format!(r#"{{"g": {group}, "n": {number}e-{scale}}}"#);
            Record::default().value(value)
        };
        let config = r#"{"group-by": ["/g"], "sum": {"s": "/n"}, "min": {"a": "/n"}, "max": {"z": "/n"}}"#;
        let mut one = count(config);
        one.project(events.iter().map(record)).expect("all have a group");

        let mut other = count(config);
        let (late, early) = events.split_at(seed.index(events.len()));
        for batch in [early, late] {
            other.project(batch.iter().rev().map(record)).expect("all have a group");
        }
        prop_assert_eq!(one.documents(), other.documents());

        for group in 0u8..3 {
            let of_group = || events.iter().filter(|event| event.0 == group);
            let Some(document) = one.document(&group.to_string()) else {
                prop_assert_eq!(of_group().count(), 0);
                continue;
            };
            let hundredths = |&(_, number, scale): &(u8, i64, u8)| number * 10i64.pow(2 - u32::from(scale));
            let sum: i64 = of_group().map(hundredths).sum();
            let expected = Decimal::parse(&format!("{sum}e-2"));
            prop_assert_eq!(Decimal::from_field(&document["s"]), expected);
            prop_assert_eq!(&document["count"], &json!(of_group().count()));
        }
    }
}
