//! Events that came before, and events without an id.

use projectionist_tests::host::Host;
use projectionist_tests::kafka::{Record, Topic};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::json;

use crate::parked::list;
use crate::settings::{Number, Settings, documents, number, produce, tally, until_stored};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_came_before_a_restart_changes_nothing_after_it() {
    // The field is in the value as well as in the header.
    for id in ["header:event-id", "value:/id"] {
        let topic = Topic::create("twice", 1).await.expect("a topic");
        let settings = Settings::tally(&topic, &format!("dedupe = {{ id = \"{id}\" }}"));
        let (config, database) = (settings.config(), settings.database().await);
        let mut numbers: Vec<Number> = (1..=5).map(|n| number("k", n)).collect();
        let mut produced = 0;
        for life in 0..3 {
            produce(&topic, &numbers);
            // Twice in one batch, too.
            produce(&topic, &numbers[..1]);
            produced += numbers.len() + 1;
            let host = Host::start(&config).expect("a host");
            until_stored(&database, produced).await;
            assert_eq!(documents(&database).await, tally(&numbers), "{id}, {life}");
            if life == 1 {
                host.kill().expect("it is killed");
            } else {
                assert!(host.terminate().await.expect("it ends").success());
            }
            numbers.push(number("k", 10 + life));
        }
        database.drop().await.expect("the database is dropped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_scope_of_a_projection_an_id_counts_once_in_all_partitions() {
    let topic = Topic::create("scope", 2).await.expect("a topic");
    let more = "dedupe = { id = \"header:event-id\", scope = \"projection\" }";
    let settings = Settings::tally(&topic, more);
    let (config, database) = (settings.config(), settings.database().await);
    // A key a partition: whichever comes first wins, and the other one is dropped.
    let send = |partition: i32, number: &Number| {
        let producer: BaseProducer = topic.client_config().create().expect("a producer");
        let value = json!({ "n": number.n }).to_string();
        let headers = rdkafka::message::OwnedHeaders::new();
        let headers = headers.insert(rdkafka::message::Header {
            key: "event-id",
            value: Some(&number.id),
        });
        let record = BaseRecord::to(&topic.name)
            .partition(partition)
            .key(&number.key)
            .payload(&value)
            .headers(headers);
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("it is sent");
        producer
            .flush(std::time::Duration::from_secs(30))
            .expect("it arrives");
    };
    let in_0: Vec<Number> = (1..=4).map(|n| number("zero", n)).collect();
    for number in &in_0 {
        send(0, number);
    }
    let host = Host::start(&config).expect("a host");
    until_stored(&database, 4).await;
    assert!(host.terminate().await.expect("it ends").success());

    let again = in_0.iter().map(|number| Number {
        key: "one".to_owned(),
        ..number.clone()
    });
    let own = number("one", 9);
    for number in again.chain([own.clone()]) {
        send(1, &number);
    }
    let host = Host::start(&config).expect("a host");
    until_stored(&database, 9).await;
    let mut expected = in_0;
    expected.push(own);
    assert_eq!(documents(&database).await, tally(&expected));
    drop(host);
    database.drop().await.expect("the database is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_an_id_is_folded_or_parked_as_configured() {
    for (without_id, count) in [("project", 3), ("reject", 1)] {
        let topic = Topic::create("without-id", 1).await.expect("a topic");
        let more = format!("dedupe = {{ id = \"value:/id\", without-id = \"{without_id}\" }}");
        let settings = Settings::tally(&topic, &more);
        let (config, database) = (settings.config(), settings.database().await);
        let values = [r#"{"n":1,"id":7}"#, r#"{"n":1}"#, r#"{"n":1,"id":8}"#];
        let records = values.iter().map(|value| Record {
            key: Some("k"),
            value: Some(value.as_bytes()),
            id: "not here",
        });
        topic.produce(records).expect("they are sent");
        let host = Host::start(&config).expect("a host");
        until_stored(&database, 3).await;
        let found = documents(&database).await;
        assert_eq!(found["k"]["count"], count, "{without_id}");
        let (_, metrics) = host.get("/metrics").expect("metrics");
        let counter = "projectionist_events_without_id_total{projection=\"tally\"} 1";
        assert!(metrics.contains(counter), "{metrics}");

        let parked = list(&config);
        if without_id == "reject" {
            assert_eq!(parked[0]["reason"]["kind"], "the event has no id");
            assert_eq!(parked[0]["events"], 2, "and what came behind it");
        } else {
            assert!(parked.is_empty());
        }
        drop(host);
        database.drop().await.expect("the database is dropped");
    }
}
