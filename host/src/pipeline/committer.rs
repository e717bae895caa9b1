//! Stores finished batches, of one partition or of many, in few transactions.
//!
//! Guarantees:
//! - What is ready at the same time goes in one transaction, up to its size limits, so that the
//!   cost of an event does not grow with the number of partitions.
//! - Little waits while something is being stored, for a short time, and then goes together: many
//!   small transactions would take more of everybody's time than they save.
//! - A partition that turns out to be fenced is dropped from its group; the others go again.
//! - While the store is away, a commit is tried again until it is stored or nobody waits for it.
//!
//! A domain has at most one batch here, so batches of one domain are stored in their order.
//! On shutdown: the owner drops the handle after the domains have drained; `run` then returns.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, warn};

pub use self::refusal::{Origin, Refusal};
use self::waiting::Waiting;
use super::backoff::Backoff;
use super::sleep_until;
use crate::projection::{DocumentId, Held};
use crate::store::{
    Advance, CheckpointId, Commit, CommitError, Culprit, EntryChange, Rejection, Store, Table,
    ViewId, Write,
};
use crate::telemetry::health::{Reachability, describe};

mod refusal;
mod waiting;

/// How a domain hands its batches over.
#[derive(Clone, Debug)]
pub struct Handle {
    submissions: mpsc::Sender<Submission>,
}

/// A batch, all or nothing.
#[derive(Debug)]
pub struct Submission {
    pub writes: Vec<Write>,
    pub entries: Vec<EntryChange>,
    pub advances: Vec<Advance>,
    /// Bytes of the bodies, of documents and of entries.
    pub bytes: usize,
    /// For as long as it is not stored, nor given up.
    pub held: Held,
    pub reply: oneshot::Sender<Outcome>,
}

/// What became of a batch.
#[derive(Debug)]
pub enum Outcome {
    Stored,
    /// These of its partitions belong to other hosts now. Nothing of the batch is stored.
    Fenced(Vec<CheckpointId>),
    /// Somebody else changed this document. Nothing is stored.
    Mismatch {
        view: ViewId,
        id: DocumentId,
    },
    /// Somebody else changed this entry. Nothing is stored.
    EntryMismatch {
        table: Table,
        id: Arc<str>,
    },
    /// More than one transaction takes. Nothing is stored.
    TooLarge(String),
    /// Something in it is nothing that the store takes. Nothing is stored.
    Rejected(Refusal),
    /// The store refuses, and trying again cannot help. The text says why and the way out.
    Refused(String),
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Transactions under way at once. Two keep two server cores busy; more only conflict.
    pub in_flight_max: usize,
    /// Documents and entries.
    pub documents_max: usize,
    pub bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            in_flight_max: 2,
            documents_max: 4_000,
            bytes_max: 8 * 1024 * 1024,
        }
    }
}

pub struct Committer {
    projection: Arc<str>,
    store: Arc<dyn Store>,
    reachability: Reachability,
    options: Options,
    submissions: mpsc::Receiver<Submission>,
    waiting: Waiting,
}

/// Submissions that the committer has not looked at; a domain has one at most.
const QUEUE: usize = 256;

impl Committer {
    pub fn new(
        projection: Arc<str>,
        store: Arc<dyn Store>,
        reachability: Reachability,
        options: Options,
    ) -> (Committer, Handle) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let committer = Committer {
            projection,
            store,
            reachability,
            options,
            submissions: receiver,
            waiting: Waiting::new(Instant::now()),
        };
        (
            committer,
            Handle {
                submissions: sender,
            },
        )
    }

    /// Runs until every handle is dropped and everything handed over has its outcome.
    pub async fn run(mut self) {
        let mut in_flight = JoinSet::new();
        let mut open = true;
        while open || !self.waiting.is_empty() || !in_flight.is_empty() {
            while let Ok(submission) = self.submissions.try_recv() {
                self.waiting.push(submission, Instant::now());
            }
            let go_at = self.waiting.go_at(in_flight.len(), &self.options);
            if go_at.is_some_and(|at| at <= Instant::now()) {
                let group = self.waiting.take_group(&self.options);
                in_flight.spawn(self.join_up(group).run());
                continue;
            }
            // Cancel-safe: each branch takes what is complete or nothing at all.
            tokio::select! {
                submission = self.submissions.recv(), if open => match submission {
                    Some(submission) => self.waiting.push(submission, Instant::now()),
                    None => open = false,
                },
                () = join(&mut in_flight), if !in_flight.is_empty() => {}
                () = sleep_until(go_at) => {}
            }
        }
    }

    fn join_up(&self, group: Vec<Submission>) -> GroupCommit {
        let mut joined = GroupCommit {
            projection: Arc::clone(&self.projection),
            store: Arc::clone(&self.store),
            reachability: self.reachability.clone(),
            commit: Commit::default(),
            group: Vec::with_capacity(group.len()),
        };
        for submission in group {
            joined.add(submission);
        }
        joined
    }
}

