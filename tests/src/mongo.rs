//! Databases on the real MongoDB, read as users read them.

use std::collections::BTreeMap;

use bson::{Bson, Document, Timestamp, doc};
use mongodb::Client;
use mongodb::options::{ClientOptions, ReadConcern, SelectionCriteria};
use serde_json::Value;

/// The connection string.
pub fn uri() -> String {
    super::endpoint("PROJECTIONIST_TEST_MONGODB")
}

/// A database of one test.
pub struct Database {
    pub name: String,
    database: mongodb::Database,
}

impl Database {
    /// A database with a name of its own.
    pub async fn new(what: &str) -> anyhow::Result<Self> {
        Database::named(&super::unique(what)).await
    }

    /// The database of this name.
    pub async fn named(name: &str) -> anyhow::Result<Self> {
        Database::at(&uri(), name).await
    }

    /// A database of another server.
    pub async fn at(uri: &str, name: &str) -> anyhow::Result<Self> {
        let mut options = ClientOptions::parse(uri).await?;
        options.read_concern = Some(ReadConcern::majority());
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(
            mongodb::options::ReadPreference::Primary,
        ));
        let database = Client::with_options(options)?.database(name);
        Ok(Database {
            name: name.to_owned(),
            database,
        })
    }

    pub fn collection(&self, name: &str) -> mongodb::Collection<Document> {
        self.database.collection(name)
    }

    /// The documents of a view by their ids, as JSON, without the host's metadata. They are read
    /// under the view's plain name.
    pub async fn documents(&self, view: &str) -> anyhow::Result<BTreeMap<String, Value>> {
        let mut cursor = self.collection(view).find(doc! {}).await?;
        let mut documents = BTreeMap::new();
        while cursor.advance().await? {
            let mut document = cursor.deserialize_current()?;
            let id = document.remove("_id");
            let Some(Bson::String(id)) = id else {
                anyhow::bail!("a document's _id is {id:?}");
            };
            anyhow::ensure!(document.remove("_m").is_some(), "{id} has no provenance");
            let value = Bson::Document(document).into_relaxed_extjson();
            anyhow::ensure!(documents.insert(id, value).is_none(), "an id came twice");
        }
        Ok(documents)
    }

    /// The newest operation time of the server, as a point from which to read changes.
    pub async fn now(&self) -> anyhow::Result<Timestamp> {
        let reply = self.database.run_command(doc! { "ping": 1 }).await?;
        Ok(reply.get_timestamp("operationTime")?)
    }

    /// All changes of these collections from `start` until now, as the events of a change stream.
    ///
    /// # Errors
    ///
    /// Also where the oplog does not reach back so far any more.
    pub async fn changes(
        &self,
        start: Timestamp,
        collections: &[&str],
    ) -> anyhow::Result<Vec<Document>> {
        const END: &str = "end_of_changes";
        let last = super::unique("end");
        let end = doc! { "_id": &last };
        self.collection(END).insert_one(end).await?;
        let mut names = vec![END];
        names.extend(collections);
        let pipeline = [
            doc! { "$changeStream": { "startAtOperationTime": start } },
            doc! { "$match": { "ns.coll": { "$in": names } } },
        ];
        let mut events = Vec::new();
        let mut cursor = self.database.aggregate(pipeline).await?;
        while cursor.advance().await? {
            let event = cursor.deserialize_current()?;
            if event.get_document("ns")?.get_str("coll")? != END {
                events.push(event);
            } else if event.get_document("documentKey")?.get_str("_id")? == last {
                return Ok(events);
            }
        }
        anyhow::bail!("the change stream ended before its end")
    }

    /// The checkpoints of a projection by partition.
    pub async fn checkpoints(&self, projection: &str) -> anyhow::Result<BTreeMap<i32, Checkpoint>> {
        let filter = doc! { "_id": { "$regex": format!("^{projection}/") } };
        let mut cursor = self.collection("_checkpoints").find(filter).await?;
        let mut checkpoints = BTreeMap::new();
        while cursor.advance().await? {
            let document = cursor.deserialize_current()?;
            let id = document.get_str("_id")?;
            let (_, partition) = id.rsplit_once('/').unwrap_or_default();
            let checkpoint = Checkpoint {
                epoch: document.get_i64("epoch")?,
                next: document.get_i64("next")?,
                owner: document.get_str("owner")?.to_owned(),
            };
            checkpoints.insert(partition.parse()?, checkpoint);
        }
        Ok(checkpoints)
    }

    /// The ids of a projection's entries in a reserved table.
    pub async fn entry_ids(&self, table: &str, projection: &str) -> anyhow::Result<Vec<String>> {
        let filter = doc! { "_id": { "$regex": format!("^{projection}/") } };
        let mut cursor = self.collection(table).find(filter).await?;
        let mut ids = Vec::new();
        while cursor.advance().await? {
            ids.push(cursor.deserialize_current()?.get_str("_id")?.to_owned());
        }
        Ok(ids)
    }

    /// The sum of a projection's positions: how many events of a plain topic it has stored.
    pub async fn stored(&self, projection: &str) -> anyhow::Result<i64> {
        let checkpoints = self.checkpoints(projection).await?;
        Ok(checkpoints.values().map(|checkpoint| checkpoint.next).sum())
    }

    pub async fn drop(self) -> anyhow::Result<()> {
        Ok(self.database.drop().await?)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub epoch: i64,
    pub next: i64,
    pub owner: String,
}
