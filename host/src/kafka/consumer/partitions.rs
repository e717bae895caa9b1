//! The partitions that are being fetched, and where their records go.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tracing::warn;

use super::context::Context;
use super::{Item, NextOffset, Sent, Start, TopicPartition};
use crate::pipeline::intake::Standing;
use crate::pipeline::queue::Sender;

#[derive(Debug, Default)]
pub(super) struct Partitions {
    /// By topic first, so that a record is routed without making a key.
    topics: HashMap<Arc<str>, HashMap<i32, Fetched>>,
    /// How many partitions wait for room, so that the loop looks only where there are any.
    paused: usize,
}

#[derive(Debug)]
struct Fetched {
    queue: Sender,
    /// Paused in librdkafka: the queue was full, or nobody takes its events any more.
    paused: bool,
    /// What the queue refused; sent before anything else.
    held: VecDeque<Item>,
    /// True once an event of this assignment has come, and librdkafka's position is one of it.
    delivered: bool,
    /// The next offset to fetch, as far as it was delivered.
    next: NextOffset,
    /// What was last reported to Kafka.
    reported: NextOffset,
}

impl Partitions {
    pub(super) fn contains(&self, partition: &TopicPartition) -> bool {
        self.topics
            .get(&partition.topic)
            .is_some_and(|partitions| partitions.contains_key(&partition.partition))
    }

    pub(super) fn add(&mut self, starts: Vec<Start>) {
        for Start { next, queue } in starts {
            let partition = queue.partition().clone();
            let fetched = Fetched {
                next,
                reported: queue.stored(),
                queue,
                paused: false,
                held: VecDeque::new(),
                delivered: false,
            };
            self.topics
                .entry(partition.topic)
                .or_default()
                .insert(partition.partition, fetched);
        }
    }

    /// Forgets partitions, and returns those that were fetched.
    ///
    /// librdkafka remembers a pause beyond the assignment, so it is ended here: the partition may
    /// come back.
    pub(super) fn remove(
        &mut self,
        consumer: &BaseConsumer<Context>,
        partitions: &[TopicPartition],
    ) -> Vec<TopicPartition> {
        let mut removed = Vec::new();
        for partition in partitions {
            let fetched = self
                .topics
                .get_mut(&partition.topic)
                .and_then(|partitions| partitions.remove(&partition.partition));
            if let Some(fetched) = fetched {
                if fetched.paused {
                    self.paused -= 1;
                    fetched.resume_fetching(consumer);
                }
                removed.push(partition.clone());
            }
        }
        removed
    }

    /// Sends a record to its queue. A record of a partition that was given up is dropped.
    pub(super) fn deliver(
        &mut self,
        consumer: &BaseConsumer<Context>,
        topic: &str,
        partition: i32,
        item: Item,
    ) {
        let Some(fetched) = self
            .topics
            .get_mut(topic)
            .and_then(|partitions| partitions.get_mut(&partition))
        else {
            return;
        };
        let was_paused = fetched.paused;
        fetched.delivered = true;
        fetched.next = match &item {
            Item::Event(event) => event.offset.next(),
            Item::Position(position) => *position,
        };
        fetched.send(consumer, item);
        self.paused += usize::from(fetched.paused && !was_paused);
    }

    /// A partition's end is reached: passes the records behind the last delivered one that are
    /// not for us. The notice does not say of which topic the partition is.
    pub(super) fn pass_end(&mut self, consumer: &BaseConsumer<Context>, partition: i32) {
        let Ok(positions) = consumer.position() else {
            return;
        };
        for element in positions.elements() {
            if let KafkaOffset::Offset(position) = element.offset()
                && element.partition() == partition
                && self.has_delivered(element.topic(), partition)
            {
                let item = Item::Position(NextOffset(position));
                self.deliver(consumer, element.topic(), partition, item);
            }
        }
    }

    /// Before its first event, a partition's position may be that of an earlier assignment.
    fn has_delivered(&self, topic: &str, partition: i32) -> bool {
        self.topics
            .get(topic)
            .and_then(|partitions| partitions.get(&partition))
            .is_some_and(|fetched| fetched.delivered)
    }

    pub(super) fn resume_where_there_is_room(&mut self, consumer: &BaseConsumer<Context>) {
        if self.paused == 0 {
            return;
        }
        for fetched in self.topics.values_mut().flat_map(HashMap::values_mut) {
            if fetched.paused && fetched.queue.may_resume() && fetched.resume(consumer) {
                self.paused -= 1;
            }
        }
    }

    /// Every partition that is fetched.
    pub(super) fn all(&self) -> Vec<TopicPartition> {
        self.fetched()
            .map(|f| f.queue.partition().clone())
            .collect()
    }

    /// Where each of them stands.
    pub(super) fn standings(&self) -> Vec<Standing> {
        self.fetched()
            .map(|fetched| Standing {
                partition: fetched.queue.partition().clone(),
                generation: fetched.queue.generation(),
                next: fetched.next,
            })
            .collect()
    }

    fn fetched(&self) -> impl Iterator<Item = &Fetched> {
        self.topics.values().flat_map(HashMap::values)
    }

    /// What is stored since the last call.
    pub(super) fn take_progress(&mut self) -> Vec<(TopicPartition, NextOffset)> {
        let mut progress = Vec::new();
        for fetched in self.topics.values_mut().flat_map(HashMap::values_mut) {
            let stored = fetched.queue.stored();
            if stored > fetched.reported {
                fetched.reported = stored;
                progress.push((fetched.queue.partition().clone(), stored));
            }
        }
        progress
    }
}

impl Fetched {
    fn send(&mut self, consumer: &BaseConsumer<Context>, item: Item) {
        if let Some(last) = self.held.back_mut() {
            match (last, item) {
                // Of two positions in a row, the later one says it all.
                (Item::Position(last), Item::Position(position)) => *last = position,
                (_, item) => self.held.push_back(item),
            }
            return;
        }
        match self.queue.send(item) {
            Sent::Open => {}
            Sent::Full | Sent::Closed => self.pause(consumer),
            Sent::Refused(item) => {
                self.held.push_back(item);
                self.pause(consumer);
            }
        }
    }

    fn pause(&mut self, consumer: &BaseConsumer<Context>) {
        if !self.paused {
            self.paused = true;
            if let Err(error) = consumer.pause(&self.list()) {
                warn!(partition = %self.queue.partition(), %error, "cannot pause");
            }
        }
    }

    /// True where the partition is fetched again.
    fn resume(&mut self, consumer: &BaseConsumer<Context>) -> bool {
        while let Some(item) = self.held.pop_front() {
            match self.queue.send(item) {
                Sent::Open => {}
                Sent::Full | Sent::Closed => return false,
                Sent::Refused(item) => {
                    self.held.push_front(item);
                    return false;
                }
            }
        }
        self.paused = !self.resume_fetching(consumer);
        !self.paused
    }

    fn resume_fetching(&self, consumer: &BaseConsumer<Context>) -> bool {
        let resumed = consumer.resume(&self.list());
        if let Err(error) = &resumed {
            warn!(partition = %self.queue.partition(), %error, "cannot resume");
        }
        resumed.is_ok()
    }

    fn list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        let partition = self.queue.partition();
        list.add_partition(&partition.topic, partition.partition);
        list
    }
}