impl Submission {
    /// How many documents and entries it changes.
    fn documents(&self) -> usize {
        self.writes.len() + self.entries.len()
    }

    fn shares_partition(&self, other: &Submission) -> bool {
        let moves =
            |checkpoint: &CheckpointId| other.advances.iter().any(|a| a.checkpoint == *checkpoint);
        self.advances
            .iter()
            .any(|advance| moves(&advance.checkpoint))
    }
}

impl Handle {
    /// Hands a batch over. False where the committer has ended.
    pub async fn submit(&self, submission: Submission) -> bool {
        self.submissions.send(submission).await.is_ok()
    }
}

async fn join(in_flight: &mut JoinSet<()>) {
    if let Some(Err(error)) = in_flight.join_next().await {
        // The replies are dropped with the task, and the domains take that for a failure.
        warn!(%error, "a commit ended unexpectedly");
    }
}

/// One transaction under way, with those who wait for it.
struct GroupCommit {
    projection: Arc<str>,
    store: Arc<dyn Store>,
    reachability: Reachability,
    /// Everything of all batches, one batch after the other.
    commit: Commit,
    group: Vec<Batch>,
}

/// What a batch has in the commit that it is joined in, and who waits for it.
struct Batch {
    writes: usize,
    entries: usize,
    advances: usize,
    /// Given back when the batch has its outcome.
    _held: Held,
    reply: oneshot::Sender<Outcome>,
}

impl GroupCommit {
    fn add(&mut self, submission: Submission) {
        self.group.push(Batch {
            writes: submission.writes.len(),
            entries: submission.entries.len(),
            advances: submission.advances.len(),
            _held: submission.held,
            reply: submission.reply,
        });
        self.commit.writes.extend(submission.writes);
        self.commit.entries.extend(submission.entries);
        self.commit.advances.extend(submission.advances);
    }

