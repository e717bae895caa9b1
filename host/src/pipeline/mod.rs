//! From events to stored documents: order, exactly-once, back-pressure.
//!
//! ```text
//! source ──▶ queue ──▶ domain ──▶ lane (fold) ──▶ pending ──▶ committer ──▶ store
//!    ▲  notices, commands │                                        │
//!    └──────────── runner ┴───────────── outcomes ─────────────────┘
//! ```
//!
//! - [`runner`]: one per projection and copy. Claims what the source assigns, starts domains,
//!   drains what is revoked.
//! - [`domain`]: owns the partitions that share a document cache, folds one batch at a time, and
//!   goes on folding while a commit is under way.
//! - [`committer`]: one per projection and copy. Joins batches of several domains in one
//!   transaction.
//! - [`version`]: which plugin folds, as somebody else decides. [`shadow`]: a candidate beside it.
//! - [`stop`]: why a partition stands still. [`failure`]: why a projection has ended.
//! - [`outbox`]: messages as a store keeps them until they are sent.
//! - [`relay`]: one per claimed partition. Sends what is in the outbox, and removes it then.
//!
//! Not here: Kafka (`kafka`), Wasm (`plugin`), MongoDB (`store`). The pipeline knows them as an
//! [`intake`], a [`crate::projection::Projector`] and a [`crate::store::Store`].

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::document;
use crate::projection::{Descriptor, DocumentId, Encoding, HostError, Ownership, Projector};
use crate::record::{NextOffset, TopicPartition};
use crate::store::{self, Answer, CheckpointId, Store, StoredDocument, ViewId};
use crate::telemetry::health::Health;

pub mod backoff;
pub mod budget;
pub mod cache;
pub mod committer;
pub mod dead_letter;
pub mod dedupe;
pub mod domain;
pub mod failure;
pub mod intake;
pub mod lane;
pub mod lanes;
pub mod outbox;
pub mod parking;
pub mod partition;
pub mod pending;
pub mod queue;
pub mod relay;
pub mod runner;
pub mod shadow;
pub mod sieve;
pub mod stop;
pub mod version;
pub mod weight;

use budget::Budget;
use cache::State;
use lanes::Placement;
use partition::BatchLimits;
use pending::TargetView;
use sieve::{DedupeOptions, WithoutKey};

/// What all parts of one projection's pipeline need to know.
#[derive(Clone, Debug)]
pub struct Context {
    pub projection: Arc<str>,
    /// What the projection is called on the board, in metrics and in the log; differs from copy to
    /// copy.
    pub name: Arc<str>,
    /// Which version of its views the projection builds.
    pub version: u32,
    /// The copy's name in the configuration.
    pub copy: Arc<str>,
    /// Whether another copy sends what the projection has to say.
    pub is_mute: bool,
    pub views: Arc<[TargetView]>,
    pub layout: DomainLayout,
    /// Of a domain's lanes, where it has several.
    pub placement: Placement,
    pub batch: BatchLimits,
    pub queue: queue::Limits,
    /// For what the partitions' queues hold together.
    pub queued: Arc<Budget>,
    /// For documents that the domains keep between batches.
    pub cached: Arc<Budget>,
    /// `None` where duplicates are folded, too.
    pub dedupe: Option<DedupeOptions>,
    pub without_key: WithoutKey,
    pub parking: ParkingOptions,
    pub health: Health,
    /// Hears of every commit.
    pub commits: Option<Arc<dyn CommitStream>>,
}

/// Hears what a projection's pipeline stores in a copy, always before positions tell of it.
pub trait CommitStream: std::fmt::Debug + Send + Sync {
    /// The partition is this host's from now on.
    fn claimed(&self, partition: &TopicPartition, next: NextOffset);

    /// The partition is not this host's any more.
    fn released(&self, partition: &TopicPartition);

    /// These documents have changed.
    fn stored(&self, documents: &[(ViewId, DocumentId)]);

    /// A partition has moved, by a commit whose documents were told before.
    fn moved(&self, partition: &TopicPartition, next: NextOffset);

    /// What became of a commit is not known.
    fn lost(&self);
}

/// What becomes of events that the projection cannot take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkingOptions {
    pub on_fault: OnFault,
    pub limits: parking::Limits,
    /// Gets a copy of each parked event.
    pub dead_letter_topic: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// Park the event and the later ones of its key.
    Park,
    /// Stop the partition there.
    Stop,
}

/// Makes an instance of a plugin from its bytes, for parked events that the projection's own
/// plugin cannot fold.
pub type LoadProjector = Arc<dyn Fn(&[u8]) -> Result<Box<dyn Projector>, HostError> + Send + Sync>;

