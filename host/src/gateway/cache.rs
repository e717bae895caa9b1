//! Documents that were read lately, kept until a commit changes them.
//!
//! Guarantee: an answer from here includes everything before the position that it names, as one
//! from the store does. A document is kept while this host is the one that writes it: every commit
//! of its own takes out what it has changed *before* positions tell of that commit, and where
//! a position has moved by anybody else's commit, what was read before does not count any more. So
//! the cache serves while one host owns all partitions of a projection, and reads that name no
//! position: those that do ask the store.
//!
//! Bounded in bytes, for all views together; the least recently used documents go first.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Instant;

use async_trait::async_trait;
use bson::raw::RawDocumentBuf;
use lru::LruCache;
use metrics::{Counter, counter, gauge};

use super::positions::{Position, Positions};
use crate::pipeline::CommitStream;
use crate::projection::DocumentId;
use crate::record::{NextOffset, TopicPartition};
use crate::store::list::{Index, List, Page};
use crate::store::{Error, Reader, ViewId};

/// What an entry takes besides its key and document, roughly.
const ENTRY_BYTES: usize = 256;

/// Locks, so that readers seldom meet.
const SHARDS: usize = 16;

/// Documents with the same one are taken for changed together while they are read.
const SLOTS: usize = 4_096;

/// The documents of all views.
#[derive(Debug)]
pub struct Documents {
    shards: [Mutex<LruCache<String, Entry>>; SHARDS],
    bytes: AtomicUsize,
    bytes_max: usize,
    hasher: RandomState,
}

#[derive(Debug)]
struct Entry {
    document: RawDocumentBuf,
    /// What the document includes.
    position: Arc<Position>,
    /// Of its cache.
    generation: u64,
    /// What it counts for.
    bytes: usize,
}

/// The documents of one projection in one copy.
#[derive(Debug)]
pub struct Cache {
    documents: Arc<Documents>,
    /// Tells its documents from those of others.
    label: Arc<str>,
    /// This host's partitions, and how far commits of theirs have been heard of.
    own: RwLock<BTreeMap<TopicPartition, NextOffset>>,
    /// Counts how often everything was forgotten.
    generation: AtomicU64,
    /// Count changes of the documents in each slot.
    changes: Box<[AtomicU64]>,
    hits: Counter,
    misses: Counter,
}

/// What was true when a read began.
struct Ticket {
    generation: u64,
    change: u64,
}

impl Documents {
    pub fn new(bytes_max: usize) -> Self {
        Documents {
            shards: std::array::from_fn(|_| Mutex::new(LruCache::unbounded())),
            bytes: AtomicUsize::new(0),
            bytes_max,
            hasher: RandomState::new(),
        }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, LruCache<String, Entry>> {
        let shard = &self.shards[hash as usize % SHARDS];
        shard.lock().expect("nothing panics under this lock")
    }

    fn free(&self, entry: &Entry) {
        self.bytes.fetch_sub(entry.bytes, Ordering::Relaxed);
    }
}

impl Cache {
    /// A part of the cache; `label` is that of no other part.
    pub fn new(documents: &Arc<Documents>, label: &Arc<str>) -> Self {
        let reads = |outcome: &'static str| {
            let label = label.to_string();
            counter!("projectionist_gateway_cache_reads_total", "projection" => label, "outcome" => outcome)
        };
        Cache {
            documents: Arc::clone(documents),
            label: Arc::clone(label),
            own: RwLock::default(),
            generation: AtomicU64::new(0),
            changes: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hits: reads("hit"),
            misses: reads("miss"),
        }
    }

    fn key(&self, view: &ViewId, id: &str) -> (String, u64) {
        let key = format!("{}/{}.v{}/{id}", self.label, view.name, view.version);
        let hash = self.documents.hasher.hash_one(&key);
        (key, hash)
    }

    fn change(&self, hash: u64) -> &AtomicU64 {
        &self.changes[(hash >> 32) as usize % SLOTS]
    }

    /// A document that includes everything before this position.
    fn get(&self, view: &ViewId, id: &str, position: &Arc<Position>) -> Option<RawDocumentBuf> {
        let (key, hash) = self.key(view, id);
        let mut shard = self.documents.shard(hash);
        let entry = shard.get_mut(&key)?;
        let adds_only_own = || {
            let own = self.own.read().expect("nobody panics under this lock");
            position.adds_only(&own, &entry.position)
        };
        // The generation last: whoever claims a partition forgets before it is an own one.
        let holds = (Arc::ptr_eq(&entry.position, position) || adds_only_own())
            && entry.generation == self.generation.load(Ordering::SeqCst);
        if holds {
            // All that came since was heard of, and did not change it.
            entry.position = Arc::clone(position);
            return Some(entry.document.clone());
        }
        let entry = shard.pop(&key).expect("it was just there");
        self.documents.free(&entry);
        None
    }

