//! Creates what a view needs before its first document: its collection, its plain name, and the
//! collections of the checkpoints and of the reserved tables.
//!
//! Guarantee: what exists is left as it is, and a collection of somebody else's is never written.

use bson::{Bson, Document, doc};
use futures_util::future::try_join_all;

use super::MongoStore;
use super::command::CHECKPOINTS;
use super::error::{Failure, code};
use crate::store::owners::may_own;
use crate::store::{Error, Table, ViewId};

/// Who writes which view.
const VIEWS: &str = "_views";

/// More than a writer and its views can have: a plugin has 64 of them.
const OWNED_MAX: i32 = 1_000;

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

    /// Records the writer of views, where nothing recorded speaks against it.
    pub(super) async fn own_views(&self, views: &[ViewId], writer: &str) -> Result<(), Error> {
        self.check_owners(views, writer).await?;
        // Another host of the projection, starting now, may see the first record and not the next.
        let beside: Vec<String> = views.iter().map(ViewId::collection).collect();
        for view in views {
            let record = doc! { "_id": view.collection(), "writer": writer, "beside": &beside };
            let insert = self.ask(|database| async move {
                let records = database.collection::<Document>(VIEWS);
                records.insert_one(record).await
            });
            match insert.await {
                Ok(_) => {}
                Err(failure) if failure.code() == Some(code::DUPLICATE_KEY) => {}
                Err(failure) => return Err(failure.at(&self.place("record who writes a view"))),
            }
        }
        // Another host may have been faster with another writer.
        self.check_owners(views, writer).await
    }

    async fn check_owners(&self, views: &[ViewId], writer: &str) -> Result<(), Error> {
        let ids: Vec<String> = views.iter().map(ViewId::collection).collect();
        let find = doc! {
            "find": VIEWS,
            "filter": { "$or": [{ "_id": { "$in": ids } }, { "writer": writer }] },
            "sort": { "_id": 1 },
            "singleBatch": true,
            "batchSize": OWNED_MAX,
        };
        let unread = |failure: Failure| failure.at(&self.place("read who writes a view"));
        let reply = self.ask(|database| async move { database.run_command(find).await });
        let reply = reply.await.map_err(unread)?;
        let found = reply
            .get_document("cursor")
            .and_then(|cursor| cursor.get_array("firstBatch"))
            .map_err(|_| unread(Failure::Reply("the list of views has no first batch")))?;
        let text = |record: &Document, key| record.get_str(key).unwrap_or("nobody").to_owned();
        let (mut recorded, mut coming) = (Vec::new(), Vec::new());
        for record in found.iter().filter_map(Bson::as_document) {
            let owner = text(record, "writer");
            if let Ok(beside) = record.get_array("beside")
                && owner == writer
            {
                let beside = beside.iter().filter_map(Bson::as_str);
                coming.extend(beside.map(|id| (id.to_owned(), owner.clone())));
            }
            recorded.push((text(record, "_id"), owner));
        }
        // What is recorded comes first, and so before what was to be.
        recorded.extend(coming);
        may_own(views, writer, &recorded).map_err(|reason| self.refused(reason))
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
        let created = self.ask(|database| async move { database.run_command(create).await });
        match created.await {
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
        let listed = self.ask(|database| async move { database.run_command(list).await });
        let reply = listed.await?;
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