impl Context {
    /// As [`CheckpointId::writer`].
    pub fn writer(&self) -> String {
        CheckpointId::writer(&self.projection, self.version, &self.copy)
    }

    /// For partitions whose documents other partitions write as well, although every view is
    /// `by-key`.
    #[must_use]
    pub fn with_shared_keys(&self) -> Context {
        let guarded = |view: &TargetView| TargetView {
            id: view.id.clone(),
            ownership: Ownership::Shared,
        };
        Context {
            layout: DomainLayout::Joined,
            views: self.views.iter().map(guarded).collect(),
            ..self.clone()
        }
    }
}

/// Which partitions share a document cache and are folded one batch at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainLayout {
    /// Each partition is a domain of its own: no document is written from two of them.
    PerPartition,
    /// All partitions of the projection on this host are one domain, for their batches would
    /// otherwise fight over the same documents.
    Joined,
}

impl DomainLayout {
    /// A document has one writer only where every view is `by-key` and the keys come from one
    /// topic.
    pub fn of(descriptor: &Descriptor, topics: usize) -> Self {
        let by_key = |view: &crate::projection::View| view.ownership == Ownership::ByKey;
        if topics == 1 && descriptor.views.iter().all(by_key) {
            DomainLayout::PerPartition
        } else {
            DomainLayout::Joined
        }
    }
}

/// The views as this projection version writes them.
///
/// In a joined domain every write is guarded, also of a view that is `by-key`: the cache outlives
/// the assignment of a single partition, and with it what other hosts write meanwhile.
pub fn target_views(descriptor: &Descriptor, topics: usize, version: u32) -> Arc<[TargetView]> {
    let ownership = match DomainLayout::of(descriptor, topics) {
        DomainLayout::PerPartition => Ownership::ByKey,
        DomainLayout::Joined => Ownership::Shared,
    };
    descriptor
        .views
        .iter()
        .map(|view| TargetView {
            id: ViewId::new(Arc::clone(&view.name), version),
            ownership,
        })
        .collect()
}

/// Waits until then; for ever, where there is no such time.
async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Reads documents, and gives up with `None` as soon as they come to more than so many bytes, in the
/// store's form or in the projection's.
async fn read_documents_within(
    store: &dyn Store,
    view: &ViewId,
    ids: &[DocumentId],
    encoding: Encoding,
    bytes_max: usize,
) -> Result<Option<Vec<State>>, HostError> {
    let loaded = store.load_within(view, ids, bytes_max).await;
    let Some(documents) = loaded.map_err(host_error)? else {
        return Ok(None);
    };
    let mut states = Vec::with_capacity(documents.len());
    let mut bytes = 0;
    // Each leaves the store's form before the next one takes the projection's.
    for document in documents {
        let state = readable(document, encoding)?;
        bytes += state.body_bytes();
        if bytes > bytes_max {
            return Ok(None);
        }
        states.push(state);
    }
    Ok(Some(states))
}

fn readable(document: Option<StoredDocument>, encoding: Encoding) -> Result<State, HostError> {
    state(document, encoding).map_err(|error| HostError::Unreadable(Box::new(error)))
}

/// Reads documents until those that were found have more than so many bytes; `None` for those that
/// were left.
async fn read_some(
    store: &dyn Store,
    view: &ViewId,
    ids: &[DocumentId],
    encoding: Encoding,
    bytes_max: usize,
) -> Result<Vec<Option<State>>, HostError> {
    let answers = store.load_some(view, ids, bytes_max).await;
    let answers = answers.map_err(host_error)?.into_iter();
    answers
        .map(|answer| {
            let document = match answer {
                Answer::Absent => None,
                Answer::Found(document) => Some(document),
                Answer::Unread => return Ok(None),
            };
            readable(document, encoding).map(Some)
        })
        .collect()
}

fn host_error(error: store::Error) -> HostError {
    if error.is_transient() {
        HostError::Documents(Box::new(error))
    } else {
        HostError::Unreadable(Box::new(error))
    }
}

fn state(document: Option<StoredDocument>, encoding: Encoding) -> Result<State, document::Error> {
    let Some(document) = document else {
        return Ok(State::Absent);
    };
    let encoded = match encoding {
        Encoding::Json => document::to_json(&document.body)?,
        Encoding::Bson => document.body.into_bytes(),
    };
    Ok(State::Present {
        encoded: Bytes::from(encoded),
        provenance: document.provenance,
    })
}
