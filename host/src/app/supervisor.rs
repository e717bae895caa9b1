//! Runs a projection in one copy, and again where it has ended for a reason that may pass: a topic
//! that is created later, a right that is granted, credentials that are put right.
//!
//! Guarantees:
//! - What waits is shown, with the reason and a word for programs; it is tried again after a second,
//!   and then after twice as long each time, up to a minute.
//! - What another configuration alone can change, or what would go on over other events than
//!   before, is not tried again.
//!
//! Not here: partitions that stand still, which the runner claims again by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::runners::{self, Parts};
use super::{Error, Plugin, VIEW_VERSION, label, startup};
use crate::config::Config;
use crate::kafka;
use crate::pipeline::backoff::Backoff;
use crate::pipeline::failure::{Failure, Outlook};
use crate::pipeline::runner::Failed;
use crate::record::{NextOffset, TopicPartition};
use crate::store::CheckpointId;
use crate::telemetry::health::{ProjectionState, describe};

const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_mins(1);

/// Credentials that are refused for so long after the projection has ended are wrong: others are
/// known to a new start only.
const LOCKED_OUT_MAX: Duration = Duration::from_secs(30);

/// A projection in one copy of its store.
pub(super) struct Supervised {
    config: Arc<Config>,
    plugin: Arc<Plugin>,
    parts: Parts,
    /// What it is called on the board.
    label: Arc<str>,
    /// How many partitions its topics had together when they were last counted.
    partitions: usize,
    /// Why it does not run, where it does not.
    failed: Option<Error>,
    /// Since when the brokers have not let it in.
    locked_out: Option<Instant>,
    backoff: Backoff,
}

impl Supervised {
    /// `found` is how many partitions its topics have together, or why that is not known.
    pub(super) fn new(
        config: &Arc<Config>,
        plugin: &Arc<Plugin>,
        parts: Parts,
        found: Result<usize, Error>,
    ) -> Self {
        let label = label(&plugin.name, &plugin.projection.store, &parts.copy);
        let (partitions, failed) = match found {
            Ok(partitions) => (partitions, None),
            Err(error) => (0, Some(error)),
        };
        Supervised {
            config: Arc::clone(config),
            plugin: Arc::clone(plugin),
            parts,
            label,
            partitions,
            failed,
            locked_out: None,
            backoff: Backoff::new(AGAIN_FIRST, AGAIN_MAX),
        }
    }

    /// Runs until `stop` is cancelled and everything is drained, or until it has failed for good.
    ///
    /// # Errors
    /// Why it failed, also where it would have been tried again.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        loop {
            let failed = match self.failed.take() {
                Some(failed) => failed,
                None => match self.run_once(&stop).await {
                    Ok(()) => return Ok(()),
                    Err(failed) => failed,
                },
            };
            self.wait(failed, &stop).await?;
            info!(projection = %self.label, "trying again");
            self.show(ProjectionState::Joining);
        }
    }

    async fn run_once(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let started = Instant::now();
        let parts = self.parts.clone();
        let runner = runners::build(&self.config, &self.plugin, parts, self.partitions)?;
        let ended = runner.run(stop.clone()).await;
        if started.elapsed() > AGAIN_MAX {
            self.backoff.reset();
        }
        self.locked_out = None;
        Ok(ended?)
    }

    /// Waits until it is worth running again. The error says why it is not, or that `stop` was
    /// faster.
    async fn wait(&mut self, mut failed: Error, stop: &CancellationToken) -> Result<(), Error> {
        loop {
            let (code, reason) = (code(&failed), reason(&failed));
            if self.is_final(&failed) {
                error!(projection = %self.label, code, "failed: {reason}");
                self.show(ProjectionState::Failed { code, reason });
                return Err(self.ended_by(failed));
            }
            let pause = self.backoff.next_delay();
            let pause_ms = u64::try_from(pause.as_millis()).expect("a minute at most");
            warn!(projection = %self.label, code, pause_ms, "failed, trying again: {reason}");
            self.show(ProjectionState::Waiting { code, reason });
            let looked = stop.run_until_cancelled(async {
                tokio::time::sleep(pause).await;
                self.look(&failed).await
            });
            match looked.await {
                None => return Err(self.ended_by(failed)),
                Some(Looked::Well(partitions)) => {
                    self.partitions = partitions;
                    return Ok(());
                }
                Some(Looked::AsBefore) => {}
                Some(Looked::Failed(error)) => failed = error,
            }
        }
    }

    /// Whether it can be run again, as far as that shows from outside.
    async fn look(&self, failed: &Error) -> Looked {
        let projection = &self.plugin.projection;
        let deleted = match outlook(failed) {
            Outlook::Deleted { topic } => Some(topic),
            Outlook::MayPass | Outlook::LockedOut | Outlook::Stays => None,
        };
        let found = startup::count_partitions(projection, &self.parts.metadata).await;
        match (found, deleted) {
            // That it was deleted is not to be forgotten over anything that comes later.
            (Err(_), Some(_)) => Looked::AsBefore,
            (Err(error), None) => Looked::Failed(error),
            (Ok(partitions), None) => Looked::Well(partitions),
            (Ok(partitions), Some(topic)) => {
                match self
                    .is_unread(&topic, partitions.max(self.partitions))
                    .await
                {
                    Some(true) => Looked::Well(partitions),
                    Some(false) => Looked::Failed(self.made_again(&topic)),
                    None => Looked::AsBefore,
                }
            }
        }
    }

    /// Whether nothing of a topic was ever folded; `None` where the store does not say.
    async fn is_unread(&self, topic: &str, partitions: usize) -> Option<bool> {
        for partition in 0..i32::try_from(partitions).expect("partitions are few") {
            let checkpoint = CheckpointId {
                projection: Arc::clone(&self.plugin.name),
                version: VIEW_VERSION,
                copy: self.parts.copy.as_str().into(),
                partition: TopicPartition::new(topic, partition),
            };
            let found = self.parts.store.checkpoint(&checkpoint).await.ok()?;
            if found.is_some_and(|found| found.next > NextOffset::ZERO) {
                return Some(false);
            }
        }
        Some(true)
    }

    /// To go on would fold the new events over documents of the old ones.
    fn made_again(&self, topic: &str) -> Error {
        let reason = format!(
            "topic \"{topic}\" was deleted and made again; give the projection another database or \
             file, for the events that made its documents are gone, or take the topic out of its \
             topics, and start the host again"
        );
        Error::Projection(Failed {
            projection: Arc::clone(&self.label),
            failure: Failure {
                code: "topic-deleted",
                reason,
                outlook: Outlook::Stays,
            },
        })
    }

    /// That Kafka does not answer is a reason for the host to give up at its start alone; from then
    /// on it is the projection that has failed.
    fn ended_by(&self, failed: Error) -> Error {
        if !failed.is_unavailable() {
            return failed;
        }
        Error::Projection(Failed {
            projection: Arc::clone(&self.label),
            failure: Failure {
                code: code(&failed),
                reason: reason(&failed),
                outlook: outlook(&failed),
            },
        })
    }

    fn is_final(&mut self, failed: &Error) -> bool {
        match outlook(failed) {
            Outlook::MayPass | Outlook::Deleted { .. } => {
                self.locked_out = None;
                false
            }
            Outlook::LockedOut => {
                let since = *self.locked_out.get_or_insert_with(Instant::now);
                since.elapsed() >= LOCKED_OUT_MAX
            }
            Outlook::Stays => true,
        }
    }

    fn show(&self, state: ProjectionState) {
        self.parts.health.set_projection(&self.label, state);
    }
}

