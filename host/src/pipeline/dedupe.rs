//! Which events a partition has seen: the hashes of their ids, within a window that counts ids.
//!
//! Guarantees:
//! - Exact: an id is known if and only if it is one of the last `limit` different ids that were
//!   accepted, whatever the batches and restarts in between. The window counts ids, not time, so a
//!   restart years later decides the same.
//! - What is accepted is stored with the events that brought it, or comes to nothing with them.
//!
//! Ids are kept as the first 128 bits of their SHA-256: producers choose ids, and a hash that
//! could be made to collide would let one of them suppress another's events.
//!
//! Every accepted id has a sequence number. They are stored in segments of consecutive ids:
//!
//! ```text
//!   ├── segment ──┼─ segment ─┼──── … ────┤ submitted  ┤ accepted  ┤
//!   base                                stored                   next
//! ```
//!
//! Pure. Not here: where an event has its id ([`IdSource`] reads it), ids that may arrive in
//! several partitions (`domain::fold` asks the store for those).

use std::collections::VecDeque;

use hashbrown::HashTable;
use sha2::{Digest, Sha256};

use crate::record::Event;

mod id;
pub mod stored;

/// What an id is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdHash(pub [u8; 16]);

/// Where an event has its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdSource {
    /// The last header of this name.
    Header(String),
    /// A JSON pointer (RFC 6901) into the value. Different values are different ids, numbers of any
    /// length included.
    Value(String),
}

/// The ids of one partition.
#[derive(Debug)]
pub struct Window {
    limit: u64,
    /// The sequence number of the first id in `ids`.
    base: u64,
    ids: VecDeque<IdHash>,
    /// The newest place of each id, as the low half of its sequence number.
    places: HashTable<u32>,
    /// Ids that came back after they had left the window, and are not stored yet: where they are
    /// now, and where they were before.
    returned: VecDeque<(u64, u64)>,
    /// Stored segments, oldest first, without gaps from `base` on.
    segments: VecDeque<Span>,
    /// What the commit under way changes.
    submitted: Option<Submitted>,
}

/// A commit under way.
#[derive(Clone, Copy, Debug)]
struct Submitted {
    put: Span,
    /// How many segments it removes, from the oldest on.
    removed: usize,
}

/// Consecutive sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u64,
    len: u64,
}

/// Where a window stands between two events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// What a commit does to the stored segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentChanges {
    /// A segment that is new or has grown.
    pub put: Option<Put>,
    /// Segments that lie behind the window and go.
    pub removed: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub segment: Segment,
    /// How many of its ids, from the front, are stored already: where not 0, it replaces the
    /// segment of the same first number.
    pub stored: usize,
}

/// Consecutive ids as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The sequence number of the first id.
    pub first: u64,
    pub ids: Vec<IdHash>,
}

/// A segment grows up to this many ids before the next one is begun, so that a quiet topic does
/// not leave a segment for every event. What is written again is 4 KiB at most.
const SEGMENT_GROWS_TO: u64 = 256;

impl IdHash {
    pub fn of(id: &[u8]) -> Self {
        let digest = Sha256::digest(id);
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        IdHash(hash)
    }

