//! Carries out what users want done about parked keys: fold their events, or skip one.
//!
//! Requests are entries of the store, so that they reach whichever host owns the partition, now or
//! later. A request is removed in the transaction that does what it asks, and a repair is recognised
//! after a lost answer by the checkpoint's own count ([`crate::store::Claim::repairs`]).
//!
//! A repair starts when nothing of the domain is folded and not stored, and holds the folding of
//! new events until it is stored: both may touch the same documents. So they take turns: after each
//! step of a repair, which is of a bounded size, new events are folded and stored if any wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::super::lane::Lane;
use super::super::{DomainLayout, LoadProjector, host_error};
use super::fault::reason;
use super::fold::{Folder, Unfolded};
use super::{Domain, Member, Repairing};
use crate::parked::{self, Action, Request, Unreadable};
use crate::projection::{Descriptor, Fault, FaultKind, HostError, Projector};
use crate::record::{Event, Offset, TopicPartition};
use crate::registry::{self, Registry};
use crate::store::{self, Entry, EntryChange, Table};
use crate::telemetry::health::{PartitionState, describe};

/// How often the store is asked for requests, where something is parked.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Parked events that are folded in one transaction.
const EVENTS_MAX: usize = 1_000;

const REQUESTS_MAX: usize = 100;

/// What users want done.
#[derive(Default)]
pub(super) struct Repairs {
    /// When to look for requests again; `None` before the first time.
    look_at: Option<Instant>,
    tasks: VecDeque<Task>,
    /// Most events of the next batch, while a fault is narrowed down to its event.
    narrowed: Option<usize>,
    /// Events of the batch that is pending or in flight.
    draining: usize,
    /// A step is done, and new events come next.
    yields: bool,
    /// A lane with another plugin (its hash) than the projection's.
    lane: Option<(String, Lane)>,
    /// What is to become one.
    loading: Option<Loading>,
}

/// Another plugin on its way. Dropping it gives it up.
struct Loading {
    hash: String,
    answer: oneshot::Receiver<Result<Box<dyn Projector>, Failed>>,
    _task: JoinSet<()>,
}

/// Whether a lane is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loaded {
    Yes,
    NotYet,
}

/// What became of one step of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Done,
    /// Something else has to come first.
    Waits,
}

#[derive(Debug)]
struct Task {
    partition: TopicPartition,
    first: Offset,
    request: Request,
    /// The commit that is pending or in flight removes the request.
    done: bool,
}

/// Why a request cannot be carried out.
enum Failed {
    Host(HostError),
    /// Another host has claimed the partition.
    Fenced,
    /// The key stays parked, with this reason.
    Fault(Fault, String),
}

impl From<HostError> for Failed {
    fn from(error: HostError) -> Self {
        Failed::Host(error)
    }
}

impl From<Unreadable> for Failed {
    fn from(error: Unreadable) -> Self {
        Failed::Host(HostError::Unreadable(Box::new(error)))
    }
}

impl From<store::Error> for Failed {
    fn from(error: store::Error) -> Self {
        Failed::Host(host_error(error))
    }
}

impl Repairs {
    /// True where a request waits to be carried out.
    pub(super) fn are_due(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Requests were put just now.
    pub(super) fn look_now(&mut self) {
        self.look_at = None;
    }

    /// Another version runs: whether another plugin goes with it is to be seen anew.
    pub(super) fn forget_lane(&mut self) {
        self.lane = None;
    }
}

impl Domain {
    /// When to look for requests; `None` where nothing is parked, or something else comes first.
    pub(super) fn look_at(&self) -> Option<Instant> {
        if self.in_flight.is_some() || self.repairs.are_due() || self.is_held() {
            return None;
        }
        let parked = self.members.iter().any(Member::may_be_repaired);
        self.repairs.look_at.filter(|_| parked)
    }

