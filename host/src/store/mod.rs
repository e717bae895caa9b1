//! Where views live: what the host asks of a store, and what every store guarantees.
//!
//! Two stores implement [`Store`]: `mongo` and `embedded`. One conformance suite holds both to
//! what is written here (`tests/it/store_conformance.rs`).
//!
//! Guarantees:
//! - [`Store::commit`] is atomic: documents, entries and checkpoints change together or not at all.
//! - A commit under an epoch that is no longer the newest changes nothing.
//! - [`Store::load`] and [`Store::entries`] see everything that was committed before they were
//!   called, by any host.
//!
//! Not here: when to load, what to commit and what to do about an error (`pipeline`).

mod bson_writer;
pub mod embedded;
mod entry;
pub mod envelope;
pub mod list;
pub mod mongo;
mod owners;
mod reader;
mod rejection;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bson::raw::RawDocumentBuf;

pub use self::entry::{ENTRY_BYTES_MAX, Entry, EntryChange, EntryTooLarge, Table, all_entries};
pub use self::reader::{Readable, Reader};
pub use self::rejection::{Culprit, Rejection};
use crate::projection::DocumentId;
use crate::record::{Epoch, Lineage, NextOffset, Offset, TopicPartition};

/// A place for views. All methods may be called concurrently.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// For messages: what and where the store is, without secrets.
    fn address(&self) -> &str;

    /// Answers when the store can serve reads and writes.
    async fn ping(&self) -> Result<(), Error>;

    /// Makes the views ready to be written, and readable under their plain names.
    /// Views that exist already are left as they are.
    async fn prepare(&self, views: &[ViewId]) -> Result<(), Error>;

    /// Records who writes these views, all that the writer has, at the first call. From then on
    /// others are refused: they would fold events over documents that hold them already. And the
    /// writer is refused another view, which would lack what was folded before. `writer` is a
    /// [`CheckpointId::writer`].
    async fn own(&self, views: &[ViewId], writer: &str) -> Result<(), Error>;

    /// Takes a partition over: from now on, a commit under an earlier epoch changes nothing.
    /// A partition that nobody claimed before starts at offset 0.
    async fn claim(&self, checkpoint: &CheckpointId, owner: &str) -> Result<Claim, Error> {
        self.claim_from(checkpoint, owner, NextOffset::ZERO).await
    }

    /// The same, but a partition that nobody claimed before starts at `start`.
    async fn claim_from(
        &self,
        checkpoint: &CheckpointId,
        owner: &str,
        start: NextOffset,
    ) -> Result<Claim, Error>;

    /// Reads the progress of a partition; `None` where it was never claimed.
    async fn checkpoint(&self, checkpoint: &CheckpointId) -> Result<Option<Claim>, Error>;

    /// Which log the position of a partition is one of, as the commit said that moved it there. Nothing
    /// is known of one that was never claimed, or moved by a version of this host that did not say.
    async fn lineage(&self, checkpoint: &CheckpointId) -> Result<Lineage, Error>;

    /// Records that events of one key are in more than one partition of this writer, and fences
    /// every owner of its partitions: from then on nobody stores as a document's only writer.
    /// `writer` is a [`CheckpointId::writer`]. A second time it changes nothing.
    async fn share_keys(&self, writer: &str) -> Result<(), Error>;

    /// Whether that was recorded. Who asks after a claim, and is told no, stores nothing under
    /// that claim once it is recorded.
    async fn keys_are_shared(&self, writer: &str) -> Result<bool, Error>;

    /// Reads documents, one answer per id and in the order of `ids`. A view that nobody prepared
    /// has none.
    async fn load(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<StoredDocument>>, Error>;

    /// The same, but gives up with `None` as soon as the bodies that it has read come to more than
    /// so many bytes.
    async fn load_within(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
        bytes_max: usize,
    ) -> Result<Option<Vec<Option<StoredDocument>>>, Error> {
        let loaded = self.load(view, ids).await?;
        let bodies = loaded.iter().flatten();
        let bytes: usize = bodies.map(|document| document.body.as_bytes().len()).sum();
        Ok((bytes <= bytes_max).then_some(loaded))
    }

    /// Reads documents until those that were found have more than `bytes_max` bytes together; at
    /// least one answer is given, and the rest are [`Answer::Unread`], whichever those are. One
    /// answer per id, in the order of `ids`, which are distinct.
    async fn load_some(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
        bytes_max: usize,
    ) -> Result<Vec<Answer>, Error>;

    /// Stores a batch in one transaction.
    ///
    /// May be called again with the same commit after [`CommitError::Store`], whatever became of
    /// the attempt before: a commit that had gone through is recognised and counts as done.
    async fn commit(&self, commit: &Commit) -> Result<(), CommitError>;

    /// Reads up to `limit` documents with ids greater than `after`, in the order of their ids.
    async fn scan(
        &self,
        view: &ViewId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, StoredDocument)>, Error>;

    /// Reads entries of a reserved table whose ids start with `prefix` and are greater than
    /// `after`, in the order of their ids. At most `limit`, and fewer where they are large: at
    /// least one where there is any, and no more than about 16 MiB. So only an empty page is
    /// surely the last one. A table that nobody wrote to has none.
    async fn entries(
        &self,
        table: Table,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error>;

    /// Those of the entries that exist, in any order.
    async fn find_entries(&self, table: Table, ids: &[Arc<str>]) -> Result<Vec<Entry>, Error>;

    /// Inserts an entry, or replaces it, outside of any batch. One whose body is larger than
    /// [`ENTRY_BYTES_MAX`] is refused.
    async fn put_entry(&self, entry: &Entry) -> Result<(), Error>;

    /// Inserts an entry outside of any batch, unless there is one with its id. True where the entry
    /// that is there is this one: after an answer that was lost, the same call may be made again.
    async fn add_entry(&self, entry: &Entry) -> Result<bool, Error>;

    /// Removes those of the entries that exist, outside of any batch.
    async fn remove_entries(&self, table: Table, ids: &[Arc<str>]) -> Result<(), Error>;

    /// What whoever runs the server should know of its settings, in one sentence without a
    /// subject; `None` where there is nothing to say, or the server does not tell.
    async fn advice(&self) -> Option<String> {
        None
    }

    /// The same store for others than the pipeline, by connections or threads of their own, so that
    /// the pipeline does not wait behind them; `None` where it has none. See [`apart`].
    fn apart(&self, user: User) -> Option<Arc<dyn Store>> {
        match user {
            User::Readers | User::Operators => None,
        }
    }

    /// Ends what is held open at the server, by all users. To be called last; a store that is dropped without
    /// loses nothing.
    async fn close(&self);
}

/// Who uses a store besides the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Those who read views.
    Readers,
    /// Those who look after parked events, plugins and deployments.
    Operators,
}

