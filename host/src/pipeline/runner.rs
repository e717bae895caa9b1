//! Runs one projection on one copy: follows the consumer group, claims what it assigns, starts
//! domains, and drains what it takes away.
//!
//! Guarantees:
//! - A partition is fetched only after it is claimed in the store, from the checkpoint that the
//!   claim returned; Kafka's own committed offset is never read.
//! - Shutdown is a revocation of everything: one path, two triggers.
//! - Draining is bounded. What is not stored by the deadline is left to the next owner, and the
//!   claim that it makes keeps this host from storing it late.
//!
//! Not here: folding (`domain`), transactions (`committer`), the consumer (`kafka`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, info, warn};

use super::committer::{Committer, Handle as CommitterHandle, Options as CommitterOptions};
use super::domain::{Control, Outcome, Reason};
use super::failure::Failure;
use super::intake::{Command, Notice, Positions, SourceHandle, Standing};
use super::outbox::Sender;
use super::stop::StopReason;
use super::version::{Version, Versions};
use super::{Context, DomainLayout, LoadProjector, sleep_until};
use crate::record::{Generation, TopicId, TopicPartition};
use crate::registry::Registry;
use crate::store::Store;
use crate::telemetry::health::{PartitionState, ProjectionState, Reachability};

mod claim;
mod refusals;
mod revocation;
mod start;
mod swap;

use claim::{Before, Checked, Claim, Claimant, TopicClaim};
use refusals::Refusals;

/// What a runner works with.
pub struct Setup {
    pub context: Context,
    pub store: Arc<dyn Store>,
    pub store_reachability: Reachability,
    pub source: SourceHandle,
    pub notices: mpsc::Receiver<Notice>,
    pub positions: Arc<dyn Positions>,
    pub kafka_reachability: Reachability,
    pub versions: Arc<dyn Versions>,
    pub load_projector: LoadProjector,
    /// Where other plugins than the projection's own are found.
    pub registry: Registry,
    /// `None` where the projection sends no messages.
    pub sender: Option<Arc<dyn Sender>>,
    /// For messages only: that events arrive says nothing of whether messages leave.
    pub producer_reachability: Reachability,
    pub committer: CommitterOptions,
    /// This host's name, for people who look at the checkpoints.
    pub owner: Arc<str>,
    /// For what is in flight when partitions are given up. Less than the group's session
    /// time-out, or others claim them before.
    pub drain_timeout: Duration,
}

/// The projection cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("projection \"{projection}\" has failed: {failure}")]
pub struct Failed {
    pub projection: Arc<str>,
    pub failure: Failure,
}

pub struct Runner {
    setup: Setup,
    /// Tells of each version that is to run.
    versions: watch::Receiver<Arc<Version>>,
    /// What runs.
    version: Arc<Version>,
    claimant: Claimant,
    claims: JoinSet<Claim>,
    /// Looks at positions that may have left their topics.
    checks: JoinSet<Vec<Checked>>,
    /// Looks, one at most, whether topics are still the same.
    looks: JoinSet<Vec<(TopicClaim, StopReason)>>,
    next_look: Instant,
    /// Looks, one at most, whether topics were deleted.
    doubts: JoinSet<Option<Failure>>,
    committer: CommitterHandle,
    /// The committer and the domains.
    tasks: JoinSet<()>,
    relays: JoinSet<RelayEnded>,
    outcomes: mpsc::Receiver<Outcome>,
    outcomes_sender: mpsc::Sender<Outcome>,
    partitions: BTreeMap<TopicPartition, Assigned>,
    /// The one domain of a joined layout, or of partitions that share keys.
    joined: Option<DomainHandle>,
    generations: u64,
    revocation: Option<Revocation>,
    leaving: Option<Leaving>,
}

/// A partition that the group gave to this host.
#[derive(Debug)]
struct Assigned {
    generation: Generation,
    stage: Stage,
    /// Ends the relay of its messages.
    relay: Option<DropGuard>,
    /// The topic that was claimed, as far as the cluster tells.
    topic: Option<TopicId>,
    /// How often another host claimed it although the group had given it to this one.
    rivalries: u32,
    /// How often it was refused what it needs lately.
    refusals: Refusals,
}

