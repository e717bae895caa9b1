//! Events of unusual shape: huge, empty, without a key.

use projectionist_tests::host::{Config, Host, command};
use projectionist_tests::kafka::{Record, Topic};
use projectionist_tests::mongo::Database;
use projectionist_tests::{guests, wait};
use serde_json::{Value, json};

use crate::parked::{drain_with_lenient, list};
use crate::settings::{Settings, documents, until_stored};

const MIB: usize = 1 << 20;

/// A topic whose events may be as large as this broker lets them be.
async fn roomy(what: &str) -> Topic {
    let setting = ("max.message.bytes", "50000000");
    Topic::create_with(what, setting).await.expect("a topic")
}

/// An event for `tally` with a value of at least so many bytes.
fn padded(n: i64, bytes: usize) -> Vec<u8> {
    json!({ "n": n, "padding": "x".repeat(bytes) })
        .to_string()
        .into_bytes()
}

fn record<'a>(key: &'a str, value: &'a [u8]) -> Record<'a> {
    Record {
        key: Some(key),
        value: Some(value),
        id: "id",
    }
}

/// The plugin may take long over an event, so that none is too large for a busy machine.
async fn start(topic: &Topic, more: &str) -> (Settings, Config, Database) {
    let more = format!("limits = {{ call-base = \"3s\" }}\n{more}");
    let settings = Settings::tally(topic, &more);
    let (config, database) = (settings.config(), settings.database().await);
    (settings, config, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_a_mebibyte_is_an_id_like_any_other() {
    let topic = roomy("huge-id").await;
    let (one, other) = ("1".repeat(MIB), "1".repeat(MIB - 1) + "2");
    let values: Vec<Vec<u8>> = (1..=3).map(|n| padded(n, 0)).collect();
    let ids = [&one, &other, &one];
    let records = values.iter().zip(ids).map(|(value, id)| Record {
        id,
        ..record("k", value)
    });
    topic.produce(records).expect("events are produced");
    let (_, config, database) = start(&topic, "dedupe = { id = \"header:event-id\" }").await;
    let host = Host::start(&config).expect("a host");
    until_stored(&database, 3).await;
    let expected = json!({ "k": { "count": 2, "sum": 3, "chain": 33 } });
    assert_eq!(json!(documents(&database).await), expected);
    drop(host);
    database.drop().await.expect("the database is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_ends_a_document_and_an_event_without_a_key_parks_alone() {
    let topic = Topic::create("shapes", 1).await.expect("a topic");
    let (five, six) = (padded(5, 0), padded(6, 0));
    let tombstone = |key| Record {
        key,
        value: None,
        id: "id",
    };
    let without_key = Record {
        key: None,
        ..record("", &five)
    };
    let records = [
        record("gone", &five),
        record("back", &five),
        record("", &five),
        tombstone(Some("gone")),
        tombstone(Some("back")),
        tombstone(Some("never")),
        without_key,
        record("back", &six),
        tombstone(None),
    ];
    topic.produce(records.into_iter()).expect("they are sent");
    let (_, config, database) = start(&topic, "").await;
    let host = Host::start(&config).expect("a host");
    until_stored(&database, 9).await;

    let expected = json!({ "back": { "count": 1, "sum": 6, "chain": 6 } });
    assert_eq!(json!(documents(&database).await), expected);
    // No document has an empty id; the other two have no key, so neither waits for the other.
    let parked: Vec<Value> = list(&config)
        .iter()
        .map(|key| json!([key["offset"], key["key"], key["events"]]))
        .collect();
    let expected = [json!([2, "", 1]), json!([6, null, 1]), json!([8, null, 1])];
    assert_eq!(parked, expected);
    drop(host);
    database.drop().await.expect("the database is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_10_mib_is_folded_or_parked_whole_like_any_other() {
    let topic = roomy("huge-value").await;
    let (good, bad, small) = (padded(1, 10 * MIB), padded(-2, 10 * MIB), padded(3, 0));
    let records = [
        record("good", &good),
        record("bad", &bad),
        record("bad", &small),
        record("small", &small),
    ];
    topic.produce(records.into_iter()).expect("they are sent");
    let (_, config, database) = start(&topic, "").await;
    let host = Host::start(&config).expect("a host");
    until_stored(&database, 4).await;

    let one = |n: i64| json!({ "count": 1, "sum": n, "chain": n });
    let expected = json!({ "good": one(1), "small": one(3) });
    assert_eq!(json!(documents(&database).await), expected);
    let parked = list(&config);
    assert_eq!((parked.len(), &parked[0]["events"]), (1, &json!(2)));
    let id = parked[0]["id"].as_str().expect("an id");
    let shown = command(&["parked", "show", id], &config).expect("a command");
    let first = shown.stdout.lines().next().expect("an event");
    let event: Value = serde_json::from_str(first).expect("JSON");
    let value: Value = serde_json::from_slice(&bad).expect("JSON");
    assert!(event["value"] == value, "as it was sent");

    drain_with_lenient(&config, &[id]);
    let both = json!({ "count": 2, "sum": 1, "chain": -59 });
    let expected = json!({ "good": one(1), "small": one(3), "bad": both });
    assert_eq!(json!(documents(&database).await), expected);
    drop(host);
    database.drop().await.expect("the database is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_too_large_to_be_parked_stops_its_partition_until_a_plugin_takes_it() {
    let topic = roomy("too-large").await;
    let (small, huge) = (padded(3, 0), padded(-2, 16 * MIB));
    let records = [record("a", &small), record("b", &huge), record("a", &small)];
    topic.produce(records.into_iter()).expect("they are sent");
    let (mut settings, config, database) = start(&topic, "").await;
    let host = Host::start(&config).expect("a host");
    wait::until("the partition to stand still", async || {
        let readiness = host.readiness().map_err(|error| error.to_string())?;
        let reasons = readiness["reasons"].to_string();
        let words = [
            "offset 1, nor park it",
            "more than an entry of a store holds",
            "nothing is lost",
            "after a restart with a plugin that can fold it",
        ];
        match words.iter().all(|word| reasons.contains(word)) {
            true => Ok(()),
            false => Err(reasons),
        }
    })
    .await;
    until_stored(&database, 1).await;
    assert!(host.terminate().await.expect("it ends").success());

    settings.plugin = guests::path("tally_lenient").display().to_string();
    let config = settings.config();
    let host = Host::start(&config).expect("a host");
    until_stored(&database, 3).await;
    let expected = json!({
        "a": { "count": 2, "sum": 6, "chain": 96 },
        "b": { "count": 1, "sum": -2, "chain": -2 },
    });
    assert_eq!(json!(documents(&database).await), expected);
    drop(host);
    database.drop().await.expect("the database is dropped");
}
