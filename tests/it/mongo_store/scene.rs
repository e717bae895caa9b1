//! A replica set with one document in one view, and a commit that changes it.

use std::error::Error;

use bson::{Document, doc, rawdoc};
use mongodb::{Client, Database};
use projectionist::record::{Lineage, NextOffset, Offset, TopicPartition};
use projectionist::store::mongo::MongoStore;
use projectionist::store::{
    Advance, Change, CheckpointId, Claim, Commit, Entry, EntryChange, Guard, Provenance, Repairs,
    Store, StoredDocument, Table, ViewId, Write,
};

use projectionist_tests::mongod::Mongod;

/// A database of a server, with a claimed partition.
pub(crate) struct Scene {
    pub(crate) store: MongoStore,
    pub(crate) client: Client,
    pub(crate) database: Database,
    pub(crate) claim: Claim,
}

pub(crate) fn checkpoint() -> CheckpointId {
    CheckpointId {
        projection: "aircraft".into(),
        version: 1,
        copy: "main".into(),
        partition: TopicPartition::new("flights", 0),
    }
}

fn stored(revision: i64, legs: i64) -> StoredDocument {
    StoredDocument {
        body: rawdoc! { "legs": legs },
        provenance: Provenance {
            revision,
            partition: TopicPartition::new("flights", 0),
            offset: Offset(revision - 1),
            plugin: "5eed".into(),
        },
    }
}

fn write(id: &str, change: Change) -> Write {
    Write {
        view: ViewId::new("aircraft", 1),
        id: id.into(),
        change,
    }
}

impl Scene {
    /// Claims a partition, and stores document `N1` with one leg.
    pub(crate) async fn new(server: &Mongod, database: &str) -> Self {
        let store = MongoStore::connect(&server.uri(), database).await;
        let store = store.expect("a replica set");
        let views = [ViewId::new("aircraft", 1)];
        store.prepare(&views).await.expect("the names are free");
        let claim = store.claim(&checkpoint(), "test").await;
        let client = server.client().await;
        let scene = Scene {
            store,
            database: client.database(database),
            client,
            claim: claim.expect("the server is in order"),
        };
        let first = Commit {
            writes: vec![write("N1", Change::Insert(stored(1, 1)))],
            entries: Vec::new(),
            advances: vec![scene.advance(0)],
        };
        scene
            .store
            .commit(&first)
            .await
            .expect("nobody else is here");
        scene
    }

    /// The event at `offset`, a leg of `N1` and the first of another aircraft.
    pub(crate) fn commit(&self, offset: i64, guard: Guard) -> Commit {
        let update = Change::Update {
            document: stored(offset + 1, offset + 1),
            guard,
        };
        Commit {
            writes: vec![
                write("N1", update),
                write(&format!("new {offset}"), Change::Insert(stored(1, 1))),
            ],
            entries: Vec::new(),
            advances: vec![self.advance(offset)],
        }
    }

    /// The `number`-th repair: an entry, and no move of the position.
    pub(crate) fn repair(&self, number: i64) -> Commit {
        let entry = Entry {
            table: Table::Parked,
            id: number.to_string().into(),
            body: rawdoc! { "number": number },
        };
        let mut advance = self.advance(1);
        advance.to = advance.from;
        advance.repairs = Repairs {
            from: number,
            to: number + 1,
        };
        Commit {
            writes: Vec::new(),
            entries: vec![EntryChange::Insert(entry)],
            advances: vec![advance],
        }
    }

    /// That `N1` still is what the event before `offset` made of it.
    pub(crate) fn unchanged(offset: i64) -> Guard {
        Guard::Unchanged(stored(offset, offset).provenance)
    }

    fn advance(&self, offset: i64) -> Advance {
        Advance {
            checkpoint: checkpoint(),
            epoch: self.claim.epoch,
            from: NextOffset(offset),
            to: NextOffset(offset + 1),
            lineage: Lineage::default(),
            repairs: Repairs { from: 0, to: 0 },
        }
    }

    /// Asserts that exactly the first events are stored, reading with a client of its own.
    pub(crate) async fn assert_events(&self, events: i64, at: &str) {
        let documents = self.database.collection::<Document>("aircraft");
        let n1 = documents.find_one(doc! { "_id": "N1" }).await;
        let n1 = n1.expect("readable").expect("it was stored first");
        assert_eq!(n1.get_i64("legs").expect("a number"), events, "{at}");
        let meta = n1.get_document("_m").expect("of the host's making");
        assert_eq!(meta.get_i64("rev").expect("a number"), events, "{at}");

        let others = doc! { "_id": { "$ne": "N1" } };
        let others = documents.count_documents(others).await.expect("readable");
        assert_eq!(i64::try_from(others), Ok(events - 1), "{at}");

        let checkpoints = self.database.collection::<Document>("_checkpoints");
        let found = checkpoints.find_one(doc! { "_id": checkpoint().to_string() });
        let found = found.await.expect("readable").expect("it was claimed");
        assert_eq!(found.get_i64("next").expect("a number"), events, "{at}");
        let epoch = found.get_i64("epoch").expect("a number");
        assert_eq!(epoch, self.claim.epoch.0, "{at}");
    }

    /// Asserts that exactly the first repairs are stored, reading with a client of its own.
    pub(crate) async fn assert_repairs(&self, repairs: i64, at: &str) {
        let entries = self.database.collection::<Document>("_parked");
        let entries = entries.count_documents(doc! {}).await.expect("readable");
        assert_eq!(i64::try_from(entries), Ok(repairs), "{at}");

        let checkpoints = self.database.collection::<Document>("_checkpoints");
        let found = checkpoints.find_one(doc! { "_id": checkpoint().to_string() });
        let found = found.await.expect("readable").expect("it was claimed");
        assert_eq!(found.get_i64("repairs").expect("a number"), repairs, "{at}");
        assert_eq!(found.get_i64("next").expect("a number"), 1, "{at}");
    }

    /// Lets commands fail until [`Scene::heal`].
    pub(crate) async fn break_down(&self, fault: &Document) {
        let mut command = doc! { "configureFailPoint": "failCommand" };
        command.extend(fault.clone());
        let set = self.client.database("admin").run_command(command).await;
        set.expect("the server has fail points");
    }

    pub(crate) async fn heal(&self) {
        self.break_down(&doc! { "mode": "off" }).await;
    }
}

/// An error's sources, one after the other.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
