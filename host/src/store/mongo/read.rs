//! Reads views for those who only read: by a client of their own, whose connections the pipeline
//! does not wait for.
//!
//! Guarantee: as with loads (`load`), every read goes to the primary, sees what a majority has,
//! and never less than this store has heard of before.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bson::raw::{RawDocument, RawDocumentBuf, cstr};
use bson::rawdoc;

use super::MongoStore;
use super::command::CHECKPOINTS;
use super::error::Failure;
use crate::record::{NextOffset, TopicPartition};
use crate::store::list::{Index, List, Page};
use crate::store::reader::partition_of;
use crate::store::{Error, Reader, ViewId};

/// Whoever waits for a reader has given up by then.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server works on one request: less, so that it does not work for nobody.
const SERVER_TIMEOUT: Duration = Duration::from_secs(8);

#[async_trait]
impl Reader for MongoStore {
    fn address(&self) -> &str {
        &self.shared.address
    }

    fn answered(&self) -> Option<Instant> {
        self.shared.readers.get()?.answered()
    }

    async fn document(&self, view: &ViewId, id: &str) -> Result<Option<RawDocumentBuf>, Error> {
        let mut find = self.reading(&view.collection(), rawdoc! { "_id": id });
        find.append(cstr!("limit"), 1);
        find.append(cstr!("singleBatch"), true);
        let mut found = None;
        let read = self.read(find, |document| {
            found = Some(document.to_owned());
            Ok(ControlFlow::Continue(()))
        });
        read.await
            .map_err(|failure| failure.at_read(&self.place("read documents")))?;
        Ok(found)
    }

    async fn list(&self, view: &ViewId, list: &List) -> Result<Page, Error> {
        self.list_documents(view, list).await
    }

    async fn prepare_indexes(&self, view: &ViewId, indexes: &[Index]) -> Result<(), Error> {
        self.create_indexes(view, indexes).await
    }

    async fn positions(&self, writer: &str) -> Result<Vec<(TopicPartition, NextOffset)>, Error> {
        // A slash, and the character behind it.
        let ids = rawdoc! { "$gte": format!("{writer}/"), "$lt": format!("{writer}0") };
        let mut find = self.reading(CHECKPOINTS, rawdoc! { "_id": ids });
        find.append(cstr!("projection"), rawdoc! { "next": 1 });
        let mut found = Vec::new();
        let read = self.read(find, |checkpoint| {
            let id = checkpoint.get_str("_id");
            let partition = id.ok().and_then(|id| partition_of(id, writer));
            let next = checkpoint.get_i64("next");
            let (Some(partition), Ok(next)) = (partition, next) else {
                return Err(Failure::Reply("a checkpoint has no valid _id and next"));
            };
            found.push((partition, NextOffset(next)));
            Ok(ControlFlow::Continue(()))
        });
        read.await
            .map_err(|failure| failure.at_read(&self.place("read checkpoints")))?;
        Ok(found)
    }
}

impl MongoStore {
    /// A `find` that sees what this store has seen or written before.
    pub(super) fn reading(&self, collection: &str, filter: RawDocumentBuf) -> RawDocumentBuf {
        self.find_within(SERVER_TIMEOUT, collection, filter)
    }

    /// Runs a `find`, and shows each document where it lies in the server's reply, until `see` has
    /// seen enough.
    pub(super) async fn read(
        &self,
        find: RawDocumentBuf,
        see: impl FnMut(&RawDocument) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        let readers = self.readers()?;
        self.look_through(&readers, READ_TIMEOUT, find, see).await
    }
}
