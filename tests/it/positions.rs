//! Positions that are no events: aborted transactions, control records, deleted records; and positions
//! of another log.

#[path = "positions/another_log.rs"]
mod another_log;
#[path = "positions/passed.rs"]
mod passed;
#[path = "positions/site.rs"]
mod site;

use std::time::Duration;

use projectionist_tests::host::{Config, Host};
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::mongo::Database;
use projectionist_tests::{guests, unique, wait};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::json;

const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn aborted_transactions_are_passed_and_never_folded() {
    let topic = Topic::create("transactions", 1).await.expect("a topic");
    let database = Database::new("transactions").await.expect("a database");
    let text = format!(
        r#"
[kafka]
brokers = "{}"
[stores.main]
kind = "mongodb"
uri = "{}"
database = "{}"
[projections.mirror]
plugin = "{}"
topics = ["{}"]
group-id = "{}"
"#,
        brokers(),
        projectionist_tests::mongo::uri(),
        database.name,
        guests::path("mirror").display(),
        topic.name,
        topic.name,
    );
    let config = Config::new("host", &text).expect("a configuration");
    let host = Host::start(&config).expect("a host");

    let producer: BaseProducer = topic
        .client_config()
        .set("transactional.id", unique("producer"))
        .create()
        .expect("a producer");
    producer.init_transactions(TIMEOUT).expect("transactions");
    for round in 0..6 {
        producer.begin_transaction().expect("a transaction begins");
        for event in 0..5 {
            let value = json!({ "round": round, "event": event }).to_string();
            let record = BaseRecord::to(&topic.name).key("k").payload(&value);
            producer
                .send(record)
                .map_err(|(error, _)| error)
                .expect("an event is sent");
        }
        producer.flush(TIMEOUT).expect("events are sent");
        if round % 2 == 0 {
            producer.commit_transaction(TIMEOUT).expect("a commit");
        } else {
            producer.abort_transaction(TIMEOUT).expect("an abort");
        }
    }

    // The last round was aborted: nothing visible follows the control record at the end.
    // The broker writes the control record after it has answered.
    let end = 6 * (5 + 1);
    wait::until("the last control record", async || {
        let ends = topic.ends().map_err(|error| error.to_string())?;
        if ends == [end] {
            Ok(())
        } else {
            Err(format!("{ends:?}"))
        }
    })
    .await;
    wait::until("the checkpoint to reach the end", async || {
        let stored = database
            .stored("mirror")
            .await
            .map_err(|error| error.to_string())?;
        if stored == end {
            Ok(())
        } else {
            Err(format!("{stored} of {end}; {}", host.log()))
        }
    })
    .await;
    let documents = database.documents("mirror").await.expect("documents");
    assert_eq!(documents["k"], json!({ "round": 4, "event": 4 }));
    let (_, metrics) = host.get("/metrics").expect("metrics");
    let stored = "projectionist_events_stored_total{projection=\"mirror\"} 15";
    assert!(metrics.contains(stored), "{metrics}");

    drop(host);
    database.drop().await.expect("the database is dropped");
}
