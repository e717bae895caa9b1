//! Carries out what users want done about parked keys, as `pipeline::domain::repair` does.

use std::sync::Arc;

use projectionist::parked::{self, Action, Reason, Request};
use projectionist::record::{Event, Offset};
use projectionist::store::{Entry, EntryChange, Table};

use super::commit::After;
use super::dice::Dice;
use super::mutant::Mutant;
use super::owner::{CHECKPOINT, Owner, Repairing, reason};
use super::store::Store;

/// Why a key stays parked that was to be drained.
pub(crate) const IN_VAIN: &str = "drained in vain";

#[derive(Debug)]
pub(crate) struct Task {
    first: Offset,
    request: Request,
    /// The commit that is pending or in flight removes the request.
    pub(super) done: bool,
}

impl Owner {
    /// Looks for requests, or carries out one step of one. `None` where there is nothing to do.
    ///
    /// # Errors
    /// Where the host would stop the partition, with the reason.
    pub(crate) fn repair(
        &mut self,
        store: &mut Store,
        dice: &mut Dice,
    ) -> Result<Option<After>, String> {
        if !self.is_idle() || self.leaving || self.sieve.parking().is_empty() {
            return Ok(None);
        }
        let Some(task) = self.tasks.front() else {
            self.look(store);
            return Ok((!self.tasks.is_empty()).then_some(After::GoesOn));
        };
        let (first, request) = (task.first, task.request.clone());
        if self.sieve.parking().get(first).is_none() {
            self.drop_request(first);
            return Ok(Some(After::GoesOn));
        }
        match &request.action {
            Action::Drain { .. } => {
                let limit = 1 + dice.pick(3);
                let limit = self.narrowed.map_or(limit, |narrowed| narrowed.min(limit));
                return self.drain(store, first, limit).map(Some);
            }
            Action::Skip { offset, reason } => {
                self.skip(store, first, Offset(*offset), reason, &request);
            }
        }
        Ok(Some(After::GoesOn))
    }

    fn look(&mut self, store: &Store) {
        let prefix = parked::keys_prefix(&CHECKPOINT);
        for entry in store.entries(Table::ParkedRequests, &prefix) {
            self.tasks.push_back(Task {
                first: parked::first_of(&entry.id).expect("a user named a key"),
                request: Request::from_entry(entry).expect("a user wrote it"),
                done: false,
            });
        }
    }

    /// Folds the oldest events of a parked key with a fixed plugin.
    fn drain(&mut self, store: &Store, first: Offset, limit: usize) -> Result<After, String> {
        let prefix = parked::events_prefix(&CHECKPOINT, first);
        let entries = store.entries(Table::Parked, &prefix).take(limit);
        let entries: Vec<&Entry> = entries.collect();
        let fenced = store.checkpoint.epoch != self.epoch;
        if entries.is_empty() && fenced && !self.is(Mutant::MissingEventsStopAFencedHost) {
            return Ok(After::LetsGo);
        }
        if entries.is_empty() {
            return Err(format!("the events parked at {first} are missing"));
        }
        let events: Vec<Event> = entries
            .iter()
            .map(|entry| parked::event_from_entry(entry).expect("it was parked here"))
            .collect();
        self.absorb(store, &events.iter().collect::<Vec<_>>());
        for entry in &entries {
            self.pending.put_entry(EntryChange::Remove {
                table: Table::Parked,
                id: Arc::clone(&entry.id),
            });
        }
        let bytes = events.iter().map(|event| event.size_bytes() as u64).sum();
        let mut count = events.len() as u64;
        if self.is(Mutant::UnparkedBeforeTheLast) {
            count = u64::MAX;
        }
        self.draining = entries.len();
        self.narrowed = None;
        self.release(first, count, bytes);
        Ok(After::GoesOn)
    }

    /// What a repair stores is nothing that the store takes: of one event alone it stays parked.
    pub(super) fn repair_rejected(&mut self) {
        if self.draining > 1 {
            self.narrowed = Some(self.draining / 2);
            return;
        }
        let Some(first) = self.tasks.front().map(|task| task.first) else {
            return;
        };
        let reason = Reason {
            detail: IN_VAIN.to_owned(),
            ..reason()
        };
        self.sieve.parking_mut().set_reason(first, reason);
        self.request_done(first);
    }

    /// Gives one parked event up.
    fn skip(
        &mut self,
        store: &mut Store,
        first: Offset,
        offset: Offset,
        why: &str,
        request: &Request,
    ) {
        let table = Table::Parked;
        let id = parked::event_id(&CHECKPOINT, first, offset);
        let Some(entry) = store.entry(table, &id) else {
            return self.drop_request(first);
        };
        let event = parked::event_from_entry(entry).expect("it was parked here");
        let skipped = parked::skipped_entry(&CHECKPOINT, first, &event, why, request);
        self.pending.put_entry(EntryChange::Insert(skipped));
        self.pending.put_entry(EntryChange::Remove { table, id });
        self.release(first, 1, event.size_bytes() as u64);
        if self.sieve.parking().get(first).is_some() {
            self.request_done(first);
        }
    }

    fn release(&mut self, first: Offset, events: u64, bytes: u64) {
        let parking = self.sieve.parking_mut();
        parking.release(first, events, bytes);
        let last = parking.get(first).is_none();
        self.repairing = Repairing::Pending;
        if last {
            self.request_done(first);
        }
    }

    fn request_done(&mut self, first: Offset) {
        self.repairing = Repairing::Pending;
        self.pending.put_entry(EntryChange::Remove {
            table: Table::ParkedRequests,
            id: parked::key_id(&CHECKPOINT, first),
        });
        if let Some(task) = self.tasks.front_mut() {
            task.done = true;
        }
    }

    /// The request names what is not parked. If that is so, its removal is stored.
    fn drop_request(&mut self, first: Offset) {
        self.request_done(first);
    }
}
