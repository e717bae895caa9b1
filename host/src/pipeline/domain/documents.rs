//! The documents of a batch: read before it is folded, where its keys name them, and those of the
//! next one while it is folded.
//!
//! Guarantee: what is read at once is bounded by its weight, and so are the events of a batch by
//! what their documents weigh, as soon as that is known. What was read for events that have to wait
//! stays in the cache, where there is room for it.

use std::sync::Arc;

use super::super::cache::State;
use super::super::weight::Weight;
use super::super::{DomainLayout, read_some};
use super::Domain;
use crate::fast_hash::{FastMap, FastSet};
use crate::projection::{DocumentId, DocumentKey, DocumentWrite, HostError, ViewIndex};
use crate::record::{Event, TopicPartition};
use crate::store::Provenance;

/// What a document weighs as long as none has been read.
pub(super) const FIRST: Weight = Weight::new(512);

/// What an event weighs as long as none has been folded: the first batches are small.
pub(super) const FIRST_OF_EVENT: Weight = Weight::new(32 * 1024);

/// What the documents of a batch may weigh, whatever the share of the cache is.
const BATCH_BYTES_MIN: usize = 1024 * 1024;

/// What of a batch may be folded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fitting {
    /// Of its events: at least one.
    pub(super) events: usize,
    /// What the documents weigh that their keys name.
    pub(super) bytes: usize,
}

/// A document that events name by their keys.
struct Named<'e> {
    /// Index of the first event that names it.
    event: usize,
    id: &'e str,
}

impl Domain {
    /// Reads the documents that a batch will want, where its keys name them. Answers how much of it
    /// may be folded together, for what its documents weigh.
    pub(super) async fn prefetch(&mut self, events: &[Arc<Event>]) -> Result<Fitting, HostError> {
        if self.parts.context.layout != DomainLayout::PerPartition {
            return Ok(Fitting {
                events: events.len(),
                bytes: 0,
            });
        }
        let bytes_max = self.batch_bytes_max();
        let named = named(events);
        let (mut place, mut bytes) = (0, 0);
        while let Some(Named { event, id }) = named.get(place) {
            let Some(more) = self.weigh(id) else {
                let room = bytes_max.saturating_sub(bytes);
                self.load_from(&named[place..], room).await?;
                continue;
            };
            if bytes + more > bytes_max && place > 0 {
                let events = *event;
                return Ok(Fitting { events, bytes });
            }
            bytes += more;
            place += 1;
        }
        Ok(Fitting {
            events: events.len(),
            bytes,
        })
    }

    /// What the documents of one batch may weigh.
    fn batch_bytes_max(&self) -> usize {
        let share = self.cached.bytes_max().max(BATCH_BYTES_MIN);
        share.min(self.parts.context.batch.bytes_max)
    }

    /// What the documents of an id weigh; `None` where one of them is not known.
    fn weigh(&mut self, id: &str) -> Option<usize> {
        let views = self.parts.context.views.len();
        let cache = self.cache_mut();
        let mut bytes = 0;
        for view in 0..views {
            bytes += cache.touch(view_index(view), id)?;
        }
        Some(bytes)
    }

    /// Reads the first of these documents that nobody knows, and so many after it as are likely to
    /// fit.
    async fn load_from(&mut self, named: &[Named<'_>], room: usize) -> Result<(), HostError> {
        let count = self.document_weight.fitting(room).max(1);
        for view in 0..self.parts.context.views.len() {
            let view = view_index(view);
            let cache = self.cache_mut();
            let ids = named.iter().take(count).map(|named| named.id);
            let unknown = ids.filter(|id| cache.touch(view, id).is_none());
            let unknown: Vec<DocumentId> = unknown.map(DocumentId::from).collect();
            let Some(first) = unknown.first().cloned() else {
                continue;
            };
            self.load(view, unknown, room).await?;
            // Of many, it may have been left.
            if self.cache.peek(view, &first).is_none() {
                self.load(view, vec![first], room).await?;
            }
        }
        Ok(())
    }

    /// Reads documents until it is enough.
    async fn load(
        &mut self,
        view: ViewIndex,
        ids: Vec<DocumentId>,
        bytes_max: usize,
    ) -> Result<(), HostError> {
        let states = self.read(view, &ids, bytes_max).await?;
        self.parts.store_reachability.reached();
        let (mut count, mut bytes) = (0, 0);
        for (id, state) in ids.into_iter().zip(states) {
            let Some(state) = state else {
                continue;
            };
            count += 1;
            bytes += state.body_bytes();
            let key = DocumentKey { view, id };
            self.cache_mut().insert_loaded(key, state);
        }
        self.document_weight.note(count, bytes);
        Ok(())
    }

    /// Where the documents of these writes come from, as they are before them; `None` where there
    /// is no document.
    pub(super) async fn current(
        &mut self,
        writes: &[DocumentWrite],
    ) -> Result<Vec<Option<Provenance>>, HostError> {
        let mut blind: FastMap<&DocumentKey, Option<Provenance>> = FastMap::default();
        for view in 0..self.parts.context.views.len() {
            let view = view_index(view);
            let keys = writes.iter().map(|write| &write.key);
            let mut unknown: Vec<&DocumentKey> = keys
                .filter(|key| key.view == view && self.cache.peek(view, &key.id).is_none())
                .collect();
            while !unknown.is_empty() {
                self.look_up(view, &mut unknown, &mut blind).await?;
            }
        }
        let current = writes.iter().map(|write| {
            let key = &write.key;
            match self.cache.peek(key.view, &key.id) {
                Some(State::Present { provenance, .. }) => Some(provenance.clone()),
                Some(State::Absent) => None,
                None => blind.remove(key).flatten(),
            }
        });
        Ok(current.collect())
    }

    /// Looks where documents come from that the plugin wrote without having read them. What they
    /// hold is replaced, so nobody keeps it.
    async fn look_up<'w>(
        &mut self,
        view: ViewIndex,
        unknown: &mut Vec<&'w DocumentKey>,
        found: &mut FastMap<&'w DocumentKey, Option<Provenance>>,
    ) -> Result<(), HostError> {
        let bytes_max = self.batch_bytes_max();
        let count = self.document_weight.fitting(bytes_max).max(1);
        let ids = unknown.iter().take(count).map(|key| Arc::clone(&key.id));
        let ids: Vec<DocumentId> = ids.collect();
        let states = self.read(view, &ids, bytes_max).await?;
        self.parts.store_reachability.reached();
        let (mut read, mut bytes) = (0, 0);
        let mut states = states.into_iter();
        unknown.retain(|key| {
            let Some(state) = states.next().flatten() else {
                return true;
            };
            read += 1;
            bytes += state.body_bytes();
            let provenance = match state {
                State::Absent => None,
                State::Present { provenance, .. } => Some(provenance),
            };
            found.insert(*key, provenance);
            false
        });
        self.document_weight.note(read, bytes);
        Ok(())
    }

