//! The consumer on librdkafka's own broker.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::sync::Notify;

use super::super::mock::{MockBroker, Record};
use super::*;
use crate::pipeline::budget::Budget;
use crate::pipeline::queue::{self, Limits, Receiver};
use crate::record::Generation;

const TOPIC: &str = "orders";

/// Far more than it takes; far less than with a tenth of a second for each of a few hundred steps.
const DEADLINE: Duration = Duration::from_secs(20);

struct Case<'a> {
    partitions: i32,
    events: usize,
    /// Of a partition's queue.
    events_max: usize,
    properties: &'a [(&'a str, &'a str)],
    /// How often all partitions are fetched anew from where they stand, as after a claim that was
    /// lost and won again.
    anew: usize,
}

/// The pipeline's end of the queues.
struct Queues {
    events_max: usize,
    source: SourceHandle,
    arrived: Arc<Notify>,
    partitions: HashMap<TopicPartition, (Receiver, NextOffset)>,
}

impl Queues {
    async fn tell(&self, command: Command) {
        let told = self.source.send(command).await;
        told.expect("the consumer goes on");
    }

    /// Fetches partitions from where they stand.
    async fn fetch(&mut self, partitions: Vec<TopicPartition>) {
        let mut starts = Vec::new();
        for partition in partitions {
            let at = self.partitions.get(&partition);
            let next = at.map_or(NextOffset(0), |(_, next)| *next);
            let (sender, receiver) = queue::channel(
                partition.clone(),
                Generation(1),
                next,
                Limits {
                    events_max: self.events_max,
                    bytes_max: usize::MAX,
                },
                Budget::new(usize::MAX).share(),
                Arc::clone(&self.arrived),
                self.source.waker.clone(),
            );
            self.partitions.insert(partition, (receiver, next));
            let queue = sender;
            let known = None;
            starts.push(Start { next, known, queue });
        }
        self.tell(Command::Fetch(starts)).await;
    }

    /// Takes what is there, and gives its room back.
    fn take(&mut self) -> usize {
        let mut taken = 0;
        for (receiver, next) in self.partitions.values_mut() {
            while let Some(item) = receiver.try_recv() {
                if let Item::Event(event) = item {
                    assert_eq!(event.offset.0, next.0, "in order, each once");
                    *next = event.offset.next();
                    receiver.release(1, event.size_bytes());
                    taken += 1;
                }
            }
        }
        taken
    }
}

/// Reads a topic to its end, and checks the order.
async fn read(case: Case<'_>) {
    let broker = MockBroker::start(TOPIC, case.partitions).expect("a mock broker");
    let keys: Vec<String> = (0..case.events).map(|n| format!("order-{n}")).collect();
    let records = keys.iter().map(|key| Record {
        key: Some(key.as_bytes()),
        value: Some(b"{}"),
        headers: Vec::new(),
        timestamp_ms: 0,
    });
    broker.produce(TOPIC, records, || {}).expect("produced");
    let properties = case.properties.iter();
    let properties = properties.map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let mut started = start(Options {
        connection: Connection {
            brokers: broker.brokers(),
            client_id: "test".to_owned(),
            properties: properties.collect::<BTreeMap<_, _>>(),
            hidden: BTreeSet::new(),
        },
        group_id: "test".to_owned(),
        membership: Membership::Classic { instance: None },
        topics: vec![TOPIC.to_owned()],
        partitions: 1,
    })
    .expect("a consumer");
    let mut queues = Queues {
        events_max: case.events_max,
        source: started.handle,
        arrived: Arc::new(Notify::new()),
        partitions: HashMap::new(),
    };

    let reading = async {
        let arrived = Arc::clone(&queues.arrived);
        let (mut taken, mut anew) = (0, 0);
        while taken < case.events {
            tokio::select! {
                notice = started.notices.recv() => match notice.expect("the consumer goes on") {
                    Notice::Assigned(assigned) => {
                        queues.tell(Command::Acknowledge).await;
                        queues.fetch(assigned).await;
                    }
                    Notice::Failed(failure) => panic!("{failure}"),
                    _ => {}
                },
                () = arrived.notified() => taken += queues.take(),
            }
            if anew < case.anew && taken > case.events * (anew + 1) / (case.anew + 1) {
                anew += 1;
                let all = queues.partitions.keys().cloned().collect();
                queues.fetch(all).await;
            }
        }
        assert_eq!(anew, case.anew);
        queues.tell(Command::Leave).await;
        while started.notices.recv().await.is_some() {}
    };
    tokio::time::timeout(DEADLINE, reading)
        .await
        .expect("read within the deadline");
}

#[tokio::test]
async fn a_queue_that_was_full_is_filled_again_at_once() {
    read(Case {
        partitions: 3,
        events: 3_000,
        events_max: 8,
        properties: &[],
        anew: 0,
    })
    .await;
}

#[tokio::test]
async fn partitions_that_are_fetched_anew_go_on_where_they_stood() {
    read(Case {
        partitions: 3,
        events: 30_000,
        events_max: 64,
        properties: &[],
        anew: 5,
    })
    .await;
}

#[tokio::test]
async fn what_librdkafka_logs_does_not_hold_events_up() {
    read(Case {
        partitions: 3,
        events: 10_000,
        events_max: 1_000,
        // Each line is a callback on the polling thread.
        properties: &[
            ("debug", "fetch,topic,broker,protocol,queue"),
            ("log_level", "7"),
        ],
        anew: 0,
    })
    .await;
}
