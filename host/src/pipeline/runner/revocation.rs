//! Giving partitions up, because the group takes them or because the host ends: one path.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::super::DomainLayout;
use super::super::domain::Control;
use super::super::failure::Failure;
use super::super::intake::Command;
use super::{LEAVE_TIMEOUT, Leaving, Revocation, Runner, Stage, list};
use crate::record::TopicPartition;
use crate::telemetry::health::PartitionState;

impl Runner {
    /// Gives partitions up: drains them until the deadline, then releases them.
    pub(super) async fn revoke(
        &mut self,
        partitions: Vec<TopicPartition>,
        drain_timeout: Duration,
    ) {
        info!(projection = %self.name(), partitions = %list(&partitions), "giving up");
        let deadline = Instant::now() + drain_timeout;
        let mut revocation = self.revocation.take().unwrap_or(Revocation {
            partitions: BTreeSet::new(),
            draining: BTreeSet::new(),
            deadline,
        });
        revocation.deadline = revocation.deadline.min(deadline);
        for partition in partitions {
            if self.drain(&partition).await {
                revocation.draining.insert(partition.clone());
            }
            revocation.partitions.insert(partition);
        }
        let drained = revocation.draining.is_empty();
        self.revocation = Some(revocation);
        if drained || drain_timeout.is_zero() {
            self.finish_revocation().await;
        }
    }

    /// Starts to give a partition up. True where it has something to store first.
    async fn drain(&mut self, partition: &TopicPartition) -> bool {
        let Some(assigned) = self.partitions.get_mut(partition) else {
            return false;
        };
        let domain = match &assigned.stage {
            Stage::Running(domain) => domain.clone(),
            Stage::Draining(_) => return true,
            Stage::Claiming(claim) => {
                claim.cancel();
                self.forget(partition);
                return false;
            }
            Stage::Stopped => {
                self.forget(partition);
                return false;
            }
        };
        let drain = Control::Drain(partition.clone());
        let draining = domain.control.send(drain).await.is_ok();
        assigned.stage = Stage::Draining(domain);
        self.set_partition(partition, PartitionState::Draining);
        draining
    }

    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        let forgotten = self.partitions.remove(partition);
        if let Some(Stage::Claiming(claim)) = forgotten.map(|assigned| assigned.stage) {
            claim.cancel();
        }
        let context = &self.setup.context;
        if let Some(commits) = &context.commits {
            commits.released(partition);
        }
        context.health.remove_partition(&context.name, partition);
    }

    /// Everything is drained, or the time for it is over.
    pub(super) async fn finish_revocation(&mut self) {
        let Some(revocation) = self.revocation.take() else {
            return;
        };
        for partition in &revocation.draining {
            warn!(
                projection = %self.name(), partition = %partition,
                "not drained in time; its next owner goes on from the checkpoint"
            );
            self.abandon(partition).await;
        }
        for partition in &revocation.partitions {
            self.forget(partition);
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.deadline = Some(Instant::now() + LEAVE_TIMEOUT);
            self.command(Command::Leave).await;
        } else {
            self.command(Command::Release(
                revocation.partitions.into_iter().collect(),
            ))
            .await;
        }
    }

    async fn abandon(&mut self, partition: &TopicPartition) {
        let Some(Stage::Draining(domain)) = self.partitions.get(partition).map(|a| &a.stage) else {
            return;
        };
        match domain.layout {
            DomainLayout::PerPartition => domain.abandon.cancel(),
            // A domain that has ended has let go of the partition already.
            DomainLayout::Joined => {
                drop(
                    domain
                        .control
                        .send(Control::Abandon(partition.clone()))
                        .await,
                );
            }
        }
    }

    /// Starts to end: a revocation of everything, then the group is left.
    pub(super) async fn leave(&mut self, failure: Option<Failure>) {
        if self.leaving.is_some() {
            return;
        }
        if let Some(failure) = &failure {
            error!(projection = %self.name(), code = failure.code, "failed: {failure}");
        }
        self.leaving = Some(Leaving {
            failure,
            deadline: None,
        });
        self.claims.abort_all();
        self.checks.abort_all();
        self.looks.abort_all();
        self.doubts.abort_all();
        let all = self.partitions.keys().cloned().collect();
        self.revoke(all, self.setup.drain_timeout).await;
    }
}
