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
//!
//! Cancellation: every future may be dropped at any await. What it leaves behind at worst is a
//! transaction that is open on the server until the store's next commit, the next claim of one of
//! its partitions (`sessions`), or `transactionLifetimeLimitSeconds`; or a commit whose fate the
//! caller has not heard of, which the checkpoints tell.
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
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};

pub use self::error::Class;
use self::error::{Failure, Place};
use self::sessions::Sessions;
pub use self::uri::check as check_uri;
use super::{
    Answer, CheckpointId, Claim, Commit, CommitError, Entry, Error, Store, StoredDocument, Table,
    ViewId,
};
use crate::projection::DocumentId;
use crate::store::entry::IdRange;

/// How long one request may take. A server that is stopped or cut off does not answer at all, and
/// the driver by itself would wait for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the server works on one request: less, so that nothing that this host has given up
/// happens afterwards.
const SERVER_TIMEOUT: Duration = Duration::from_secs(25);

/// A database of a replica set or a sharded cluster.
pub struct MongoStore {
    client: Client,
    database: Database,
    /// The same database, by the client of those who only read.
    reads: OnceLock<Database>,
    options: ClientOptions,
    address: String,
    sessions: Sessions,
    /// The newest operation time that this store has heard of, packed; 0 before the first.
    newest: AtomicU64,
}

#[async_trait]
impl Store for MongoStore {
    fn address(&self) -> &str {
        &self.address
    }

    async fn ping(&self) -> Result<(), Error> {
        let ping = self.database.run_command(doc! { "ping": 1 });
        let reply = within(REQUEST_TIMEOUT, ping).await;
        reply
            .map(drop)
            .map_err(|failure| failure.at(&self.place("ping")))
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
        if let Some(reads) = self.reads.get() {
            reads.client().clone().shutdown().immediate(true).await;
        }
        self.client.clone().shutdown().immediate(true).await;
    }

    async fn claim(&self, checkpoint: &CheckpointId, owner: &str) -> Result<Claim, Error> {
        self.claim_checkpoint(checkpoint, owner).await
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
            address: &self.address,
            database: self.database.name(),
            action,
        }
    }

    /// Remembers how new the data is that was written or read.
    fn note(&self, time: Option<Timestamp>) {
        if let Some(time) = time {
            let packed = u64::from(time.time) << 32 | u64::from(time.increment);
            self.newest.fetch_max(packed, Ordering::AcqRel);
        }
    }

    /// How new the data must be that is read from now on.
    fn newest(&self) -> Option<Timestamp> {
        let packed = self.newest.load(Ordering::Acquire);
        (packed != 0).then_some(Timestamp {
            time: (packed >> 32) as u32,
            increment: packed as u32,
        })
    }
}

/// Waits for an answer, but not for ever. On a time-out the request is dropped, and with it its
/// connection.
async fn within<T>(
    timeout: Duration,
    request: impl IntoFuture<Output = mongodb::error::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Failure::Driver(error)),
        Err(_) => Err(Failure::NoAnswer(timeout)),
    }
}
