//! A fold domain: the partitions that share one document cache, folded one batch at a time.
//!
//! Guarantees:
//! - Events of a partition are folded in offset order, on the results of all events before them.
//! - At most one commit of a domain is under way; what is folded meanwhile is the next one. If a
//!   commit comes to nothing, what was folded on top of it comes to nothing too.
//! - A fault of the plugin parks the event at fault and the later ones of its key, or, where it is
//!   configured so or no more can be parked, stops the partition at that event, with every event
//!   before it stored and none after it folded. So does a document that the store does not take.
//!   Trouble with the store parks and stops nothing: the domain waits.
//!
//! - Another version of the plugin takes over between two batches, when the results of the one
//!   before are stored.
//!
//! Not here: claiming and the consumer group (`runner`), transactions (`committer`), which events
//! are duplicates and which keys are parked (`sieve`).
//! On revoke: a drained partition stores what is folded, and is let go; what was received and not
//! folded is dropped, for the next owner reads it again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::backoff::Backoff;
use super::budget::Share;
use super::cache::{Cache, CommitNumber};
use super::committer::{Handle as CommitterHandle, Outcome as CommitOutcome};
use super::partition::Partition;
use super::pending::Pending;
use super::queue::{Item, Receiver};
use super::sieve::Sieve;
use super::stop::StopReason;
use super::version::Version;
use super::weight::Weight;
use super::{Context, LoadProjector, relay, sleep_until};
use crate::projection::DocumentId;
use crate::record::{Epoch, Generation, Lineage, NextOffset, Offset, TopicId, TopicPartition};
use crate::registry::Registry;
use crate::store::{CheckpointId, Store, ViewId};
use crate::telemetry::health::Reachability;

mod commit;
mod documents;
mod fault;
mod fold;
mod keyless;
mod refusal;
mod repair;
mod swap;

use keyless::Keyless;
use refusal::Refusals;
use repair::Repairs;
use swap::Next;
pub use swap::Running;

/// What the runner tells a domain.
pub enum Control {
    /// Take a claimed partition over.
    Attach(Box<Attachment>),
    /// Store what is folded, and let go. Answered with an [`Outcome`].
    Drain(TopicPartition),
    /// Store what is folded, fold nothing more, and let go for this reason.
    Stop(TopicPartition, StopReason),
    /// Fold and store everything that is in the partition's queue, and let go for this reason.
    StopBehind(TopicPartition, StopReason),
    /// Let go at once: the partition is somebody else's.
    Abandon(TopicPartition),
    /// Fold with this version from the next batch on.
    Swap(Arc<Version>),
}

/// A claimed partition and the queue that feeds it.
#[derive(Debug)]
pub struct Attachment {
    pub partition: TopicPartition,
    pub generation: Generation,
    pub epoch: Epoch,
    pub next: NextOffset,
    pub lineage: Lineage,
    /// As [`crate::store::Claim::repairs`].
    pub repairs: i64,
    pub sieve: Sieve,
    /// `None` where the projection sends no messages.
    pub relay: Option<relay::Handle>,
    pub queue: Receiver,
}

/// Why a domain let go of a partition.
#[derive(Debug)]
pub struct Outcome {
    pub partition: TopicPartition,
    pub generation: Generation,
    /// The number of the version that let go of it.
    pub version: u64,
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
    /// It was taken for the only writer of its documents, and another partition has written one.
    SharedKeys,
    /// It stands still until somebody acts.
    Stopped(StopReason),
}

/// The parts that make a domain.
pub struct Parts {
    /// For the names of its threads.
    pub name: String,
    pub context: Context,
    pub store: Arc<dyn Store>,
    pub store_reachability: Reachability,
    pub running: Running,
    /// For parked events that are to be folded with another plugin.
    pub load_projector: LoadProjector,
    pub registry: Registry,
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
    cached: Share,
    pending: Pending,
    in_flight: Option<InFlight>,
    commits: CommitNumber,
    /// Not before then is anything folded.
    retry_at: Option<Instant>,
    backoff: Backoff,
    keyless: Keyless,
    /// What a document weighs that is read.
    document_weight: Weight,
    /// What an event weighs with the documents that it reads or shapes.
    event_weight: Weight,
    /// Commits that have to pass, without a conflict, before the cache is trusted again beyond
    /// one batch. Only `shared` views have conflicts.
    contended: u32,
    /// True while nothing is folded since the cache was emptied for an event at fault.
    fresh: bool,
    /// What users want done about parked keys.
    repairs: Repairs,
    /// What the store has not taken of late.
    refusals: Refusals,
    next_version: Option<Next>,
    /// What a withdrawn version has parked here is to be folded again.
    redeem: bool,
    /// A document of a `by-key` view that was not as this domain left it.
    suspect: Option<(ViewId, DocumentId)>,
    /// What is folded rests on work that was given up. It is retracted as soon as the commit
    /// under way has its outcome; till then nobody knows what the store holds.
    tainted: bool,
}

