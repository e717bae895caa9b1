//! Values that a careless host would round, store twice or take for one another.

use bson::Bson;
use projectionist_tests::guests;
use projectionist_tests::host::Host;
use projectionist_tests::kafka::{Record, Topic};
use projectionist_tests::mongo::Database;
use serde_json::{Value, json};

use crate::parked::list;
use crate::settings::{Settings, documents, until_stored};

/// The projection `tally`, so that helpers find it, with a shipped plugin.
fn shipped(plugin: &str, topic: &Topic, more: &str) -> Settings {
    Settings {
        plugin: guests::path(plugin).display().to_string(),
        ..Settings::tally(topic, more)
    }
}

fn produce(topic: &Topic, events: &[(&str, &str)]) {
    let records = events.iter().map(|(key, value)| Record {
        key: Some(key),
        value: Some(value.as_bytes()),
        id: "id",
    });
    topic.produce(records).expect("the events are produced");
}

/// A field of a document as it lies in the store.
async fn field(database: &Database, view: &str, id: &str, name: &str) -> Bson {
    let filter = bson::doc! { "_id": id };
    let found = database.collection(view).find_one(filter).await;
    let document = found
        .expect("the store answers")
        .expect("the document is there");
    document.get(name).cloned().expect("the field is there")
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().expect("a decimal"))
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_names_and_dates_are_stored_as_they_were_sent_or_parked() {
    let date = |ms| Bson::DateTime(bson::DateTime::from_millis(ms));
    let stored = [
        ("max", r#"{"v":9223372036854775807}"#, Bson::Int64(i64::MAX)),
        (
            "u64",
            r#"{"v":18446744073709551615}"#,
            decimal("18446744073709551615"),
        ),
        (
            "beyond",
            r#"{"v":18446744073709551616}"#,
            decimal("18446744073709551616"),
        ),
        (
            "below",
            r#"{"v":-9223372036854775809}"#,
            decimal("-9223372036854775809"),
        ),
        ("tenth", r#"{"v":0.1}"#, Bson::Double(0.1)),
        ("exponent", r#"{"v":1.5e3}"#, Bson::Double(1500.0)),
        (
            "half",
            r#"{"v":9007199254740993.5}"#,
            decimal("9007199254740993.5"),
        ),
        ("large", r#"{"v":1e400}"#, decimal("1E+400")),
        (
            "twice",
            r#"{"v":1,"a":{"x":1,"x":2},"v":"last"}"#,
            Bson::String("last".to_owned()),
        ),
        (
            "year",
            r#"{"v":{"$date":253402300800000}}"#,
            date(253_402_300_800_000),
        ),
        (
            "end",
            r#"{"v":{"$date":9223372036854775807}}"#,
            date(i64::MAX),
        ),
        (
            "start",
            r#"{"v":{"$date":{"$numberLong":"-9223372036854775808"}}}"#,
            date(i64::MIN),
        ),
    ];
    let refused = [
        ("digits", "1234567890123456789012345678901234567890"),
        ("exponents", "1e9999"),
    ];
    let topic = Topic::create("exact", 1).await.expect("a topic");
    let mut events: Vec<(&str, &str)> = stored.iter().map(|(id, text, _)| (*id, *text)).collect();
    let texts = refused.map(|(_, number)| format!("{{\"a\":[{number}]}}"));
    events.extend(
        refused
            .iter()
            .zip(&texts)
            .map(|((id, _), text)| (*id, &**text)),
    );
    produce(&topic, &events);
    let settings = shipped("mirror", &topic, "");
    let (config, database) = (settings.config(), settings.database().await);
    let host = Host::start(&config).expect("a host");
    until_stored(&database, events.len()).await;

    for (id, text, expected) in &stored {
        assert_eq!(
            field(&database, "mirror", id, "v").await,
            *expected,
            "{text}"
        );
    }
    let nested = field(&database, "mirror", "twice", "a").await;
    assert_eq!(nested, Bson::Document(bson::doc! { "x": 2_i64 }));
    let parked = list(&config);
    assert_eq!(parked.len(), refused.len(), "{parked:?}");
    for (key, (id, number)) in parked.iter().zip(refused) {
        assert_eq!(key["key"], id);
        let reason = key["reason"]["detail"].as_str().expect("a text");
        assert!(
            reason.contains(number) && reason.contains("/a/0"),
            "{reason}"
        );
    }
    drop(host);
    database.drop().await.expect("the database is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ids_in_values_only_equal_ones_are_repeats() {
    let topic = Topic::create("exact-ids", 1).await.expect("a topic");
    let ids = [
        "1",
        "\"1\"",
        "18446744073709551616",
        "18446744073709551617",
        "0.12345678901234567890123456789012345",
        "0.12345678901234567890123456789012346",
        "1",
        "18446744073709551617",
        "2,\"id\":1",
    ];
    let values = ids.map(|id| format!("{{\"n\":1,\"id\":{id}}}"));
    let events: Vec<(&str, &str)> = values.iter().map(|value| ("k", &**value)).collect();
    produce(&topic, &events);
    let settings = Settings::tally(&topic, "dedupe = { id = \"value:/id\" }");
    let (config, database) = (settings.config(), settings.database().await);
    let host = Host::start(&config).expect("a host");
    until_stored(&database, events.len()).await;
    assert_eq!(documents(&database).await["k"]["count"], 6);
    drop(host);
    database.drop().await.expect("the database is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_without_a_key_are_parked_or_passed_over_as_configured_and_told_once() {
    let record = |key| Record {
        key,
        value: Some(br#"{"n":1}"#.as_slice()),
        id: "id",
    };
    for (more, parked) in [
        ("", 30),
        ("without-key = \"park\"", 30),
        ("without-key = \"ignore\"", 0),
    ] {
        let topic = Topic::create("keyless", 1).await.expect("a topic");
        let records = (0..30).map(|_| record(None)).chain([record(Some("k"))]);
        topic.produce(records).expect("the events are produced");
        let settings = shipped("mirror", &topic, more);
        let (config, database) = (settings.config(), settings.database().await);
        let host = Host::start(&config).expect("a host");
        until_stored(&database, 31).await;
        let found: Vec<Value> = list(&config);
        assert_eq!(found.len(), parked, "{more}");
        let documents = database.documents("mirror").await.expect("documents");
        assert_eq!(json!(documents), json!({ "k": { "n": 1 } }), "{more}");
        let log = host.log();
        let lines = log.lines().filter(|line| line.contains("without a key"));
        let lines: Vec<&str> = lines.collect();
        assert_eq!(lines.len(), 1, "{more}: {lines:?}");
        let (_, metrics) = host.get("/metrics").expect("metrics");
        let counted = "projectionist_events_without_key_total{projection=\"tally\"} 30";
        assert!(metrics.contains(counted), "{more}: {metrics}");
        drop(host);
        database.drop().await.expect("the database is dropped");
    }
}
