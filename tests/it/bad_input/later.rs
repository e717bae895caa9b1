//! Topics that are made, or made again, while the host runs.

use projectionist_tests::guests;
use projectionist_tests::host::Host;
use projectionist_tests::kafka::{Record, Topic, brokers};
use projectionist_tests::mongo::Database;
use projectionist_tests::wait;
use serde_json::{Value, json};

use crate::settings::{Number, Settings, documents, number, produce, tally};

/// A projection `late` beside the others, with a mirror of this topic.
fn late(topic: &Topic) -> String {
    format!(
        "[projections.late]\nplugin = \"{}\"\ntopics = [\"{topic}\"]\ngroup-id = \"{topic}\"\n\
         view = \"late\"\n",
        guests::path("mirror").display(),
        topic = topic.name
    )
}

fn produce_one(topic: &Topic, value: &Value) {
    let value = value.to_string();
    let record = Record {
        key: Some("k"),
        value: Some(value.as_bytes()),
        id: "k",
    };
    let produced = topic.produce(std::iter::once(record));
    produced.expect("the event is produced");
}

async fn until_mirrored(database: &Database, value: &Value, host: &Host) {
    wait::until("the document", async || {
        let found = database.documents("late").await;
        let found = found.map_err(|error| error.to_string())?;
        match found.get("k") == Some(value) {
            true => Ok(()),
            false => Err(format!("{found:?}; {}", host.log())),
        }
    })
    .await;
}

async fn until_tallied(settings: &Settings, numbers: &[Number], host: &Host) {
    let expected = tally(numbers);
    let database = settings.database().await;
    wait::until("the documents", async || {
        let found = documents(&database).await;
        match found == expected {
            true => Ok(()),
            false => Err(format!("{found:?}; {}", host.log())),
        }
    })
    .await;
}

/// Waits until a projection is in this state for a reason with this word.
async fn until_state(host: &Host, projection: &str, state: &str, code: &str) {
    wait::until(&format!("{projection} to be {state}"), async || {
        let readiness = host.readiness().map_err(|error| error.to_string())?;
        let found = &readiness["projections"][projection];
        match found["state"] == state && found["code"] == code {
            true => Ok(()),
            false => Err(format!("{readiness}; {}", host.log())),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_after_the_start_is_folded_from_its_first_event() {
    let topic = Topic::planned(&brokers(), "later", 1);
    let settings = Settings::tally(&topic, "");
    let config = settings.config();
    let host = Host::start(&config).expect("a host");
    // It is its only topic.
    wait::until("the host to wait", async || {
        let log = host.log();
        match log.contains("waiting: ") && log.contains("does not exist") {
            true => Ok(()),
            false => Err(log),
        }
    })
    .await;
    topic.make().await.expect("a topic");
    let numbers = [number("k", 1)];
    produce(&topic, &numbers);
    until_tallied(&settings, &numbers, &host).await;
    host.wait_until_ready().await;
    let database = settings.database().await;
    database.drop().await.expect("it is the test's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_waits_for_its_topic_while_others_go_on() {
    let topic = Topic::create("there", 1).await.expect("a topic");
    let missing = Topic::planned(&brokers(), "missing", 1);
    let settings = Settings::tally(&topic, &late(&missing));
    let config = settings.config();
    let host = Host::start(&config).expect("a host");
    until_state(&host, "late", "waiting", "topic-missing").await;
    let numbers = [number("k", 1)];
    produce(&topic, &numbers);
    until_tallied(&settings, &numbers, &host).await;

    missing.make().await.expect("a topic");
    let value = json!({ "of": "late" });
    produce_one(&missing, &value);
    let database = settings.database().await;
    until_mirrored(&database, &value, &host).await;
    host.wait_until_ready().await;
    assert!(host.terminate().await.expect("it ends").success());
    let database = settings.database().await;
    database.drop().await.expect("it is the test's own");
}

/// What was folded of the old topic would have the new events folded over it.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_again_is_gone_on_with_where_nothing_of_it_was_folded() {
    let folded = Topic::create("folded", 1).await.expect("a topic");
    let empty = Topic::create("empty", 1).await.expect("a topic");
    let settings = Settings::tally(&folded, &late(&empty));
    let config = settings.config();
    let host = Host::start(&config).expect("a host");
    let numbers = [number("k", 1)];
    produce(&folded, &numbers);
    until_tallied(&settings, &numbers, &host).await;
    host.wait_until_ready().await;
    for topic in [&folded, &empty] {
        topic.delete().await.expect("the topic goes");
    }
    for projection in ["tally", "late"] {
        until_state(&host, projection, "waiting", "topic-deleted").await;
    }
    for topic in [&folded, &empty] {
        topic.make().await.expect("the topic is made again");
    }
    let value = json!({ "of": "late" });
    produce_one(&empty, &value);
    let database = settings.database().await;
    until_mirrored(&database, &value, &host).await;
    until_state(&host, "tally", "failed", "topic-deleted").await;
    let status = host.terminate().await.expect("the host ends");
    assert_eq!(status.code(), Some(1), "one of its projections has failed");
    let database = settings.database().await;
    database.drop().await.expect("it is the test's own");
}