    fn begin(&self, view: &ViewId, id: &str) -> Ticket {
        let (_, hash) = self.key(view, id);
        Ticket {
            generation: self.generation.load(Ordering::SeqCst),
            change: self.change(hash).load(Ordering::SeqCst),
        }
    }

    /// Keeps a document, unless it may have changed since its read began. `position` is from
    /// before that read.
    fn put(
        &self,
        view: &ViewId,
        id: &str,
        document: &RawDocumentBuf,
        position: &Arc<Position>,
        ticket: &Ticket,
    ) {
        if !self.is_own(position) {
            return;
        }
        let (key, hash) = self.key(view, id);
        let bytes = ENTRY_BYTES + key.len() + document.as_bytes().len() + position.bytes();
        if bytes > self.documents.bytes_max / SHARDS {
            return;
        }
        let mut shard = self.documents.shard(hash);
        let is_unchanged = ticket.generation == self.generation.load(Ordering::SeqCst)
            && ticket.change == self.change(hash).load(Ordering::SeqCst);
        if !is_unchanged {
            return;
        }
        let entry = Entry {
            document: document.clone(),
            position: Arc::clone(position),
            generation: ticket.generation,
            bytes,
        };
        self.documents.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some((_, old)) = shard.push(key, entry) {
            self.documents.free(&old);
        }
        while self.documents.bytes.load(Ordering::Relaxed) > self.documents.bytes_max {
            // Other shards make room as they are used.
            let Some((_, entry)) = shard.pop_lru() else {
                break;
            };
            self.documents.free(&entry);
        }
        gauge!("projectionist_gateway_cache_bytes")
            .set(self.documents.bytes.load(Ordering::Relaxed) as f64);
    }

    /// Whether all partitions are this host's. Those of others may change documents without moving:
    /// what is drained there was passed before.
    fn is_own(&self, position: &Position) -> bool {
        let own = self.own.read().expect("nobody panics under this lock");
        position.is_within(&own)
    }

    fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

impl CommitStream for Cache {
    fn claimed(&self, partition: &TopicPartition, next: NextOffset) {
        let mut own = self.own.write().expect("nobody panics under this lock");
        self.forget();
        own.insert(partition.clone(), next);
    }

    fn released(&self, partition: &TopicPartition) {
        let mut own = self.own.write().expect("nobody panics under this lock");
        own.remove(partition);
        self.forget();
    }

    fn stored(&self, documents: &[(ViewId, DocumentId)]) {
        for (view, id) in documents {
            let (key, hash) = self.key(view, id);
            self.change(hash).fetch_add(1, Ordering::SeqCst);
            let mut shard = self.documents.shard(hash);
            if let Some(entry) = shard.pop(&key) {
                self.documents.free(&entry);
            }
        }
    }

    fn moved(&self, partition: &TopicPartition, next: NextOffset) {
        let mut own = self.own.write().expect("nobody panics under this lock");
        if let Some(known) = own.get_mut(partition) {
            *known = next;
        }
    }

    fn lost(&self) {
        self.forget();
    }
}

/// A copy whose documents are kept.
pub(super) struct CachedReader {
    reader: Arc<dyn Reader>,
    positions: Arc<Positions>,
    cache: Arc<Cache>,
}

impl CachedReader {
    pub(super) fn new(
        reader: Arc<dyn Reader>,
        positions: Arc<Positions>,
        cache: Arc<Cache>,
    ) -> Self {
        CachedReader {
            reader,
            positions,
            cache,
        }
    }
}

#[async_trait]
impl Reader for CachedReader {
    fn address(&self) -> &str {
        self.reader.address()
    }

    fn answered(&self) -> Option<Instant> {
        self.reader.answered()
    }

    async fn document(&self, view: &ViewId, id: &str) -> Result<Option<RawDocumentBuf>, Error> {
        // Not older than the position that the reader is told.
        let position = self.positions.current();
        if let Some(document) = self.cache.get(view, id, &position) {
            self.cache.hits.increment(1);
            return Ok(Some(document));
        }
        self.cache.misses.increment(1);
        let ticket = self.cache.begin(view, id);
        let found = self.reader.document(view, id).await?;
        if let Some(document) = &found {
            self.cache.put(view, id, document, &position, &ticket);
        }
        Ok(found)
    }

