//! The documents that one fold domain knows, as of the last event it folded.
//!
//! Guarantees:
//! - Bounded in bytes between batches: the least recently used documents go first. What a batch
//!   reads stays until its results are taken over.
//! - A document that is not stored yet stays, for the store would answer with an older one.
//! - The domain is the writer of what it holds, so an entry is the truth until the domain is
//!   fenced or, in a `shared` view, until a commit finds that another host was faster.
//!
//! Lanes read it at the same time (`peek`); only the domain changes it, between folds.

use bytes::Bytes;
use lru::LruCache;

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

/// Counts the commits of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommitNumber(pub u64);

#[derive(Debug)]
pub struct Cache {
    /// One map a view, so that looking an id up needs no owned key.
    views: Vec<LruCache<DocumentId, Entry>>,
    bytes: usize,
    /// Entries of later commits are not stored yet.
    stored: CommitNumber,
}

#[derive(Debug)]
struct Entry {
    state: State,
    /// The commit that stores this state.
    commit: CommitNumber,
}

/// What an entry takes besides its bytes, roughly: map, list, pointers, provenance.
const ENTRY_BYTES: usize = 256;

impl Cache {
    pub fn new(views: usize) -> Self {
        Cache {
            views: (0..views).map(|_| LruCache::unbounded()).collect(),
            bytes: 0,
            stored: CommitNumber(0),
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A document's state, `None` where the cache does not know.
    pub fn peek(&self, view: ViewIndex, id: &str) -> Option<&State> {
        let entry = self.views.get(view.0 as usize)?.peek(id)?;
        Some(&entry.state)
    }

    /// Notes that a document is in use.
    pub fn touch(&mut self, view: ViewIndex, id: &str) {
        self.views[view.0 as usize].promote(id);
    }

    /// Adds what a store answered.
    pub fn insert_loaded(&mut self, key: DocumentKey, state: State) {
        self.insert(key, state, self.stored);
    }

    /// Adds a document that `commit` will store.
    pub fn insert_folded(&mut self, key: DocumentKey, state: State, commit: CommitNumber) {
        self.insert(key, state, commit);
    }

    /// Everything up to and with `commit` is stored.
    pub fn set_stored(&mut self, commit: CommitNumber) {
        self.stored = self.stored.max(commit);
    }

    /// Forgets what the store holds as well: the next reads of it are fresh.
    pub fn forget_stored(&mut self) {
        let stored = self.stored;
        for view in &mut self.views {
            let known: Vec<DocumentId> = view
                .iter()
                .filter(|(_, entry)| entry.commit <= stored)
                .map(|(id, _)| DocumentId::clone(id))
                .collect();
            for id in known {
                if let Some(entry) = view.pop(&id) {
                    self.bytes -= entry_bytes(id.len(), &entry.state);
                }
            }
        }
    }

    /// Forgets everything: the next reads are fresh.
    pub fn clear(&mut self) {
        self.views.iter_mut().for_each(LruCache::clear);
        self.bytes = 0;
    }

    fn insert(&mut self, key: DocumentKey, state: State, commit: CommitNumber) {
        let id_bytes = key.id.len();
        self.bytes += entry_bytes(id_bytes, &state);
        let entry = Entry { state, commit };
        if let Some(old) = self.views[key.view.0 as usize].put(key.id, entry) {
            self.bytes -= entry_bytes(id_bytes, &old.state);
        }
    }

    /// Lets documents go until the rest takes `bytes_max` bytes at most.
    pub fn trim(&mut self, bytes_max: usize) {
        for view in &mut self.views {
            while self.bytes > bytes_max {
                // The oldest entry is stored in all but rare cases. Where it is not, everything
                // that was used since waits behind it, and a commit is on its way.
                let evictable = view
                    .peek_lru()
                    .is_some_and(|(_, entry)| entry.commit <= self.stored);
                if !evictable {
                    break;
                }
                let (id, entry) = view.pop_lru().expect("it was just looked at");
                self.bytes -= entry_bytes(id.len(), &entry.state);
            }
        }
    }
}

fn entry_bytes(id_bytes: usize, state: &State) -> usize {
    let body_bytes = match state {
        State::Absent => 0,
        State::Present { encoded, .. } => encoded.len(),
    };
    ENTRY_BYTES + id_bytes + body_bytes
}

#[cfg(test)]
mod tests {
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
    fn the_least_recently_used_document_goes_first() {
        let bytes_max = 3 * (ENTRY_BYTES + 1) + 2000;
        let mut cache = Cache::new(1);
        for id in ["a", "b"] {
            cache.insert_loaded(key(id), document(1000));
        }
        cache.touch(VIEW, "a");
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
