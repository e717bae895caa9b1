//! The documents that one fold domain knows, as of the last event it folded.
//!
//! Guarantees:
//! - Bounded in bytes between batches: those of a view that were not used for long go first. What
//!   a batch reads stays until its results are taken over.
//! - A document that is not stored yet stays, for the store would answer with an older one.
//! - The domain is the writer of what it holds, so an entry is the truth until the domain is
//!   fenced or, in a `shared` view, until a commit finds that another host was faster.
//!
//! Lanes read it at the same time (`peek`); only the domain changes it, between folds.
//!
//! Which documents go is decided as by a clock (F. J. Corbató, "A paging experiment with the
//! Multics system", 1968): they stand in a queue, and one that comes to its front goes, but where
//! it was used since it was put there it is put to the end once more. Against a list in the order
//! of use, a use costs no more than a look, and a document that comes and goes no memory of its own.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::projection::{DocumentId, DocumentKey, ViewIndex};
use crate::store::Provenance;

/// A document as it stands, stored or not.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// There is no such document.
    Absent,
    Present {
        /// In the projection's encoding.
        encoded: Bytes,
        provenance: Provenance,
    },
}

impl State {
    /// What its body takes.
    pub fn body_bytes(&self) -> usize {
        match self {
            State::Absent => 0,
            State::Present { encoded, .. } => encoded.len(),
        }
    }
}

/// Counts the commits of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommitNumber(pub u64);

#[derive(Debug)]
pub struct Cache {
    /// One clock a view, so that looking an id up needs no owned key.
    views: Vec<Clock>,
    hasher: RandomState,
    bytes: usize,
    /// Entries of later commits are not stored yet.
    stored: CommitNumber,
    /// True while nothing is here that could go.
    all_needed: bool,
}

/// The documents of one view.
#[derive(Debug, Default)]
struct Clock {
    queue: VecDeque<Entry>,
    /// How many entries have left the queue: the place of its first one.
    left: u64,
    /// Where each id is: the low half of its place.
    places: HashTable<u32>,
}

#[derive(Debug)]
struct Entry {
    id: DocumentId,
    state: State,
    /// The commit that stores this state.
    commit: CommitNumber,
    /// Whether it was used since it was put there.
    used: bool,
}

/// What an entry takes besides its bytes, roughly: queue, table, pointers, provenance.
const ENTRY_BYTES: usize = 256;

