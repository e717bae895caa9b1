//! The partitions that are being fetched, and where their records go.
//!
//! Each has a queue of its own in librdkafka, which is read as far as the pipeline has room; when
//! that queue is full, librdkafka fetches no more for it. To pause a partition instead would throw
//! away what is fetched already, and when all partitions of a broker are paused, going on takes
//! librdkafka up to a second.
//!
//! Whatever comes by such a queue is of its partition, so is an error, and it comes behind the records
//! before it. A partition that cannot be read is told once, and not read any further.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use rdkafka::consumer::BaseConsumer;

use super::super::native::queue::{Failure, PartitionQueue, Polled};
use super::context::Context;
use super::{Item, NextOffset, Sent, Start, TopicPartition};
use crate::pipeline::intake::Standing;
use crate::pipeline::queue::Sender;
use crate::record::{Event, LastRecord, LeaderEpoch};

/// The partitions, by topic first, so that a record is routed without making a key.
#[derive(Default)]
pub(super) struct Partitions(HashMap<Arc<str>, HashMap<i32, Fetched>>);

struct Fetched {
    queue: Sender,
    /// Missing while it is about to be fetched anew.
    records: Option<Records>,
    /// The pipeline's queue was full, or nobody takes its events any more.
    full: bool,
    /// What the pipeline's queue refused; sent before anything else.
    held: VecDeque<Item>,
    /// The next offset to fetch, as far as it was delivered.
    next: NextOffset,
    /// The leader's epoch of the record that came last; told to the pipeline where it changes.
    epoch: Option<LeaderEpoch>,
    /// A record before `next`, which must be the one that was read, where it comes at all.
    known: Option<LastRecord>,
    /// How often reading has failed where it stands.
    tries: u32,
    reading: Reading,
    /// What was last reported to Kafka.
    reported: NextOffset,
}

/// Whether records are taken from a partition's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Goes,
    /// Something could not be read: what comes behind it would leave a gap. Goes on when it is
    /// fetched anew.
    Waits,
    /// It was said that it cannot be read.
    GivenUp,
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
    pub(super) reports: Vec<Report>,
}

/// What a partition's queue brought that is no record.
pub(super) struct Report {
    pub(super) standing: Standing,
    pub(super) what: Trouble,
}

pub(super) enum Trouble {
    Failed(Failure),
    /// The record that was read last is another one now; the text says how that shows.
    Diverged(String),
}

/// How many records are taken from one partition before it is another one's turn.
const TURN_RECORDS: usize = 256;

