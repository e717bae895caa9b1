//! One commit at a time: what is handed to the store, and what its outcome means.

use projectionist::parked;
use projectionist::pipeline::dedupe::stored;
use projectionist::pipeline::parking::KeyChange;
use projectionist::pipeline::sieve::Changes;
use projectionist::record::Offset;
use projectionist::store::{Advance, Commit, EntryChange, Repairs, Table, Write};

use super::mutant::Mutant;
use super::owner::{CHECKPOINT, Owner, Repairing, reason};
use super::store::{Outcome, Part};

/// What an owner does after a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    GoesOn,
    /// Another host has claimed the partition.
    LetsGo,
}

impl Owner {
    /// What is to be stored now, in the order in which it is.
    pub(crate) fn submit(&mut self) -> Option<Vec<Part>> {
        if self.in_flight.is_some() {
            return None;
        }
        let from = self.partition.stored();
        let repair = self.repairing == Repairing::Pending;
        let step = self.partition.submit();
        if step.is_none() && !repair {
            return None;
        }
        if repair {
            self.repairing = Repairing::InFlight;
        }
        let counted = repair && !self.is(Mutant::RepairsNotCounted);
        let advance = Advance {
            checkpoint: CHECKPOINT.clone(),
            epoch: self.epoch,
            from,
            to: step.map_or(from, |step| step.to),
            lineage: projectionist::record::Lineage::default(),
            repairs: Repairs {
                from: self.repairs,
                to: self.repairs + i64::from(counted),
            },
        };
        let (writes, mut entries) = self.pending.take();
        entries.extend(self.sieve_changes());
        self.commits.0 += 1;
        self.in_flight = Some(self.commits);
        Some(parts(self.mutant, writes, entries, advance))
    }

    fn sieve_changes(&mut self) -> Vec<EntryChange> {
        let Changes { segments, keys } = self.sieve.submit();
        let mut changes = stored::segment_changes(&CHECKPOINT, &segments);
        changes.extend(keys.into_iter().map(|change| match change {
            KeyChange::Insert(key) => EntryChange::Insert(key.to_entry(&CHECKPOINT)),
            KeyChange::Replace(key) => EntryChange::Replace(key.to_entry(&CHECKPOINT)),
            KeyChange::Remove(first) => EntryChange::Remove {
                table: Table::ParkedKeys,
                id: parked::key_id(&CHECKPOINT, first),
            },
        }));
        changes
    }

    /// The commit under way has this outcome.
    ///
    /// # Errors
    /// Where the host would stop the partition, with the reason.
    pub(crate) fn completed(&mut self, outcome: &Outcome) -> Result<After, String> {
        let number = self.in_flight.take();
        match outcome {
            Outcome::Stored => {
                self.partition.commit();
                self.sieve.commit(self.partition.stored());
                if self.repairing == Repairing::InFlight {
                    self.repairing = Repairing::No;
                    self.repairs += i64::from(!self.is(Mutant::RepairsNotCounted));
                    if self.tasks.pop_front_if(|task| task.done).is_some() {
                        self.narrowed = None;
                    }
                }
                if let Some(number) = number {
                    self.cache.set_stored(number);
                }
                self.cache.trim(self.cache_bytes_max);
                Ok(After::GoesOn)
            }
            Outcome::Fenced => Ok(After::LetsGo),
            Outcome::TooLarge => {
                let events = self.partition.in_flight_events();
                self.retract();
                self.partition.narrow(events);
                Ok(After::GoesOn)
            }
            Outcome::Rejected(offset) => {
                self.rejected(*offset);
                Ok(After::GoesOn)
            }
            Outcome::Mismatch(what) => Err(format!("changed by somebody else: {what}")),
        }
    }

    /// A document that this event shaped last is none that the store takes.
    fn rejected(&mut self, offset: Offset) {
        let alone = self.partition.in_flight_events() == 1;
        let repair = self.repairing == Repairing::InFlight;
        self.retract();
        match self.partition.first_waiting() {
            _ if repair => self.repair_rejected(),
            Some(first) if alone => self.sieve.blame(first, reason()),
            _ => self.partition.narrow_before(offset),
        }
    }

    /// What is folded and not stored comes to nothing.
    fn retract(&mut self) {
        self.pending.clear();
        if !self.is(Mutant::RetractKeepsTheCache) {
            self.cache.clear();
        }
        for task in &mut self.tasks {
            task.done = false;
        }
        self.partition.retract();
        if self.is(Mutant::RetractKeepsTheSieve) {
            self.sieve.commit(self.partition.stored());
        } else {
            self.sieve.retract();
        }
        self.repairing = Repairing::No;
    }
}

/// One transaction, unless a mutant does otherwise.
fn parts(
    mutant: Option<Mutant>,
    writes: Vec<Write>,
    mut entries: Vec<EntryChange>,
    advance: Advance,
) -> Vec<Part> {
    let mut outside = |is: fn(&EntryChange) -> bool| entries.extract_if(.., |e| is(e)).collect();
    let seen = |change: &EntryChange| change.table() == Table::Seen;
    let parked = |change: &EntryChange| {
        change.table() == Table::Parked && matches!(change, EntryChange::Insert(_))
    };
    let request = |change: &EntryChange| change.table() == Table::ParkedRequests;
    let (before, after) = match mutant {
        Some(Mutant::SeenBeforeTheTransaction) => (outside(seen), Vec::new()),
        Some(Mutant::SeenAfterTheTransaction) => (Vec::new(), outside(seen)),
        Some(Mutant::ParkedAfterTheTransaction) => (Vec::new(), outside(parked)),
        Some(Mutant::RequestRemovedAfterTheTransaction) => (Vec::new(), outside(request)),
        Some(Mutant::CheckpointAfterTheDocuments) => {
            let transaction = Commit {
                advances: vec![advance],
                ..Commit::default()
            };
            return vec![Part::Loose(writes, entries), Part::Transaction(transaction)];
        }
        Some(Mutant::CheckpointBeforeTheDocuments) => {
            let transaction = Commit {
                advances: vec![advance],
                ..Commit::default()
            };
            return vec![Part::Transaction(transaction), Part::Loose(writes, entries)];
        }
        _ => (Vec::new(), Vec::new()),
    };
    let loose = |entries: Vec<EntryChange>| {
        let any = !entries.is_empty();
        any.then(|| Part::Loose(Vec::new(), entries))
    };
    let transaction = Part::Transaction(Commit {
        writes,
        entries,
        advances: vec![advance],
    });
    let parts = [loose(before), Some(transaction), loose(after)];
    parts.into_iter().flatten().collect()
}
