//! One fold: choose a batch, make its documents known, run the plugin, take the results over.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::cache::{CommitNumber, State};
use super::super::dedupe::{IdHash, stored};
use super::super::lane::{Fold, Lane};
use super::super::partition::BatchLimits;
use super::super::sieve::{Ids, Sifted, WithoutKey};
use super::super::stop::StopReason;
use super::super::{DomainLayout, dead_letter, host_error, outbox};
use super::{Domain, Member, Reason, checkpoint_id};
use crate::parked;
use crate::projection::{DocumentWrite, Error, Fault, HostError, Output};
use crate::record::{Event, TopicPartition};
use crate::store::{EntryChange, Provenance, StoredDocument, Table};
use crate::telemetry::health::describe;
use crate::telemetry::recurring;

/// Fewer events than this part of a batch are not folded ahead of a commit that is under way.
const LITTLE: usize = 64;

/// Events of one partition that are folded together.
pub(super) struct Batch {
    /// Index of the member.
    pub(super) member: usize,
    pub(super) partition: TopicPartition,
    pub(super) events: Vec<Arc<Event>>,
}

/// What the events of a batch are sifted by, beside what their partition knows.
pub(super) struct Sift<'a> {
    ids: Option<&'a Ids>,
    /// Ids that other partitions have seen.
    elsewhere: &'a HashSet<IdHash>,
}

/// Why events were not folded. Nothing of them was taken over.
pub(super) enum Unfolded {
    /// The plugin's fault, and its hash.
    Faulty(Fault, Arc<str>),
    Host(HostError),
    /// The lane has ended.
    Ended(String),
    /// A document is another partition's.
    SharedKeys,
}

impl From<HostError> for Unfolded {
    fn from(error: HostError) -> Self {
        Unfolded::Host(error)
    }
}

/// Who folds events.
#[derive(Clone, Copy)]
pub(super) enum Folder<'a> {
    /// The version that runs, and its candidate beside it.
    Own {
        /// What the documents weigh that were read for it.
        read_bytes: usize,
    },
    /// Parked events: another plugin, or else the version that runs.
    Repair(Option<&'a Lane>),
}

/// Where the writes of a fold come from.
struct Source<'a> {
    partition: &'a TopicPartition,
    events: &'a [Arc<Event>],
    plugin: &'a Arc<str>,
}

/// The events of a batch that are to be folded.
fn to_fold(batch: &Batch, sifted: &Sifted) -> Vec<Arc<Event>> {
    let events = sifted.fold.iter();
    events
        .map(|&index| Arc::clone(&batch.events[index]))
        .collect()
}

impl Domain {
    /// Sifts one batch and folds what is left. False where there is nothing to fold now.
    pub(super) async fn fold(&mut self) -> bool {
        if self.retry_at.is_some_and(|at| at > Instant::now()) {
            return false;
        }
        self.retry_at = None;
        if self.stop_where_crashed() {
            return true;
        }
        let Some(mut batch) = self.next_batch() else {
            return false;
        };
        let ids = self.members[batch.member].sieve.ids(&batch.events);
        let elsewhere = match self.seen_elsewhere(&batch, ids.as_ref()).await {
            Ok(elsewhere) => elsewhere,
            Err(error) => return self.postpone(&error),
        };
        let sift = Sift {
            ids: ids.as_ref(),
            elsewhere: &elsewhere,
        };
        let sieve = &mut self.members[batch.member].sieve;
        let mark = sieve.mark();
        let mut sifted = sieve.sift(&batch.events, sift.ids, sift.elsewhere);
        if sifted.events == 0 {
            self.full(&batch, &sifted);
            return true;
        }
        let read_bytes = match self.prefetch(&to_fold(&batch, &sifted)).await {
            Ok(fitting) => {
                if fitting.events < sifted.fold.len() {
                    // What is left for later has been read already.
                    batch.events.truncate(sifted.fold[fitting.events]);
                    let sieve = &mut self.members[batch.member].sieve;
                    sieve.rewind(mark);
                    sifted = sieve.sift(&batch.events, sift.ids, sift.elsewhere);
                }
                fitting.bytes
            }
            Err(error) => {
                self.members[batch.member].sieve.rewind(mark);
                return self.postpone(&error);
            }
        };
        let folded = match self.fold_events(&batch, &sifted, read_bytes).await {
            Ok(()) => {
                self.take_over(&batch, &sifted);
                Ok(())
            }
            Err(unfolded) => {
                self.members[batch.member].sieve.rewind(mark);
                match unfolded {
                    Unfolded::Faulty(fault, plugin) => {
                        self.faulty(&batch, &sift, &sifted, fault, &plugin).await
                    }
                    unfolded => Err(unfolded),
                }
            }
        };
        match folded {
            Ok(()) => {}
            Err(Unfolded::Faulty(..)) => unreachable!("a fault is dealt with where it is found"),
            Err(Unfolded::Host(error)) => {
                // The parts of a batch that several lanes fold need their room at the same time.
                if matches!(error, HostError::NoRoom(_)) {
                    let member = &mut self.members[batch.member];
                    member.partition.narrow(batch.events.len());
                }
                return self.postpone(&error);
            }
            Err(Unfolded::Ended(reason)) => self.stop_all(&reason.into()),
            Err(Unfolded::SharedKeys) => self.give_up_sole_writing(&batch.partition).await,
        }
        self.trim_cache();
        true
    }