    /// For hash tables: its bits are as good as random already.
    fn word(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl IdSource {
    /// The event's id; `None` where it has none.
    pub fn id_of(&self, event: &Event) -> Option<IdHash> {
        match self {
            IdSource::Header(name) => event.header(name).map(IdHash::of),
            IdSource::Value(pointer) => id::of(event.value()?, pointer),
        }
    }
}

impl Window {
    /// A window over the last `limit` ids, with what is stored of it: segments, oldest first,
    /// without gaps.
    ///
    /// # Errors
    /// Where a segment is missing in between: then nobody knows what was seen.
    pub fn new(limit: u64, stored: Vec<Segment>) -> Result<Self, MissingSegment> {
        let mut window = Window {
            limit,
            base: stored.first().map_or(0, |segment| segment.first),
            ids: VecDeque::new(),
            places: HashTable::new(),
            returned: VecDeque::new(),
            segments: VecDeque::new(),
            submitted: None,
        };
        for Segment { first, ids } in stored {
            if first != window.next() {
                return Err(MissingSegment {
                    expected: window.next(),
                    found: first,
                });
            }
            window.segments.push_back(Span {
                first,
                len: ids.len() as u64,
            });
            for id in ids {
                window.push(id);
            }
        }
        Ok(window)
    }

    /// Takes an id in. False where it is known already.
    pub fn accept(&mut self, id: IdHash) -> bool {
        if let Some(place) = self.place(&id)
            && self.next() - place <= self.limit
        {
            return false;
        }
        self.push(id);
        true
    }

    /// True where the window holds the id, or held it so lately that it is not yet let go of.
    pub fn holds(&self, id: &IdHash) -> bool {
        self.place(id).is_some()
    }

    /// Ids that are known.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// About what the window takes in memory.
    pub fn size_bytes(&self) -> usize {
        self.ids.capacity() * size_of::<IdHash>() + self.places.allocation_size()
    }

    pub fn mark(&self) -> Mark {
        Mark(self.next())
    }

    /// Forgets what was accepted since `mark`, which is not before what is submitted.
    pub fn rewind(&mut self, mark: Mark) {
        while self.next() > mark.0 {
            let place = self.next() - 1;
            let Some(id) = self.ids.back().copied() else {
                return;
            };
            match self.returned.pop_back_if(|(now, _)| *now == place) {
                Some((_, before)) if before >= self.base => self.set_place(&id, before),
                Some(_) | None => self.forget_place(&id, place),
            }
            self.ids.pop_back();
        }
    }

    /// Starts a commit of what was accepted. At most one is under way.
    pub fn submit(&mut self) -> SegmentChanges {
        assert!(self.submitted.is_none(), "a commit is under way");
        let (stored, next) = (self.stored(), self.next());
        if next == stored {
            return SegmentChanges::default();
        }
        let growing = self.segments.back().filter(|s| s.len < SEGMENT_GROWS_TO);
        let first = growing.map_or(stored, |span| span.first);
        let kept = self.segments.len() - usize::from(growing.is_some());
        let horizon = next.saturating_sub(self.limit);
        let behind = self.segments.range(..kept);
        let removed = behind
            .take_while(|span| span.first + span.len <= horizon)
            .map(|span| self.segment(span.first, span.first + span.len))
            .collect();
        let put = Put {
            segment: self.segment(first, next),
            stored: self.index(stored) - self.index(first),
        };
        let changes = SegmentChanges {
            put: Some(put),
            removed,
        };
        self.submitted = Some(Submitted {
            put: Span {
                first,
                len: next - first,
            },
            removed: changes.removed.len(),
        });
        changes
    }

    /// The commit under way is stored.
    pub fn commit(&mut self) {
        let Some(Submitted { put, removed }) = self.submitted.take() else {
            return;
        };
        if self
            .segments
            .back()
            .is_some_and(|last| last.first == put.first)
        {
            self.segments.pop_back();
        }
        self.segments.push_back(put);
        let stored = self.stored();
        self.returned.retain(|(now, _)| *now >= stored);
        let behind: Vec<Span> = self.segments.drain(..removed).collect();
        for span in behind {
            for place in span.first..span.first + span.len {
                let id = self.ids.front().copied();
                let id = id.expect("a stored segment's ids are kept");
                self.forget_place(&id, place);
                self.ids.pop_front();
                self.base += 1;
            }
        }
    }

    /// What was accepted since the last stored commit came to nothing.
    pub fn retract(&mut self) {
        self.submitted = None;
        self.rewind(Mark(self.stored()));
    }

    /// The sequence number of the next id.
    fn next(&self) -> u64 {
        self.base + self.ids.len() as u64
    }

    fn stored(&self) -> u64 {
        self.segments
            .back()
            .map_or(self.base, |span| span.first + span.len)
    }

    fn index(&self, place: u64) -> usize {
        usize::try_from(place - self.base).expect("the window fits in memory")
    }

    fn segment(&self, first: u64, next: u64) -> Segment {
        let ids = self.ids.range(self.index(first)..self.index(next));
        Segment {
            first,
            ids: ids.copied().collect(),
        }
    }

    fn push(&mut self, id: IdHash) {
        let place = self.next();
        if let Some(before) = self.place(&id) {
            self.returned.push_back((place, before));
            self.set_place(&id, place);
        } else {
            let (base, ids) = (self.base, &self.ids);
            let hasher = |&low: &u32| at(base, ids, low).word();
            self.places
                .insert_unique(id.word(), low_half(place), hasher);
        }
        self.ids.push_back(id);
    }

    fn set_place(&mut self, id: &IdHash, place: u64) {
        let (base, ids) = (self.base, &self.ids);
        let known = self
            .places
            .find_mut(id.word(), |&low| at(base, ids, low) == *id);
        *known.expect("the id is in the table") = low_half(place);
    }

    /// Forgets where an id is, unless it is elsewhere, too.
    fn forget_place(&mut self, id: &IdHash, place: u64) {
        let (base, ids) = (self.base, &self.ids);
        let known = self
            .places
            .find_entry(id.word(), |&low| at(base, ids, low) == *id);
        if let Ok(known) = known
            && *known.get() == low_half(place)
        {
            known.remove();
        }
    }

    /// The newest place of an id.
    fn place(&self, id: &IdHash) -> Option<u64> {
        let low = self
            .places
            .find(id.word(), |&low| at(self.base, &self.ids, low) == *id)?;
        Some(self.base + u64::from(low.wrapping_sub(low_half(self.base))))
    }
}

fn low_half(place: u64) -> u32 {
    (place & u64::from(u32::MAX)) as u32
}

/// The id at a place of which only the low half is known.
fn at(base: u64, ids: &VecDeque<IdHash>, low: u32) -> IdHash {
    ids[low.wrapping_sub(low_half(base)) as usize]
}

/// A hole in what is stored of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the segment that starts at {expected} is missing; the next one starts at {found}")]
pub struct MissingSegment {
    pub expected: u64,
    pub found: u64,
}

#[cfg(test)]
mod tests;
