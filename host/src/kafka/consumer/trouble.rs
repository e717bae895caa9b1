//! What goes wrong with the consumer, and with one of its partitions: what may pass, what is looked
//! into by the pipeline, and what ends the consumer.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use tracing::{debug, error, warn};

use super::super::codes::{self, CREDENTIALS, Meaning};
use super::super::native::queue;
use super::partitions::{Records, Report, Trouble};
use super::{PollThread, list};
use crate::pipeline::failure::{Failure, Outlook};
use crate::pipeline::intake::{Notice, Standing};
use crate::telemetry::recurring;

/// Credentials that are refused again after so long are wrong. A broker that goes down in the middle
/// of a connection's first steps looks the same, for a moment. librdkafka tells the same again every
/// half a minute, at times counted from a trouble before: with no less than that here, its second
/// word could come just too early, and only the third would count.
const LOCKED_OUT_MAX: Duration = Duration::from_secs(20);

/// What librdkafka's text has in it where it finds by the leader's epoch (KIP-320) that a log was cut
/// off below a position; its code is that of any position that cannot be read.
const TRUNCATED: &str = "log truncation detected";

impl PollThread {
    /// What a partition's queue brought that is no record.
    pub(super) fn failed_at(&mut self, Report { standing, what }: Report) {
        let queue::Failure { code, text } = match what {
            Trouble::Failed(failure) => failure,
            Trouble::Diverged(evidence) => return self.diverged(standing, evidence),
        };
        match codes::meaning(code) {
            Meaning::OutOfRange if text.contains(TRUNCATED) => self.diverged(standing, text),
            Meaning::OutOfRange => {
                self.partitions.wait(&standing);
                self.outbox.push_back(Notice::OutOfRange(vec![standing]));
            }
            Meaning::Unreadable => {
                warn!(partition = %standing.partition, offset = standing.next.0, "{code}: {text}");
                if self.partitions.may_try_again(&standing) {
                    self.partitions.wait(&standing);
                    self.again.push(standing);
                } else {
                    self.give_up(&standing);
                    let reason = format!("{code}: {text}");
                    self.outbox.push_back(Notice::Unreadable(standing, reason));
                }
            }
            _ => self.failed_by(code),
        }
        self.send_notices();
    }

    /// The log is not the one that was read before.
    fn diverged(&mut self, standing: Standing, evidence: String) {
        self.give_up(&standing);
        self.outbox.push_back(Notice::Diverged(standing, evidence));
        self.send_notices();
    }

    /// Fetches partitions again from where they stand, as soon as no rebalance is to be answered.
    pub(super) fn fetch_again(&mut self) {
        if self.unanswered > 0 {
            return;
        }
        for standing in std::mem::take(&mut self.again) {
            // It may have been given up, or have gone on by itself.
            if !self.partitions.stands(&standing) {
                continue;
            }
            let partition = &standing.partition;
            if let Err(error) = self.fetch_anew(&standing) {
                let reason = format!("cannot fetch {partition} again: {error}");
                self.fail(Failure::of_consumer(reason));
            }
        }
    }

    /// Once librdkafka has reported a position that it cannot read, it fetches no more from there: a
    /// new assignment it takes.
    fn fetch_anew(&mut self, standing: &Standing) -> Result<(), KafkaError> {
        let partition = &standing.partition;
        let mut list = list(std::slice::from_ref(partition));
        self.consumer.incremental_unassign(&list)?;
        self.partitions.let_go(standing);
        let Some(records) = Records::split(&self.consumer, &self.bell, partition) else {
            return Ok(());
        };
        list.set_all_offsets(KafkaOffset::Offset(standing.next.0))?;
        self.consumer.incremental_assign(&list)?;
        self.partitions.replace(standing, records);
        Ok(())
    }

    /// Takes nothing more from a partition, and ends the fetches that nobody would take.
    fn give_up(&mut self, standing: &Standing) {
        self.partitions.give_up(standing);
        let list = list(std::slice::from_ref(&standing.partition));
        if let Err(error) = self.consumer.pause(&list) {
            debug!(%error, "cannot pause partitions; what comes of them is dropped");
        }
    }

    pub(super) fn failed(&mut self, error: &KafkaError) {
        match error {
            KafkaError::MessageConsumption(code) | KafkaError::MessageConsumptionFatal(code) => {
                self.failed_by(*code);
            }
            other => debug!(error = %other, "the consumer reports"),
        }
        self.send_notices();
    }

    fn failed_by(&mut self, code: RDKafkaErrorCode) {
        match codes::meaning(code) {
            // librdkafka tries again. What cannot be read is told of its partition.
            Meaning::Passing | Meaning::Unreadable => {
                if recurring::admit("Kafka", "", &code.to_string()) {
                    warn!(%code, "Kafka reports");
                }
            }
            Meaning::Away => self.unreachable("no broker can be reached".to_owned()),
            Meaning::NotAuthenticated => {
                let since = *self.locked_out.get_or_insert_with(Instant::now);
                let reason = format!("the brokers do not let this host in; {CREDENTIALS}");
                if since.elapsed() < LOCKED_OUT_MAX {
                    self.unreachable(reason);
                } else {
                    self.fail(Failure {
                        code: "credentials-refused",
                        reason,
                        outlook: Outlook::LockedOut,
                    });
                }
            }
            Meaning::Missing => self
                .outbox
                .push_back(Notice::TopicsInDoubt(self.topics.clone())),
            Meaning::OutOfRange => {
                let standings = self.partitions.standings();
                self.outbox.push_back(Notice::OutOfRange(standings));
            }
            Meaning::GivenUp => {
                let cause = self.consumer.client().fatal_error();
                let (code, text) = cause.unwrap_or((code, code.to_string()));
                let (way_out, outlook) = match codes::meaning(code) {
                    Meaning::Refused(way_out) => (way_out, Outlook::MayPass),
                    Meaning::Never(way_out) => (way_out, Outlook::Stays),
                    _ => ("it is tried again with a new one", Outlook::MayPass),
                };
                self.fail(Failure {
                    code: "consumer-ended",
                    reason: format!("the consumer cannot go on: {text}; {way_out}"),
                    outlook,
                });
            }
            Meaning::Refused(way_out) => self.refused(code, way_out, Outlook::MayPass),
            Meaning::Never(way_out) => self.refused(code, way_out, Outlook::Stays),
        }
    }

    fn unreachable(&mut self, reason: String) {
        self.reachable = false;
        self.outbox.push_back(Notice::Unreachable(reason));
    }

    fn refused(&mut self, code: RDKafkaErrorCode, way_out: &str, outlook: Outlook) {
        self.fail(Failure {
            code: "kafka-refused",
            reason: format!("Kafka refuses: {code}; {way_out}"),
            outlook,
        });
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        error!(code = failure.code, "{failure}");
        self.outbox.push_back(Notice::Failed(failure));
    }
}