/// What a look from outside has shown.
enum Looked {
    /// All topics are there, of so many partitions together.
    Well(usize),
    AsBefore,
    Failed(Error),
}

fn outlook(error: &Error) -> Outlook {
    match error {
        Error::Projection(Failed { failure, .. }) => failure.outlook.clone(),
        Error::Kafka(kafka::Error::NotAuthenticated { .. }) => Outlook::LockedOut,
        Error::Kafka(
            kafka::Error::NoTopic { .. }
            | kafka::Error::Topic { .. }
            | kafka::Error::Unreachable { .. }
            | kafka::Error::Silent { .. }
            | kafka::Error::Thread(_),
        ) => Outlook::MayPass,
        Error::Kafka(kafka::Error::Config(_))
        | Error::Plugins(_)
        | Error::Secrets(_)
        | Error::UnknownViews { .. }
        | Error::Engine(_)
        | Error::Metrics(_)
        | Error::Admin(_)
        | Error::Gateway(_)
        | Error::Budget(_)
        | Error::OpenFiles { .. }
        | Error::Store { .. }
        | Error::Versions { .. } => Outlook::Stays,
    }
}

/// A word for programs; it never changes.
fn code(error: &Error) -> &'static str {
    match error {
        Error::Projection(Failed { failure, .. }) => failure.code,
        Error::Kafka(kafka::Error::NoTopic { .. }) => "topic-missing",
        Error::Kafka(kafka::Error::Topic { .. }) => "kafka-refused",
        Error::Kafka(kafka::Error::Unreachable { .. } | kafka::Error::Silent { .. }) => {
            "kafka-unreachable"
        }
        Error::Kafka(kafka::Error::NotAuthenticated { .. }) => "credentials-refused",
        Error::Kafka(kafka::Error::Config(_) | kafka::Error::Thread(_))
        | Error::Plugins(_)
        | Error::Secrets(_)
        | Error::UnknownViews { .. }
        | Error::Engine(_)
        | Error::Metrics(_)
        | Error::Admin(_)
        | Error::Gateway(_)
        | Error::Budget(_)
        | Error::OpenFiles { .. }
        | Error::Store { .. }
        | Error::Versions { .. } => "cannot-start",
    }
}

fn reason(error: &Error) -> String {
    match error {
        // The projection is named beside it.
        Error::Projection(Failed { failure, .. }) => failure.reason.clone(),
        other => describe(other),
    }
}
