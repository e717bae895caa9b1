//! Views in MongoDB: the only user of the `mongodb` crate.
//!
//! One database holds, for each version of a view, a collection (`aircraft.v1`) whose documents
//! are `{_id, …, _m}` (`store::envelope`), a MongoDB view under the plain name (`aircraft`), and
//! for all projections the collection `_checkpoints`, of
//! `{_id: "projection/v1/copy/topic/partition", epoch, next, repairs, owner, claimed_at, sessions}`,
//! and one collection for each reserved [`Table`], whose documents are `{_id, …}`.
//!
//! Guarantees, besides those of [`Store`]:
//! - A commit is one transaction. It moves the checkpoints last, and only from where their owner
//!   left them under its own epoch.
//! - No upsert in a transaction.
//! - A read goes to the primary, sees only what a majority has, and never less than this store's
//!   own claims, commits and reads before it, also after a failover.
//! - Every request has a time-out. Whoever waits longer than that does so by asking again.
//! - Operators, readers and the pipeline have clients of their own, so that nobody waits behind
//!   the others' requests (`operation`).
//!
//! Cancellation: every future may be dropped at any await; what it has asked the driver for goes on
//! in a task (`operation`). What it leaves behind at worst is a transaction that is open on the
//! server until the store's next commit, the next claim of one of its partitions (`sessions`), or
//! `transactionLifetimeLimitSeconds`; or a commit whose fate the caller has not heard of, which the
//! checkpoints tell.
//!
//! Not here: waiting for a server that is away. Each method fails after its time-outs, and the
//! caller decides.

mod claim;
pub mod command;
mod commit;
mod connect;
pub mod decision;
mod entries;
mod error;
mod history;
mod list;
mod load;
mod operation;
mod prepare;
mod read;
mod rejection;
mod sessions;
mod shared_keys;
mod uri;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bson::{Timestamp, doc};
use futures_util::future::join_all;
use mongodb::Database;
use mongodb::options::ClientOptions;

pub use self::error::Class;
use self::error::{Failure, Place};
use self::operation::{Operations, Width};
use self::sessions::Sessions;
pub use self::uri::check as check_uri;
use super::{
    Answer, CheckpointId, Claim, Commit, CommitError, Entry, Error, Store, StoredDocument, Table,
    User, ViewId,
};
use crate::projection::DocumentId;
use crate::record::{Lineage, NextOffset};
use crate::store::entry::IdRange;

/// How long one request may take. A server that is stopped or cut off does not answer at all, and
/// the driver by itself would wait for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the server works on one request: less, so that nothing that this host has given up
/// happens afterwards.
const SERVER_TIMEOUT: Duration = Duration::from_secs(25);

/// Requests in flight of those who read views; more wait for their turn. There are more places than
/// turns, for readers go when they have waited for two seconds, and a store that is silent for three
/// keeps hundreds of their requests.
const READERS: Width = Width {
    turns: 64,
    places: 384,
};

/// The same of operators: parked events, plugins, the log of changes.
const OPERATORS: Width = Width {
    turns: 16,
    places: 64,
};

/// Connections beyond those that are needed now are closed after so long.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// A database of a replica set or a sharded cluster.
pub struct MongoStore {
    /// By the client of whoever this store was given to.
    operations: Arc<Operations>,
    shared: Arc<Shared>,
}

/// What all users of a database have in common.
struct Shared {
    address: String,
    options: ClientOptions,
    pipeline: Arc<Operations>,
    /// Made when they are first used: a host without a gateway has one client less.
    readers: OnceLock<Arc<Operations>>,
    operators: OnceLock<Arc<Operations>>,
    /// Of the pipeline's client.
    sessions: Arc<Sessions>,
    /// The newest operation time that this store has heard of, packed; 0 before the first.
    newest: AtomicU64,
}

#[async_trait]
impl Store for MongoStore {
    fn address(&self) -> &str {
        &self.shared.address
    }

    async fn ping(&self) -> Result<(), Error> {
        let ping =
            self.ask(|database| async move { database.run_command(doc! { "ping": 1 }).await });
        ping.await
            .map(drop)
            .map_err(|failure| failure.at(&self.place("ping")))
    }

    fn apart(&self, user: User) -> Option<Arc<dyn Store>> {
        let operations = match user {
            User::Readers => self.readers(),
            User::Operators => self.operators(),
        };
        let operations = operations.inspect_err(|failure| {
            tracing::error!(
                store = self.shared.address,
                "no client of their own for {user:?}: {failure}"
            );
        });
        Some(Arc::new(MongoStore {
            operations: operations.ok()?,
            shared: Arc::clone(&self.shared),
        }))
    }

    async fn advice(&self) -> Option<String> {
        let seconds = self.history_seconds().await?;
        Some(history::advice(seconds))
    }

    async fn prepare(&self, views: &[ViewId]) -> Result<(), Error> {
        self.prepare_views(views).await
    }

