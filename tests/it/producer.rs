//! The producer on a real broker, and on one that fails as told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use projectionist::kafka::Connection;
use projectionist::kafka::producer::Producer;
use projectionist::pipeline::outbox::{Outgoing, SendError, Sender as _};
use projectionist::record::Header;
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::wait;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;
use rdkafka::types::RDKafkaRespErr::{
    RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
};

fn producer_at(brokers: String, properties: &[(&str, &str)]) -> Producer {
    let properties: BTreeMap<String, String> = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let connection = Connection {
        brokers,
        client_id: "test".to_owned(),
        properties,
        hidden: BTreeSet::new(),
    };
    Producer::new(&connection).expect("a producer")
}

fn producer() -> Producer {
    producer_at(brokers(), &[])
}

fn message(topic: &str, key: Option<&str>, value: impl Into<Bytes>) -> Outgoing {
    Outgoing {
        topic: topic.into(),
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_stand_where_they_belong_and_as_they_were_given() {
    let topic = Topic::create("producer", 4).await.expect("a topic");
    let header = |name: &str, value: Option<&[u8]>| Header {
        name: name.into(),
        value: value.map(Into::into),
    };
    let full = Outgoing {
        headers: vec![
            header("event-id", Some(b"1")),
            header("none", None),
            header("empty", Some(b"")),
        ],
        ..message(&topic.name, Some("foobar"), "v")
    };
    let tombstone = Outgoing {
        value: None,
        ..message(&topic.name, Some("21"), "")
    };
    let empty = message(&topic.name, Some(""), "");

    producer()
        .send(&[full, tombstone, empty])
        .await
        .expect("they are taken");

    let records = topic.read().expect("the topic can be read");
    let placed = |hash: i32, key: &str| {
        let found = records
            .iter()
            .find(|record| record.key() == Some(key.as_bytes()));
        let found = found.unwrap_or_else(|| panic!("{key} is not in {records:?}"));
        assert_eq!(found.partition(), (hash & i32::MAX) % topic.partitions);
        found
    };
    // Java's murmur2 has -790332482 for "foobar", -973932308 for "21" and 275646681 for "".
    let full = placed(-790_332_482, "foobar");
    assert_eq!(full.payload(), Some(b"v".as_slice()));
    let headers: Vec<(&str, Option<&[u8]>)> = full
        .headers()
        .expect("headers")
        .iter()
        .map(|header| (header.key, header.value))
        .collect();
    let expected: [(&str, Option<&[u8]>); 3] = [
        ("event-id", Some(b"1")),
        ("none", None),
        ("empty", Some(b"")),
    ];
    assert_eq!(headers, expected);
    let tombstone = placed(-973_932_308, "21");
    assert_eq!(tombstone.payload(), None);
    let empty = placed(275_646_681, "");
    assert_eq!(empty.payload(), Some(b"".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_at_once_keep_each_its_order() {
    const SENDERS: usize = 4;
    const PAGES: usize = 5;
    const PAGE: usize = 200;
    let topic = Topic::create("producer-order", 2).await.expect("a topic");
    let producer = Arc::new(producer());
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS {
        let (producer, topic) = (Arc::clone(&producer), topic.name.clone());
        senders.spawn(async move {
            let key = format!("sender-{sender}");
            for page in 0..PAGES {
                let messages: Vec<Outgoing> = (page * PAGE..(page + 1) * PAGE)
                    .map(|number| message(&topic, Some(&key), number.to_string()))
                    .collect();
                producer.send(&messages).await.expect("they are taken");
            }
        });
    }
    senders.join_all().await;

    let mut numbers: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for record in topic.read().expect("the topic can be read") {
        let text = str::from_utf8(record.payload().expect("a value")).expect("a number");
        let key = record.key().expect("a key").to_vec();
        let numbers = numbers.entry(key).or_default();
        numbers.push(text.parse().expect("a number"));
    }
    assert_eq!(numbers.len(), SENDERS);
    let expected: Vec<usize> = (0..PAGES * PAGE).collect();
    assert!(numbers.values().all(|numbers| *numbers == expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_topic_does_not_take_is_refused_with_the_way_out_and_others_go_on() {
    let small = Topic::create_with("producer-small", ("max.message.bytes", "1000"))
        .await
        .expect("a topic");
    let compacted = Topic::create_with("producer-compacted", ("cleanup.policy", "compact"))
        .await
        .expect("a topic");
    let fine = Topic::create("producer-fine", 1).await.expect("a topic");
    let producer = producer_at(brokers(), &[("topic.metadata.propagation.max.ms", "500")]);
    let missing = projectionist_tests::unique("producer-missing");

    let cases = [
        (
            message(&small.name, None, vec![7; 2000]),
            "raise the topic's max.message.bytes",
        ),
        (
            message(&compacted.name, None, "v"),
            "no message without a key",
        ),
    ];
    for (refused, way_out) in cases {
        let topic = Arc::clone(&refused.topic);
        let error = producer.send(&[refused]).await.expect_err("it is refused");
        let text = error.to_string();
        assert!(matches!(error, SendError::Refused { .. }), "{text}");
        assert!(text.contains(&*topic) && text.contains(way_out), "{text}");
    }
    let error = producer.send(&[message(&missing, None, "v")]).await;
    let error = error.expect_err("there is no such topic");
    let names_it = matches!(&error, SendError::NoTopic { topic } if **topic == *missing);
    assert!(names_it, "{error:?}");

    let sent = producer.send(&[message(&fine.name, None, "v")]).await;
    sent.expect("another topic takes it");
    let sent = producer.send(&[message(&small.name, None, "v")]).await;
    sent.expect("it is small");
    assert_eq!(fine.ends().expect("ends"), [1]);
    assert_eq!(small.ends().expect("ends"), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_that_are_the_consumers_do_no_harm() {
    let topic = Topic::create("producer-properties", 1)
        .await
        .expect("a topic");
    let properties = [
        ("session.timeout.ms", "6000"),
        ("max.poll.interval.ms", "30000"),
        ("group.instance.id", "one"),
        ("fetch.min.bytes", "1"),
        // So little that the queue is full at once.
        ("queue.buffering.max.messages", "10"),
        ("linger.ms", "0"),
    ];
    let producer = producer_at(brokers(), &properties);

    let messages: Vec<Outgoing> = (0..300)
        .map(|number| message(&topic.name, None, number.to_string()))
        .collect();
    producer.send(&messages).await.expect("they are taken");

    assert_eq!(topic.ends().expect("ends"), [300]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_waited_for() {
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.create_topic("away", 1, 1).expect("a topic");
    let producer = producer_at(
        cluster.bootstrap_servers(),
        &[("reconnect.backoff.max.ms", "100")],
    );
    let sent = producer.send(&[message("away", None, "first")]).await;
    sent.expect("the broker is there");

    cluster.broker_down(1).expect("a broker goes away");
    let second = [message("away", None, "second")];
    let mut sending = producer.send(&second);
    let waited = tokio::time::timeout(Duration::from_secs(2), &mut sending).await;
    assert!(waited.is_err(), "nobody has acknowledged it: {waited:?}");
    cluster.broker_up(1).expect("it comes back");

    let sent = tokio::time::timeout(wait::DEADLINE, sending).await;
    sent.expect("an answer in time").expect("it is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_broken_for_good_is_replaced() {
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.create_topic("fatal", 1, 1).expect("a topic");
    let refusal = RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &[refusal]);
    let producer = producer_at(cluster.bootstrap_servers(), &[]);

    let error = producer.send(&[message("fatal", None, "v")]).await;
    let error = error.expect_err("it may not send").to_string();
    assert!(error.contains("IDEMPOTENT_WRITE"), "{error}");

    // The cluster's administrator has granted it.
    let sent = producer.send(&[message("fatal", None, "v")]).await;
    sent.expect("a new client may");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_privilege_is_told() {
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.create_topic("secret", 1, 1).expect("a topic");
    let producer = producer_at(cluster.bootstrap_servers(), &[]);
    let refusal = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);

    let error = producer.send(&[message("secret", None, "v")]).await;

    let error = error.expect_err("it may not write").to_string();
    assert!(
        error.contains("grant this host WRITE and DESCRIBE"),
        "{error}"
    );
}
