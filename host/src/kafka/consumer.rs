//! The consumer: one thread that follows a consumer group and feeds the pipeline.
//!
//! Guarantees:
//! - The thread waits for nothing but Kafka and its commands. Rebalances become notices; they are
//!   carried out when the pipeline answers, and librdkafka keeps the group's heart beating
//!   meanwhile.
//! - A partition starts at the offset that the pipeline names, in one call, and nothing is
//!   fetched before. Records that still arrive for a partition that was given up are dropped.
//! - What a full queue has no room for stays in librdkafka, which fetches no more of that partition
//!   before long; polling goes on.
//!
//! Not here: what the records mean (`pipeline`).
//! On its end: what is stored is reported to Kafka for tools that look there, the group is left,
//! but by a static member, whose partitions wait for its return until its session has timed out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{Connection, Error};
use crate::pipeline::failure::Failure;
use crate::pipeline::intake::{Command, Notice, SourceHandle, Standing, Start};
use crate::pipeline::queue::{Item, Sent, Waker};
use crate::record::{NextOffset, TopicPartition};

mod context;
mod partitions;
#[cfg(test)]
mod tests;
mod trouble;

use context::{Context, Note};
use partitions::{Bell, Partitions, Records};

/// What to consume.
pub struct Options {
    pub connection: Connection,
    pub group_id: String,
    pub membership: Membership,
    pub topics: Vec<String>,
    /// How many partitions the topics have together when the host starts: many share what is read
    /// ahead of the pipeline.
    pub partitions: usize,
}

/// How this host takes part in its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// One of the members assigns partitions, cooperative-sticky.
    Classic {
        /// Of a static member: its name, under which it comes back to the partitions it had.
        instance: Option<String>,
    },
    /// The broker assigns partitions (KIP-848).
    Consumer,
}

/// A consumer whose thread is running.
pub struct Started {
    pub handle: SourceHandle,
    /// Ends when the thread has left the group, or could not go on.
    pub notices: mpsc::Receiver<Notice>,
}

struct PollThread {
    consumer: Arc<BaseConsumer<Context>>,
    commands: mpsc::Receiver<Command>,
    notices: mpsc::Sender<Notice>,
    /// Notices that found no room yet; their order matters.
    outbox: VecDeque<Notice>,
    partitions: Partitions,
    bell: Arc<Bell>,
    /// Rebalances that the pipeline has not answered. librdkafka takes any change of the
    /// assignment for the answer, so others wait.
    unanswered: usize,
    waiting: Vec<Start>,
    /// Partitions that are to be fetched anew from where they stand.
    again: Vec<Standing>,
    reported: Instant,
    reachable: bool,
    /// Since when the brokers have not let this host in, where they do not.
    locked_out: Option<Instant>,
    topics: Vec<String>,
}

/// Notices and commands are few: some for each rebalance.
const MAILBOX: usize = 64;

/// How often what is stored is reported to Kafka.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How long the thread sleeps at most when nothing wakes it.
const IDLE: Duration = Duration::from_millis(100);

/// How long the thread lets events come together when the first one wakes it. Each time it wakes,
/// so do the domain and a thread of the runtime; where each event comes by itself, that takes more
/// processor time than all the rest.
const GATHER: Duration = Duration::from_millis(2);