    /// Carries one step of a request out. False where there is nothing to do now.
    pub(super) async fn repair(&mut self) -> bool {
        let now = Instant::now();
        let waits = self.tainted || self.is_held() || self.retry_at.is_some_and(|at| at > now);
        if waits || self.in_flight.is_some() || self.members.iter().any(Member::has_pending) {
            return false;
        }
        if let Err(error) = self.redeem().await {
            return self.postpone(&host_error(error));
        }
        if !self.repairs.are_due() && self.repairs.look_at.is_none_or(|at| at <= now) {
            self.repairs.look_at = Some(now + LOOK_INTERVAL);
            if let Err(error) = self.look().await {
                return self.postpone(&host_error(error));
            }
        }
        if std::mem::take(&mut self.repairs.yields) && self.members.iter().any(Member::may_fold) {
            return false;
        }
        let Some(task) = self.repairs.tasks.front() else {
            return false;
        };
        self.repairs.yields = true;
        let (partition, first) = (task.partition.clone(), task.first);
        let request = task.request.clone();
        let member = self
            .members
            .iter()
            .position(|member| *member.partition.id() == partition && member.may_be_repaired());
        let Some(member) = member else {
            self.repairs.tasks.pop_front();
            return true;
        };
        let result = match &request.action {
            _ if self.members[member].sieve.parking().get(first).is_none() => {
                self.drop_request(member, first);
                Ok(Step::Done)
            }
            Action::Drain { plugin } => self.drain(member, first, plugin.as_deref()).await,
            Action::Skip { offset, reason } => self
                .skip(member, first, Offset(*offset), reason, &request)
                .await
                .map(|()| Step::Done),
        };
        match result {
            Ok(Step::Done) => true,
            Ok(Step::Waits) => false,
            Err(Failed::Host(error)) => self.postpone(&error),
            Err(Failed::Fenced) => {
                self.fenced(&[partition]).await;
                true
            }
            Err(Failed::Fault(fault, plugin)) => {
                warn!(
                    projection = %self.parts.context.name, %partition, offset = first.0,
                    "a parked key cannot be drained: {fault}"
                );
                let parking = self.members[member].sieve.parking_mut();
                parking.set_reason(first, reason(&fault, &plugin));
                self.request_done(member, first);
                true
            }
        }
    }

    /// A repair is stored.
    pub(super) fn repaired(&mut self) {
        if let Some(task) = self.repairs.tasks.pop_front_if(|task| task.done) {
            self.repairs.narrowed = None;
            info!(
                projection = %self.parts.context.name, partition = %task.partition,
                offset = task.first.0, by = task.request.by, action = ?task.request.action,
                "a request about a parked key is carried out"
            );
        }
        if !self.repairs.are_due() {
            self.repairs.lane = None;
        }
        self.let_full_go_on();
    }

    /// Lets partitions try again that stood still because no more could be parked.
    pub(super) fn let_full_go_on(&mut self) {
        let context = &self.parts.context;
        for member in &mut self.members {
            if member.full.take().is_some() {
                context.health.set_partition(
                    &context.name,
                    member.partition.id(),
                    PartitionState::Running,
                );
            }
        }
    }

    /// What a repair stores is more than a transaction takes, or nothing that the store takes: the
    /// next try is of half as many events. What one event alone makes stays parked.
    pub(super) fn repair_too_large(&mut self, fault: Fault) {
        if self.repairs.draining > 1 {
            self.repairs.narrowed = Some(self.repairs.draining / 2);
            return;
        }
        let Some(task) = self.repairs.tasks.front() else {
            return;
        };
        let (partition, first) = (task.partition.clone(), task.first);
        let found = |member: &Member| *member.partition.id() == partition;
        if let Some(member) = self.members.iter().position(found) {
            let reason = reason(&fault, &self.parts.running.version.hash);
            let parking = self.members[member].sieve.parking_mut();
            parking.set_reason(first, reason);
            self.request_done(member, first);
        }
    }

    /// What was to be stored of a repair came to nothing: it is done again.
    pub(super) fn repair_again(&mut self) {
        for task in &mut self.repairs.tasks {
            task.done = false;
        }
    }

    /// Reads the requests about what is parked here.
    async fn look(&mut self) -> Result<(), store::Error> {
        let store = Arc::clone(&self.parts.store);
        for member in self
            .members
            .iter()
            .filter(|member| member.may_be_repaired())
        {
            let prefix = parked::keys_prefix(&member.checkpoint);
            let table = Table::ParkedRequests;
            for entry in store.entries(table, &prefix, None, REQUESTS_MAX).await? {
                let first = parked::first_of(&entry.id);
                let (Some(first), Ok(request)) = (first, Request::from_entry(&entry)) else {
                    warn!(id = %entry.id, "removing a request that cannot be read");
                    store.remove_entries(table, &[entry.id]).await?;
                    continue;
                };
                self.repairs.tasks.push_back(Task {
                    partition: member.partition.id().clone(),
                    first,
                    request,
                    done: false,
                });
            }
            self.parts.store_reachability.reached();
        }
        Ok(())
    }

