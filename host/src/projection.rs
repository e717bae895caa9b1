//! What a projection is to the host, whoever executes it.
//!
//! The pipeline calls a [`Projector`]; `plugin` implements it with a Wasm instance, and tests and
//! benchmarks implement it natively. The shapes are those of `wit/plugin.wit`.
//!
//! A [`Fault`] is always the projection's own: a trap, a limit, a refusal, an invalid answer.
//! What goes wrong in the host or in a store is a [`HostError`] and can never be taken for it.

use std::collections::HashSet;
use std::sync::Arc;

use bson::raw::RawDocumentBuf;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::record::{Event, Header, TopicPartition};

/// A document's `_id`.
pub type DocumentId = Arc<str>;

/// How a plugin wants to see and write documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// JSON, with MongoDB's extended form for types that JSON lacks.
    Json,
    Bson,
}

/// Who may write a view's documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ownership {
    /// A document's id is its event's key, so one partition writes it.
    ByKey,
    /// Any event may touch any document.
    Shared,
}

/// A named set of documents that a projection owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub name: Arc<str>,
    pub ownership: Ownership,
}

/// What a projection says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub name: String,
    pub version: String,
    /// What the documents are, for people. May be empty.
    pub description: String,
    pub encoding: Encoding,
    pub views: Vec<View>,
    /// Headers that the projection wants to see; others are not passed.
    pub headers: Vec<String>,
    /// JSON Schema of the configuration; empty where there is none.
    pub config_schema: String,
}

/// An index into [`Descriptor::views`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewIndex(pub u32);

/// The document of one view with one id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    pub view: ViewIndex,
    pub id: DocumentId,
}

/// Events of one partition in offset order.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    pub partition: &'a TopicPartition,
    /// Never empty.
    pub events: &'a [Arc<Event>],
}

/// A document as a projection wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// In the projection's encoding, and such that decoding `bson` gives the same again.
    pub encoded: Bytes,
    /// The same document as it is stored, without `_id` and `_m`.
    pub bson: RawDocumentBuf,
}

/// A new document, or its end.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentWrite {
    pub key: DocumentKey,
    /// Index in the batch of the last event that shaped the document.
    pub event: usize,
    /// `None` deletes.
    pub body: Option<Body>,
}

/// What a projection made of a batch: at most one write per document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    pub writes: Vec<DocumentWrite>,
    /// In the order in which they are to be sent, which is that of their events.
    pub messages: Vec<Message>,
    /// For as long as this is not stored.
    pub held: Held,
}

/// Something that is kept for as long as something else is there: the room that it takes.
#[derive(Clone, Default)]
pub struct Held(Vec<Arc<dyn Send + Sync>>);

impl Held {
    pub fn new(kept: impl Send + Sync + 'static) -> Self {
        Held(vec![Arc::new(kept)])
    }

    /// Keeps what another one keeps, too.
    pub fn join(&mut self, other: Held) {
        self.0.extend(other.0);
    }
}

/// It tells nothing of what it is kept for.
impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({})", self.0.len())
    }
}

/// Names a message for good, whoever sends it and however often: the host's own header.
pub const EVENT_ID_HEADER: &str = "event-id";

/// Most messages that may follow from one event.
pub const MESSAGES_PER_EVENT_MAX: usize = 9_999;

/// A message for Kafka, sent exactly when the documents of its event are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Index in the batch of the event that it follows from.
    pub event: usize,
    pub topic: Arc<str>,
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// The stored documents, as of the end of the events already folded.
pub trait Documents: Send {
    /// One answer per id, in the projection's encoding; `None` where no document exists. An id may
    /// come more than once; its document is read once, and shared.
    ///
    /// Gives up with `None` where more would have to be read from a store than so many bytes, all
    /// of its calls together. With 0 a store is not asked at all.
    fn get_many(
        &mut self,
        view: ViewIndex,
        ids: &[&str],
        bytes_max: usize,
    ) -> Result<Option<Vec<Option<Bytes>>>, HostError>;

    /// Keeps this for as long as what was read is there.
    fn hold(&mut self, held: Held) {
        drop(held);
    }
}

/// Folds events into documents.
pub trait Projector: Send {
    fn descriptor(&self) -> &Arc<Descriptor>;

    /// Names this version of the logic in each document's provenance.
    fn plugin_hash(&self) -> &Arc<str>;

    /// Folds one batch. After an error the projector is as new: it remembers nothing of the batch.
    fn project(&mut self, batch: Batch<'_>, documents: Box<dyn Documents>)
    -> Result<Output, Error>;
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error(transparent)]
    Host(#[from] HostError),
}

/// What a projection did wrong. The same batch will fail again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct Fault {
    pub kind: FaultKind,
    /// The text of the plugin or of the check that it failed, in full.
    pub detail: String,
    /// Index in the batch of the event at fault, where it is known.
    pub event: Option<usize>,
    /// Later events of the batch that the plugin rejected as well, in their order.
    pub also: Vec<Rejected>,
    /// What the other events came to, where the plugin said so: all but the rejected ones and the
    /// later ones of their keys.
    pub rest: Option<Box<Output>>,
}

/// An event that the plugin named as one that it cannot take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Index in the batch.
    pub event: usize,
    /// The plugin's own words.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped; a panic or an uncaught exception ends so.
    Trap,
    /// The guest ran longer than its time limit.
    Timeout,
    /// The guest asked for more memory or table space than its limit.
    Memory,
    /// The plugin named an event that it cannot take.
    Rejected,
    /// The plugin answered `err` for the whole batch.
    Failed,
    /// The answer breaks the contract: an unknown view, an id twice, a document that is no JSON.
    InvalidOutput,
    /// A document or message is none that the store takes: an index or a validator forbids it.
    Unstorable,
}

impl Fault {
    /// Indices of the rejected events of a batch, and of the later ones of their keys.
    pub fn left_out(&self, events: &[Arc<Event>]) -> HashSet<usize> {
        let also = self.also.iter().map(|rejected| rejected.event);
        let mut left_out: HashSet<usize> = self.event.into_iter().chain(also).collect();
        let mut keys = HashSet::new();
        for (index, event) in events.iter().enumerate() {
            let Some(key) = event.key() else {
                continue;
            };
            if left_out.contains(&index) {
                keys.insert(key);
            } else if keys.contains(key) {
                left_out.insert(index);
            }
        }
        left_out
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FaultKind::Trap => "the plugin trapped",
            FaultKind::Timeout => "the plugin exceeded its time limit",
            FaultKind::Memory => "the plugin exceeded its memory limit",
            FaultKind::Rejected => "the plugin rejected the event",
            FaultKind::Failed => "the plugin failed",
            FaultKind::InvalidOutput => "the plugin gave an invalid answer",
            FaultKind::Unstorable => "the store does not take what follows from the event",
        })
    }
}

/// What went wrong outside of the projection while it ran.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A document that the projection asked for cannot be read now; it may be later.
    #[error("cannot read documents")]
    Documents(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A document that the projection asked for cannot be read, and trying again cannot help.
    #[error("cannot read documents")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no memory for the call now, for others have it. There may be later, and sooner for
    /// fewer events.
    #[error("there is no memory for the plugin now")]
    NoRoom(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine could not run the plugin at all.
    #[error("cannot run the plugin")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}