    /// Folds those events of a batch that are to be folded, if any.
    async fn fold_events(
        &mut self,
        batch: &Batch,
        sifted: &Sifted,
        read_bytes: usize,
    ) -> Result<(), Unfolded> {
        if sifted.fold.is_empty() {
            // They read and shape nothing: the next batch may be longer.
            self.note_weight(sifted.events, 0, &[]);
            return Ok(());
        }
        let events = to_fold(batch, sifted);
        let started = std::time::Instant::now();
        let count = events.len();
        self.fold_with(Folder::Own { read_bytes }, &batch.partition, events)
            .await?;
        self.record(count, started.elapsed());
        Ok(())
    }

    /// Takes over what the events of a batch came to that are not left out with the ones at fault,
    /// which are to be parked. Where that cannot be, the batch is folded again.
    pub(super) async fn take_rest(
        &mut self,
        batch: &Batch,
        sift: &Sift<'_>,
        sifted: &Sifted,
        fault: &Fault,
        rest: Output,
        plugin: &Arc<str>,
    ) -> Result<(), Unfolded> {
        let events = to_fold(batch, sifted);
        let left_out = fault.left_out(&events);
        let folded = sifted.fold.iter().enumerate();
        let folded: Vec<usize> = folded
            .filter(|(position, _)| !left_out.contains(position))
            .map(|(_, &index)| index)
            .collect();
        let sieve = &mut self.members[batch.member].sieve;
        let mark = sieve.mark();
        let again = sieve.sift(&batch.events, sift.ids, sift.elsewhere);
        // As where no more can be parked.
        if again.events != sifted.events || again.fold != folded {
            sieve.rewind(mark);
            return Ok(());
        }
        let source = Source {
            partition: &batch.partition,
            events: &events,
            plugin,
        };
        if let Err(unfolded) = self.take_in(&source, rest).await {
            self.members[batch.member].sieve.rewind(mark);
            return Err(unfolded);
        }
        self.count_folded(folded.len());
        self.take_over(batch, &again);
        Ok(())
    }

    /// Folds events of a partition, of which the documents are read, and takes the results over.
    pub(super) async fn fold_with(
        &mut self,
        folder: Folder<'_>,
        partition: &TopicPartition,
        events: Vec<Arc<Event>>,
    ) -> Result<(), Unfolded> {
        let ahead = match folder {
            Folder::Own { .. } => self.ahead(partition, events.len()),
            Folder::Repair(_) => Vec::new(),
        };
        let fold = |events| Fold {
            partition: partition.clone(),
            events,
            cache: Arc::clone(&self.cache),
        };
        let running = &self.parts.running;
        let folding = async {
            match (folder, running.beside()) {
                (Folder::Repair(Some(lane)), _) => lane.fold(fold(events)).await,
                (Folder::Own { .. }, Some(beside)) => {
                    let tried = fold(events.clone());
                    let active = running.lanes.fold(fold(events));
                    beside.fold(&running.version, active, tried).await
                }
                (Folder::Own { .. }, None) | (Folder::Repair(None), _) => {
                    running.lanes.fold(fold(events)).await
                }
            }
        };
        let (folded, read_ahead) = tokio::join!(folding, self.read_ahead(ahead));
        let folded = folded.map_err(|error| Unfolded::Ended(error.to_string()))?;
        for (key, state) in read_ahead {
            self.cache_mut().insert_loaded(key, state);
        }
        let mut loaded_bytes = 0;
        for (key, state) in folded.loaded {
            loaded_bytes += state.body_bytes();
            self.cache_mut().insert_loaded(key, state);
        }
        let output = match folded.result {
            Ok(output) => output,
            Err(Error::Fault(fault)) => return Err(Unfolded::Faulty(fault, folded.plugin)),
            Err(Error::Host(error)) => return Err(Unfolded::Host(error)),
        };
        if let Folder::Own { read_bytes } = folder {
            let bytes = read_bytes + loaded_bytes;
            self.note_weight(folded.events.len(), bytes, &output.writes);
        }
        let source = Source {
            partition,
            events: &folded.events,
            plugin: &folded.plugin,
        };
        self.take_in(&source, output).await
    }

