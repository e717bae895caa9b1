//! A topic in memory. Offsets have gaps, as transactions and compaction leave them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use projectionist::pipeline::intake::{Bounds, Positions, PositionsError};
use projectionist::record::{
    Event, Header, HeaderRef, NextOffset, Offset, TopicId, TopicPartition,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;

use crate::ledger::NOBODY;

pub(crate) struct Topic {
    partitions: Vec<Mutex<Log>>,
    /// Counts the changes.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Log {
    events: Vec<Arc<Event>>,
    end: i64,
}

/// What a source finds at a position.
pub(crate) enum Read {
    Event(Arc<Event>),
    /// No event, but the partition goes on to here.
    Gap(i64),
    End,
}

/// The header with an event's id.
pub(crate) const ID_HEADER: &str = "id";

pub(crate) fn partition_id(partition: i32) -> TopicPartition {
    TopicPartition::new("transfers", partition)
}

impl Topic {
    pub(crate) fn new(partitions: i32) -> Self {
        Topic {
            partitions: (0..partitions).map(|_| Mutex::default()).collect(),
            changed: watch::Sender::new(0),
        }
    }

    pub(crate) fn partitions(&self) -> Vec<i32> {
        let count = i32::try_from(self.partitions.len()).expect("partitions are few");
        (0..count).collect()
    }

    /// Appends an event; answers its offset. Without a value it is a tombstone.
    pub(crate) fn append(&self, partition: i32, key: &str, value: Option<&str>) -> i64 {
        self.append_record(partition, key, value.map(str::as_bytes), Vec::new())
    }

    /// Appends an event with this id in its header [`ID_HEADER`].
    pub(crate) fn append_with_id(
        &self,
        partition: i32,
        key: &str,
        value: Option<&str>,
        id: &str,
    ) -> i64 {
        let header = Header {
            name: ID_HEADER.into(),
            value: Some(id.as_bytes().into()),
        };
        self.append_record(partition, key, value.map(str::as_bytes), vec![header])
    }

    /// Appends an event of this partition once more, as a producer does that got no answer.
    pub(crate) fn repeat(&self, partition: i32, offset: i64) -> i64 {
        let events = self.events(partition);
        let event = events.iter().find(|event| event.offset.0 == offset);
        let event = event.expect("there is such an event");
        let key = std::str::from_utf8(event.key().expect("it has a key")).expect("it is text");
        let headers = event.headers().map(HeaderRef::to_owned).collect();
        self.append_record(partition, key, event.value(), headers)
    }

    fn append_record(
        &self,
        partition: i32,
        key: &str,
        value: Option<&[u8]>,
        headers: Vec<Header>,
    ) -> i64 {
        let mut log = self.log(partition);
        let offset = log.end;
        let event = Event::new(Offset(offset), 0, Some(key.as_bytes()), value, headers);
        log.events.push(Arc::new(event));
        log.end += 1;
        drop(log);
        self.changed.send_modify(|count| *count += 1);
        offset
    }

    /// An event that is not in the topic.
    pub(crate) fn draft(offset: i64, key: &str, value: &str) -> Arc<Event> {
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        Arc::new(Event::new(Offset(offset), 0, key, value, Vec::new()))
    }

    /// A transfer of `amount` from account `from`, which is the key, to account `to`.
    pub(crate) fn transfer(&self, partition: i32, from: &str, to: &str, amount: i64) -> i64 {
        self.append(partition, from, Some(&format!("{to} {amount}")))
    }

    /// Leaves offsets without events.
    pub(crate) fn skip(&self, partition: i32, offsets: i64) {
        self.log(partition).end += offsets;
        self.changed.send_modify(|count| *count += 1);
    }

    /// Appends random transfers among few accounts, here and there a tombstone, and gaps.
    /// A key is always in the same partition.
    pub(crate) fn fill(&self, seed: u64, events: usize, keys: usize) {
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..events {
            let from = random.random_range(0..keys);
            let partition = from % self.partitions.len();
            let partition = i32::try_from(partition).expect("partitions are few");
            if random.random_bool(0.03) {
                self.skip(partition, random.random_range(1..4));
            }
            if random.random_bool(0.03) {
                self.append(partition, &format!("k{from}"), None);
            } else {
                let to = match random.random_bool(0.3) {
                    true => NOBODY.to_owned(),
                    false => format!("k{}", random.random_range(0..keys)),
                };
                let amount = random.random_range(1..100);
                self.transfer(partition, &format!("k{from}"), &to, amount);
            }
        }
    }

    /// Appends random events with ids, of which some repeat an earlier one. Answers where the new
    /// ones are.
    pub(crate) fn fill_with_repeats(
        &self,
        seed: u64,
        events: usize,
        keys: usize,
    ) -> Vec<(i32, i64)> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut places = Vec::new();
        for number in 0..events {
            let from = random.random_range(0..keys);
            let partition = i32::try_from(from % self.partitions.len()).expect("they are few");
            let earlier = self.events(partition);
            if random.random_bool(0.15) && !earlier.is_empty() {
                let index = random.random_range(0..earlier.len());
                self.repeat(partition, earlier[index].offset.0);
                continue;
            }
            let amount = random.random_range(1..100);
            let to = format!("k{} {amount}", random.random_range(0..keys));
            let value = random.random_bool(0.97).then_some(to.as_str());
            let id = format!("{seed}-{number}");
            let offset = self.append_with_id(partition, &format!("k{from}"), value, &id);
            places.push((partition, offset));
        }
        places
    }

    pub(crate) fn read(&self, partition: i32, from: i64) -> Read {
        let log = self.log(partition);
        let index = log.events.partition_point(|event| event.offset.0 < from);
        match log.events.get(index) {
            Some(event) => Read::Event(Arc::clone(event)),
            None if from < log.end => Read::Gap(log.end),
            None => Read::End,
        }
    }

    pub(crate) fn events(&self, partition: i32) -> Vec<Arc<Event>> {
        self.log(partition).events.clone()
    }

    pub(crate) fn end(&self, partition: i32) -> i64 {
        self.log(partition).end
    }

    /// Is told of every change.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn log(&self, partition: i32) -> std::sync::MutexGuard<'_, Log> {
        let index = usize::try_from(partition).expect("partitions count from 0");
        self.partitions[index].lock().expect("nobody panics here")
    }
}

#[async_trait]
impl Positions for Topic {
    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, PositionsError> {
        Ok(Bounds {
            low: NextOffset::ZERO,
            high: NextOffset(self.end(partition.partition)),
        })
    }

    async fn topic_id(&self, _topic: &str) -> Result<Option<TopicId>, PositionsError> {
        Ok(None)
    }

    async fn exists(&self, _topic: &str) -> Result<bool, PositionsError> {
        Ok(true)
    }
}