    async fn list(&self, view: &ViewId, list: &List) -> Result<Page, Error> {
        self.reader.list(view, list).await
    }

    async fn prepare_indexes(&self, view: &ViewId, indexes: &[Index]) -> Result<(), Error> {
        self.reader.prepare_indexes(view, indexes).await
    }

    async fn positions(&self, writer: &str) -> Result<Vec<(TopicPartition, NextOffset)>, Error> {
        self.reader.positions(writer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition::new("flights", number)
    }

    fn view() -> ViewId {
        ViewId::new("aircraft", 1)
    }

    fn document() -> RawDocumentBuf {
        rawdoc! { "text": "x".repeat(10) }
    }

    fn at(next: [i64; 2]) -> Arc<Position> {
        let next = (0..).zip(next);
        let next = next.map(|(number, next)| (partition(number), NextOffset(next)));
        Arc::new(Position::of(next))
    }

    /// A cache of a host that owns partition 0, and perhaps 1, each at 10.
    fn cache(own: i32, bytes_max: usize) -> Cache {
        let cache = Cache::new(&Arc::new(Documents::new(bytes_max)), &"flights".into());
        for number in 0..own {
            cache.claimed(&partition(number), NextOffset(10));
        }
        cache
    }

    fn put(cache: &Cache, id: &str, position: &Arc<Position>) {
        let ticket = cache.begin(&view(), id);
        cache.put(&view(), id, &document(), position, &ticket);
    }

    fn has(cache: &Cache, id: &str, position: &Arc<Position>) -> bool {
        cache.get(&view(), id, position).is_some()
    }

    #[test]
    fn a_commit_takes_out_what_it_changes_and_nothing_else() {
        let cache = cache(2, 1 << 20);
        for id in ["a", "b"] {
            put(&cache, id, &at([10, 10]));
        }
        cache.stored(&[(view(), "a".into())]);
        cache.moved(&partition(0), NextOffset(11));
        assert!(!has(&cache, "a", &at([11, 10])));
        assert!(has(&cache, "b", &at([11, 10])));
    }

    #[test]
    fn a_position_that_was_not_heard_of_makes_what_was_read_before_old() {
        let mine = cache(2, 1 << 20);
        put(&mine, "a", &at([10, 10]));
        // The store tells of a commit before this host hears of it.
        assert!(!has(&mine, "a", &at([11, 10])));

        let others = cache(1, 1 << 20);
        // What another host's partition has shaped may change without a word.
        put(&others, "a", &at([10, 10]));
        assert!(!has(&others, "a", &at([10, 10])));
    }

    #[test]
    fn what_changed_while_it_was_read_is_not_kept() {
        let cache = cache(2, 1 << 20);
        let position = at([10, 10]);
        for change in [
            (|cache: &Cache| cache.stored(&[(view(), "a".into())])) as fn(&Cache),
            |cache| cache.lost(),
            |cache| cache.claimed(&partition(0), NextOffset(10)),
            |cache| cache.released(&partition(1)),
        ] {
            let ticket = cache.begin(&view(), "a");
            change(&cache);
            cache.put(&view(), "a", &document(), &position, &ticket);
            assert!(!has(&cache, "a", &position));
        }
    }

    #[test]
    fn whatever_is_lost_or_given_away_is_forgotten() {
        let position = at([10, 10]);
        for change in [
            (|cache: &Cache| cache.lost()) as fn(&Cache),
            |cache| cache.claimed(&partition(0), NextOffset(10)),
            |cache| cache.released(&partition(1)),
        ] {
            let cache = cache(2, 1 << 20);
            put(&cache, "a", &position);
            assert!(has(&cache, "a", &position));
            change(&cache);
            assert!(!has(&cache, "a", &position));
        }
    }

    #[test]
    fn it_is_bounded_in_bytes() {
        let bytes_max = 100 * 1024;
        let cache = cache(2, bytes_max);
        let position = at([10, 10]);
        for number in 0..1_000 {
            put(&cache, &format!("key-{number}"), &position);
            assert!(cache.documents.bytes.load(Ordering::Relaxed) <= bytes_max);
        }
        let kept = (0..1_000).filter(|number| has(&cache, &format!("key-{number}"), &position));
        let kept = kept.count();
        assert!((100..300).contains(&kept), "{kept}");
        cache.lost();
        // What is found to be old makes room.
        for number in 0..1_000 {
            has(&cache, &format!("key-{number}"), &position);
        }
        assert_eq!(cache.documents.bytes.load(Ordering::Relaxed), 0);
    }
}
