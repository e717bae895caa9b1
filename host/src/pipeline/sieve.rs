//! What becomes of each event before it is folded: dropped as a duplicate, parked, or folded.
//!
//! Guarantees:
//! - It decides event by event in offset order, from the ids and the parked keys before each: the
//!   same for every cut of batches.
//! - A batch that comes to nothing leaves no trace ([`Sieve::rewind`]), and what is stored with a
//!   batch is all that it changed ([`Sieve::submit`]).
//!
//! Pure. Not here: the fold, and who is at fault (`domain`).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::dedupe::{self, IdHash, IdSource, SegmentChanges, Window};
use super::parking::{self, Full, KeyChange, Parking};
use crate::parked::{EVENT_BYTES_MAX, Reason};
use crate::record::{Event, NextOffset, Offset};

/// How duplicates are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupeOptions {
    pub source: IdSource,
    /// How many ids are remembered for each partition.
    pub window: u64,
    pub scope: Scope,
    pub without_id: WithoutId,
}

/// Where an id may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the same partition, as where producers choose the partition by the key.
    Partition,
    /// In any partition of the projection.
    Projection,
}

/// What becomes of an event that has no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutId {
    Fold,
    Park,
}

/// What becomes of an event that has no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutKey {
    /// The plugin decides.
    #[default]
    Fold,
    /// It is passed over.
    Ignore,
    Park,
}

/// One partition's ids and parked keys.
#[derive(Debug)]
pub struct Sieve {
    dedupe: Option<Dedupe>,
    parking: Parking,
    without_key: WithoutKey,
    /// Events that the projection cannot take, found since the last stored commit.
    culprits: BTreeMap<Offset, Reason>,
}

#[derive(Debug)]
struct Dedupe {
    options: DedupeOptions,
    window: Window,
}

/// Where a sieve stands between two events.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    window: Option<dedupe::Mark>,
    parking: parking::Mark,
}

/// What becomes of the events at the front of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sifted {
    /// Of how many events.
    pub events: usize,
    /// Those to fold: indices in the batch.
    pub fold: Vec<usize>,
    /// Those to park: indices in the batch, and the offsets of the events that name their keys.
    pub park: Vec<(usize, Offset)>,
    pub duplicates: usize,
    pub without_id: usize,
    pub without_key: usize,
    /// The next event after these has to be parked, and cannot be.
    pub full: Option<Full>,
}

/// What a commit stores of a sieve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub segments: SegmentChanges,
    pub keys: Vec<KeyChange>,
}

/// What the ids of a batch are known by; `None` for an event without one.
pub type Ids = Vec<Option<IdHash>>;

impl Sieve {
    /// `window` is there exactly where duplicates are to be dropped.
    pub fn new(dedupe: Option<(DedupeOptions, Window)>, parking: Parking) -> Self {
        Sieve {
            dedupe: dedupe.map(|(options, window)| Dedupe { options, window }),
            parking,
            without_key: WithoutKey::default(),
            culprits: BTreeMap::new(),
        }
    }

    /// The same, with another way to deal with events that have no key.
    pub fn with_keyless(self, without_key: WithoutKey) -> Self {
        Sieve {
            without_key,
            ..self
        }
    }

    pub fn parking(&self) -> &Parking {
        &self.parking
    }

    pub fn parking_mut(&mut self) -> &mut Parking {
        &mut self.parking
    }

    pub fn window(&self) -> Option<&Window> {
        self.dedupe.as_ref().map(|dedupe| &dedupe.window)
    }

    /// Reads the ids of a batch; `None` where none are wanted.
    pub fn ids(&self, batch: &[Arc<Event>]) -> Option<Ids> {
        let source = &self.dedupe.as_ref()?.options.source;
        Some(batch.iter().map(|event| source.id_of(event)).collect())
    }

    /// Those of the ids that another partition may have seen.
    pub fn unknown(&self, ids: &Ids) -> Vec<IdHash> {
        let Some(Dedupe { options, window }) = &self.dedupe else {
            return Vec::new();
        };
        match options.scope {
            Scope::Partition => Vec::new(),
            Scope::Projection => {
                let unknown = ids.iter().flatten().filter(|id| !window.holds(id));
                let unknown: HashSet<IdHash> = unknown.copied().collect();
                unknown.into_iter().collect()
            }
        }
    }

    /// Notes that the projection cannot take an event: the next [`Sieve::sift`] parks it.
    pub fn blame(&mut self, offset: Offset, reason: Reason) {
        self.culprits.insert(offset, reason);
    }

