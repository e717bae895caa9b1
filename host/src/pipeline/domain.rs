//! A fold domain: the partitions that share one document cache, folded one batch at a time.
//!
//! Guarantees:
//! - Events of a partition are folded in offset order, on the results of all events before them.
//! - At most one commit of a domain is under way; what is folded meanwhile is the next one. If a
//!   commit comes to nothing, what was folded on top of it comes to nothing too.
//! - A fault of the plugin stops its partition at the event at fault, with every event before it
//!   stored and none after it folded. Trouble with the store stops nothing: the domain waits.
//!
//! Not here: claiming and the consumer group (`runner`), transactions (`committer`).
//! On revoke: a drained partition stores what is folded, and is let go; what was received and not
//! folded is dropped, for the next owner reads it again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::backoff::Backoff;
use super::cache::{Cache, CommitNumber};
use super::committer::{Handle as CommitterHandle, Outcome as CommitOutcome};
use super::lane::Lane;
use super::partition::{Narrowed, Partition};
use super::pending::Pending;
use super::queue::{Item, Receiver};
use super::{Context, DomainLayout, sleep_until};
use crate::projection::{DocumentId, Fault};
use crate::record::{Epoch, Generation, TopicPartition};
use crate::store::{CheckpointId, Store, ViewId};
use crate::telemetry::health::Reachability;

mod commit;
mod fold;

/// What the runner tells a domain.
#[derive(Debug)]
pub enum Control {
    /// Take a claimed partition over.
    Attach(Attachment),
    /// Store what is folded, and let go. Answered with an [`Outcome`].
    Drain(TopicPartition),
    /// Store what is folded, fold nothing more, and let go for this reason.
    Stop(TopicPartition, String),
    /// Let go at once: the partition is somebody else's.
    Abandon(TopicPartition),
}

/// A claimed partition and the queue that feeds it.
#[derive(Debug)]
pub struct Attachment {
    pub partition: TopicPartition,
    pub generation: Generation,
    pub epoch: Epoch,
    pub next: crate::record::NextOffset,
    /// As the claim found it.
    pub repairs: i64,
    pub queue: Receiver,
}

/// Why a domain let go of a partition.
#[derive(Debug)]
pub struct Outcome {
    pub partition: TopicPartition,
    pub generation: Generation,
    pub reason: Reason,
}

#[derive(Debug)]
pub enum Reason {
    /// As asked; what was folded is stored.
    Drained,
    /// As asked, at once.
    Abandoned,
    /// Another host has claimed it.
    Fenced,
    /// The plugin cannot fold this event, or the store not take its documents. The text names it.
    Stopped(String),
}

/// The parts that make a domain.
pub struct Parts {
    pub context: Context,
    pub store: Arc<dyn Store>,
    pub store_reachability: Reachability,
    pub lane: Lane,
    pub committer: CommitterHandle,
    pub control: mpsc::Receiver<Control>,
    /// Notified of every item in a partition's queue.
    pub notify: Arc<Notify>,
    pub outcomes: mpsc::Sender<Outcome>,
    /// Ends the domain at once, whatever it is doing.
    pub abandon: CancellationToken,
}

pub struct Domain {
    parts: Parts,
    members: Vec<Member>,
    /// Where to look for the next batch, so that partitions take turns.
    turn: usize,
    /// Shared with the lane while it folds.
    cache: Arc<Cache>,
    pending: Pending,
    in_flight: Option<InFlight>,
    commits: CommitNumber,
    /// Not before then is anything folded.
    retry_at: Option<Instant>,
    backoff: Backoff,
    /// Commits that have to pass, without a conflict, before the cache is trusted again beyond
    /// one batch. Only `shared` views have conflicts.
    contended: u32,
    /// True while nothing is folded since the cache was emptied for an event at fault.
    fresh: bool,
    /// A document of a `by-key` view that was not as this domain left it.
    suspect: Option<(ViewId, DocumentId)>,
    /// What is folded rests on work that was given up. It is retracted as soon as the commit
    /// under way has its outcome; till then nobody knows what the store holds.
    tainted: bool,
}

