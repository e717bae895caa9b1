//! Reading views for those who only read.
//!
//! Two stores implement [`Reader`]: `mongo` and `embedded`; one conformance suite holds both to
//! what is written here (`tests/it/store_conformance/reading.rs`).
//!
//! Guarantees:
//! - A position that [`Reader::positions`] has answered is stored: whatever is read after the
//!   answer holds the effects of all events before that position.
//! - The same goes for what this process has heard committed by the same store.
//! - Reads wait for no commit, and have connections or threads of their own, so that no number of
//!   readers holds up the pipeline.
//!
//! Documents are handed out in their stored form (`envelope`), as they lie in the store.
//!
//! Not here: how long to wait and whom else to ask (`gateway::copies`).

use std::time::Instant;

use async_trait::async_trait;
use bson::raw::RawDocumentBuf;

use super::list::{Index, List, Page};
use super::{Error, Store, ViewId};
use crate::record::{NextOffset, TopicPartition};

/// Views as their readers see them. All methods may be called concurrently.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// For messages: what and where the store is, without secrets.
    fn address(&self) -> &str;

    /// When the store has last answered a request of its readers, also one that nobody waited for
    /// any more; `None` before the first, and where that is not known.
    fn answered(&self) -> Option<Instant> {
        None
    }

    /// One document; `None` where there is none of this id, or no such view.
    async fn document(&self, view: &ViewId, id: &str) -> Result<Option<RawDocumentBuf>, Error>;

    /// Documents in the order of an index that was prepared. Those of a view that does not exist
    /// are none.
    async fn list(&self, view: &ViewId, list: &List) -> Result<Page, Error>;

    /// Creates those of the indexes that do not exist yet, on a view that was prepared, and waits
    /// for them. Others are left as they are.
    async fn prepare_indexes(&self, view: &ViewId, indexes: &[Index]) -> Result<(), Error>;

    /// How far the partitions of a writer are stored. `writer` is a
    /// [`CheckpointId::writer`](super::CheckpointId::writer).
    async fn positions(&self, writer: &str) -> Result<Vec<(TopicPartition, NextOffset)>, Error>;
}

/// A store with both of its sides.
pub trait Readable: Store + Reader {}

impl<S: Store + Reader> Readable for S {}

/// The partition that a checkpoint's id names, behind the writer and a slash.
pub(super) fn partition_of(id: &str, writer: &str) -> Option<TopicPartition> {
    let rest = id.strip_prefix(writer)?.strip_prefix('/')?;
    let (topic, partition) = rest.rsplit_once('/')?;
    Some(TopicPartition::new(topic, partition.parse().ok()?))
}