/// How often a partition is read from where it stands before it counts as unreadable: what a network
/// has mangled comes whole the next time.
const TRIES: u32 = 4;

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

    pub(super) fn add(&mut self, start: Start, records: Records) {
        let Start { next, known, queue } = start;
        let partition = queue.partition().clone();
        let fetched = Fetched {
            next,
            reported: queue.stored(),
            queue,
            records: Some(records),
            full: false,
            held: VecDeque::new(),
            epoch: known.map(|known| known.epoch),
            known,
            tries: 0,
            reading: Reading::Goes,
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

    /// Counts a failure to read where a partition stands. True where it may be tried again there.
    pub(super) fn may_try_again(&mut self, standing: &Standing) -> bool {
        let fetched = self.get_mut(standing);
        fetched.is_some_and(|fetched| {
            fetched.tries += 1;
            fetched.tries < TRIES
        })
    }

    /// Takes nothing more from a partition before it is fetched anew.
    pub(super) fn wait(&mut self, standing: &Standing) {
        if let Some(fetched) = self.get_mut(standing)
            && fetched.reading == Reading::Goes
        {
            fetched.reading = Reading::Waits;
        }
    }

    /// A partition is to be fetched anew: lets go of its queue. If that were done only when it has
    /// the next one, nobody would hear of what comes to that.
    pub(super) fn let_go(&mut self, standing: &Standing) {
        if let Some(fetched) = self.get_mut(standing) {
            fetched.records = None;
        }
    }

    /// A partition is fetched anew, and comes by this queue.
    pub(super) fn replace(&mut self, standing: &Standing, records: Records) {
        if let Some(fetched) = self.get_mut(standing) {
            fetched.records = Some(records);
            fetched.reading = Reading::Goes;
        }
    }

    /// Takes nothing more from a partition.
    pub(super) fn give_up(&mut self, standing: &Standing) {
        if let Some(fetched) = self.get_mut(standing) {
            fetched.reading = Reading::GivenUp;
        }
    }

    /// Whether a partition is still fetched, from there on and for the same pipeline.
    pub(super) fn stands(&mut self, standing: &Standing) -> bool {
        let fetched = self.get_mut(standing);
        fetched.is_some_and(|fetched| {
            fetched.next == standing.next && fetched.reading != Reading::GivenUp
        })
    }

    fn get_mut(&mut self, standing: &Standing) -> Option<&mut Fetched> {
        let TopicPartition { topic, partition } = &standing.partition;
        let fetched = self.0.get_mut(topic)?.get_mut(partition)?;
        (fetched.queue.generation() == standing.generation).then_some(fetched)
    }

    /// Every partition that is fetched.
    pub(super) fn all(&self) -> Vec<TopicPartition> {
        self.fetched()
            .map(|f| f.queue.partition().clone())
            .collect()
    }

    /// Where each of them stands.
    pub(super) fn standings(&self) -> Vec<Standing> {
        self.fetched().map(Fetched::standing).collect()
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
    fn standing(&self) -> Standing {
        Standing {
            partition: self.queue.partition().clone(),
            generation: self.queue.generation(),
            next: self.next,
        }
    }

    /// Takes a record. The error says that the log is not the one that was read before.
    fn take_event(&mut self, event: Event, epoch: Option<LeaderEpoch>) -> Result<(), String> {
        if self.next.includes(event.offset) {
            return self.recognise(&event, epoch);
        }
        self.known = None;
        self.tries = 0;
        if self.epoch != epoch {
            self.epoch = epoch;
            self.send(Item::Epoch(epoch));
        }
        self.next = event.offset.next();
        self.send(Item::Event(Arc::new(event)));
        Ok(())
    }

    /// Nothing is before this position, for now, that has not come.
    fn take_end(&mut self, position: NextOffset) {
        if position < self.next {
            return;
        }
        self.known = None;
        self.tries = 0;
        self.next = position;
        self.send(Item::Position(position));
    }

    /// Looks at a record from before the position.
    fn recognise(&self, event: &Event, epoch: Option<LeaderEpoch>) -> Result<(), String> {
        let (Some(known), Some(epoch)) = (self.known, epoch) else {
            return Ok(());
        };
        let offset = event.offset;
        if offset > known.offset {
            let last = known.offset;
            return Err(format!(
                "there is an event at offset {offset}, where there was none behind offset {last}"
            ));
        }
        if offset == known.offset && epoch != known.epoch {
            let before = known.epoch;
            return Err(format!(
                "the event at offset {offset} was written under leader epoch {epoch}, and the one \
                 that was folded under {before}"
            ));
        }
        Ok(())
    }

    fn take_turn(&mut self, turn: &mut Turn) {
        let reads = match self.reading {
            Reading::Goes => !self.full || self.has_room_again(),
            Reading::Waits | Reading::GivenUp => false,
        };
        if !reads {
            return;
        }
        let arrived = |records: &Records| records.arrived.swap(false, Ordering::AcqRel);
        if !self.records.as_ref().is_some_and(arrived) {
            return;
        }
        for _ in 0..TURN_RECORDS {
            let records = self.records.as_ref();
            let trouble = match records.and_then(|records| records.queue.poll()) {
                None => return,
                Some(Polled::Record(event, epoch)) => {
                    turn.delivered += 1;
                    self.take_event(event, epoch).err().map(Trouble::Diverged)
                }
                Some(Polled::End(position)) => {
                    turn.delivered += 1;
                    self.take_end(position);
                    None
                }
                Some(Polled::Failed(failure)) => Some(Trouble::Failed(failure)),
                Some(Polled::Nothing) => None,
            };
            if let Some(what) = trouble {
                let standing = self.standing();
                turn.reports.push(Report { standing, what });
                break;
            }
            if self.full {
                break;
            }
        }
        if let Some(records) = &self.records {
            records.arrived.store(true, Ordering::Release);
        }
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
    /// Gives a partition a queue of its own. To be called before each assignment.
    ///
    /// `None` where librdkafka knows no such partition.
    pub(super) fn split(
        consumer: &Arc<BaseConsumer<Context>>,
        bell: &Arc<Bell>,
        partition: &TopicPartition,
    ) -> Option<Self> {
        let (topic, partition) = (&partition.topic, partition.partition);
        // What came before the callback was there is not announced.
        let arrived = Arc::new(AtomicBool::new(true));
        let (arriving, bell) = (Arc::clone(&arrived), Arc::clone(bell));
        let queue = PartitionQueue::split(consumer, topic, partition, move || {
            arriving.store(true, Ordering::Release);
            bell.ring();
        })?;
        Some(Records { queue, arrived })
    }
}
