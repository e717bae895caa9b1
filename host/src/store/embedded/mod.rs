//! A store in one SQLite file: for trying out, and for developing plugins.
//!
//! Guarantees what every [`Store`] guarantees, also where several processes on one machine share
//! the file (a `get` beside a running host). Documents are raw BSON beside their JSON, so that
//! the file opens in any SQLite tool: `SELECT id, json FROM aircraft`.
//!
//! One thread owns the connection that writes, another the one that loads, and [`READERS`] others
//! those of who only reads, so that no runtime thread ever waits for a disk, a load never waits
//! behind a commit or a reader, and a reader not behind one long list (`worker`). Who drops the
//! store ends all of them, after what is queued.
//!
//! The file belongs to the host's user alone (mode 0600), and so do SQLite's files beside it.
//!
//! Not here: hosts on several machines. SQLite's write-ahead log needs shared memory.

mod checkpoints;
mod commit;
mod documents;
mod entries;
mod error;
mod file;
mod list;
mod read;
mod schema;
mod shared_keys;
#[cfg(test)]
mod tests;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior};

use self::worker::{Role, Worker, Workers};
use super::{
    Answer, CheckpointId, Claim, Commit, CommitError, Entry, Error, Store, StoredDocument, Table,
    User, ViewId,
};
use crate::projection::DocumentId;
use crate::record::{Lineage, NextOffset};
use crate::store::entry::IdRange;

/// Connections of those who only read.
const READERS: usize = 4;

/// A handle to one SQLite file.
pub struct EmbeddedStore {
    path: PathBuf,
    address: Arc<str>,
    writer: Arc<Worker>,
    /// Of the pipeline; where the store was given to somebody else, the same as `views`.
    reader: Arc<Workers>,
    /// For those who only read: the pipeline does not wait behind them.
    views: Arc<Workers>,
}

impl EmbeddedStore {
    /// Opens the file, or creates it with the folders above it. A file of somebody else's is
    /// refused and left as it is.
    ///
    /// Waits for the disk: not for a runtime's thread.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let address: Arc<str> = format!("embedded store {}", path.display()).into();
        let writer = file::open(path, &address)?;
        let reader = file::open_reader(path, &address)?;
        // The writer closes last: when two close at once, SQLite takes neither for the last one,
        // and the log stays.
        let mut earlier = Vec::new();
        let mut views = Vec::new();
        for number in 1..=READERS {
            let connection = file::open_reader(path, &address)?;
            let name = format!("store-views-{number}");
            // One after the other, for the same reason.
            let before = earlier.pop().into_iter().collect();
            let (worker, thread) = Worker::start(
                &name,
                Role::Reader,
                Arc::clone(&address),
                connection,
                before,
            )?;
            views.push(worker);
            earlier.push(thread);
        }
        let of_address = Arc::clone(&address);
        let (reader, reads) =
            Worker::start("store-reader", Role::Reader, of_address, reader, earlier)?;
        let of_address = Arc::clone(&address);
        let (writer, _) = Worker::start(
            "store-writer",
            Role::Writer,
            of_address,
            writer,
            vec![reads],
        )?;
        Ok(EmbeddedStore {
            path: path.to_owned(),
            writer: Arc::new(writer),
            reader: Arc::new(Workers::new(vec![reader])),
            views: Arc::new(Workers::new(views)),
            address,
        })
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let result = self.writer.run(job).await?;
        result.map_err(|e| error::store(&self.address, e))
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let result = self.reader.run(job).await?;
        result.map_err(|e| error::store(&self.address, e))
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    fn address(&self) -> &str {
        &self.address
    }

    async fn ping(&self) -> Result<(), Error> {
        self.read(|connection| connection.pragma_query_value(None, "user_version", |_| Ok(())))
            .await?;
        let path = self.path.clone();
        let exists = self
            .write(move |connection| {
                connection
                    .transaction_with_behavior(TransactionBehavior::Immediate)?
                    .rollback()?;
                Ok(path.exists())
            })
            .await?;
        if exists {
            Ok(())
        } else {
            Err(error::removed(&self.address))
        }
    }

    async fn prepare(&self, views: &[ViewId]) -> Result<(), Error> {
        if let Some(view) = views.iter().find(|v| schema::is_reserved(&v.name)) {
            return Err(error::reserved_name(&self.address, view));
        }
        let views = views.to_vec();
        self.write(move |connection| schema::create_views(connection, &views))
            .await
    }

    async fn own(&self, views: &[ViewId], writer: &str) -> Result<(), Error> {
        let (views, writer) = (views.to_vec(), writer.to_owned());
        let owned = self
            .write(move |connection| schema::own(connection, &views, &writer))
            .await?;
        owned.map_err(|message| Error::Refused {
            address: self.address.to_string(),
            message,
        })
    }

