//! librdkafka's callbacks. They run on the polling thread, inside `poll`, and only take notes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use tracing::debug;

use crate::record::{NextOffset, TopicPartition};

/// What a callback noted.
#[derive(Debug)]
pub(super) enum Note {
    Assign(Vec<TopicPartition>),
    Revoke {
        partitions: Vec<TopicPartition>,
        lost: bool,
    },
    Ends(Vec<(TopicPartition, NextOffset)>),
    /// At least one broker is connected.
    BrokerUp,
}

/// All fields are used on the polling thread alone; librdkafka's bindings ask for `Sync`.
#[derive(Debug, Default)]
pub(super) struct Context {
    notes: Mutex<Vec<Note>>,
    /// Whether a callback has run since this was last asked.
    called: AtomicBool,
    closing: AtomicBool,
}

impl Context {
    pub(super) fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut *self.notes.lock().expect("no callback panics"))
    }

    /// Whether a callback has run since the last call. A poll that ran one brings nothing, although
    /// there may be more behind it.
    pub(super) fn take_called(&self) -> bool {
        self.called.swap(false, Ordering::Relaxed)
    }

    /// From now on rebalances are answered at once: nobody else is left to do it.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn called(&self) {
        self.called.store(true, Ordering::Relaxed);
    }

    fn note(&self, note: Note) {
        self.notes.lock().expect("no callback panics").push(note);
    }
}

impl ConsumerContext for Context {
    /// Takes a note instead of assigning: the offsets to start from are not known before the
    /// partitions are claimed. The consumer answers later, by `incremental_assign` or
    /// `incremental_unassign`, and until then librdkafka keeps the group membership alive.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        self.called();
        let partitions = list
            .elements()
            .iter()
            .map(|element| TopicPartition::new(element.topic(), element.partition()))
            .collect();
        if self.closing.load(Ordering::Relaxed) {
            if let Err(error) = consumer.unassign() {
                debug!(%error, "cannot give partitions up while closing");
            }
            return;
        }
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.note(Note::Assign(partitions));
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.note(Note::Revoke {
                partitions,
                lost: consumer.assignment_lost(),
            }),
            other => debug!(?other, "an unknown rebalance event"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.called();
        if let Err(error) = result {
            debug!(%error, "the stored position was not reported; nothing depends on it");
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.called();
        super::super::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.called();
        debug!(target: "librdkafka", %error, "{reason}");
    }

    fn stats(&self, statistics: Statistics) {
        self.called();
        let mut ends = Vec::new();
        for (topic, statistics) in &statistics.topics {
            for (partition, statistics) in &statistics.partitions {
                // What a reader of committed records can see; negative until it is known.
                if statistics.ls_offset >= 0 {
                    let partition = TopicPartition::new(topic.as_str(), *partition);
                    ends.push((partition, NextOffset(statistics.ls_offset)));
                }
            }
        }
        if !ends.is_empty() {
            self.note(Note::Ends(ends));
        }
        if statistics
            .brokers
            .values()
            .any(|broker| broker.state == "UP")
        {
            self.note(Note::BrokerUp);
        }
    }
}