    async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        while !self.group.is_empty() {
            let started = std::time::Instant::now();
            let error = match self.store.commit(&self.commit).await {
                Ok(()) => {
                    self.reachability.reached();
                    self.record(started.elapsed());
                    return self.answer_all(|| Outcome::Stored);
                }
                Err(error) => error,
            };
            match error {
                CommitError::Fenced { checkpoints } => self.drop_fenced(&checkpoints),
                CommitError::Mismatch { view, id } => self.drop_mismatched(&view, &id),
                CommitError::EntryMismatch { table, id } => {
                    self.drop_entry_mismatched(table, &id);
                }
                CommitError::Store(error) if error.is_transient() => {
                    self.reachability.lost(&error);
                    tokio::time::sleep(backoff.next_delay()).await;
                    self.drop_abandoned();
                }
                // What is too large or refused together may pass alone, but for the one at fault.
                CommitError::TooLarge(_) | CommitError::Store(_) if self.group.len() > 1 => {
                    return self.split().await;
                }
                CommitError::Rejected(rejection) => match &rejection.culprit {
                    Some(culprit) => self.drop_rejected(culprit, &rejection),
                    None if self.group.len() > 1 => return self.split().await,
                    None => {
                        let refusal = Refusal::unknown(&rejection);
                        return self.answer_all(|| Outcome::Rejected(refusal.clone()));
                    }
                },
                CommitError::TooLarge(source) => {
                    let reason = source.to_string();
                    return self.answer_all(|| Outcome::TooLarge(reason.clone()));
                }
                CommitError::Store(error) => {
                    let reason = describe(&error);
                    return self.answer_all(|| Outcome::Refused(reason.clone()));
                }
            }
        }
    }

    fn answer_all(self, outcome: impl Fn() -> Outcome) {
        for batch in self.group {
            // A domain that was abandoned does not wait any more.
            drop(batch.reply.send(outcome()));
        }
    }

    fn drop_fenced(&mut self, fenced: &[CheckpointId]) {
        let is_lost = |advance: &&Advance| fenced.contains(&advance.checkpoint);
        for (batch, own) in
            self.take_where(|_, own| own.advances.iter().any(|advance| is_lost(&advance)))
        {
            let lost = own.advances.iter().filter(is_lost);
            let lost = lost.map(|advance| advance.checkpoint.clone()).collect();
            drop(batch.reply.send(Outcome::Fenced(lost)));
        }
    }

    /// The document is one batch's; the others go again.
    fn drop_mismatched(&mut self, view: &ViewId, id: &DocumentId) {
        debug!(projection = %self.projection, %view, id = %id, "a document changed meanwhile");
        self.count_conflict();
        let writes_it = |write: &Write| write.view == *view && write.id == *id;
        for (batch, _) in self.take_where(|_, own| own.writes.iter().any(writes_it)) {
            let (view, id) = (view.clone(), DocumentId::clone(id));
            drop(batch.reply.send(Outcome::Mismatch { view, id }));
        }
    }

    /// The same of an entry.
    fn drop_entry_mismatched(&mut self, table: Table, id: &Arc<str>) {
        debug!(projection = %self.projection, %table, %id, "an entry changed meanwhile");
        self.count_conflict();
        let changes_it = |change: &EntryChange| change.table() == table && change.id() == id;
        for (batch, _) in self.take_where(|_, own| own.entries.iter().any(changes_it)) {
            let id = Arc::clone(id);
            drop(batch.reply.send(Outcome::EntryMismatch { table, id }));
        }
    }

    /// What the store does not take is one batch's; the others go again.
    fn drop_rejected(&mut self, culprit: &Culprit, rejection: &Rejection) {
        debug!(projection = %self.projection, "{rejection}");
        counter!("projectionist_commit_rejections_total", "projection" => self.projection.to_string())
            .increment(1);
        let is_of = |own: &Commit| match culprit {
            Culprit::Document { view, id } => {
                own.writes.iter().any(|w| w.view == *view && w.id == *id)
            }
            Culprit::Entry { table, id } => {
                let mut entries = own.entries.iter();
                entries.any(|change| change.table() == *table && change.id() == id)
            }
        };
        for (batch, own) in self.take_where(|_, own| is_of(own)) {
            let refusal = Refusal::of(culprit, &own, rejection);
            drop(batch.reply.send(Outcome::Rejected(refusal)));
        }
    }

    fn count_conflict(&self) {
        counter!("projectionist_commit_conflicts_total", "projection" => self.projection.to_string())
            .increment(1);
    }

    /// Those for whom nobody waits any more need not be stored: whoever claims their partitions
    /// next starts from the checkpoint.
    fn drop_abandoned(&mut self) {
        drop(self.take_where(|batch, _| batch.reply.is_closed()));
    }

    /// Takes batches out, each with its own part of the commit. The others stay joined.
    fn take_where(&mut self, goes: impl Fn(&Batch, &Commit) -> bool) -> Vec<(Batch, Commit)> {
        let (gone, kept) = self
            .take_apart()
            .into_iter()
            .partition::<Vec<_>, _>(|(batch, own)| goes(batch, own));
        for (batch, own) in kept {
            self.group.push(batch);
            self.commit.writes.extend(own.writes);
            self.commit.entries.extend(own.entries);
            self.commit.advances.extend(own.advances);
        }
        gone
    }

    /// Each batch by itself, one after the other.
    async fn split(mut self) {
        for (batch, own) in self.take_apart() {
            let alone = GroupCommit {
                projection: Arc::clone(&self.projection),
                store: Arc::clone(&self.store),
                reachability: self.reachability.clone(),
                commit: own,
                group: vec![batch],
            };
            Box::pin(alone.run()).await;
        }
    }

    /// Every batch with its own part of the commit; nothing is left of it here.
    fn take_apart(&mut self) -> Vec<(Batch, Commit)> {
        let commit = std::mem::take(&mut self.commit);
        let mut writes = commit.writes.into_iter();
        let mut entries = commit.entries.into_iter();
        let mut advances = commit.advances.into_iter();
        let group = std::mem::take(&mut self.group).into_iter();
        group
            .map(|batch| {
                let own = Commit {
                    writes: writes.by_ref().take(batch.writes).collect(),
                    entries: entries.by_ref().take(batch.entries).collect(),
                    advances: advances.by_ref().take(batch.advances).collect(),
                };
                (batch, own)
            })
            .collect()
    }

    fn record(&self, elapsed: Duration) {
        let projection = self.projection.to_string();
        histogram!("projectionist_commit_seconds", "projection" => projection.clone())
            .record(elapsed.as_secs_f64());
        counter!("projectionist_commits_total", "projection" => projection.clone()).increment(1);
        counter!("projectionist_documents_written_total", "projection" => projection)
            .increment(self.commit.writes.len() as u64);
    }
}