    fn apart(&self, user: User) -> Option<Arc<dyn Store>> {
        match user {
            User::Readers | User::Operators => Some(Arc::new(EmbeddedStore {
                path: self.path.clone(),
                address: Arc::clone(&self.address),
                writer: Arc::clone(&self.writer),
                reader: Arc::clone(&self.views),
                views: Arc::clone(&self.views),
            })),
        }
    }

    /// Its threads end with it.
    async fn close(&self) {}

    async fn claim_from(
        &self,
        checkpoint: &CheckpointId,
        owner: &str,
        start: NextOffset,
    ) -> Result<Claim, Error> {
        let id = checkpoint.to_string();
        let owner = owner.to_owned();
        self.write(move |connection| checkpoints::claim(connection, &id, &owner, start))
            .await
    }

    async fn lineage(&self, checkpoint: &CheckpointId) -> Result<Lineage, Error> {
        let id = checkpoint.to_string();
        self.read(move |connection| checkpoints::lineage(connection, &id))
            .await
    }

    async fn checkpoint(&self, checkpoint: &CheckpointId) -> Result<Option<Claim>, Error> {
        let id = checkpoint.to_string();
        self.read(move |connection| checkpoints::read(connection, &id))
            .await
    }

    async fn share_keys(&self, writer: &str) -> Result<(), Error> {
        let writer = writer.to_owned();
        self.write(move |connection| shared_keys::mark(connection, &writer))
            .await
    }

    async fn keys_are_shared(&self, writer: &str) -> Result<bool, Error> {
        let writer = writer.to_owned();
        self.write(move |connection| shared_keys::is_marked(connection, &writer))
            .await
    }

    async fn load(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<StoredDocument>>, Error> {
        let loaded = self.load_within(view, ids, usize::MAX).await?;
        Ok(loaded.expect("nothing comes to more bytes than that"))
    }

    async fn load_within(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
        bytes_max: usize,
    ) -> Result<Option<Vec<Option<StoredDocument>>>, Error> {
        let (view, ids) = (view.clone(), ids.to_vec());
        let address = Arc::clone(&self.address);
        self.reader
            .run(move |connection| documents::load(connection, &address, &view, &ids, bytes_max))
            .await?
    }

    async fn load_some(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
        bytes_max: usize,
    ) -> Result<Vec<Answer>, Error> {
        let (view, ids) = (view.clone(), ids.to_vec());
        let address = Arc::clone(&self.address);
        self.reader
            .run(move |connection| {
                documents::load_some(connection, &address, &view, &ids, bytes_max)
            })
            .await?
    }

    async fn commit(&self, commit: &Commit) -> Result<(), CommitError> {
        let commit = commit.clone();
        let address = Arc::clone(&self.address);
        self.writer
            .run(move |connection| commit::commit(connection, &address, &commit))
            .await?
    }

    async fn scan(
        &self,
        view: &ViewId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, StoredDocument)>, Error> {
        let (view, after) = (view.clone(), after.map(str::to_owned));
        let address = Arc::clone(&self.address);
        self.reader
            .run(move |connection| {
                documents::scan(connection, &address, &view, after.as_deref(), limit)
            })
            .await?
    }

    async fn entries(
        &self,
        table: Table,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let address = Arc::clone(&self.address);
        self.reader
            .run(move |connection| {
                let range = IdRange::new(&prefix, after.as_deref());
                entries::page(connection, &address, table, &range, limit)
            })
            .await?
    }

    async fn find_entries(&self, table: Table, ids: &[Arc<str>]) -> Result<Vec<Entry>, Error> {
        let ids = ids.to_vec();
        let address = Arc::clone(&self.address);
        self.reader
            .run(move |connection| entries::find(connection, &address, table, &ids))
            .await?
    }

    async fn put_entry(&self, entry: &Entry) -> Result<(), Error> {
        let entry = entry.clone();
        let address = Arc::clone(&self.address);
        self.writer
            .run(move |connection| entries::put(connection, &address, &entry))
            .await?
    }

    async fn add_entry(&self, entry: &Entry) -> Result<bool, Error> {
        let entry = entry.clone();
        let address = Arc::clone(&self.address);
        self.writer
            .run(move |connection| entries::add(connection, &address, &entry))
            .await?
    }

    async fn remove_entries(&self, table: Table, ids: &[Arc<str>]) -> Result<(), Error> {
        let ids = ids.to_vec();
        self.write(move |connection| entries::remove(connection, table, &ids))
            .await
    }
}