struct Member {
    partition: Partition,
    sieve: Sieve,
    checkpoint: CheckpointId,
    /// As far as the cluster tells.
    topic: Option<TopicId>,
    relay: Option<relay::Handle>,
    generation: Generation,
    epoch: Epoch,
    queue: Receiver,
    /// Stored commits that changed what is parked at a request.
    repairs: i64,
    repairing: Repairing,
    /// An event that the plugin could not fold alone, and how often.
    tried: Option<(Offset, u32)>,
    /// Why it folds nothing more for now: no more can be parked. A repair ends it.
    full: Option<StopReason>,
    /// It folds nothing more, and leaves when what is folded is stored.
    leaving: Option<Leaving>,
}

/// Where a change of what is parked stands that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repairing {
    No,
    Pending,
    InFlight,
}

/// Why a member leaves.
#[derive(Debug)]
enum Leaving {
    /// It was told to, or nothing can be stored.
    For(Reason),
    /// An event cannot be folded on what is folded before it. Should that come to nothing, the
    /// event is tried again.
    AtFault(StopReason),
    /// Nothing can be read behind what it has received, which is to be folded first.
    Behind(StopReason),
}

struct InFlight {
    number: CommitNumber,
    /// The ids of its messages in the outbox.
    messages: Vec<Arc<str>>,
    /// The documents that it changes, where somebody wants to hear of them.
    documents: Vec<(ViewId, DocumentId)>,
    /// Where it stores documents, as far as that is to be known.
    collections: BTreeSet<String>,
    reply: oneshot::Receiver<CommitOutcome>,
}

/// How long a domain that met another host's writes reads its documents afresh for each batch.
const CONTENDED_COMMITS: u32 = 32;

