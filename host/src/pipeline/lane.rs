//! A lane: one projector on a thread of its own, which folds one batch at a time.
//!
//! A fold is CPU time in a guest and must not hold up the runtime's threads. What the projector
//! reads besides the cache it loads from the store, waiting on its own thread.

use std::sync::Arc;
use std::sync::mpsc as std_mpsc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::cache::{Cache, State};
use super::pending::TargetView;
use super::read_documents_within;
use crate::fast_hash::FastSet;
use crate::projection::{
    Batch, DocumentId, DocumentKey, Documents, Encoding, Error, Held, HostError, Output, Projector,
    ViewIndex,
};
use crate::record::{Event, TopicPartition};
use crate::store::Store;

/// How a domain speaks to its lane. Dropping it ends the lane's thread.
#[derive(Debug)]
pub struct Lane {
    requests: mpsc::Sender<Request>,
}

/// One batch to fold.
#[derive(Debug)]
pub struct Fold {
    pub partition: TopicPartition,
    pub events: Vec<Arc<Event>>,
    /// Shared until the reply comes.
    pub cache: Arc<Cache>,
}

/// What became of it.
#[derive(Debug)]
pub struct Folded {
    pub events: Vec<Arc<Event>>,
    pub result: Result<Output, Error>,
    /// The hash of the plugin that folded it.
    pub plugin: Arc<str>,
    /// What the projector read from the store, for the cache.
    pub loaded: Vec<(DocumentKey, State)>,
    /// For as long as what was read is here.
    pub held: Held,
}

/// The lane's thread has ended: the host's own code panicked on it.
#[derive(Debug, thiserror::Error)]
#[error("a lane's thread has ended unexpectedly")]
pub struct LaneEnded;

#[derive(Debug)]
struct Request {
    fold: Fold,
    reply: oneshot::Sender<Folded>,
}

/// What a lane's thread owns.
struct Worker {
    projector: Box<dyn Projector>,
    store: Arc<dyn Store>,
    views: Arc<[TargetView]>,
    runtime: Handle,
}

impl Lane {
    /// Starts the thread. To be called within a runtime, which serves the lane's reads.
    pub fn start(
        name: &str,
        projector: Box<dyn Projector>,
        store: Arc<dyn Store>,
        views: Arc<[TargetView]>,
    ) -> std::io::Result<Lane> {
        let (requests, mut incoming) = mpsc::channel::<Request>(1);
        let mut worker = Worker {
            projector,
            store,
            views,
            runtime: Handle::current(),
        };
        std::thread::Builder::new()
            .name(format!("lane {name}"))
            .spawn(move || {
                while let Some(Request { fold, reply }) = incoming.blocking_recv() {
                    // A domain that does not wait any more has no use for the answer.
                    drop(reply.send(worker.fold(fold)));
                }
            })?;
        Ok(Lane { requests })
    }

    pub async fn fold(&self, fold: Fold) -> Result<Folded, LaneEnded> {
        let (reply, answer) = oneshot::channel();
        let request = Request { fold, reply };
        self.requests.send(request).await.map_err(|_| LaneEnded)?;
        answer.await.map_err(|_| LaneEnded)
    }
}

impl Worker {
    fn fold(&mut self, fold: Fold) -> Folded {
        let Fold {
            partition,
            events,
            cache,
        } = fold;
        let (loaded, loaded_states) = std_mpsc::channel();
        let (kept, kept_for) = std_mpsc::channel();
        let documents = LaneDocuments {
            cache,
            overlay: Cache::new(self.views.len()),
            loaded,
            loaded_bytes: 0,
            kept,
            encoding: self.projector.descriptor().encoding,
            store: Arc::clone(&self.store),
            views: Arc::clone(&self.views),
            runtime: self.runtime.clone(),
        };
        let batch = Batch {
            partition: &partition,
            events: &events,
        };
        // The projector drops `documents`, and the cache with it, before the reply is sent.
        let result = self.projector.project(batch, Box::new(documents));
        let mut held = Held::default();
        kept_for.try_iter().for_each(|kept| held.join(kept));
        Folded {
            events,
            result,
            plugin: Arc::clone(self.projector.plugin_hash()),
            loaded: loaded_states.try_iter().collect(),
            held,
        }
    }
}

/// The cache, and behind it the store.
struct LaneDocuments {
    cache: Arc<Cache>,
    /// What this batch loaded, should it ask again.
    overlay: Cache,
    loaded: std_mpsc::Sender<(DocumentKey, State)>,
    /// Of their bodies.
    loaded_bytes: usize,
    /// What is to be kept with them.
    kept: std_mpsc::Sender<Held>,
    encoding: Encoding,
    store: Arc<dyn Store>,
    views: Arc<[TargetView]>,
    runtime: Handle,
}

impl Documents for LaneDocuments {
    fn get_many(
        &mut self,
        view: ViewIndex,
        ids: &[&str],
        bytes_max: usize,
    ) -> Result<Option<Vec<Option<Bytes>>>, HostError> {
        if let Some(answers) = self.answers(view, ids) {
            return Ok(Some(answers));
        }
        let room = bytes_max.saturating_sub(self.loaded_bytes);
        if room == 0 {
            return Ok(None);
        }
        let mut seen = FastSet::default();
        let unknown = ids.iter().filter(|id| self.find(view, id).is_none());
        let unknown = unknown.filter(|&&id| seen.insert(id));
        let unknown: Vec<DocumentId> = unknown.map(|id| DocumentId::from(*id)).collect();
        if !self.load(view, unknown, room)? {
            return Ok(None);
        }
        let answers = self.answers(view, ids);
        Ok(Some(answers.expect("what was not known is loaded")))
    }

    fn hold(&mut self, held: Held) {
        // The worker takes it after the fold.
        drop(self.kept.send(held));
    }
}

impl LaneDocuments {
    /// `None` where a document is not known.
    fn answers(&self, view: ViewIndex, ids: &[&str]) -> Option<Vec<Option<Bytes>>> {
        ids.iter()
            .map(|id| match self.find(view, id)? {
                State::Present { encoded, .. } => Some(Some(encoded.clone())),
                State::Absent => Some(None),
            })
            .collect()
    }

    fn find(&self, view: ViewIndex, id: &str) -> Option<&State> {
        self.cache
            .peek(view, id)
            .or_else(|| self.overlay.peek(view, id))
    }

    /// False where they are more than so many bytes.
    fn load(
        &mut self,
        view: ViewIndex,
        ids: Vec<DocumentId>,
        bytes_max: usize,
    ) -> Result<bool, HostError> {
        let target = &self.views[view.0 as usize].id;
        let read = read_documents_within(&*self.store, target, &ids, self.encoding, bytes_max);
        let Some(states) = self.runtime.block_on(read)? else {
            return Ok(false);
        };
        for (id, state) in ids.into_iter().zip(states) {
            self.loaded_bytes += state.body_bytes();
            let key = DocumentKey { view, id };
            // The domain takes these after the fold; it is there as long as the lane is.
            drop(self.loaded.send((key.clone(), state.clone())));
            self.overlay.insert_loaded(key, state);
        }
        Ok(true)
    }
}