/// The store as this user has it.
pub fn apart(store: &Arc<dyn Store>, user: User) -> Arc<dyn Store> {
    store.apart(user).unwrap_or_else(|| Arc::clone(store))
}

/// A view in one of its versions. Each version has a collection of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewId {
    pub name: Arc<str>,
    pub version: u32,
}

/// Names the progress of one projection version in one copy on one partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckpointId {
    pub projection: Arc<str>,
    pub version: u32,
    pub copy: Arc<str>,
    pub partition: TopicPartition,
}

/// A partition as its claimer found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub epoch: Epoch,
    pub next: NextOffset,
    /// Counts the commits that changed what is parked without moving `next`, so that each of
    /// those can be recognised too; 0 at first.
    pub repairs: i64,
}

/// The last event that shaped a document, in which revision, folded by which plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Counts the stored versions of the document, from 1.
    pub revision: i64,
    pub partition: TopicPartition,
    pub offset: Offset,
    /// The plugin's hash.
    pub plugin: Arc<str>,
}

/// A document and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDocument {
    /// Without `_id` and `_m`.
    pub body: RawDocumentBuf,
    pub provenance: Provenance,
}

/// What a read that ends at some weight says of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Absent,
    Found(StoredDocument),
    /// Enough was read without it.
    Unread,
}

/// One batch, of one partition or of several.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// At most one per document.
    pub writes: Vec<Write>,
    /// At most one per entry.
    pub entries: Vec<EntryChange>,
    /// At most one per checkpoint, at least one in all.
    pub advances: Vec<Advance>,
}

/// Moves one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    pub checkpoint: CheckpointId,
    pub epoch: Epoch,
    pub from: NextOffset,
    pub to: NextOffset,
    /// Which log `to` is a position of. A topic that is not known leaves what is stored of it.
    pub lineage: Lineage,
    /// [`Claim::repairs`] before this commit, and after it: the same, or one more.
    pub repairs: Repairs,
}

/// Where a checkpoint's count of repairs goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repairs {
    pub from: i64,
    pub to: i64,
}

#[derive(Clone, Debug)]
pub struct Write {
    pub view: ViewId,
    pub id: DocumentId,
    pub change: Change,
}

/// What happens to a document. The writer knows whether it exists: no store ever upserts
/// (an upsert of a missing id inside a MongoDB transaction was seen to livelock).
#[derive(Clone, Debug)]
pub enum Change {
    /// The document does not exist.
    Insert(StoredDocument),
    /// The document exists.
    Update {
        document: StoredDocument,
        guard: Guard,
    },
    /// The document exists.
    Delete { guard: Guard },
}