impl Domain {
    pub fn new(parts: Parts) -> Self {
        let context = &parts.context;
        let cache = Cache::new(context.views.len());
        let pending = Pending::new(Arc::clone(&context.views));
        Domain {
            members: Vec::new(),
            turn: 0,
            cache: Arc::new(cache),
            cached: context.cached.share(),
            pending,
            in_flight: None,
            commits: CommitNumber(0),
            retry_at: None,
            backoff: Backoff::new(Duration::from_millis(20), Duration::from_secs(2)),
            keyless: Keyless::default(),
            document_weight: documents::FIRST,
            event_weight: documents::FIRST_OF_EVENT,
            contended: 0,
            fresh: false,
            repairs: Repairs::default(),
            refusals: Refusals::default(),
            next_version: None,
            redeem: true,
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
                self.members.iter_mut().for_each(Member::drain);
            }
            self.let_go().await;
            if !open && self.members.is_empty() {
                return;
            }
            self.submit().await;
            if self.swap() || self.repair().await || self.fold().await {
                continue;
            }
            let wake_at = [self.retry_at, self.look_at()].into_iter().flatten().min();
            // Cancel-safe: each branch takes what is complete or nothing at all.
            tokio::select! {
                biased;
                outcome = commit::wait_for(&mut self.in_flight) => self.committed(outcome).await,
                control = self.parts.control.recv(), if open => match control {
                    Some(control) => self.control(control).await,
                    None => open = false,
                },
                () = self.parts.notify.notified() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    async fn control(&mut self, control: Control) {
        match control {
            Control::Attach(attachment) => self.attach(*attachment),
            Control::Drain(partition) => {
                if let Some(member) = self.member_mut(&partition) {
                    member.drain();
                }
            }
            Control::Stop(partition, reason) => self.stop(&partition, reason),
            Control::StopBehind(partition, reason) => {
                if let Some(member) = self.member_mut(&partition) {
                    member.leaving.get_or_insert(Leaving::Behind(reason));
                }
            }
            Control::Abandon(partition) => {
                let abandoned = self.take_members(&[partition]);
                self.announce_all(abandoned, || Reason::Abandoned).await;
                self.retract_when_known();
            }
            Control::Swap(version) => self.prepare_swap(version).await,
        }
    }

    fn attach(&mut self, attachment: Attachment) {
        // Other hosts may have written what this partition's events touch.
        self.cache_mut().forget_stored();
        self.redeem = true;
        let checkpoint = checkpoint_id(&self.parts.context, &attachment.partition);
        self.members.push(Member {
            partition: Partition::new(attachment.partition, attachment.next)
                .after(attachment.lineage.last),
            topic: attachment.lineage.topic,
            sieve: attachment.sieve,
            checkpoint,
            relay: attachment.relay,
            generation: attachment.generation,
            epoch: attachment.epoch,
            queue: attachment.queue,
            repairs: attachment.repairs,
            repairing: Repairing::No,
            tried: None,
            full: None,
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
                    Item::Epoch(epoch) => member.partition.receive_epoch(epoch),
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
            let waits = match member.leaving {
                None => true,
                Some(Leaving::Behind(_)) => member.partition.waiting() > 0,
                Some(Leaving::For(_) | Leaving::AtFault(_)) => false,
            };
            if waits || member.has_pending() {
                index += 1;
                continue;
            }
            let mut member = self.members.swap_remove(index);
            let reason = match member.leaving.take() {
                Some(Leaving::For(reason)) => reason,
                Some(Leaving::AtFault(reason) | Leaving::Behind(reason)) => Reason::Stopped(reason),
                None => Reason::Drained,
            };
            self.announce(member, reason).await;
        }
    }

    async fn announce(&self, member: Member, reason: Reason) {
        let outcome = Outcome {
            partition: member.partition.id().clone(),
            generation: member.generation,
            version: self.version(),
            reason,
        };
        debug!(projection = %self.parts.context.name, ?outcome, "let go of a partition");
        drop(member);
        if self.parts.outcomes.send(outcome).await.is_err() {
            debug!("the runner has ended before its domain");
        }
    }

    fn stop(&mut self, partition: &TopicPartition, reason: StopReason) {
        if let Some(member) = self.member_mut(partition) {
            member.leaving = Some(Leaving::For(Reason::Stopped(reason)));
        }
    }

    /// Nothing can go on: every partition stops where its checkpoint is.
    fn stop_all(&mut self, reason: &StopReason) {
        self.retract_when_known();
        for member in &mut self.members {
            member.leaving = Some(Leaving::For(Reason::Stopped(reason.clone())));
        }
    }

    /// Every partition stops when what it has folded is stored. False where all have been told.
    fn stop_members(&mut self, reason: &StopReason) -> bool {
        let mut any = false;
        for member in &mut self.members {
            if member.leaving.is_none() {
                member.leaving = Some(Leaving::For(Reason::Stopped(reason.clone())));
                any = true;
            }
        }
        any
    }

    fn member_mut(&mut self, partition: &TopicPartition) -> Option<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| member.partition.id() == partition)
    }

    /// Lets documents go for which there is no room.
    fn trim_cache(&mut self) {
        let bytes_max = self.cached.bytes_max();
        self.cache_mut().trim(bytes_max);
    }

    fn cache_mut(&mut self) -> &mut Cache {
        Arc::get_mut(&mut self.cache).expect("lanes drop the cache before they answer")
    }
}

impl Member {
    /// True where something is to be stored that no commit was asked for.
    /// Lets it go when what is folded is stored, unless it is about to leave for another reason.
    fn drain(&mut self) {
        match self.leaving {
            None | Some(Leaving::Behind(_)) => {
                self.leaving = Some(Leaving::For(Reason::Drained));
            }
            Some(Leaving::For(_) | Leaving::AtFault(_)) => {}
        }
    }

    /// Whether it folds no more.
    fn folds_no_more(&self) -> bool {
        match self.leaving {
            None | Some(Leaving::Behind(_)) => false,
            Some(Leaving::For(_) | Leaving::AtFault(_)) => true,
        }
    }

    fn has_pending(&self) -> bool {
        self.partition.has_pending() || self.repairing == Repairing::Pending
    }

    /// True where messages have to leave before more may come.
    fn waits_for_relay(&self) -> bool {
        self.relay.as_ref().is_some_and(relay::Handle::is_full)
    }

    /// True where events wait, and nothing keeps them from being folded.
    fn may_fold(&self) -> bool {
        let stands = self.folds_no_more() || self.full.is_some() || self.waits_for_relay();
        !stands && self.partition.waiting() > 0
    }

    fn is_in_flight(&self) -> bool {
        self.partition.is_in_flight() || self.repairing == Repairing::InFlight
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