    /// Decides about the events of a batch, from the first on. `ids` are those of
    /// [`Sieve::ids`], `elsewhere` those that other partitions have seen.
    pub fn sift(
        &mut self,
        batch: &[Arc<Event>],
        ids: Option<&Ids>,
        elsewhere: &HashSet<IdHash>,
    ) -> Sifted {
        let mut sifted = Sifted::default();
        for (index, event) in batch.iter().enumerate() {
            let without_key = usize::from(event.key().is_none());
            if without_key > 0 && self.without_key == WithoutKey::Ignore {
                sifted.without_key += without_key;
                sifted.events += 1;
                continue;
            }
            let mark = self.mark();
            let id = ids.and_then(|ids| ids[index]);
            if id.is_some_and(|id| !self.accept(id, elsewhere)) {
                sifted.duplicates += 1;
                sifted.events += 1;
                continue;
            }
            let without_id = ids.is_some() && id.is_none();
            match self.park(event, without_id) {
                Ok(None) => sifted.fold.push(index),
                Ok(Some(first)) => sifted.park.push((index, first)),
                Err(full) => {
                    self.rewind(mark);
                    sifted.full = Some(full);
                    return sifted;
                }
            }
            sifted.without_id += usize::from(without_id);
            sifted.without_key += without_key;
            sifted.events += 1;
        }
        sifted
    }

    pub fn mark(&self) -> Mark {
        Mark {
            window: self.window().map(Window::mark),
            parking: self.parking.mark(),
        }
    }

    /// Takes back what was sifted since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        if let (Some(dedupe), Some(mark)) = (&mut self.dedupe, mark.window) {
            dedupe.window.rewind(mark);
        }
        self.parking.rewind(mark.parking);
    }

    /// Starts a commit of everything sifted. At most one is under way.
    pub fn submit(&mut self) -> Changes {
        let dedupe = self.dedupe.as_mut();
        Changes {
            segments: dedupe.map_or_else(SegmentChanges::default, |d| d.window.submit()),
            keys: self.parking.submit(),
        }
    }

    /// The commit under way is stored, and with it every event before `stored`.
    pub fn commit(&mut self, stored: NextOffset) {
        if let Some(dedupe) = &mut self.dedupe {
            dedupe.window.commit();
        }
        self.parking.commit();
        self.culprits.retain(|offset, _| !stored.includes(*offset));
    }

    /// What was sifted since the last stored commit came to nothing.
    pub fn retract(&mut self) {
        if let Some(dedupe) = &mut self.dedupe {
            dedupe.window.retract();
        }
        self.parking.retract();
        self.culprits.clear();
    }

    /// Takes an id in. False where it is known.
    fn accept(&mut self, id: IdHash, elsewhere: &HashSet<IdHash>) -> bool {
        let Some(Dedupe { options, window }) = &mut self.dedupe else {
            return true;
        };
        // An id has one entry in the store, which stays until its segment goes.
        let seen =
            options.scope == Scope::Projection && (window.holds(&id) || elsewhere.contains(&id));
        !seen && window.accept(id)
    }

    /// Parks an event that has to be: answers the offset that names its key.
    fn park(&mut self, event: &Event, without_id: bool) -> Result<Option<Offset>, Full> {
        let behind = self.parking.behind(event);
        let parks_without_id = |dedupe: &Dedupe| dedupe.options.without_id == WithoutId::Park;
        let reason = match self.culprits.get(&event.offset) {
            Some(reason) => Some(reason.clone()),
            None if without_id && self.dedupe.as_ref().is_some_and(parks_without_id) => {
                Some(Reason {
                    kind: "the event has no id".to_owned(),
                    detail: "dedupe.without-id says that such an event is not folded".to_owned(),
                    plugin: String::new(),
                    at_ms: event.timestamp_ms,
                })
            }
            None if event.key().is_none() && self.without_key == WithoutKey::Park => Some(Reason {
                kind: "the event has no key".to_owned(),
                detail: "without-key says that such an event is not folded".to_owned(),
                plugin: String::new(),
                at_ms: event.timestamp_ms,
            }),
            None => None,
        };
        if behind.is_none() && reason.is_none() {
            return Ok(None);
        }
        if event.size_bytes() > EVENT_BYTES_MAX {
            return Err(Full::Event(event.size_bytes()));
        }
        match (behind, reason) {
            (Some(first), _) => {
                self.parking.park_behind(first, event)?;
                Ok(Some(first))
            }
            (None, Some(reason)) => {
                self.parking.park(event, reason)?;
                Ok(Some(event.offset))
            }
            (None, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
