//! Documents that weigh much more than the events that shape them.

use projectionist_tests::host::Host;
use projectionist_tests::kafka::{Record, Topic};
use projectionist_tests::{guests, wait};
use serde_json::json;

use crate::settings::Settings;

const DOCUMENTS: i64 = 200;

/// About what a broker takes by default.
const DOCUMENT_BYTES: usize = 900_000;

/// What all documents weigh, and 20 MiB. A host takes 60 MiB for itself, so one that holds them all
/// has more.
const MEMORY_BYTES: u64 = 200 * DOCUMENT_BYTES as u64 + 20 * 1024 * 1024;

fn produce(topic: &Topic, padding: &str) {
    let keys: Vec<String> = (0..DOCUMENTS).map(|n| format!("k{n}")).collect();
    let value = json!({ "pad": padding }).to_string();
    let records = keys.iter().map(|key| Record {
        key: Some(key),
        value: Some(value.as_bytes()),
        id: key,
    });
    topic.produce(records).expect("the events are produced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_small_events_for_large_documents_takes_little_memory() {
    let topic = Topic::create("large", 1).await.expect("a topic");
    let settings = Settings {
        plugin: guests::path("mirror").display().to_string(),
        topic: topic.name.clone(),
        projection: "mirror",
        more: "limits = { call-base = \"3s\" }".to_owned(),
        ..Settings::new("large")
    };
    let (config, database) = (settings.config(), settings.database().await);
    let until_stored = async |events: i64, host: &Host| {
        wait::until("the events to be stored", async || {
            match database.stored("mirror").await {
                Ok(stored) if stored == events => Ok(()),
                other => Err(format!("{other:?}; {}", host.log())),
            }
        })
        .await;
    };
    produce(&topic, &"x".repeat(DOCUMENT_BYTES));
    let host = Host::start(&config).expect("a host");
    until_stored(DOCUMENTS, &host).await;
    assert!(host.terminate().await.expect("it ends").success());

    produce(&topic, "small");
    let host = Host::start(&config).expect("a host");
    until_stored(2 * DOCUMENTS, &host).await;
    let peak = host.peak_memory_bytes().expect("on Linux");
    assert!(peak < MEMORY_BYTES, "{peak} bytes at most; {}", host.log());
    let documents = database.documents("mirror").await.expect("documents");
    let small = |document: &serde_json::Value| document["pad"] == "small";
    assert!(documents.values().all(small));
    assert_eq!(documents.len(), DOCUMENTS as usize);
    drop(host);
    database.drop().await.expect("the database is dropped");
}
