//! Creates what a view needs before its first document: its collection, its plain name, and the
//! collections of the checkpoints and of the reserved tables.
//!
//! Guarantee: what exists is left as it is, and a collection of somebody else's is never written.

use bson::{Document, doc};
use futures_util::future::try_join_all;

use super::super::owned_by_another;
use super::command::CHECKPOINTS;
use super::error::{Failure, code};
use super::{MongoStore, REQUEST_TIMEOUT, within};
use crate::store::{Error, Table, ViewId};

/// Who writes which view.
const VIEWS: &str = "_views";

impl MongoStore {
    pub(super) async fn prepare_views(&self, views: &[ViewId]) -> Result<(), Error> {
        // Not left to the first transaction: to create a collection takes locks that an open
        // transaction would have to wait for.
        let reserved = Table::ALL.map(Table::name);
        let reserved = [CHECKPOINTS].into_iter().chain(reserved);
        try_join_all(reserved.map(|name| self.create_collection(name))).await?;
        for view in views {
            self.create_collection(&view.collection()).await?;
            self.create_view(view).await?;
        }
        Ok(())
    }

    /// Records the writer of a view, or finds the one that is recorded.
    pub(super) async fn own_view(&self, view: &ViewId, writer: &str) -> Result<(), Error> {
        let views = self.database.collection::<Document>(VIEWS);
        let id = view.collection();
        let record = doc! { "_id": &id, "writer": writer };
        match within(REQUEST_TIMEOUT, views.insert_one(record)).await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.code() == Some(code::DUPLICATE_KEY) => {}
            Err(failure) => return Err(failure.at(&self.place("record who writes a view"))),
        }
        let recorded = within(REQUEST_TIMEOUT, views.find_one(doc! { "_id": &id })).await;
        let recorded =
            recorded.map_err(|failure| failure.at(&self.place("read who writes a view")))?;
        let owner = recorded
            .as_ref()
            .and_then(|record| record.get_str("writer").ok());
        match owner {
            Some(owner) if owner == writer => Ok(()),
            owner => Err(self.refused(owned_by_another(view, owner.unwrap_or("nobody"), writer))),
        }
    }

    async fn create_collection(&self, name: &str) -> Result<(), Error> {
        if self.create(doc! { "create": name }).await? {
            return Ok(());
        }
        match self.kind_of(name).await?.as_deref() {
            Some("collection") | None => Ok(()),
            Some(kind) => Err(self.refused(format!(
                "\"{name}\" is a {kind}, and documents are to be stored under that name; rename \
                 or drop it, or give the view another name"
            ))),
        }
    }

    /// Makes a version readable under the view's plain name.
    async fn create_view(&self, view: &ViewId) -> Result<(), Error> {
        let name = &*view.name;
        let create = doc! { "create": name, "viewOn": view.collection(), "pipeline": [] };
        if self.create(create).await? {
            return Ok(());
        }
        match self.kind_of(name).await?.as_deref() {
            Some("view") | None => Ok(()),
            Some(kind) => Err(self.refused(format!(
                "\"{name}\" is a {kind} already, and the view is to be read under that name; \
                 rename or drop the {kind}, or give the view another name"
            ))),
        }
    }

    /// False where something of that name exists.
    async fn create(&self, create: Document) -> Result<bool, Error> {
        match within(REQUEST_TIMEOUT, self.database.run_command(create)).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.code() == Some(code::NAMESPACE_EXISTS) => Ok(false),
            Err(failure) => Err(failure.at(&self.place("create collections and views"))),
        }
    }

    /// `collection`, `view` or `timeseries`; `None` where nothing has that name.
    async fn kind_of(&self, name: &str) -> Result<Option<String>, Error> {
        self.list_one(name)
            .await
            .map_err(|failure| failure.at(&self.place("list collections")))
    }

    async fn list_one(&self, name: &str) -> Result<Option<String>, Failure> {
        let list = doc! { "listCollections": 1, "filter": { "name": name } };
        let reply = within(REQUEST_TIMEOUT, self.database.run_command(list)).await?;
        let found = reply
            .get_document("cursor")
            .and_then(|cursor| cursor.get_array("firstBatch"))
            .map_err(|_| Failure::Reply("the list of collections has no first batch"))?;
        let Some(found) = found.first() else {
            return Ok(None);
        };
        let kind = found
            .as_document()
            .and_then(|item| item.get_str("type").ok());
        let kind = kind.ok_or(Failure::Reply("a listed collection has no type"))?;
        Ok(Some(kind.to_owned()))
    }
}
