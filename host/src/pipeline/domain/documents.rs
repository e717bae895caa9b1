//! The documents of a batch: read before it is folded, where its keys name them, and those of the
//! next one while it is folded.

use std::sync::Arc;

use super::super::cache::{Cache, State};
use super::super::{DomainLayout, read_documents};
use super::Domain;
use crate::fast_hash::FastSet;
use crate::projection::{DocumentId, DocumentKey, DocumentWrite, HostError, ViewIndex};
use crate::record::{Event, TopicPartition};
use crate::store::Provenance;

/// What is read ahead takes a quarter of the cache at most, if documents are of this size.
const DOCUMENT_BYTES: usize = 512;

impl Domain {
    /// Reads the documents that a batch will want, where its keys name them, in one call.
    pub(super) async fn prefetch(&mut self, events: &[Arc<Event>]) -> Result<(), HostError> {
        if self.parts.context.layout != DomainLayout::PerPartition {
            return Ok(());
        }
        let ids: Vec<&str> = distinct(ids(events.iter()), events.len()).collect();
        for view in 0..self.parts.context.views.len() {
            let view = view_index(view);
            let cache = self.cache_mut();
            let unknown = ids.iter().filter(|id| !cache.touch(view, id));
            let unknown: Vec<DocumentId> = unknown.map(|id| DocumentId::from(*id)).collect();
            self.load(view, unknown).await?;
        }
        Ok(())
    }

    async fn load(&mut self, view: ViewIndex, ids: Vec<DocumentId>) -> Result<(), HostError> {
        if ids.is_empty() {
            return Ok(());
        }
        let states = self.read(view, &ids).await?;
        self.parts.store_reachability.reached();
        let cache = self.cache_mut();
        for (id, state) in ids.into_iter().zip(states) {
            cache.insert_loaded(DocumentKey { view, id }, state);
        }
        Ok(())
    }

    /// Where the documents of these writes come from, as they are before them; `None` where there
    /// is no document.
    pub(super) async fn current(
        &mut self,
        writes: &[DocumentWrite],
    ) -> Result<Vec<Option<Provenance>>, HostError> {
        let known = |cache: &Cache| {
            let writes = writes.iter();
            let known = writes.map(|write| match cache.peek(write.key.view, &write.key.id)? {
                State::Present { provenance, .. } => Some(Some(provenance.clone())),
                State::Absent => Some(None),
            });
            known.collect::<Option<Vec<_>>>()
        };
        if let Some(current) = known(&self.cache) {
            return Ok(current);
        }
        self.load_blind_writes(writes).await?;
        Ok(known(&self.cache).expect("reads are kept till the batch ends"))
    }

    /// Reads the documents that the plugin wrote without having read them: do they exist?
    async fn load_blind_writes(&mut self, writes: &[DocumentWrite]) -> Result<(), HostError> {
        for view in 0..self.parts.context.views.len() {
            let view = view_index(view);
            let unknown: Vec<DocumentId> = writes
                .iter()
                .map(|write| &write.key)
                .filter(|key| key.view == view && self.cache.peek(view, &key.id).is_none())
                .map(|key| Arc::clone(&key.id))
                .collect();
            self.load(view, unknown).await?;
        }
        Ok(())
    }

    /// The documents that the batch after this one will want and nobody knows: those of the keys
    /// behind the next `skip` events.
    pub(super) fn ahead(&self, partition: &TopicPartition, skip: usize) -> Vec<DocumentKey> {
        let context = &self.parts.context;
        let room = self.cached.bytes_max() / 4 / DOCUMENT_BYTES;
        let documents_max = context.batch.documents_max.min(room);
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
            let Ok(states) = self.read(view, &ids).await else {
                return read;
            };
            let keys = ids.into_iter().map(|id| DocumentKey { view, id });
            read.extend(keys.zip(states));
        }
        read
    }

    async fn read(&self, view: ViewIndex, ids: &[DocumentId]) -> Result<Vec<State>, HostError> {
        let target = &self.parts.context.views[view.0 as usize].id;
        let encoding = self.parts.running.version.descriptor.encoding;
        read_documents(&*self.parts.store, target, ids, encoding).await
    }
}

fn view_index(view: usize) -> ViewIndex {
    ViewIndex(u32::try_from(view).expect("views are few"))
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