struct Member {
    partition: Partition,
    generation: Generation,
    epoch: Epoch,
    /// The checkpoint's count of repairs.
    repairs: i64,
    queue: Receiver,
    /// It folds nothing more, and leaves when what is folded is stored.
    leaving: Option<Leaving>,
}

/// Why a member leaves.
#[derive(Debug)]
enum Leaving {
    /// It was told to, or nothing can be stored.
    For(Reason),
    /// An event cannot be folded on what is folded before it. Should that come to nothing, the
    /// event is tried again.
    AtFault(String),
}

struct InFlight {
    number: CommitNumber,
    reply: oneshot::Receiver<CommitOutcome>,
}

/// How long a domain that met another host's writes reads its documents afresh for each batch.
const CONTENDED_COMMITS: u32 = 32;

impl Domain {
    pub fn new(parts: Parts) -> Self {
        let context = &parts.context;
        let cache = Cache::new(context.views.len(), context.cache_bytes_max);
        let pending = Pending::new(Arc::clone(&context.views));
        Domain {
            members: Vec::new(),
            turn: 0,
            cache: Arc::new(cache),
            pending,
            in_flight: None,
            commits: CommitNumber(0),
            retry_at: None,
            backoff: Backoff::new(Duration::from_millis(20), Duration::from_secs(2)),
            contended: 0,
            fresh: false,
            suspect: None,
            tainted: false,
            parts,
        }
    }

    /// Runs until the runner drops its end of `control` and every partition is let go, or until
    /// the domain is abandoned.
    pub async fn run(mut self) {
        let abandon = self.parts.abandon.clone();
        tokio::select! {
            biased;
            () = abandon.cancelled() => {}
            () = self.run_to_the_end() => {}
        }
    }

    async fn run_to_the_end(&mut self) {
        let mut open = true;
        loop {
            while open {
                match self.parts.control.try_recv() {
                    Ok(control) => self.control(control).await,
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => open = false,
                }
            }
            if let Some(outcome) = self.poll_commit() {
                self.committed(outcome).await;
            }
            self.receive();
            if !open {
                // Nobody will ask for the rest: drain and end.
                for member in &mut self.members {
                    member.leaving.get_or_insert(Leaving::For(Reason::Drained));
                }
            }
            self.let_go().await;
            if !open && self.members.is_empty() {
                return;
            }
            self.submit().await;
            if self.fold().await {
                continue;
            }
            let retry_at = self.retry_at;
            // Cancel-safe: each branch takes what is complete or nothing at all.
            tokio::select! {
                biased;
                outcome = commit::wait_for(&mut self.in_flight) => self.committed(outcome).await,
                control = self.parts.control.recv(), if open => match control {
                    Some(control) => self.control(control).await,
                    None => open = false,
                },
                () = self.parts.notify.notified() => {}
                () = sleep_until(retry_at) => self.retry_at = None,
            }
        }
    }

    async fn control(&mut self, control: Control) {
        match control {
            Control::Attach(attachment) => self.attach(attachment),
            Control::Drain(partition) => {
                if let Some(member) = self.member_mut(&partition) {
                    member.leaving.get_or_insert(Leaving::For(Reason::Drained));
                }
            }
            Control::Stop(partition, reason) => self.stop(&partition, reason),
            Control::Abandon(partition) => {
                let abandoned = self.take_members(&[partition]);
                self.announce_all(abandoned, || Reason::Abandoned).await;
                self.retract_when_known();
            }
        }
    }

    fn attach(&mut self, attachment: Attachment) {
        // Other hosts may have written what this partition's events touch.
        self.cache_mut().forget_stored();
        self.members.push(Member {
            partition: Partition::new(attachment.partition, attachment.next),
            generation: attachment.generation,
            epoch: attachment.epoch,
            repairs: attachment.repairs,
            queue: attachment.queue,
            leaving: None,
        });
    }

    /// Moves what has arrived into the partitions' logs.
    fn receive(&mut self) {
        for member in &mut self.members {
            while let Some(item) = member.queue.try_recv() {
                match item {
                    Item::Event(event) => {
                        let bytes = event.size_bytes();
                        if !member.partition.receive(event) {
                            member.queue.release(1, bytes);
                        }
                    }
                    Item::Position(position) => member.partition.receive_position(position),
                }
            }
        }
    }