impl Cache {
    pub fn new(views: usize) -> Self {
        Cache {
            views: (0..views).map(|_| Clock::default()).collect(),
            hasher: RandomState::default(),
            bytes: 0,
            stored: CommitNumber(0),
            all_needed: false,
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A document's state, `None` where the cache does not know.
    pub fn peek(&self, view: ViewIndex, id: &str) -> Option<&State> {
        let clock = self.views.get(view.0 as usize)?;
        let index = clock.find(self.hasher.hash_one(id), id)?;
        Some(&clock.queue[index].state)
    }

    /// Notes that a document is in use, and says what its body weighs; `None` where the cache does
    /// not know it.
    pub fn touch(&mut self, view: ViewIndex, id: &str) -> Option<usize> {
        let clock = &mut self.views[view.0 as usize];
        let index = clock.find(self.hasher.hash_one(id), id)?;
        let entry = &mut clock.queue[index];
        entry.used = true;
        Some(entry.state.body_bytes())
    }

    /// Adds what a store answered.
    pub fn insert_loaded(&mut self, key: DocumentKey, state: State) {
        self.all_needed = false;
        self.insert(key, state, self.stored);
    }

    /// Adds a document that `commit` will store.
    pub fn insert_folded(&mut self, key: DocumentKey, state: State, commit: CommitNumber) {
        self.insert(key, state, commit);
    }

    /// Everything up to and with `commit` is stored.
    pub fn set_stored(&mut self, commit: CommitNumber) {
        self.all_needed = false;
        self.stored = self.stored.max(commit);
    }

    /// Forgets what the store holds as well: the next reads of it are fresh.
    pub fn forget_stored(&mut self) {
        for clock in &mut self.views {
            for entry in clock.take() {
                if entry.commit <= self.stored {
                    self.bytes -= entry.size_bytes();
                } else {
                    clock.push(entry, &self.hasher);
                }
            }
        }
    }

    /// Forgets everything: the next reads are fresh.
    pub fn clear(&mut self) {
        for clock in &mut self.views {
            clock.queue.clear();
            clock.places.clear();
        }
        self.bytes = 0;
    }

    fn insert(&mut self, key: DocumentKey, state: State, commit: CommitNumber) {
        let DocumentKey { view, id } = key;
        let clock = &mut self.views[view.0 as usize];
        let known = clock.find(self.hasher.hash_one(&*id), &id);
        let entry = Entry {
            id,
            state,
            commit,
            used: known.is_some(),
        };
        self.bytes += entry.size_bytes();
        match known {
            Some(index) => {
                let old = std::mem::replace(&mut clock.queue[index], entry);
                self.bytes -= old.size_bytes();
            }
            None => clock.push(entry, &self.hasher),
        }
    }

    /// Lets documents go until the rest takes `bytes_max` bytes at most.
    pub fn trim(&mut self, bytes_max: usize) {
        if self.all_needed {
            return;
        }
        for clock in &mut self.views {
            // In a second turn nothing is marked as used; what is there after it is not stored.
            let mut turns = 2 * clock.queue.len();
            while self.bytes > bytes_max && turns > 0 {
                turns -= 1;
                let Some(mut entry) = clock.pop(&self.hasher) else {
                    break;
                };
                if entry.used || entry.commit > self.stored {
                    entry.used = false;
                    clock.push(entry, &self.hasher);
                } else {
                    self.bytes -= entry.size_bytes();
                }
            }
        }
        self.all_needed = self.bytes > bytes_max;
    }
}

impl Clock {
    /// The index of an id in the queue.
    fn find(&self, hash: u64, id: &str) -> Option<usize> {
        let place = self
            .places
            .find(hash, |&place| *self.queue[self.index(place)].id == *id)?;
        Some(self.index(*place))
    }

    /// The index of a place in the queue.
    fn index(&self, place: u32) -> usize {
        place.wrapping_sub(low_half(self.left)) as usize
    }

    /// Puts an entry at the end whose id is not there.
    fn push(&mut self, entry: Entry, hasher: &RandomState) {
        let place = low_half(self.left + self.queue.len() as u64);
        let hash = hasher.hash_one(&*entry.id);
        self.queue.push_back(entry);
        let (queue, left) = (&self.queue, low_half(self.left));
        self.places.insert_unique(hash, place, |&place| {
            hasher.hash_one(&*queue[place.wrapping_sub(left) as usize].id)
        });
    }

    /// Takes the entry at the front out.
    fn pop(&mut self, hasher: &RandomState) -> Option<Entry> {
        let front = low_half(self.left);
        let hash = hasher.hash_one(&*self.queue.front()?.id);
        let known = self.places.find_entry(hash, |&place| place == front);
        known.expect("the table has each entry").remove();
        self.left += 1;
        self.queue.pop_front()
    }

    /// Takes all entries out, in their order.
    fn take(&mut self) -> VecDeque<Entry> {
        self.places.clear();
        std::mem::take(&mut self.queue)
    }
}

impl Entry {
    fn size_bytes(&self) -> usize {
        ENTRY_BYTES + self.id.len() + self.state.body_bytes()
    }
}

fn low_half(place: u64) -> u32 {
    (place & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::record::{Offset, TopicPartition};

    const VIEW: ViewIndex = ViewIndex(0);

    fn key(id: &str) -> DocumentKey {
        DocumentKey {
            view: VIEW,
            id: id.into(),
        }
    }

    fn document(bytes: usize) -> State {
        State::Present {
            encoded: vec![b'x'; bytes].into(),
            provenance: Provenance {
                revision: 1,
                partition: TopicPartition::new("flights", 0),
                offset: Offset(0),
                plugin: "hash".into(),
            },
        }
    }

    #[test]
    fn a_document_that_was_used_stays_longer() {
        let bytes_max = 3 * (ENTRY_BYTES + 1) + 2000;
        let mut cache = Cache::new(1);
        for id in ["a", "b"] {
            cache.insert_loaded(key(id), document(1000));
        }
        assert_eq!(cache.touch(VIEW, "a"), Some(1000));
        assert_eq!(cache.touch(VIEW, "unknown"), None);
        cache.insert_loaded(key("c"), document(1000));
        assert!(cache.peek(VIEW, "b").is_some(), "a batch may still need it");
        cache.trim(bytes_max);

        assert!(cache.peek(VIEW, "b").is_none());
        assert!(cache.peek(VIEW, "a").is_some() && cache.peek(VIEW, "c").is_some());
        assert!(cache.bytes() <= bytes_max);
    }

    #[test]
    fn what_is_not_stored_stays_until_it_is() {
        let mut cache = Cache::new(1);
        cache.insert_folded(key("dirty"), document(2000), CommitNumber(1));
        cache.insert_folded(key("dirtier"), document(2000), CommitNumber(2));
        cache.trim(1000);
        assert!(cache.peek(VIEW, "dirty").is_some());

        cache.set_stored(CommitNumber(1));
        cache.trim(1000);
        assert!(cache.peek(VIEW, "dirty").is_none());
        assert!(cache.peek(VIEW, "dirtier").is_some());

        cache.set_stored(CommitNumber(2));
        cache.trim(1000);
        assert!(cache.peek(VIEW, "dirtier").is_none());
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn what_is_not_stored_does_not_hold_up_the_rest() {
        let mut cache = Cache::new(1);
        cache.insert_folded(key("dirty"), document(1000), CommitNumber(1));
        cache.insert_loaded(key("stored"), document(1000));
        cache.trim(2000);
        assert!(cache.peek(VIEW, "dirty").is_some());
        assert!(cache.peek(VIEW, "stored").is_none());
    }

    #[test]
    fn a_view_without_documents_is_passed_over() {
        let mut cache = Cache::new(2);
        let other = DocumentKey {
            view: ViewIndex(1),
            id: "b".into(),
        };
        cache.insert_loaded(key("a"), document(1000));
        cache.insert_loaded(other, document(1000));
        cache.trim(100);
        assert_eq!(cache.bytes(), 0);
    }

    /// Against a plain map: what is there is the last that was put there, bytes are counted, and
    /// nothing goes that was not let go.
    #[test]
    fn it_holds_what_was_put_there_whatever_comes_and_goes() {
        let mut random = StdRng::seed_from_u64(7);
        for bytes_max in [0, 5_000, usize::MAX] {
            let mut cache = Cache::new(1);
            let mut model: BTreeMap<String, (State, u64)> = BTreeMap::new();
            let (mut commit, mut stored) = (0, 0);
            for _ in 0..20_000 {
                let id = format!("{}", random.random_range(0..60));
                let state = document(random.random_range(0..300));
                match random.random_range(0..100) {
                    0..40 => {
                        commit += u64::from(random.random_ratio(1, 8));
                        cache.insert_folded(key(&id), state.clone(), CommitNumber(commit));
                        model.insert(id, (state, commit));
                    }
                    40..60 if !model.contains_key(&id) => {
                        cache.insert_loaded(key(&id), state.clone());
                        model.insert(id, (state, stored));
                    }
                    60..80 => assert_eq!(
                        cache.touch(VIEW, &id),
                        model.get(&id).map(|(state, _)| state.body_bytes())
                    ),
                    80..90 => {
                        stored = commit;
                        cache.set_stored(CommitNumber(stored));
                    }
                    90..99 => {
                        cache.trim(bytes_max);
                        let is_kept = |id: &str| cache.peek(VIEW, id).is_some();
                        for (id, (_, commit)) in &model {
                            assert!(is_kept(id) || *commit <= stored, "{id} is not stored");
                        }
                        model.retain(|id, _| is_kept(id));
                        let is_stored = |(_, commit): &(State, u64)| *commit <= stored;
                        assert!(cache.bytes() <= bytes_max || !model.values().any(is_stored));
                    }
                    99 => {
                        cache.forget_stored();
                        model.retain(|_, (_, commit)| *commit > stored);
                    }
                    _ => {}
                }
                let known = (0..60).filter(|id| cache.peek(VIEW, &id.to_string()).is_some());
                assert_eq!(known.count(), model.len());
            }
            let bytes = model.iter().map(|(id, (state, _))| {
                assert_eq!(cache.peek(VIEW, id), Some(state));
                let State::Present { encoded, .. } = state else {
                    unreachable!("only such documents were put there");
                };
                ENTRY_BYTES + id.len() + encoded.len()
            });
            assert_eq!(cache.bytes(), bytes.sum::<usize>());
        }
    }

    #[test]
    fn what_the_store_holds_can_be_forgotten_and_the_rest_stays() {
        let mut cache = Cache::new(1);
        cache.insert_loaded(key("loaded"), document(10));
        cache.insert_folded(key("stored"), document(10), CommitNumber(1));
        cache.insert_folded(key("folded"), document(10), CommitNumber(2));
        cache.set_stored(CommitNumber(1));
        cache.forget_stored();

        assert_eq!(cache.peek(VIEW, "loaded"), None);
        assert_eq!(cache.peek(VIEW, "stored"), None);
        assert_eq!(cache.peek(VIEW, "folded"), Some(&document(10)));
        assert_eq!(cache.bytes(), ENTRY_BYTES + "folded".len() + 10);
    }

    #[test]
    fn replacing_and_clearing_keep_the_count_of_bytes() {
        let mut cache = Cache::new(2);
        cache.insert_loaded(key("a"), document(10));
        cache.insert_loaded(key("a"), State::Absent);
        assert_eq!(cache.bytes(), ENTRY_BYTES + 1);
        assert_eq!(cache.peek(VIEW, "a"), Some(&State::Absent));
        cache.clear();
        assert_eq!((cache.bytes(), cache.peek(VIEW, "a")), (0, None));
    }
}
