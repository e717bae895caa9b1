//! Documents in memory, between batches.

use std::collections::HashMap;

use super::stamp::Origin;

/// Bytes of documents, as they are stored, above which all are forgotten. The host's default.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// One document.
#[derive(Default)]
pub(super) struct Slot<D> {
    pub(super) id: Box<str>,
    /// Whether it has been read, or folded.
    pub(super) known: bool,
    /// Whether MongoDB has it, or will have before the next batch is stored.
    pub(super) stored: bool,
    pub(super) origin: Origin,
    pub(super) document: D,
    /// The last batch that has touched it.
    batch: u64,
}

/// All slots by the documents' ids.
pub(super) struct Cache<D> {
    places: HashMap<Box<str>, usize>,
    slots: Vec<Slot<D>>,
    bytes: usize,
    batch: u64,
}

impl<D: Default> Cache<D> {
    pub(super) fn new() -> Self {
        Cache {
            places: HashMap::new(),
            slots: Vec::new(),
            bytes: 0,
            batch: 0,
        }
    }

    /// Starts a batch. Says whether everything was forgotten, because it had become too much: then
    /// what the last batch has made must be stored before anything is read.
    pub(super) fn begin(&mut self) -> bool {
        self.batch += 1;
        let full = self.bytes > BYTES_MAX;
        if full {
            self.places.clear();
            self.slots.clear();
            self.bytes = 0;
        }
        full
    }

    /// The place of a document, and whether this batch touches it for the first time.
    pub(super) fn touch(&mut self, id: &str) -> (usize, bool) {
        let place = match self.places.get(id) {
            Some(&place) => place,
            None => {
                let place = self.slots.len();
                self.places.insert(id.into(), place);
                self.slots.push(Slot {
                    id: id.into(),
                    ..Slot::default()
                });
                place
            }
        };
        let slot = &mut self.slots[place];
        let first = slot.batch != self.batch;
        slot.batch = self.batch;
        (place, first)
    }

    pub(super) fn slot(&mut self, place: usize) -> &mut Slot<D> {
        &mut self.slots[place]
    }

    /// The slot of a document that was touched.
    pub(super) fn find(&mut self, id: &str) -> Option<&mut Slot<D>> {
        let place = *self.places.get(id)?;
        Some(&mut self.slots[place])
    }

    /// Counts what a document takes that was not there before.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_touched_once_in_each_batch() {
        let mut cache: Cache<u32> = Cache::new();
        for _ in 0..2 {
            assert!(!cache.begin());
            assert_eq!(cache.touch("a"), (0, true));
            assert_eq!(cache.touch("b"), (1, true));
            assert_eq!(cache.touch("a"), (0, false));
        }
    }

    #[test]
    fn what_is_too_much_is_forgotten_between_batches() {
        let mut cache: Cache<u32> = Cache::new();
        cache.begin();
        let (place, _) = cache.touch("a");
        cache.slot(place).document = 1;
        cache.grow(BYTES_MAX + 1);
        assert_eq!(cache.find("a").map(|slot| slot.document), Some(1));
        assert!(cache.begin());
        assert!(cache.find("a").is_none());
        assert_eq!(cache.touch("a"), (0, true));
        assert_eq!(cache.slot(0).document, 0);
        assert!(!cache.begin());
    }
}