    /// Notes what so many events weighed with the documents that they read or shaped.
    pub(super) fn note_weight(
        &mut self,
        events: usize,
        read_bytes: usize,
        writes: &[DocumentWrite],
    ) {
        let written = writes.iter().filter_map(|write| write.body.as_ref());
        let written: usize = written.map(|body| body.encoded.len()).sum();
        self.event_weight.note(events, read_bytes.max(written));
    }

    /// The documents that the batch after this one will want and nobody knows: those of the keys
    /// behind the next `skip` events.
    pub(super) fn ahead(&self, partition: &TopicPartition, skip: usize) -> Vec<DocumentKey> {
        let context = &self.parts.context;
        let fitting = self.document_weight.fitting(self.ahead_bytes_max());
        let documents_max = context.batch.documents_max.min(fitting);
        let member = self.members.iter().find(|m| m.partition.id() == partition);
        let Some(member) = member.filter(|_| context.layout == DomainLayout::PerPartition) else {
            return Vec::new();
        };
        let mut unknown = Vec::new();
        for view in 0..context.views.len() {
            let view = view_index(view);
            let events = member.partition.behind(skip).take(context.batch.events_max);
            let ids = ids(events).filter(|id| self.cache.peek(view, id).is_none());
            let ids = distinct(ids, 0).take(documents_max);
            unknown.extend(ids.map(|id| DocumentKey {
                view,
                id: DocumentId::from(id),
            }));
        }
        unknown
    }

    /// What is read ahead takes a quarter of the cache at most.
    fn ahead_bytes_max(&self) -> usize {
        self.cached.bytes_max() / 4
    }

    /// Reads documents for the next batch. Where they cannot be read, that batch will ask again.
    ///
    /// What is folded meanwhile cannot change them: this domain is their only writer, and their
    /// events come later. What is in flight is in the cache, and so not among them.
    pub(super) async fn read_ahead(&self, keys: Vec<DocumentKey>) -> Vec<(DocumentKey, State)> {
        let mut read = Vec::with_capacity(keys.len());
        for view in 0..self.parts.context.views.len() {
            let view = view_index(view);
            let keys = keys.iter().filter(|key| key.view == view);
            let ids: Vec<DocumentId> = keys.map(|key| Arc::clone(&key.id)).collect();
            if ids.is_empty() {
                continue;
            }
            let Ok(states) = self.read(view, &ids, self.ahead_bytes_max()).await else {
                return read;
            };
            let states = ids.into_iter().zip(states);
            let states = states.filter_map(|(id, state)| Some((DocumentKey { view, id }, state?)));
            read.extend(states);
        }
        read
    }

    /// Reads documents until it is enough; `None` for those that were left.
    async fn read(
        &self,
        view: ViewIndex,
        ids: &[DocumentId],
        bytes_max: usize,
    ) -> Result<Vec<Option<State>>, HostError> {
        let target = &self.parts.context.views[view.0 as usize].id;
        let encoding = self.parts.running.version.descriptor.encoding;
        read_some(&*self.parts.store, target, ids, encoding, bytes_max).await
    }
}

fn view_index(view: usize) -> ViewIndex {
    ViewIndex(u32::try_from(view).expect("views are few"))
}

/// The documents that the keys of events name, each once, in the order of the events.
fn named(events: &[Arc<Event>]) -> Vec<Named<'_>> {
    let mut seen = FastSet::default();
    seen.reserve(events.len());
    let named = events.iter().enumerate().filter_map(|(event, named)| {
        let id = std::str::from_utf8(named.key()?).ok()?;
        seen.insert(id).then_some(Named { event, id })
    });
    named.collect()
}

/// The keys of events as ids of documents.
fn ids<'e>(events: impl Iterator<Item = &'e Arc<Event>>) -> impl Iterator<Item = &'e str> {
    events.filter_map(|event| std::str::from_utf8(event.key()?).ok())
}

/// Each id once; room is made for `capacity` of them.
fn distinct<'e>(
    ids: impl Iterator<Item = &'e str>,
    capacity: usize,
) -> impl Iterator<Item = &'e str> {
    let mut seen = FastSet::default();
    seen.reserve(capacity);
    ids.filter(move |id| seen.insert(*id))
}