/// ```text
/// Claiming ──▶ Running ──▶ Draining ──▶ (released)
///     ▲           │
///     ├─ fenced ──┤
///     └▶ Stopped ◀┘   a fault; it stays assigned, so that no other host runs into the same
/// ```
#[derive(Debug)]
enum Stage {
    /// Cancelled, the claim is given up.
    Claiming(CancellationToken),
    Running(DomainHandle),
    Draining(DomainHandle),
    Stopped,
}

/// What became of a relay.
struct RelayEnded {
    partition: TopicPartition,
    generation: Generation,
    /// The error says why its partition cannot go on.
    result: Result<(), String>,
}

/// A domain's task, seen from here. Dropping the last one lets the domain end.
#[derive(Clone, Debug)]
struct DomainHandle {
    /// Whether it has other partitions, too.
    layout: DomainLayout,
    control: mpsc::Sender<Control>,
    notify: Arc<Notify>,
    abandon: CancellationToken,
}

/// Partitions that are being given up.
#[derive(Debug)]
struct Revocation {
    partitions: BTreeSet<TopicPartition>,
    /// Those that have something to store.
    draining: BTreeSet<TopicPartition>,
    deadline: Instant,
}

/// The runner is on its way out.
#[derive(Debug)]
struct Leaving {
    /// `None` where it was asked to.
    failure: Option<Failure>,
    /// When to stop waiting for the source to end.
    deadline: Option<Instant>,
}

/// Messages that wait for a domain or the runner; both take them in before anything else.
const MAILBOX: usize = 1024;

/// How often to look whether topics are still the same.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// How long the consumer may take to leave its group.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long tasks may take to end that have nothing left to do.
const END_TIMEOUT: Duration = Duration::from_secs(5);

impl Runner {
    pub fn new(setup: Setup) -> Self {
        let (committer, handle) = Committer::new(
            Arc::clone(&setup.context.name),
            Arc::clone(&setup.store),
            setup.store_reachability.clone(),
            setup.committer,
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(committer.run());
        let (outcomes_sender, outcomes) = mpsc::channel(MAILBOX);
        let claimant = Claimant {
            context: setup.context.clone(),
            store: Arc::clone(&setup.store),
            store_reachability: setup.store_reachability.clone(),
            positions: Arc::clone(&setup.positions),
            kafka_reachability: setup.kafka_reachability.clone(),
            owner: Arc::clone(&setup.owner),
            versions: Arc::clone(&setup.versions),
        };
        let mut versions = setup.versions.watch();
        let version = Arc::clone(&versions.borrow_and_update());
        Runner {
            setup,
            versions,
            version,
            claimant,
            claims: JoinSet::new(),
            checks: JoinSet::new(),
            looks: JoinSet::new(),
            next_look: Instant::now() + LOOK_INTERVAL,
            doubts: JoinSet::new(),
            committer: handle,
            tasks,
            relays: JoinSet::new(),
            outcomes,
            outcomes_sender,
            partitions: BTreeMap::new(),
            joined: None,
            generations: 0,
            revocation: None,
            leaving: None,
        }
    }

    /// Runs until `stop` is cancelled and everything is drained, or until it fails.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Failed> {
        self.set_state(ProjectionState::Joining);
        loop {
            let deadline = self.deadline();
            // Cancel-safe: each branch takes one whole message, or nothing.
            tokio::select! {
                biased;
                () = stop.cancelled(), if self.leaving.is_none() => self.leave(None).await,
                Some(outcome) = self.outcomes.recv() => self.let_go(outcome).await,
                Some(ended) = self.tasks.join_next() => self.task_ended(ended).await,
                Some(claim) = self.claims.join_next() => match claim {
                    Ok(claim) => self.claimed(claim).await,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => self.broken(format!("claiming ended: {error}")).await,
                },
                Some(ended) = self.relays.join_next() => match ended {
                    Ok(ended) => self.relay_ended(ended).await,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => self.broken(format!("a relay ended: {error}")).await,
                },
                Some(checked) = self.checks.join_next() => match checked {
                    Ok(checked) => self.checked(checked).await,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => self.broken(format!("a check ended: {error}")).await,
                },
                Some(looked) = self.looks.join_next() => match looked {
                    Ok(replaced) => self.stop_replaced(replaced).await,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => self.broken(format!("a look ended: {error}")).await,
                },
                () = tokio::time::sleep_until(self.next_look), if self.leaving.is_none() => {
                    self.look_at_topics();
                }
                Some(doubt) = self.doubts.join_next() => match doubt {
                    Ok(Some(failure)) => self.leave(Some(failure)).await,
                    Ok(None) => {}
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => self.broken(format!("a check ended: {error}")).await,
                },
                Ok(()) = self.versions.changed() => self.swap().await,
                notice = self.setup.notices.recv() => match notice {
                    Some(notice) => self.notice(notice).await,
                    None => break,
                },
                () = sleep_until(deadline) => {
                    if self.revocation.is_none() {
                        warn!(projection = %self.name(), "the consumer takes too long to leave its group; going without");
                        break;
                    }
                    self.finish_revocation().await;
                }
            }
        }
        self.end().await
    }

