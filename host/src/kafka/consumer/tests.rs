//! The consumer on librdkafka's own broker.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::Notify;

use super::super::mock::{MockBroker, Record};
use super::*;
use crate::pipeline::budget::Budget;
use crate::pipeline::queue::{self, Limits, Receiver};
use crate::record::Generation;

const TOPIC: &str = "orders";

/// Far more than it takes; far less than with a tenth of a second for each of a few hundred steps.
const DEADLINE: Duration = Duration::from_secs(20);

/// Reads a topic to its end, giving room back for each event as it comes, and checks the order.
async fn read(partitions: i32, events: usize, limits: Limits, properties: &[(&str, &str)]) {
    let broker = MockBroker::start(TOPIC, partitions).expect("a mock broker");
    let keys: Vec<String> = (0..events)
        .map(|number| format!("order-{number}"))
        .collect();
    let records = keys.iter().map(|key| Record {
        key: Some(key.as_bytes()),
        value: Some(b"{}"),
        headers: Vec::new(),
        timestamp_ms: 0,
    });
    broker.produce(TOPIC, records, || {}).expect("produced");
    let properties = properties
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let mut started = start(Options {
        connection: Connection {
            brokers: broker.brokers(),
            client_id: "test".to_owned(),
            properties: properties.collect::<BTreeMap<_, _>>(),
        },
        group_id: "test".to_owned(),
        membership: Membership::Classic { instance: None },
        topics: vec![TOPIC.to_owned()],
    })
    .expect("a consumer");

    let source = started.handle.clone();
    let tell = async |command| source.send(command).await.expect("the consumer goes on");

    let reading = async {
        let arrived = Arc::new(Notify::new());
        let mut receivers: HashMap<i32, (Receiver, NextOffset)> = HashMap::new();
        let mut left = events;
        while left > 0 {
            tokio::select! {
                notice = started.notices.recv() => match notice.expect("the consumer goes on") {
                    Notice::Assigned(assigned) => {
                        tell(Command::Acknowledge).await;
                        let mut starts = Vec::new();
                        for partition in assigned {
                            let number = partition.partition;
                            let (sender, receiver) = queue::channel(
                                partition,
                                Generation(1),
                                NextOffset(0),
                                limits,
                                Budget::new(usize::MAX).share(),
                                Arc::clone(&arrived),
                                started.handle.waker.clone(),
                            );
                            receivers.insert(number, (receiver, NextOffset(0)));
                            starts.push(Start { next: NextOffset(0), queue: sender });
                        }
                        tell(Command::Fetch(starts)).await;
                    }
                    Notice::Failed(reason) => panic!("{reason}"),
                    _ => {}
                },
                () = arrived.notified() => {
                    for (receiver, next) in receivers.values_mut() {
                        while let Some(item) = receiver.try_recv() {
                            if let Item::Event(event) = item {
                                assert_eq!(event.offset.0, next.0, "in order, each once");
                                *next = event.offset.next();
                                receiver.release(1, event.size_bytes());
                                left -= 1;
                            }
                        }
                    }
                }
            }
        }
        tell(Command::Leave).await;
        while started.notices.recv().await.is_some() {}
    };
    tokio::time::timeout(DEADLINE, reading)
        .await
        .expect("read within the deadline");
}

#[tokio::test]
async fn a_queue_that_was_full_is_filled_again_at_once() {
    let limits = Limits {
        events_max: 8,
        bytes_max: usize::MAX,
    };
    read(3, 3_000, limits, &[]).await;
}

#[tokio::test]
async fn what_librdkafka_logs_does_not_hold_events_up() {
    let limits = Limits {
        events_max: 1_000,
        bytes_max: usize::MAX,
    };
    // Each line is a callback on the polling thread.
    let properties = [
        ("debug", "fetch,topic,broker,protocol,queue"),
        ("log_level", "7"),
    ];
    read(3, 10_000, limits, &properties).await;
}