    async fn own(&self, views: &[ViewId], writer: &str) -> Result<(), Error> {
        self.own_views(views, writer).await
    }

    async fn close(&self) {
        let Shared {
            pipeline,
            readers,
            operators,
            ..
        } = &*self.shared;
        let clients = [readers.get(), operators.get(), Some(pipeline)];
        let clients = clients.into_iter().flatten();
        join_all(clients.map(|client| client.close())).await;
    }

    async fn claim_from(
        &self,
        checkpoint: &CheckpointId,
        owner: &str,
        start: NextOffset,
    ) -> Result<Claim, Error> {
        self.claim_checkpoint(checkpoint, owner, start).await
    }

    async fn lineage(&self, checkpoint: &CheckpointId) -> Result<Lineage, Error> {
        let found = self.read_lineage(&checkpoint.to_string()).await;
        found.map_err(|failure| failure.at(&self.place("read checkpoints")))
    }

    async fn checkpoint(&self, checkpoint: &CheckpointId) -> Result<Option<Claim>, Error> {
        let found = self.read_claims(&[checkpoint.to_string()]).await;
        let found = found.map_err(|failure| failure.at(&self.place("read checkpoints")))?;
        Ok(found.into_iter().next().flatten())
    }

    async fn share_keys(&self, writer: &str) -> Result<(), Error> {
        self.mark_shared_keys(writer).await
    }

    async fn keys_are_shared(&self, writer: &str) -> Result<bool, Error> {
        self.has_shared_keys(writer).await
    }

    async fn load(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<StoredDocument>>, Error> {
        let loaded = self.load_documents(view, ids, usize::MAX).await?;
        Ok(loaded.expect("nothing comes to more bytes than that"))
    }

    async fn load_within(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
        bytes_max: usize,
    ) -> Result<Option<Vec<Option<StoredDocument>>>, Error> {
        self.load_documents(view, ids, bytes_max).await
    }

    async fn load_some(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
        bytes_max: usize,
    ) -> Result<Vec<Answer>, Error> {
        self.load_first(view, ids, bytes_max).await
    }

    async fn commit(&self, commit: &Commit) -> Result<(), CommitError> {
        Box::pin(self.commit_batch(commit)).await
    }

    async fn scan(
        &self,
        view: &ViewId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, StoredDocument)>, Error> {
        self.scan_documents(view, after, limit).await
    }

    async fn entries(
        &self,
        table: Table,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        self.page_of_entries(table, IdRange::new(prefix, after), limit)
            .await
    }

    async fn find_entries(&self, table: Table, ids: &[Arc<str>]) -> Result<Vec<Entry>, Error> {
        self.entries_with(table, ids).await
    }

    async fn put_entry(&self, entry: &Entry) -> Result<(), Error> {
        self.put(entry).await
    }

    async fn add_entry(&self, entry: &Entry) -> Result<bool, Error> {
        self.add(entry).await
    }

    async fn remove_entries(&self, table: Table, ids: &[Arc<str>]) -> Result<(), Error> {
        self.remove(table, ids).await
    }
}

impl MongoStore {
    fn place<'a>(&'a self, action: &'a str) -> Place<'a> {
        Place {
            address: &self.shared.address,
            database: self.operations.database_name(),
            action,
        }
    }

    /// Waits for an answer, but not for ever.
    async fn ask<T, F>(&self, operation: impl FnOnce(Database) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = mongodb::error::Result<T>> + Send + 'static,
    {
        self.operations.ask(REQUEST_TIMEOUT, operation).await
    }

    fn readers(&self) -> Result<Arc<Operations>, Failure> {
        self.shared.client(&self.shared.readers, READERS)
    }

    fn operators(&self) -> Result<Arc<Operations>, Failure> {
        self.shared.client(&self.shared.operators, OPERATORS)
    }

    /// Remembers how new the data is that was written or read.
    fn note(&self, time: Option<Timestamp>) {
        if let Some(time) = time {
            let packed = u64::from(time.time) << 32 | u64::from(time.increment);
            self.shared.newest.fetch_max(packed, Ordering::AcqRel);
        }
    }

    /// How new the data must be that is read from now on.
    fn newest(&self) -> Option<Timestamp> {
        let packed = self.shared.newest.load(Ordering::Acquire);
        (packed != 0).then_some(Timestamp {
            time: (packed >> 32) as u32,
            increment: packed as u32,
        })
    }
}

impl Shared {
    /// The client of a user's own.
    fn client(
        &self,
        place: &OnceLock<Arc<Operations>>,
        width: Width,
    ) -> Result<Arc<Operations>, Failure> {
        if let Some(operations) = place.get() {
            return Ok(Arc::clone(operations));
        }
        let mut options = self.options.clone();
        options.max_idle_time.get_or_insert(IDLE_MAX);
        let made = Operations::new(options, self.pipeline.database_name(), width)?;
        let made = Arc::new(made);
        Ok(Arc::clone(place.get_or_init(|| made)))
    }
}