    async fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Assigned(partitions) => self.assigned(partitions).await,
            Notice::Revoked { partitions, lost } => {
                let drain_timeout = if lost {
                    Duration::ZERO
                } else {
                    self.setup.drain_timeout
                };
                self.revoke(partitions, drain_timeout).await;
                if lost && self.partitions.is_empty() {
                    // The host is out of its group, and on its way in again.
                    self.set_state(ProjectionState::Joining);
                }
            }
            Notice::OutOfRange(standings) => self.check_positions(standings),
            Notice::Unreadable(
                Standing {
                    partition,
                    generation,
                    next,
                },
                cause,
            ) => {
                let reason = StopReason::RecordUnreadable {
                    partition: partition.clone(),
                    next,
                    cause,
                };
                let stop = Control::StopBehind(partition.clone(), reason);
                self.tell_running(&partition, generation, stop).await;
            }
            Notice::Diverged(
                Standing {
                    partition,
                    generation,
                    next,
                },
                evidence,
            ) => {
                let reason = StopReason::LogTruncated {
                    projection: Arc::clone(&self.setup.context.name),
                    partition: partition.clone(),
                    next,
                    evidence,
                };
                let stop = Control::Stop(partition.clone(), reason);
                self.tell_running(&partition, generation, stop).await;
            }
            Notice::TopicsInDoubt(topics) if self.doubts.is_empty() => {
                let claimant = self.claimant.clone();
                self.doubts.spawn(claimant.deleted(topics));
                self.look_at_topics();
            }
            Notice::TopicsInDoubt(_) => {}
            Notice::Ends(ends) => {
                let context = &self.setup.context;
                for (partition, end) in ends {
                    context.health.set_end(&context.name, &partition, end);
                }
            }
            Notice::Unreachable(reason) => self.setup.kafka_reachability.silent(reason),
            Notice::Reachable => self.setup.kafka_reachability.answered(),
            Notice::Failed(failure) => self.leave(Some(failure)).await,
        }
    }

    /// Answers at once, for the whole group waits for it, and claims each partition by itself, so
    /// that one that cannot be claimed holds up no other.
    async fn assigned(&mut self, partitions: Vec<TopicPartition>) {
        self.command(Command::Acknowledge).await;
        if self.leaving.is_some() {
            return;
        }
        info!(projection = %self.name(), partitions = %list(&partitions), "assigned");
        for partition in &partitions {
            self.claim(partition, Before::Nothing, 0);
        }
        self.set_state(ProjectionState::Running);
    }

    fn claim(&mut self, partition: &TopicPartition, before: Before, rivalries: u32) {
        let generation = self.next_generation();
        let given_up = CancellationToken::new();
        // After a refusal its reason is shown until the claim is done.
        if !matches!(before, Before::Again(_)) {
            self.set_partition(partition, PartitionState::Claiming);
        }
        let known = self.partitions.get(partition);
        let assigned = Assigned {
            generation,
            stage: Stage::Claiming(given_up.clone()),
            relay: None,
            topic: None,
            rivalries,
            refusals: known.map_or_else(Refusals::default, |known| known.refusals),
        };
        self.partitions.insert(partition.clone(), assigned);
        let claimant = self.claimant.clone();
        self.claims
            .spawn(claimant.claim(partition.clone(), generation, before, given_up));
    }

    /// A claim is done: starts its domain and fetching.
    async fn claimed(&mut self, claim: Claim) {
        let Claim {
            partition,
            generation,
            result,
        } = claim;
        let current = self
            .partitions
            .get(&partition)
            .is_some_and(|assigned| assigned.generation == generation);
        let Some(result) = result.filter(|_| current && self.leaving.is_none()) else {
            return;
        };
        // The claim may have found that another version runs now.
        if self.versions.has_changed().unwrap_or(false) {
            self.swap().await;
        }
        let started = match result {
            Ok(claimed) => self
                .start(&partition, generation, claimed)
                .await
                .map_err(StopReason::from),
            Err(reason) => Err(reason),
        };
        match started {
            Ok(start) => self.command(Command::Fetch(vec![start])).await,
            Err(reason) => self.stopped(&partition, &reason),
        }
    }

    /// A domain has let go of a partition.
    async fn let_go(&mut self, outcome: Outcome) {
        let Outcome {
            partition,
            generation,
            version,
            reason,
        } = outcome;
        let Some(assigned) = self.partitions.get_mut(&partition) else {
            return;
        };
        if assigned.generation != generation {
            return;
        }
        match reason {
            Reason::Drained | Reason::Abandoned => {}
            Reason::Fenced if matches!(assigned.stage, Stage::Draining(_)) => {}
            Reason::Fenced => {
                let rivalries = assigned.rivalries + 1;
                self.claim_again(&partition, rivalries);
            }
            Reason::SharedKeys if matches!(assigned.stage, Stage::Draining(_)) => {}
            Reason::SharedKeys => {
                warn!(
                    projection = %self.name(), partition = %partition,
                    "another partition has events of the same keys: the topic has grown, or its \
                     producers choose partitions in different ways. From now on every write is \
                     guarded; the order of a key's events is kept within each partition only"
                );
                self.claim(&partition, Before::ShareKeys, 0);
            }
            Reason::Stopped(_) if matches!(assigned.stage, Stage::Draining(_)) => {}
            // Another version runs now, and was told to a domain that was about to stop.
            Reason::Stopped(_) if version < self.version.number => {
                self.claim(&partition, Before::Nothing, 0);
            }
            Reason::Stopped(reason) => self.stopped(&partition, &reason),
        }
        if let Some(revocation) = &mut self.revocation {
            revocation.draining.remove(&partition);
            if revocation.draining.is_empty() {
                self.finish_revocation().await;
            }
        }
    }

    /// Another host has claimed a partition that the group gave to this one: either the group has
    /// moved it and word is on its way, or two groups work on one projection.
    fn claim_again(&mut self, partition: &TopicPartition, rivalries: u32) {
        if let Some(commits) = &self.setup.context.commits {
            commits.released(partition);
        }
        let delay = Duration::from_secs(1 << rivalries.min(5));
        warn!(
            projection = %self.name(), partition = %partition, delay_s = delay.as_secs(),
            "another host has claimed this partition; claiming it again unless it is revoked. If \
             this goes on, two hosts run this projection with different group ids"
        );
        self.claim(partition, Before::Pause(delay), rivalries);
    }

    fn stopped(&mut self, partition: &TopicPartition, reason: &StopReason) {
        error!(projection = %self.name(), partition = %partition, code = reason.code(), "stands still: {reason}");
        let then = match reason.may_pass() {
            true => "; it is tried again by itself",
            false => "",
        };
        let state = PartitionState::Stopped {
            code: reason.code(),
            reason: format!("{reason}{then}"),
        };
        self.set_partition(partition, state);
        let Some(assigned) = self.partitions.get_mut(partition) else {
            return;
        };
        assigned.stage = Stage::Stopped;
        if reason.may_pass() && self.leaving.is_none() {
            let pause = assigned.refusals.another(Instant::now());
            self.claim(partition, Before::Again(pause), 0);
        }
    }

    /// Fetching has left what a topic holds: finds the partition.
    fn check_positions(&mut self, standings: Vec<Standing>) {
        let claimant = self.claimant.clone();
        self.checks.spawn(claimant.out_of_range(standings));
    }

    /// Positions were looked at that could not be fetched.
    async fn checked(&mut self, checked: Vec<Checked>) {
        for Checked { standing, gone } in checked {
            let partition = standing.partition.clone();
            match gone {
                None => self.command(Command::FetchAgain(standing)).await,
                Some(reason) => {
                    let stop = Control::StopBehind(partition.clone(), reason);
                    self.tell_running(&partition, standing.generation, stop)
                        .await;
                }
            }
        }
    }

    /// Looks whether the topics are still those that were claimed: one that was deleted and made
    /// again may be longer than what was folded.
    fn look_at_topics(&mut self) {
        self.next_look = Instant::now() + LOOK_INTERVAL;
        if !self.looks.is_empty() {
            return;
        }
        let running = self.partitions.iter().filter_map(|(partition, assigned)| {
            let topic = assigned.topic?;
            matches!(assigned.stage, Stage::Running(_)).then(|| TopicClaim {
                partition: partition.clone(),
                generation: assigned.generation,
                topic,
            })
        });
        let claims: Vec<TopicClaim> = running.collect();
        if !claims.is_empty() {
            self.looks.spawn(self.claimant.clone().replaced(claims));
        }
    }

    async fn stop_replaced(&mut self, replaced: Vec<(TopicClaim, StopReason)>) {
        for (claim, reason) in replaced {
            self.stop_running(&claim.partition, claim.generation, reason)
                .await;
        }
    }

    async fn stop_running(
        &mut self,
        partition: &TopicPartition,
        generation: Generation,
        reason: StopReason,
    ) {
        let stop = Control::Stop(partition.clone(), reason);
        self.tell_running(partition, generation, stop).await;
    }

    /// Tells the domain of a partition, if it is still the one of this generation.
    async fn tell_running(
        &mut self,
        partition: &TopicPartition,
        generation: Generation,
        control: Control,
    ) {
        if let Some(assigned) = self.partitions.get(partition)
            && assigned.generation == generation
            && let Stage::Running(domain) = &assigned.stage
        {
            // A domain that has ended has let go of the partition already.
            drop(domain.control.send(control).await);
        }
    }

    async fn task_ended(&mut self, ended: Result<(), JoinError>) {
        if let Err(error) = ended {
            self.broken(format!("a part of its pipeline ended: {error}"))
                .await;
        }
    }

    async fn end(mut self) -> Result<(), Failed> {
        let left: Vec<TopicPartition> = self.partitions.keys().cloned().collect();
        for partition in &left {
            self.forget(partition);
        }
        self.joined = None;
        drop(self.committer);
        let ended = tokio::time::timeout(END_TIMEOUT, async {
            while self.tasks.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            // The store does not answer. What is not stored is folded again by the next owner.
            self.tasks.abort_all();
        }
        let projection = Arc::clone(&self.setup.context.name);
        let failure = match self.leaving {
            Some(Leaving { failure, .. }) => failure,
            None => {
                let reason = "the consumer ended unexpectedly".to_owned();
                Some(Failure::of_consumer(reason))
            }
        };
        let state = match &failure {
            None => ProjectionState::Ended,
            Some(failure) => ProjectionState::Failed {
                code: failure.code,
                reason: failure.reason.clone(),
            },
        };
        self.setup.context.health.set_projection(&projection, state);
        match failure {
            None => Ok(()),
            Some(failure) => Err(Failed {
                projection,
                failure,
            }),
        }
    }

    /// Something that should go on has ended.
    async fn broken(&mut self, reason: String) {
        self.leave(Some(Failure::broken(reason))).await;
    }

    async fn command(&self, command: Command) {
        if self.setup.source.send(command).await.is_err() {
            warn!(projection = %self.name(), "the consumer has ended before the pipeline");
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match (&self.revocation, &self.leaving) {
            (Some(revocation), _) => Some(revocation.deadline),
            (None, Some(leaving)) => leaving.deadline,
            (None, None) => None,
        }
    }

    fn name(&self) -> &str {
        &self.setup.context.name
    }

    fn next_generation(&mut self) -> Generation {
        self.generations += 1;
        Generation(self.generations)
    }

    fn set_state(&self, state: ProjectionState) {
        let context = &self.setup.context;
        context.health.set_projection(&context.name, state);
    }

    fn set_partition(&self, partition: &TopicPartition, state: PartitionState) {
        let context = &self.setup.context;
        context
            .health
            .set_partition(&context.name, partition, state);
    }
}

fn list(partitions: &[TopicPartition]) -> String {
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    names.join(", ")
}