    /// Takes partitions out whose work is not to be stored. What the others folded since may rest
    /// on it: it is to be retracted.
    fn take_members(&mut self, partitions: &[TopicPartition]) -> Vec<Member> {
        let (taken, kept) = std::mem::take(&mut self.members)
            .into_iter()
            .partition(|member| partitions.contains(member.partition.id()));
        self.members = kept;
        taken
    }

    async fn announce_all(&self, members: Vec<Member>, reason: impl Fn() -> Reason) {
        for member in members {
            self.announce(member, reason()).await;
        }
    }

    /// Lets those go that are leaving and have nothing left to store.
    async fn let_go(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        let mut index = 0;
        while index < self.members.len() {
            let member = &mut self.members[index];
            let done = member.leaving.is_some() && !member.partition.has_pending();
            if !done {
                index += 1;
                continue;
            }
            let mut member = self.members.swap_remove(index);
            let reason = match member.leaving.take() {
                Some(Leaving::For(reason)) => reason,
                Some(Leaving::AtFault(reason)) => Reason::Stopped(reason),
                None => Reason::Drained,
            };
            self.announce(member, reason).await;
        }
    }

    async fn announce(&self, member: Member, reason: Reason) {
        let outcome = Outcome {
            partition: member.partition.id().clone(),
            generation: member.generation,
            reason,
        };
        debug!(projection = %self.parts.context.projection, ?outcome, "let go of a partition");
        drop(member);
        if self.parts.outcomes.send(outcome).await.is_err() {
            debug!("the runner has ended before its domain");
        }
    }

    /// The plugin could not fold a batch of this partition.
    fn fault(&mut self, partition: &TopicPartition, events: usize, fault: &Fault) {
        let Some(member) = self.member_mut(partition) else {
            return;
        };
        match member.partition.fault(events, fault.event) {
            Narrowed::Retry => {}
            // The fault may be that of a document which another host has changed since.
            Narrowed::Culprit
                if self.parts.context.layout == DomainLayout::Joined && !self.fresh =>
            {
                self.cache_mut().forget_stored();
                self.fresh = true;
            }
            Narrowed::Culprit => self.stop_at_first_waiting(partition, |projection, event| {
                format!(
                    "projection \"{projection}\" cannot fold {event}: {fault}; nothing is lost: \
                     every event before it is stored, and after a restart with a plugin that can \
                     fold it the partition goes on from there"
                )
            }),
        }
    }

    /// Stops a partition at the first event that is not folded.
    fn stop_at_first_waiting(
        &mut self,
        partition: &TopicPartition,
        reason: impl Fn(&str, &str) -> String,
    ) {
        let offset = self
            .member_mut(partition)
            .and_then(|member| member.partition.first_waiting())
            .map_or_else(|| "?".to_owned(), |offset| offset.to_string());
        let event = format!("the event at {partition}, offset {offset}");
        let reason = reason(&self.parts.context.projection, &event);
        if let Some(member) = self.member_mut(partition) {
            member.leaving = Some(Leaving::AtFault(reason));
        }
    }

    fn stop(&mut self, partition: &TopicPartition, reason: String) {
        if let Some(member) = self.member_mut(partition) {
            member.leaving = Some(Leaving::For(Reason::Stopped(reason)));
        }
    }

    /// Nothing can go on: every partition stops where its checkpoint is.
    fn stop_all(&mut self, reason: &str) {
        self.retract_when_known();
        for member in &mut self.members {
            member.leaving = Some(Leaving::For(Reason::Stopped(reason.to_owned())));
        }
    }

    fn member_mut(&mut self, partition: &TopicPartition) -> Option<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| member.partition.id() == partition)
    }

    fn cache_mut(&mut self) -> &mut Cache {
        Arc::get_mut(&mut self.cache).expect("lanes drop the cache before they answer")
    }
}

pub(super) fn checkpoint_id(context: &Context, partition: &TopicPartition) -> CheckpointId {
    CheckpointId {
        projection: Arc::clone(&context.projection),
        version: context.version,
        copy: Arc::clone(&context.copy),
        partition: partition.clone(),
    }
}
