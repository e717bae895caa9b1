//! What the host knows of its own state, for `/health/ready`, the metrics and the demo.
//!
//! The stages write, the admin server reads. Nothing here decides anything.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use ::metrics::{Gauge, gauge};
use dashmap::{DashMap, DashSet};
use serde::{Serialize, Serializer};
use tokio::sync::watch;

use super::metrics::{forget_partition, partition_labels};
use crate::record::{NextOffset, TopicPartition};

mod reachability;
mod redacted;

pub use reachability::{Outage, Reachability};

/// The shared board. Cloning it shares it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    board: Arc<Board>,
}

#[derive(Debug, Default)]
struct Board {
    partitions: DashMap<(Arc<str>, TopicPartition), PartitionHealth>,
    projections: DashMap<Arc<str>, ProjectionState>,
    /// What each projection is to run.
    plugins: DashMap<Arc<str>, Arc<str>>,
    /// Kafka and the stores that do not answer, by what they are called in messages.
    unreachable: DashMap<String, Outage>,
    /// Projections and stores that the host can do without for a while: further copies.
    spare: DashSet<Arc<str>>,
    /// Counts how often a checkpoint has moved.
    moves: watch::Sender<u64>,
}

/// One partition of one projection on this host.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionHealth {
    #[serde(flatten)]
    pub state: PartitionState,
    /// When it came into this state.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    /// The checkpoint in the store.
    pub next: i64,
    /// The end of the partition, where it is known.
    pub end: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum PartitionState {
    Claiming,
    Running,
    Draining,
    /// It stands still until somebody acts.
    Stopped {
        /// A word that never changes (`pipeline::stop`).
        code: &'static str,
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ProjectionState {
    /// It has not been given its partitions by the group yet.
    Joining,
    Running,
    /// It has ended for a reason that may pass, and is tried again.
    Waiting {
        /// A word that never changes (`pipeline::failure`).
        code: &'static str,
        reason: String,
    },
    /// It has ended for good.
    Failed {
        code: &'static str,
        reason: String,
    },
    Ended,
}

/// What `/health/ready` answers.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    pub ready: bool,
    /// Why not; empty where ready.
    pub reasons: Vec<String>,
    /// What is wrong with further copies, of which the others make up for.
    pub degraded: Vec<String>,
    /// What does not answer.
    pub unreachable: BTreeMap<String, Outage>,
    pub projections: BTreeMap<String, ProjectionHealth>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ProjectionHealth {
    #[serde(flatten)]
    pub state: ProjectionState,
    /// SHA-256 of the plugin that it runs, or changes over to with its next batch; `None` until
    /// that is known.
    pub plugin: Option<String>,
    pub partitions: BTreeMap<String, PartitionHealth>,
}

impl Health {
    pub fn set_projection(&self, projection: &Arc<str>, state: ProjectionState) {
        self.board.projections.insert(Arc::clone(projection), state);
    }

    pub fn projection(&self, projection: &str) -> Option<ProjectionState> {
        self.board
            .projections
            .get(projection)
            .map(|state| state.clone())
    }

    /// The host is ready without this projection or store, the latter as it is called in messages.
    pub fn set_spare(&self, what: &str) {
        self.board.spare.insert(what.into());
    }

    /// The projection runs the plugin with this hash from its next batch on.
    pub fn set_plugin(&self, projection: &Arc<str>, hash: &Arc<str>) {
        let plugins = &self.board.plugins;
        plugins.insert(Arc::clone(projection), Arc::clone(hash));
    }

    fn plugin(&self, projection: &str) -> Option<String> {
        let hash = self.board.plugins.get(projection)?;
        Some(hash.to_string())
    }

    pub fn set_partition(
        &self,
        projection: &Arc<str>,
        partition: &TopicPartition,
        state: PartitionState,
    ) {
        let mut entry = self
            .board
            .partitions
            .entry((Arc::clone(projection), partition.clone()))
            .or_insert_with(|| PartitionHealth {
                state: PartitionState::Claiming,
                since: SystemTime::now(),
                next: 0,
                end: None,
            });
        if entry.state != state {
            entry.state = state;
            entry.since = SystemTime::now();
        }
    }

    /// The store's checkpoint has moved.
    pub fn set_next(&self, projection: &Arc<str>, partition: &TopicPartition, next: NextOffset) {
        let key = (Arc::clone(projection), partition.clone());
        if let Some(mut entry) = self.board.partitions.get_mut(&key) {
            entry.next = next.0;
            entry.publish(projection, partition);
        }
        self.board.moves.send_modify(|moves| *moves += 1);
    }

    /// Changes whenever a checkpoint of this host has moved; [`Health::positions`] has the new one.
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.board.moves.subscribe()
    }

    /// The end of a partition has become known.
    pub fn set_end(&self, projection: &Arc<str>, partition: &TopicPartition, end: NextOffset) {
        let key = (Arc::clone(projection), partition.clone());
        if let Some(mut entry) = self.board.partitions.get_mut(&key) {
            entry.end = Some(end.0);
            entry.publish(projection, partition);
        }
    }

    /// The partition is not this host's any more.
    pub fn remove_partition(&self, projection: &Arc<str>, partition: &TopicPartition) {
        let key = (Arc::clone(projection), partition.clone());
        self.board.partitions.remove(&key);
        forget_partition(projection, partition);
    }

    /// Tells numbers of a partition, where it is still this host's: who gives it up may be told of
    /// its last commit afterwards.
    pub fn set_gauges(
        &self,
        projection: &Arc<str>,
        partition: &TopicPartition,
        numbers: &[(&'static str, f64)],
    ) {
        let key = (Arc::clone(projection), partition.clone());
        // Held meanwhile, so that to be removed comes afterwards.
        let Some(_entry) = self.board.partitions.get(&key) else {
            return;
        };
        let labels = partition_labels(projection, partition);
        for (name, number) in numbers {
            gauge!(*name, &labels).set(*number);
        }
    }

    /// The checkpoints of a projection's partitions on this host.
    pub fn positions(&self, projection: &str) -> BTreeMap<TopicPartition, NextOffset> {
        self.board
            .partitions
            .iter()
            .filter(|entry| &*entry.key().0 == projection)
            .map(|entry| (entry.key().1.clone(), NextOffset(entry.next)))
            .collect()
    }

    pub fn reachability(&self, what: impl Into<Arc<str>>) -> Reachability {
        Reachability::new(self.clone(), what.into())
    }

    /// What does not answer, by what it is called in messages.
    pub fn outages(&self) -> BTreeMap<String, Outage> {
        let unreachable = self.board.unreachable.iter();
        unreachable
            .map(|entry| (entry.key().clone(), entry.value().clone()))
            .collect()
    }

    /// Ready means: every projection has its partitions claimed, nothing stands still, and what
    /// the host depends on answers.
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        let mut degraded = Vec::new();
        let mut note = |what: &str, reason: String| match self.board.spare.contains(what) {
            true => degraded.push(reason),
            false => reasons.push(reason),
        };
        let unreachable = self.outages();
        for (what, outage) in &unreachable {
            let since = humantime::format_rfc3339_seconds(outage.since);
            let reason = &outage.reason;
            note(
                what,
                format!("{what} does not answer since {since}: {reason}"),
            );
        }
        let mut projections: BTreeMap<String, ProjectionHealth> = BTreeMap::new();
        for entry in &self.board.projections {
            let name = entry.key();
            match entry.value() {
                ProjectionState::Joining => {
                    let reason = format!("projection \"{name}\" has not joined its group yet");
                    note(name, reason);
                }
                ProjectionState::Running => {}
                ProjectionState::Waiting { reason, .. } => {
                    let reason = format!(
                        "projection \"{name}\" has failed: {reason}; it is tried again by itself"
                    );
                    note(name, reason);
                }
                ProjectionState::Failed { reason, .. } => {
                    note(name, format!("projection \"{name}\" has failed: {reason}"));
                }
                ProjectionState::Ended => {
                    note(name, format!("projection \"{name}\" has ended"));
                }
            }
            let health = ProjectionHealth {
                state: entry.value().clone(),
                plugin: self.plugin(name),
                partitions: BTreeMap::new(),
            };
            projections.insert(name.to_string(), health);
        }
        for entry in &self.board.partitions {
            let (projection, partition) = entry.key();
            match &entry.state {
                PartitionState::Claiming => note(
                    projection,
                    format!(
                        "projection \"{projection}\": partition {partition} is not claimed yet"
                    ),
                ),
                PartitionState::Running | PartitionState::Draining => {}
                PartitionState::Stopped { reason, .. } => note(
                    projection,
                    format!(
                        "projection \"{projection}\": partition {partition} stands still: {reason}"
                    ),
                ),
            }
            if let Some(health) = projections.get_mut(&**projection) {
                health
                    .partitions
                    .insert(partition.to_string(), entry.value().clone());
            }
        }
        reasons.sort();
        degraded.sort();
        Readiness {
            ready: reasons.is_empty(),
            reasons,
            degraded,
            unreachable,
            projections,
        }
    }
}

impl PartitionHealth {
    fn publish(&self, projection: &str, partition: &TopicPartition) {
        if let Some(end) = self.end {
            lag_gauge(projection, partition).set((end - self.next).max(0) as f64);
        }
    }
}

fn lag_gauge(projection: &str, partition: &TopicPartition) -> Gauge {
    let labels = partition_labels(projection, partition);
    gauge!("projectionist_lag_events", &labels)
}

impl fmt::Display for PartitionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartitionState::Claiming => f.write_str("claiming"),
            PartitionState::Running => f.write_str("running"),
            PartitionState::Draining => f.write_str("draining"),
            PartitionState::Stopped { reason, .. } => write!(f, "stopped: {reason}"),
        }
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

/// An error with its causes, in one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_every_reason() {
        let health = Health::default();
        let projection: Arc<str> = "aircraft".into();
        let partition = TopicPartition::new("flights", 3);
        health.set_projection(&projection, ProjectionState::Joining);
        assert!(!health.readiness().ready);

        health.set_projection(&projection, ProjectionState::Running);
        health.set_partition(&projection, &partition, PartitionState::Running);
        assert!(health.readiness().ready);

        let store = health.reachability("store \"main\"");
        store.silent("connection refused".to_owned());
        let since = health.outages()["store \"main\""].since;
        let since = humantime::format_rfc3339_seconds(since);
        let stopped = PartitionState::Stopped {
            code: "event-refused",
            reason: "bad event".to_owned(),
        };
        health.set_partition(&projection, &partition, stopped);
        assert_eq!(
            health.readiness().reasons,
            [
                "projection \"aircraft\": partition flights/3 stands still: bad event".to_owned(),
                format!("store \"main\" does not answer since {since}: connection refused"),
            ]
        );

        store.reached();
        health.remove_partition(&projection, &partition);
        assert!(health.readiness().ready);
    }

    #[test]
    fn positions_are_those_of_one_projection() {
        let health = Health::default();
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let partition = TopicPartition::new("flights", 0);
        for (projection, next) in [(&one, 7), (&other, 9)] {
            health.set_partition(projection, &partition, PartitionState::Running);
            health.set_next(projection, &partition, NextOffset(next));
        }
        assert_eq!(
            health.positions("one").get(&partition),
            Some(&NextOffset(7))
        );
    }
}