/// Starts a consumer on a thread of its own.
pub fn start(options: Options) -> Result<Started, Error> {
    let mut config = options.connection.consumer_config(options.partitions);
    config
        .set("group.id", &options.group_id)
        // The store's checkpoints decide; Kafka's offsets are for tools that look there.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A position that the topic does not hold any more is an error, not a place to skip from.
        .set("auto.offset.reset", "error")
        // Says when a partition's end is reached, also behind records that are not delivered, and
        // where no record is delivered at all.
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed");
    match options.membership {
        Membership::Classic { instance } => {
            config
                .set("group.protocol", "classic")
                .set("partition.assignment.strategy", "cooperative-sticky");
            if let Some(instance) = instance {
                config.set("group.instance.id", instance);
            }
        }
        Membership::Consumer => {
            config.set("group.protocol", "consumer");
        }
    }
    if config.get("statistics.interval.ms").is_none() {
        config.set("statistics.interval.ms", "5000");
    }
    let mut consumer: BaseConsumer<Context> = config
        .create_with_context(Context::default())
        .map_err(|error| options.connection.refused(&error))?;
    let topics: Vec<&str> = options.topics.iter().map(String::as_str).collect();
    consumer
        .subscribe(&topics)
        .map_err(|error| options.connection.refused(&error))?;

    let (commands_sender, commands) = mpsc::channel(MAILBOX);
    let (notices, notices_receiver) = mpsc::channel(MAILBOX);
    let (thread_sender, thread_receiver) = std::sync::mpsc::sync_channel::<Thread>(1);
    std::thread::Builder::new()
        .name(format!("poll {}", options.group_id))
        .spawn(move || {
            let thread = std::thread::current();
            let bell = Bell::new(thread.clone());
            let ringer = Arc::clone(&bell);
            consumer.set_nonempty_callback(move || ringer.ring());
            // The starter waits for this, so it is there.
            drop(thread_sender.send(thread));
            PollThread {
                consumer: Arc::new(consumer),
                commands,
                notices,
                outbox: VecDeque::new(),
                partitions: Partitions::default(),
                bell,
                unanswered: 0,
                waiting: Vec::new(),
                again: Vec::new(),
                reported: Instant::now(),
                reachable: true,
                locked_out: None,
                topics: options.topics,
            }
            .run();
        })
        .map_err(Error::Thread)?;
    let thread = thread_receiver
        .recv()
        .map_err(|_| Error::Thread(std::io::Error::other("the consumer's thread ended")))?;
    Ok(Started {
        handle: SourceHandle {
            commands: commands_sender,
            waker: Waker::new(move || thread.unpark()),
        },
        notices: notices_receiver,
    })
}

/// Whether the thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Continue,
    Leave,
}

