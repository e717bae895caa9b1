//! Which keys of a partition are parked: an event that the projection could not take, and all
//! later events of its key, wait in the store so that the other keys flow.
//!
//! Guarantees:
//! - Once a key is parked, every later event of it is parked behind, in order, until the last one
//!   is folded or skipped: the key's order is never broken.
//! - A limit stops the partition. Nothing is ever dropped.
//! - What is parked is stored with the checkpoint that passes it, or comes to nothing with it.
//!
//! An event without a key has no order to keep: it is parked by itself, and nothing waits for it.
//!
//! Pure. Not here: what an event's fault is (`domain`), how entries look in a store
//! ([`crate::parked`]).

use std::collections::HashMap;
use std::sync::Arc;

use crate::parked::{KeyEntry, Reason};
use crate::record::{Event, Offset};

/// How much may be parked of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub keys_max: usize,
    pub events_per_key_max: u64,
    pub bytes_max: u64,
}

/// What is parked of one partition.
#[derive(Debug)]
pub struct Parking {
    limits: Limits,
    /// By the offset of the event that its projection could not take.
    parked: HashMap<Offset, KeyEntry>,
    /// Where a key's events go.
    keys: HashMap<Arc<[u8]>, Offset>,
    bytes: u64,
    /// What was there before each change that is not stored yet, oldest first.
    undo: Vec<Change>,
    /// Changes at the front of `undo` whose commit is under way.
    submitted: usize,
}

#[derive(Clone, Debug)]
struct Change {
    first: Offset,
    before: Option<KeyEntry>,
}

/// Where a partition's parking stands between two events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

/// What a commit does to the stored keys.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyChange {
    Insert(KeyEntry),
    Replace(KeyEntry),
    Remove(Offset),
}

/// No more can be parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("{0} keys are parked, and more may not be (parking.keys)")]
    Keys(usize),
    #[error("{0} events of its key are parked, and more may not be (parking.events-per-key)")]
    EventsOfKey(u64),
    #[error("{0} bytes are parked, and more may not be (parking.bytes)")]
    Bytes(u64),
    #[error("it has {0} bytes, more than an entry of a store holds")]
    Event(usize),
}

impl Parking {
    /// With what is stored.
    pub fn new(limits: Limits, stored: Vec<KeyEntry>) -> Self {
        let mut parking = Parking {
            limits,
            parked: HashMap::new(),
            keys: HashMap::new(),
            bytes: 0,
            undo: Vec::new(),
            submitted: 0,
        };
        for entry in stored {
            parking.set(entry.first, Some(entry));
        }
        parking
    }

    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// Keys that are parked; an event without a key counts as one.
    pub fn keys(&self) -> usize {
        self.parked.len()
    }

    pub fn events(&self) -> u64 {
        self.parked.values().map(|entry| entry.events).sum()
    }

    pub fn get(&self, first: Offset) -> Option<&KeyEntry> {
        self.parked.get(&first)
    }

    /// The keys that are parked for a fault of this plugin, each by its first event.
    pub fn firsts_by(&self, plugin: &str) -> impl Iterator<Item = Offset> {
        let by = self
            .parked
            .values()
            .filter(move |entry| entry.reason.plugin == plugin);
        by.map(|entry| entry.first)
    }

    /// The event behind which this one has to wait; `None` where it need not.
    pub fn behind(&self, event: &Event) -> Option<Offset> {
        self.keys.get(event.key()?).copied()
    }

    /// Parks an event that its projection cannot take.
    ///
    /// # Errors
    /// At a limit. Nothing has changed then.
    pub fn park(&mut self, event: &Event, reason: Reason) -> Result<(), Full> {
        let bytes = event.size_bytes() as u64;
        if self.parked.len() >= self.limits.keys_max {
            return Err(Full::Keys(self.parked.len()));
        }
        self.check_bytes(bytes)?;
        let entry = KeyEntry {
            first: event.offset,
            key: event.key().map(Arc::from),
            events: 1,
            bytes,
            reason,
        };
        self.change(event.offset, Some(entry));
        Ok(())
    }