/// Which stored version a write may replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Any: this partition is the document's only writer.
    SoleWriter,
    /// Only the one with this provenance. Its revision alone would not do: a document that was
    /// deleted and inserted again counts from 1 again, but no event shapes a document twice.
    Unchanged(Provenance),
}

/// Why a commit was not stored. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Other hosts have claimed these partitions, or their checkpoints are elsewhere.
    #[error("another host has taken over {}", list(checkpoints))]
    Fenced { checkpoints: Vec<CheckpointId> },
    /// A document is not in the state that the write expected.
    #[error("document \"{id}\" of view {view} was changed by somebody else")]
    Mismatch { view: ViewId, id: DocumentId },
    /// An entry is not in the state that the change expected: it exists where it was to be
    /// inserted, or is missing where it was to be replaced or removed.
    #[error("entry \"{id}\" of {table} was changed by somebody else")]
    EntryMismatch { table: Table, id: Arc<str> },
    /// The batch is more than the store takes in one transaction; a smaller one may pass.
    #[error("the batch is too large for one transaction")]
    TooLarge(#[source] Source),
    /// A document or an entry is none that this store takes, whatever the time.
    #[error(transparent)]
    Rejected(Box<Rejection>),
    #[error(transparent)]
    Store(#[from] Error),
}

/// Why a store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Away, overloaded, failing over: worth trying again, for as long as it takes.
    #[error("{address} is unavailable")]
    Unavailable {
        address: String,
        #[source]
        source: Source,
    },
    /// Trying again cannot help: wrong credentials, a missing privilege, a standalone MongoDB.
    #[error("{address}: {message}")]
    Refused {
        address: String,
        /// What is wrong and the way out.
        message: String,
    },
    /// This store does not let its readers in, whatever they ask for: a privilege is missing, the
    /// credentials are refused. Others may. Only a [`Reader`] says so.
    #[error("{address}: {message}")]
    Denied {
        address: String,
        /// What is wrong and the way out.
        message: String,
    },
    /// A stored document is not of the host's making.
    #[error("{address}: document \"{id}\" of view {view} is not one of this host's: {message}")]
    Foreign {
        address: String,
        view: ViewId,
        id: String,
        message: String,
    },
}

pub type Source = Box<dyn std::error::Error + Send + Sync>;

impl ViewId {
    pub fn new(name: impl Into<Arc<str>>, version: u32) -> Self {
        ViewId {
            name: name.into(),
            version,
        }
    }

    /// The name of the collection or table that holds this version: `aircraft.v1`.
    pub fn collection(&self) -> String {
        format!("{}.v{}", self.name, self.version)
    }
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" (version {})", self.name, self.version)
    }
}

impl Advance {
    /// The checkpoint as this commit must find it.
    pub(crate) fn before(&self) -> Claim {
        Claim {
            epoch: self.epoch,
            next: self.from,
            repairs: self.repairs.from,
        }
    }

    /// The checkpoint as this commit leaves it.
    pub(crate) fn after(&self) -> Claim {
        Claim {
            epoch: self.epoch,
            next: self.to,
            repairs: self.repairs.to,
        }
    }

    /// True where the commit can be recognised by this checkpoint.
    pub(crate) fn moves(&self) -> bool {
        self.before() != self.after()
    }
}

impl CheckpointId {
    /// What all checkpoints of a projection version in a copy have in common, and so the name of
    /// the one who may write its views: `projection/v1/copy`.
    pub fn writer(projection: &str, version: u32, copy: &str) -> String {
        format!("{projection}/v{version}/{copy}")
    }
}

/// The checkpoint's `_id` in a store: `projection/v1/copy/topic/partition`.
impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writer = CheckpointId::writer(&self.projection, self.version, &self.copy);
        write!(f, "{writer}/{}", self.partition)
    }
}

impl Error {
    /// True where trying again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Unavailable { .. } => true,
            Error::Refused { .. } | Error::Denied { .. } | Error::Foreign { .. } => false,
        }
    }

    /// True where it is the store that failed a reader, not the request or a document.
    pub fn is_of_store(&self) -> bool {
        match self {
            Error::Unavailable { .. } | Error::Denied { .. } => true,
            Error::Refused { .. } | Error::Foreign { .. } => false,
        }
    }
}

fn list(checkpoints: &[CheckpointId]) -> String {
    let names: Vec<String> = checkpoints
        .iter()
        .map(|c| c.partition.to_string())
        .collect();
    names.join(", ")
}
