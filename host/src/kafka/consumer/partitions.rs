//! The partitions that are being fetched, and where their records go.
//!
//! Each has a queue of its own in librdkafka, which is read as far as the pipeline has room; when
//! that queue is full, librdkafka fetches no more for it. To pause a partition instead would throw
//! away what is fetched already, and when all partitions of a broker are paused, going on takes
//! librdkafka up to a second.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset as KafkaOffset;

use super::context::Context;
use super::{Item, NextOffset, Sent, Start, TopicPartition, event};
use crate::pipeline::intake::Standing;
use crate::pipeline::queue::Sender;

/// The partitions, by topic first, so that a record is routed without making a key.
#[derive(Default)]
pub(super) struct Partitions(HashMap<Arc<str>, HashMap<i32, Fetched>>);

struct Fetched {
    queue: Sender,
    records: Records,
    /// The pipeline's queue was full, or nobody takes its events any more.
    full: bool,
    /// What the pipeline's queue refused; sent before anything else.
    held: VecDeque<Item>,
    /// True once an event of this assignment has come, and librdkafka's position is one of it.
    delivered: bool,
    /// The next offset to fetch, as far as it was delivered.
    next: NextOffset,
    /// What was last reported to Kafka.
    reported: NextOffset,
}

/// librdkafka's queue of one partition.
pub(super) struct Records {
    queue: PartitionQueue<Context>,
    /// Whether there may be something in it.
    arrived: Arc<AtomicBool>,
}

/// Wakes the polling thread when something has come.
pub(super) struct Bell {
    rung: AtomicBool,
    thread: Thread,
}

/// What a look at all partitions' queues came to.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) delivered: usize,
    pub(super) errors: Vec<KafkaError>,
}

/// How many records are taken from one partition before it is another one's turn.
const TURN_RECORDS: usize = 256;

impl Bell {
    pub(super) fn new(thread: Thread) -> Arc<Self> {
        Arc::new(Bell {
            rung: AtomicBool::new(false),
            thread,
        })
    }

    pub(super) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// Whether it was rung since the last call.
    pub(super) fn take(&self) -> bool {
        self.rung.swap(false, Ordering::Acquire)
    }
}

impl Partitions {
    pub(super) fn contains(&self, partition: &TopicPartition) -> bool {
        self.0
            .get(&partition.topic)
            .is_some_and(|partitions| partitions.contains_key(&partition.partition))
    }

    pub(super) fn add(&mut self, Start { next, queue }: Start, records: Records) {
        let partition = queue.partition().clone();
        let fetched = Fetched {
            next,
            reported: queue.stored(),
            queue,
            records,
            full: false,
            held: VecDeque::new(),
            delivered: false,
        };
        self.0
            .entry(partition.topic)
            .or_default()
            .insert(partition.partition, fetched);
    }

    /// Forgets partitions, and returns those that were fetched.
    pub(super) fn remove(&mut self, partitions: &[TopicPartition]) -> Vec<TopicPartition> {
        let mut removed = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let of_topic = self.0.get_mut(&partition.topic);
            if of_topic.is_some_and(|of_topic| of_topic.remove(&partition.partition).is_some()) {
                removed.push(partition.clone());
            }
        }
        removed
    }

    /// Takes what has come to the partitions' queues, as far as there is room for it.
    pub(super) fn take_turn(&mut self) -> Turn {
        let mut turn = Turn::default();
        for fetched in self.0.values_mut().flat_map(HashMap::values_mut) {
            fetched.take_turn(&mut turn);
        }
        turn
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
                if let Some(fetched) = self.get_mut(element.topic(), partition) {
                    fetched.take(item);
                }
            }
        }
    }

    /// Before its first event, a partition's position may be that of an earlier assignment.
    fn has_delivered(&self, topic: &str, partition: i32) -> bool {
        self.0
            .get(topic)
            .and_then(|partitions| partitions.get(&partition))
            .is_some_and(|fetched| fetched.delivered)
    }

    fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Fetched> {
        self.0.get_mut(topic)?.get_mut(&partition)
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
        self.0.values().flat_map(HashMap::values)
    }

    /// What is stored since the last call.
    pub(super) fn take_progress(&mut self) -> Vec<(TopicPartition, NextOffset)> {
        let mut progress = Vec::new();
        for fetched in self.0.values_mut().flat_map(HashMap::values_mut) {
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
    fn take(&mut self, item: Item) {
        self.delivered = true;
        self.next = match &item {
            Item::Event(event) => event.offset.next(),
            Item::Position(position) => *position,
        };
        self.send(item);
    }

    fn take_turn(&mut self, turn: &mut Turn) {
        if self.full && !self.has_room_again() {
            return;
        }
        if !self.records.arrived.swap(false, Ordering::AcqRel) {
            return;
        }
        for _ in 0..TURN_RECORDS {
            let item = match self.records.queue.poll(Duration::ZERO) {
                None => return,
                Some(Ok(message)) => Item::Event(Arc::new(event(&message))),
                Some(Err(error)) => {
                    turn.errors.push(error);
                    break;
                }
            };
            turn.delivered += 1;
            self.take(item);
            if self.full {
                break;
            }
        }
        self.records.arrived.store(true, Ordering::Release);
    }

    fn send(&mut self, item: Item) {
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
            Sent::Full | Sent::Closed => self.full = true,
            Sent::Refused(item) => {
                self.held.push_back(item);
                self.full = true;
            }
        }
    }

    /// Looks whether there is room again, and sends what was held back.
    fn has_room_again(&mut self) -> bool {
        if !self.queue.has_room_again() {
            return false;
        }
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
        self.full = false;
        true
    }
}

impl Records {
    /// Gives a partition a queue of its own. To be called before each assignment: once librdkafka
    /// fetches a partition, its records go to the consumer's queue, but where it was given one of
    /// its own before; that one it keeps from then on, assigned again or not.
    ///
    /// `None` where librdkafka knows no such partition.
    pub(super) fn split(
        consumer: &Arc<BaseConsumer<Context>>,
        bell: &Arc<Bell>,
        partition: &TopicPartition,
    ) -> Option<Self> {
        let (topic, partition) = (&partition.topic, partition.partition);
        let mut queue = consumer.split_partition_queue(topic, partition)?;
        // What came before the callback was there is not announced.
        let arrived = Arc::new(AtomicBool::new(true));
        let (arriving, bell) = (Arc::clone(&arrived), Arc::clone(bell));
        queue.set_nonempty_callback(move || {
            arriving.store(true, Ordering::Release);
            bell.ring();
        });
        Some(Records { queue, arrived })
    }
}