impl PollThread {
    fn run(mut self) {
        let consumer = Arc::clone(&self.consumer);
        while self.take_commands() == Flow::Continue {
            self.fetch_again();
            self.fetch_waiting();
            match consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => self.strayed(message.topic(), message.partition()),
                Some(Err(error)) => self.failed(&error),
                None => {
                    self.take_notes();
                    self.send_notices();
                    self.report_if_due();
                    let called = consumer.context().take_called();
                    if !self.take_turn() && !called {
                        self.wait();
                    }
                }
            }
        }
        drop(consumer);
        self.leave();
    }

    /// Waits for whatever comes first: events, a command, or a while.
    fn wait(&self) {
        std::thread::park_timeout(IDLE);
        if self.bell.take() {
            std::thread::park_timeout(GATHER);
        }
    }

    /// Takes what has come to the partitions' own queues. False where it was nothing.
    fn take_turn(&mut self) -> bool {
        let turn = self.partitions.take_turn();
        if turn.delivered > 0 && !self.reachable {
            self.reached();
        }
        let any = turn.delivered > 0 || !turn.reports.is_empty();
        for report in turn.reports {
            self.failed_at(report);
        }
        any
    }

    fn take_commands(&mut self) -> Flow {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Acknowledge) => self.acknowledge(),
                Ok(Command::Fetch(starts)) => self.waiting.extend(starts),
                Ok(Command::FetchAgain(standing)) => self.again.push(standing),
                Ok(Command::Release(partitions)) => self.answer_revocation(&partitions),
                // A pipeline that is gone has no use for events.
                Ok(Command::Leave) | Err(mpsc::error::TryRecvError::Disconnected) => {
                    return Flow::Leave;
                }
                Err(mpsc::error::TryRecvError::Empty) => return Flow::Continue,
            }
        }
    }

    /// Answers an assignment: the partitions themselves follow, each as it is claimed.
    fn acknowledge(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if let Err(error) = self.consumer.incremental_assign(&TopicPartitionList::new()) {
            let reason = format!("cannot answer an assignment: {error}");
            self.fail(Failure::of_consumer(reason));
        }
    }

    fn answer_revocation(&mut self, partitions: &[TopicPartition]) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.waiting
            .retain(|start| !partitions.contains(start.queue.partition()));
        self.release(partitions);
    }

    /// Starts fetching, on top of what is fetched already.
    fn fetch_waiting(&mut self) {
        if self.waiting.is_empty() || self.unanswered > 0 {
            return;
        }
        let starts = std::mem::take(&mut self.waiting);
        let again: Vec<TopicPartition> = starts
            .iter()
            .map(|start| start.queue.partition().clone())
            .filter(|partition| self.partitions.contains(partition))
            .collect();
        if !again.is_empty() {
            self.release(&again);
        }
        let mut list = TopicPartitionList::new();
        for start in &starts {
            let partition = start.queue.partition();
            list.add_partition_offset(
                &partition.topic,
                partition.partition,
                KafkaOffset::Offset(start.fetch_from().0),
            )
            .expect("an offset is a valid position");
        }
        let records = starts.iter().map(|start| {
            let partition = start.queue.partition();
            Records::split(&self.consumer, &self.bell, partition)
        });
        let Some(records) = records.collect::<Option<Vec<_>>>() else {
            let reason = "cannot assign partitions: one has no queue in librdkafka";
            self.fail(Failure::of_consumer(reason.to_owned()));
            return;
        };
        if let Err(error) = self.consumer.incremental_assign(&list) {
            let reason = format!("cannot assign partitions: {error}");
            self.fail(Failure::of_consumer(reason));
            return;
        }
        for (start, records) in starts.into_iter().zip(records) {
            self.partitions.add(start, records);
        }
    }

    fn release(&mut self, partitions: &[TopicPartition]) {
        self.report(CommitMode::Async);
        let list = list(&self.partitions.remove(partitions));
        // One that could not be read is paused, and would stay so in its next assignment.
        if let Err(error) = self.consumer.resume(&list) {
            debug!(%error, "cannot resume partitions");
        }
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            // They may be lost already. The claims of their next owners protect them.
            warn!(%error, "cannot give partitions up");
        }
    }

    /// Announces what the callbacks of the last polls noted.
    fn take_notes(&mut self) {
        for note in self.consumer.context().take_notes() {
            match note {
                Note::Assign(partitions) => {
                    self.unanswered += 1;
                    self.outbox.push_back(Notice::Assigned(partitions));
                }
                Note::Revoke { partitions, lost } => {
                    self.unanswered += 1;
                    self.outbox.push_back(Notice::Revoked { partitions, lost });
                }
                Note::Ends(ends) => self.outbox.push_back(Notice::Ends(ends)),
                // Every few seconds, for it may have been a claim that missed Kafka.
                Note::BrokerUp => self.reached(),
            }
        }
    }

    /// Records come by the queues of their partitions. Where one that somebody waits for does not,
    /// others of its partition may have overtaken it.
    fn strayed(&mut self, topic: &str, partition: i32) {
        let partition = TopicPartition::new(topic, partition);
        if self.partitions.contains(&partition) {
            self.fail(Failure::of_consumer(format!(
                "a record of {partition} came by another way than the others"
            )));
        }
    }

    fn reached(&mut self) {
        self.reachable = true;
        self.locked_out = None;
        self.outbox.push_back(Notice::Reachable);
    }

    /// Hands notices over as far as there is room, and never waits.
    fn send_notices(&mut self) {
        while let Some(notice) = self.outbox.pop_front() {
            match self.notices.try_send(notice) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(notice)) => {
                    self.outbox.push_front(notice);
                    return;
                }
                // The pipeline is gone; the next look at the commands says so.
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    }

    fn report_if_due(&mut self) {
        if self.reported.elapsed() >= REPORT_INTERVAL {
            self.report(CommitMode::Async);
        }
    }

    /// Reports what is stored to Kafka.
    fn report(&mut self, mode: CommitMode) {
        self.reported = Instant::now();
        let stored = self.partitions.take_progress();
        if stored.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (partition, NextOffset(next)) in stored {
            list.add_partition_offset(
                &partition.topic,
                partition.partition,
                KafkaOffset::Offset(next),
            )
            .expect("an offset is a valid position");
        }
        if let Err(error) = self.consumer.commit(&list, mode) {
            debug!(%error, "cannot report the stored position; nothing depends on it");
        }
    }

    /// Leaves the group. Everything is drained by now, or given up for good.
    fn leave(mut self) {
        self.report(CommitMode::Sync);
        self.consumer.context().close();
        // An unanswered rebalance would hold the closing up for ever. Answers to none are
        // harmless, and what fails here is over anyway.
        drop(self.consumer.incremental_assign(&TopicPartitionList::new()));
        let all = self.partitions.all();
        self.release(&all);
        // Closes the consumer: it leaves the group and may wait for the broker, on this thread.
        drop(self.consumer);
        drop(self.notices);
    }
}

fn list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}