    /// Folds the oldest events of a parked key.
    async fn drain(
        &mut self,
        member: usize,
        first: Offset,
        plugin: Option<&str>,
    ) -> Result<Step, Failed> {
        if let Some(hash) = plugin
            && self.load_lane(hash).await? == Loaded::NotYet
        {
            return Ok(Step::Waits);
        }
        let checkpoint = self.members[member].checkpoint.clone();
        let entries = self.parked_events(member, first).await?;
        let events: Vec<Arc<Event>> = entries
            .iter()
            .map(|entry| parked::event_from_entry(entry).map(Arc::new))
            .collect::<Result<_, _>>()?;
        if self.parts.context.layout == DomainLayout::Joined {
            // Other hosts may have written what these events touch.
            self.cache_mut().forget_stored();
        }
        let lane = self
            .repairs
            .lane
            .take_if(|(hash, _)| Some(hash.as_str()) == plugin);
        let bytes = events.iter().map(|event| event.size_bytes() as u64).sum();
        // Of one key: there is nothing to be cut.
        self.prefetch(&events).await?;
        let folded = self
            .fold_with(
                Folder::Repair(lane.as_ref().map(|(_, lane)| lane)),
                &checkpoint.partition,
                events,
            )
            .await;
        self.repairs.lane = lane;
        match folded {
            Ok(()) => {}
            Err(Unfolded::Host(error)) => return Err(error.into()),
            Err(Unfolded::Ended(reason)) => {
                self.stop_all(&reason.into());
                return Ok(Step::Done);
            }
            Err(Unfolded::SharedKeys) => {
                self.give_up_sole_writing(&checkpoint.partition).await;
                return Ok(Step::Done);
            }
            Err(Unfolded::Faulty(fault, hash)) => {
                self.narrow_repair(entries.len(), fault, &hash)?;
                return Ok(Step::Done);
            }
        }
        let count = entries.len() as u64;
        for entry in entries {
            self.pending.put_entry(EntryChange::Remove {
                table: Table::Parked,
                id: entry.id,
            });
        }
        self.repairs.narrowed = None;
        self.repairs.draining = usize::try_from(count).unwrap_or(usize::MAX);
        self.release(member, first, count, bytes);
        Ok(Step::Done)
    }

    async fn parked_events(&self, member: usize, first: Offset) -> Result<Vec<Entry>, Failed> {
        let Member {
            checkpoint, epoch, ..
        } = &self.members[member];
        let limit = self.repairs.narrowed.unwrap_or(EVENTS_MAX);
        let prefix = parked::events_prefix(checkpoint, first);
        let store = &self.parts.store;
        let entries = store.entries(Table::Parked, &prefix, None, limit).await?;
        if !entries.is_empty() {
            return Ok(entries);
        }
        // A host that has claimed the partition meanwhile may have folded or skipped them.
        let claim = store.checkpoint(checkpoint).await?;
        if claim.is_some_and(|claim| claim.epoch != *epoch) {
            return Err(Failed::Fenced);
        }
        let missing = Unreadable {
            table: Table::Parked,
            id: prefix,
            message: "its events are missing; somebody else has removed them".to_owned(),
        };
        Err(missing.into())
    }

    /// The plugin could not fold so many parked events.
    fn narrow_repair(&mut self, events: usize, fault: Fault, hash: &str) -> Result<(), Failed> {
        if events == 1 {
            return Err(Failed::Fault(fault, hash.to_owned()));
        }
        self.repairs.narrowed = Some(match fault.event {
            Some(index) if index < events => index.max(1),
            Some(_) | None => events / 2,
        });
        Ok(())
    }

    /// Gives one parked event up.
    async fn skip(
        &mut self,
        member: usize,
        first: Offset,
        offset: Offset,
        why: &str,
        request: &Request,
    ) -> Result<(), Failed> {
        let checkpoint = self.members[member].checkpoint.clone();
        let id = parked::event_id(&checkpoint, first, offset);
        let found = self
            .parts
            .store
            .find_entries(Table::Parked, std::slice::from_ref(&id))
            .await?;
        let Some(entry) = found.first() else {
            self.drop_request(member, first);
            return Ok(());
        };
        let event = parked::event_from_entry(entry)?;
        let skipped = parked::skipped_entry(&checkpoint, first, &event, why, request);
        self.pending.put_entry(EntryChange::Insert(skipped));
        let table = Table::Parked;
        self.pending.put_entry(EntryChange::Remove { table, id });
        self.release(member, first, 1, event.size_bytes() as u64);
        if self.members[member].sieve.parking().get(first).is_some() {
            self.request_done(member, first);
        }
        Ok(())
    }

    /// Events of a key are parked no more. With the last one, what was asked for is done.
    fn release(&mut self, member: usize, first: Offset, events: u64, bytes: u64) {
        let parking = self.members[member].sieve.parking_mut();
        parking.release(first, events, bytes);
        let last = parking.get(first).is_none();
        self.members[member].repairing = Repairing::Pending;
        if last {
            self.request_done(member, first);
        }
    }