    /// Parks an event behind the one at `first`.
    ///
    /// # Errors
    /// At a limit. Nothing has changed then.
    pub fn park_behind(&mut self, first: Offset, event: &Event) -> Result<(), Full> {
        let bytes = event.size_bytes() as u64;
        let entry = self.parked.get(&first).expect("the key is parked");
        if entry.events >= self.limits.events_per_key_max {
            return Err(Full::EventsOfKey(entry.events));
        }
        self.check_bytes(bytes)?;
        let entry = KeyEntry {
            events: entry.events + 1,
            bytes: entry.bytes + bytes,
            ..entry.clone()
        };
        self.change(first, Some(entry));
        Ok(())
    }

    /// Events of a key were folded or skipped. Where none is left, its next event is folded again.
    pub fn release(&mut self, first: Offset, events: u64, bytes: u64) {
        let entry = self.parked.get(&first).expect("the key is parked");
        let left = entry.events.saturating_sub(events);
        let entry = (left > 0).then(|| KeyEntry {
            events: left,
            bytes: entry.bytes.saturating_sub(bytes),
            ..entry.clone()
        });
        self.change(first, entry);
    }

    /// The event that stands first of its key could not be folded for another reason.
    pub fn set_reason(&mut self, first: Offset, reason: Reason) {
        let entry = self.parked.get(&first).expect("the key is parked");
        let entry = KeyEntry {
            reason,
            ..entry.clone()
        };
        self.change(first, Some(entry));
    }

    pub fn mark(&self) -> Mark {
        Mark(self.undo.len())
    }

    /// Takes back what has changed since `mark`, which is not before what is submitted.
    pub fn rewind(&mut self, mark: Mark) {
        while self.undo.len() > mark.0 {
            if let Some(Change { first, before }) = self.undo.pop() {
                self.set(first, before);
            }
        }
    }

    /// Starts a commit of what has changed. At most one is under way.
    pub fn submit(&mut self) -> Vec<KeyChange> {
        assert_eq!(self.submitted, 0, "a commit is under way");
        self.submitted = self.undo.len();
        let mut stored: HashMap<Offset, bool> = HashMap::new();
        for change in &self.undo {
            // The oldest change tells what is stored.
            stored
                .entry(change.first)
                .or_insert(change.before.is_some());
        }
        let mut changes: Vec<(Offset, KeyChange)> = stored
            .into_iter()
            .filter_map(|(first, stored)| {
                let change = match (stored, self.parked.get(&first)) {
                    (false, None) => return None,
                    (false, Some(entry)) => KeyChange::Insert(entry.clone()),
                    (true, Some(entry)) => KeyChange::Replace(entry.clone()),
                    (true, None) => KeyChange::Remove(first),
                };
                Some((first, change))
            })
            .collect();
        changes.sort_by_key(|(first, _)| *first);
        changes.into_iter().map(|(_, change)| change).collect()
    }

    /// The commit under way is stored.
    pub fn commit(&mut self) {
        self.undo.drain(..self.submitted);
        self.submitted = 0;
    }

    /// What has changed since the last stored commit came to nothing.
    pub fn retract(&mut self) {
        self.submitted = 0;
        self.rewind(Mark(0));
    }

    fn check_bytes(&self, more: u64) -> Result<(), Full> {
        if self.bytes + more > self.limits.bytes_max {
            return Err(Full::Bytes(self.bytes));
        }
        Ok(())
    }

    fn change(&mut self, first: Offset, entry: Option<KeyEntry>) {
        let before = self.set(first, entry);
        self.undo.push(Change { first, before });
    }

    /// Answers what was there before.
    fn set(&mut self, first: Offset, entry: Option<KeyEntry>) -> Option<KeyEntry> {
        let before = self.parked.remove(&first);
        if let Some(before) = &before {
            self.bytes -= before.bytes;
            if let Some(key) = &before.key {
                self.keys.remove(key);
            }
        }
        if let Some(entry) = entry {
            self.bytes += entry.bytes;
            if let Some(key) = &entry.key {
                self.keys.insert(Arc::clone(key), first);
            }
            self.parked.insert(first, entry);
        }
        before
    }
}

#[cfg(test)]
mod tests;
