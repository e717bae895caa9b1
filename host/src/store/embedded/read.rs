//! Reads views for those who only read, on a thread of their own.

use std::sync::Arc;

use async_trait::async_trait;
use bson::raw::RawDocumentBuf;
use rusqlite::Connection;

use super::{EmbeddedStore, documents, error, list};
use crate::record::{NextOffset, TopicPartition};
use crate::store::list::{Index, List, Page};
use crate::store::reader::partition_of;
use crate::store::{Error, Reader, ViewId, envelope};

#[async_trait]
impl Reader for EmbeddedStore {
    fn address(&self) -> &str {
        &self.address
    }

    async fn document(&self, view: &ViewId, id: &str) -> Result<Option<RawDocumentBuf>, Error> {
        let (view, ids) = (view.clone(), [id.into()]);
        let address = Arc::clone(&self.address);
        self.views
            .run(move |connection| {
                let found = documents::load(connection, &address, &view, &ids, usize::MAX)?;
                let document = found.into_iter().flatten().flatten().next();
                Ok(document.map(|document| envelope::seal(&ids[0], &document)))
            })
            .await?
    }

    async fn list(&self, view: &ViewId, list: &List) -> Result<Page, Error> {
        let (view, list) = (view.clone(), list.clone());
        let address = Arc::clone(&self.address);
        self.views
            .run(move |connection| list::list(connection, &address, &view, &list))
            .await?
    }

    async fn prepare_indexes(&self, view: &ViewId, indexes: &[Index]) -> Result<(), Error> {
        let (view, indexes) = (view.clone(), indexes.to_vec());
        self.write(move |connection| list::create(connection, &view, &indexes))
            .await
    }

    async fn positions(&self, writer: &str) -> Result<Vec<(TopicPartition, NextOffset)>, Error> {
        let (address, writer) = (Arc::clone(&self.address), writer.to_owned());
        self.views
            .run(move |connection| {
                positions(connection, &writer).map_err(|e| error::store(&address, e))
            })
            .await?
    }
}

fn positions(
    connection: &Connection,
    writer: &str,
) -> rusqlite::Result<Vec<(TopicPartition, NextOffset)>> {
    // A slash, and the character behind it.
    let range = [format!("{writer}/"), format!("{writer}0")];
    let mut statement = connection
        .prepare_cached("SELECT id, next FROM _checkpoints WHERE id >= ?1 AND id < ?2")?;
    let rows = statement.query_map(range, |row| {
        let id: String = row.get(0)?;
        Ok((partition_of(&id, writer), NextOffset(row.get(1)?)))
    })?;
    let found = rows.filter_map(|row| match row {
        Ok((partition, next)) => partition.map(|partition| Ok((partition, next))),
        Err(error) => Some(Err(error)),
    });
    found.collect()
}