    /// The next commit removes the request that is being carried out.
    fn request_done(&mut self, member: usize, first: Offset) {
        let member = &mut self.members[member];
        member.repairing = Repairing::Pending;
        self.pending.put_entry(EntryChange::Remove {
            table: Table::ParkedRequests,
            id: parked::key_id(&member.checkpoint, first),
        });
        if let Some(task) = self.repairs.tasks.front_mut() {
            task.done = true;
        }
    }

    /// Removes a request that names what is not parked, in a commit: a host that is fenced does not
    /// know what its successor has parked.
    fn drop_request(&mut self, member: usize, first: Offset) {
        let checkpoint = &self.members[member].checkpoint;
        warn!(%checkpoint, offset = first.0, "dropping a request about what is not parked");
        self.request_done(member, first);
    }

    /// Has the lane of another plugin made: that may take as long as compiling it, and new events
    /// are folded meanwhile.
    async fn load_lane(&mut self, hash: &str) -> Result<Loaded, Failed> {
        let is_loaded = |(loaded, _): &(String, Lane)| loaded == hash;
        if self.repairs.lane.as_ref().is_some_and(is_loaded) {
            return Ok(Loaded::Yes);
        }
        let wanted = self.repairs.loading.take_if(|l| l.hash == hash);
        let mut loading = wanted.unwrap_or_else(|| self.start_loading(hash));
        let projector = match loading.answer.try_recv() {
            Ok(loaded) => loaded?,
            Err(oneshot::error::TryRecvError::Empty) => {
                self.repairs.loading = Some(loading);
                return Ok(Loaded::NotYet);
            }
            Err(oneshot::error::TryRecvError::Closed) => {
                return Err(unusable(hash, "loading it ended unexpectedly"));
            }
        };
        let context = &self.parts.context;
        if !fits(
            projector.descriptor(),
            &self.parts.running.version.descriptor,
        ) {
            let detail = "its views or its encoding are not those of the projection's own plugin";
            return Err(unusable(hash, detail));
        }
        let lane = Lane::start(
            &format!("{} repair", context.name),
            projector,
            Arc::clone(&self.parts.store),
            Arc::clone(&context.views),
        );
        let lane = lane.map_err(|error| unusable(hash, &error.to_string()))?;
        self.repairs.lane = Some((hash.to_owned(), lane));
        Ok(Loaded::Yes)
    }

    fn start_loading(&self, hash: &str) -> Loading {
        let registry = self.parts.registry.clone();
        let load = Arc::clone(&self.parts.load_projector);
        let notify = Arc::clone(&self.parts.notify);
        let (reply, answer) = oneshot::channel();
        let mut task = JoinSet::new();
        let wanted = hash.to_owned();
        task.spawn(async move {
            // A domain that has ended has no use for it.
            drop(reply.send(load_projector(&registry, load, &wanted).await));
            notify.notify_one();
        });
        Loading {
            hash: hash.to_owned(),
            answer,
            _task: task,
        }
    }
}

async fn load_projector(
    registry: &Registry,
    load: LoadProjector,
    hash: &str,
) -> Result<Box<dyn Projector>, Failed> {
    let bytes = match registry.bytes(hash).await {
        Ok(bytes) => bytes,
        Err(registry::Error::Store(error)) => return Err(error.into()),
        Err(error) => return Err(unusable(hash, &error.to_string())),
    };
    let made = tokio::task::spawn_blocking(move || load(&bytes)).await;
    made.map_err(|error| unusable(hash, &error.to_string()))?
        .map_err(|error| unusable(hash, &describe(&error)))
}

fn unusable(hash: &str, detail: &str) -> Failed {
    let fault = Fault {
        kind: FaultKind::Failed,
        detail: format!("plugin {hash} cannot be used: {detail}"),
        event: None,
        also: Vec::new(),
        rest: None,
    };
    Failed::Fault(fault, hash.to_owned())
}

impl Member {
    fn may_be_repaired(&self) -> bool {
        self.leaving.is_none() && !self.waits_for_relay() && !self.sieve.parking().is_empty()
    }
}

/// What an event is at fault for whose documents no transaction takes.
pub(super) fn too_large(detail: String) -> Fault {
    Fault {
        kind: FaultKind::InvalidOutput,
        detail: format!("its documents are too large for one transaction: {detail}"),
        event: None,
        also: Vec::new(),
        rest: None,
    }
}

fn fits(other: &Descriptor, own: &Descriptor) -> bool {
    other.views == own.views && other.encoding == own.encoding
}