    /// Takes the results of a fold over.
    async fn take_in(&mut self, source: &Source<'_>, output: Output) -> Result<(), Unfolded> {
        let current = self.current(&output.writes).await?;
        if self.is_anothers(source.partition, &current) {
            return Err(Unfolded::SharedKeys);
        }
        self.pending.hold(output.held);
        self.absorb(source, output.writes, current);
        if !self.parts.context.is_mute {
            let checkpoint = checkpoint_id(&self.parts.context, source.partition);
            for entry in outbox::entries(&checkpoint, source.events, output.messages) {
                self.pending.put_entry(EntryChange::Insert(entry));
            }
        }
        self.fresh = false;
        Ok(())
    }

    /// Notes what became of the events of a batch.
    fn take_over(&mut self, batch: &Batch, sifted: &Sifted) {
        let context = &self.parts.context;
        let member = &mut self.members[batch.member];
        for &(index, first) in &sifted.park {
            let entry = parked::event_entry(&member.checkpoint, first, &batch.events[index]);
            self.pending.put_entry(EntryChange::Insert(entry));
            let key = member.sieve.parking().get(first);
            if let (Some(topic), Some(key)) = (&context.parking.dead_letter_topic, key)
                && !dead_letter::is_too_large(&batch.events[index])
            {
                let event = &batch.events[index];
                let copy = dead_letter::entry(topic, &member.checkpoint, event, key);
                self.pending.put_entry(EntryChange::Insert(copy));
            }
        }
        member.partition.fold(sifted.events);
        member.tried = None;
        let projection = || context.name.to_string();
        let counts = [
            ("projectionist_duplicates_dropped_total", sifted.duplicates),
            ("projectionist_events_without_id_total", sifted.without_id),
            ("projectionist_events_without_key_total", sifted.without_key),
            ("projectionist_events_parked_total", sifted.park.len()),
        ];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            metrics::counter!(name, "projection" => projection()).increment(count as u64);
        }
        let what = match context.without_key {
            // What the plugin rejects is told where it is parked.
            WithoutKey::Fold => return,
            WithoutKey::Ignore => "passed over",
            WithoutKey::Park => "parked",
        };
        if let Some(events) = self.keyless.note(sifted.without_key, Instant::now()) {
            tracing::warn!(
                projection = %context.name, partition = %batch.partition, events,
                "events without a key were {what}, as without-key says"
            );
        }
    }

    /// Which ids of a batch other partitions have seen.
    async fn seen_elsewhere(
        &self,
        batch: &Batch,
        ids: Option<&Ids>,
    ) -> Result<HashSet<IdHash>, HostError> {
        let Some(ids) = ids else {
            return Ok(HashSet::new());
        };
        let unknown = self.members[batch.member].sieve.unknown(ids);
        if unknown.is_empty() {
            return Ok(HashSet::new());
        }
        let writer = self.parts.context.writer();
        let entries: Vec<Arc<str>> = unknown
            .iter()
            .map(|id| stored::id_id(&writer, id))
            .collect();
        let found = self.parts.store.find_entries(Table::SeenIds, &entries);
        let found = found.await.map_err(host_error)?;
        self.parts.store_reachability.reached();
        Ok(found.iter().filter_map(stored::id_from).collect())
    }

    /// The next batch: the partitions take turns, within the room that the next commit has.
    fn next_batch(&mut self) -> Option<Batch> {
        if self.tainted || self.is_held() {
            return None;
        }
        let folding_ahead = self.members.iter().any(Member::has_pending);
        let careful = self.contended > 0
            || self.repairs.are_due()
            || self.suspect.is_some()
            || self
                .members
                .iter()
                .any(|member| member.partition.is_narrowed());
        if careful && (folding_ahead || self.in_flight.is_some()) {
            return None;
        }
        if self.in_flight.is_some() && !folding_ahead && self.waits_little() {
            return None;
        }
        let room = self.room()?;
        for step in 0..self.members.len() {
            let index = (self.turn + step) % self.members.len();
            let member = &self.members[index];
            if !member.may_fold() {
                continue;
            }
            self.turn = index + 1;
            return Some(Batch {
                member: index,
                partition: member.partition.id().clone(),
                events: member.partition.cut(room),
            });
        }
        None
    }

    /// Whether so little waits, in a domain of one partition, that it can be folded when the commit
    /// under way has its outcome: each fold is a handover to a thread, and folding ahead saves less
    /// than that. What fills its queue is never little.
    fn waits_little(&self) -> bool {
        match &self.members[..] {
            [only] => {
                let little = self.parts.context.batch.events_max / LITTLE;
                only.partition.waiting() < little && !only.queue.is_full()
            }
            _ => false,
        }
    }

    /// What the next commit still takes, `None` where it is full.
    fn room(&self) -> Option<BatchLimits> {
        let limits = self.parts.context.batch;
        let events: usize = self
            .members
            .iter()
            .map(|member| member.partition.pending_events())
            .sum();
        let bytes_max = limits.bytes_max.checked_sub(self.pending.bytes())?;
        let fitting = self.event_weight.fitting(bytes_max).max(1);
        let room = BatchLimits {
            events_max: limits.events_max.checked_sub(events)?.min(fitting),
            documents_max: limits.documents_max.checked_sub(self.pending.documents())?,
            bytes_max,
        };
        let any = room.events_max > 0 && room.documents_max > 0 && room.bytes_max > 0;
        any.then_some(room)
    }

    /// Whether another partition has shaped one of these documents, where none should have. The
    /// first that comes to a document of another's finds out here, before it writes: it has read
    /// the document just now, or knew of none, was refused the insertion, and has read it since.
    fn is_anothers(&self, partition: &TopicPartition, current: &[Option<Provenance>]) -> bool {
        let mut current = current.iter().flatten();
        self.parts.context.layout == DomainLayout::PerPartition
            && current.any(|provenance| provenance.partition != *partition)
    }

    /// Lets go of a partition that is not the only writer of its documents.
    pub(super) async fn give_up_sole_writing(&mut self, partition: &TopicPartition) {
        let taken = self.take_members(std::slice::from_ref(partition));
        self.announce_all(taken, || Reason::SharedKeys).await;
        self.retract_when_known();
    }

    /// Takes the plugin's writes over, into the cache and the next commit. `current` is where the
    /// documents come from that they change.
    fn absorb(
        &mut self,
        source: &Source<'_>,
        writes: Vec<DocumentWrite>,
        current: Vec<Option<Provenance>>,
    ) {
        let commit = CommitNumber(self.commits.0 + 1);
        for (write, current) in writes.into_iter().zip(current) {
            let provenance = Provenance {
                revision: self.pending.next_revision(&write.key, current.as_ref()),
                partition: source.partition.clone(),
                offset: source.events[write.event].offset,
                plugin: Arc::clone(source.plugin),
            };
            let (document, state) = match write.body {
                None => (None, State::Absent),
                Some(body) => {
                    let document = StoredDocument {
                        body: body.bson,
                        provenance: provenance.clone(),
                    };
                    let state = State::Present {
                        encoded: body.encoded,
                        provenance,
                    };
                    (Some(document), state)
                }
            };
            self.pending.put(write.key.clone(), current, document);
            self.cache_mut().insert_folded(write.key, state, commit);
        }
    }

    /// The store or the engine is in trouble, the batch is not: fold it again a little later.
    /// Where no time helps, the domain's partitions stop.
    pub(super) fn postpone(&mut self, error: &HostError) -> bool {
        match error {
            HostError::Documents(source) => self.parts.store_reachability.lost(&**source),
            HostError::Unreadable(source) => {
                let reason = describe(&**source);
                self.stop_all(&StopReason::StoreRefused(reason));
            }
            HostError::NoRoom(_) => {
                let (projection, why) = (&self.parts.context.name, describe(error));
                if recurring::admit("waiting", projection, &why) {
                    tracing::info!(%projection, "waiting: {why}");
                }
            }
            HostError::Engine(_) => {
                let (projection, why) = (&self.parts.context.name, describe(error));
                if recurring::admit("folded again", projection, &why) {
                    tracing::warn!(%projection, "trying again: {why}");
                }
            }
        }
        self.retry_at = Some(Instant::now() + self.backoff.next_delay());
        false
    }

    fn record(&mut self, events: usize, elapsed: std::time::Duration) {
        self.count_folded(events);
        let projection = self.parts.context.name.to_string();
        metrics::histogram!("projectionist_fold_seconds", "projection" => projection)
            .record(elapsed.as_secs_f64());
        if self.contended == 0 {
            self.backoff.reset();
        }
    }

    fn count_folded(&self, events: usize) {
        if let Some(trial) = &self.parts.running.version.trial {
            trial.folded(events);
        }
        let projection = self.parts.context.name.to_string();
        metrics::counter!("projectionist_events_folded_total", "projection" => projection)
            .increment(events as u64);
    }
}
