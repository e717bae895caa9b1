//! Views, checkpoints, documents and batches with defaults: a test names only what it is about.

use std::ops::Range;
use std::sync::Arc;

use bson::rawdoc;
use projectionist::projection::DocumentId;
use projectionist::record::{Epoch, Lineage, NextOffset, Offset, TopicPartition};
use projectionist::store::{
    Advance, Change, CheckpointId, Claim, Commit, CommitError, Entry, EntryChange, Guard,
    Provenance, Repairs, Store, StoredDocument, Table, ViewId, Write,
};

use crate::site::Site;

pub(crate) fn aircraft() -> ViewId {
    ViewId::new("aircraft", 1)
}

/// A partition's checkpoint.
pub(crate) fn partition(number: i32) -> CheckpointId {
    CheckpointId {
        projection: "aircraft".into(),
        version: 1,
        copy: "main".into(),
        partition: TopicPartition::new("flights", number),
    }
}

/// A document with one number in it, in its first revision.
pub(crate) fn document(value: i64) -> StoredDocument {
    StoredDocument {
        body: rawdoc! { "value": value },
        provenance: Provenance {
            revision: 1,
            partition: TopicPartition::new("flights", 0),
            offset: Offset(0),
            plugin: "5e1f".into(),
        },
    }
}

/// The next revision of a document, shaped by the event at `offset`.
pub(crate) fn next(old: &StoredDocument, value: i64, offset: i64) -> StoredDocument {
    let mut new = document(value);
    new.provenance.revision = old.provenance.revision + 1;
    new.provenance.offset = Offset(offset);
    new
}

pub(crate) fn unchanged(old: &StoredDocument) -> Guard {
    Guard::Unchanged(old.provenance.clone())
}

pub(crate) fn value(document: &StoredDocument) -> i64 {
    document
        .body
        .get_i64("value")
        .expect("every fixture has one")
}

/// An entry with one number in it.
pub(crate) fn entry(table: Table, id: &str, value: i64) -> Entry {
    Entry {
        table,
        id: id.into(),
        body: rawdoc! { "value": value },
    }
}

/// Makes a commit, write by write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch(pub(crate) Commit);

impl Batch {
    /// Moves a checkpoint over these offsets.
    pub(crate) fn over(checkpoint: &CheckpointId, epoch: Epoch, offsets: Range<i64>) -> Self {
        Batch::default().and_over(checkpoint, epoch, offsets)
    }

    pub(crate) fn and_over(
        mut self,
        checkpoint: &CheckpointId,
        epoch: Epoch,
        offsets: Range<i64>,
    ) -> Self {
        self.0.advances.push(Advance {
            checkpoint: checkpoint.clone(),
            epoch,
            from: NextOffset(offsets.start),
            to: NextOffset(offsets.end),
            lineage: Lineage::default(),
            repairs: Repairs { from: 0, to: 0 },
        });
        self
    }

    /// Moves a checkpoint's count of repairs, and leaves it at its offset.
    pub(crate) fn repair(checkpoint: &CheckpointId, epoch: Epoch, at: i64, repairs: i64) -> Self {
        let mut batch = Batch::over(checkpoint, epoch, at..at);
        batch.0.advances[0].repairs = Repairs {
            from: repairs,
            to: repairs + 1,
        };
        batch
    }

    pub(crate) fn insert_entry(self, entry: &Entry) -> Self {
        self.change(EntryChange::Insert(entry.clone()))
    }

    pub(crate) fn replace_entry(self, entry: &Entry) -> Self {
        self.change(EntryChange::Replace(entry.clone()))
    }

    pub(crate) fn remove_entry(self, table: Table, id: &str) -> Self {
        let id = id.into();
        self.change(EntryChange::Remove { table, id })
    }

    pub(crate) fn change(mut self, change: EntryChange) -> Self {
        self.0.entries.push(change);
        self
    }

    pub(crate) fn insert(self, id: &str, document: &StoredDocument) -> Self {
        self.write(id, Change::Insert(document.clone()))
    }

    pub(crate) fn update(self, id: &str, document: &StoredDocument, guard: Guard) -> Self {
        let document = document.clone();
        self.write(id, Change::Update { document, guard })
    }

    pub(crate) fn delete(self, id: &str, guard: Guard) -> Self {
        self.write(id, Change::Delete { guard })
    }

    pub(crate) fn write(self, id: &str, change: Change) -> Self {
        self.write_to(&aircraft(), id, change)
    }

    pub(crate) fn write_to(mut self, view: &ViewId, id: &str, change: Change) -> Self {
        self.0.writes.push(Write {
            view: view.clone(),
            id: id.into(),
            change,
        });
        self
    }

    /// Commits; tries again for as long as the store is merely busy.
    pub(crate) async fn store(&self, store: &Arc<dyn Store>) -> Result<(), CommitError> {
        for _ in 0..1000 {
            match store.commit(&self.0).await {
                Err(CommitError::Store(e)) if e.is_transient() => tokio::task::yield_now().await,
                outcome => return outcome,
            }
        }
        panic!("the store stays unavailable for a commit: {self:?}");
    }
}

/// Claims; tries again for as long as the store is merely busy.
pub(crate) async fn claim(store: &Arc<dyn Store>, checkpoint: &CheckpointId) -> Claim {
    for _ in 0..1000 {
        match store.claim(checkpoint, "test").await {
            Err(e) if e.is_transient() => tokio::task::yield_now().await,
            outcome => return outcome.expect("the store is in order"),
        }
    }
    panic!("the store stays unavailable for a claim of {checkpoint}");
}

/// A host that has prepared the view and claimed partition 0.
pub(crate) async fn owner(site: &Site) -> (Arc<dyn Store>, Epoch) {
    let store = site.host().await;
    store
        .prepare(&[aircraft()])
        .await
        .expect("a view can be prepared");
    let claim = claim(&store, &partition(0)).await;
    assert_eq!(claim.next, NextOffset::ZERO);
    (store, claim.epoch)
}

/// All that a store holds of partitions 0 to 3, of the view and of the reserved tables, as a host
/// sees it that was not there before.
#[derive(Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) checkpoints: Vec<Option<Claim>>,
    pub(crate) documents: Vec<(DocumentId, StoredDocument)>,
    pub(crate) entries: Vec<Entry>,
}

impl State {
    pub(crate) async fn of(site: &Site) -> State {
        State::seen_by(&site.host().await).await
    }

    pub(crate) async fn seen_by(store: &Arc<dyn Store>) -> State {
        let mut checkpoints = Vec::new();
        for number in 0..4 {
            let claim = store.checkpoint(&partition(number)).await;
            checkpoints.push(claim.expect("a checkpoint can be read"));
        }
        let mut entries = Vec::new();
        for table in Table::ALL {
            entries.extend(page(store, table, "", None, usize::MAX).await);
        }
        State {
            checkpoints,
            documents: scan(store, None, usize::MAX).await,
            entries,
        }
    }

    pub(crate) fn next(&self, number: usize) -> i64 {
        self.checkpoints[number].expect("it was claimed").next.0
    }

    pub(crate) fn document(&self, id: &str) -> Option<&StoredDocument> {
        let found = self.documents.iter().find(|(other, _)| &**other == id);
        found.map(|(_, document)| document)
    }
}

pub(crate) async fn load(store: &Arc<dyn Store>, ids: &[&str]) -> Vec<Option<StoredDocument>> {
    let ids: Vec<DocumentId> = ids.iter().map(|id| (*id).into()).collect();
    let documents = store.load(&aircraft(), &ids).await;
    documents.expect("documents can be loaded")
}

pub(crate) async fn scan(
    store: &Arc<dyn Store>,
    after: Option<&str>,
    limit: usize,
) -> Vec<(DocumentId, StoredDocument)> {
    let documents = store.scan(&aircraft(), after, limit).await;
    documents.expect("a view can be scanned")
}

pub(crate) async fn page(
    store: &Arc<dyn Store>,
    table: Table,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Vec<Entry> {
    let entries = store.entries(table, prefix, after, limit).await;
    entries.expect("entries can be read")
}

/// The checkpoints that a commit lost, as their partitions' numbers.
pub(crate) fn fenced(outcome: Result<(), CommitError>) -> Vec<i32> {
    match outcome {
        Err(CommitError::Fenced { checkpoints }) => {
            checkpoints.iter().map(|c| c.partition.partition).collect()
        }
        other => panic!("the commit should have been fenced, not {other:?}"),
    }
}

/// The document that was not as a commit expected it.
pub(crate) fn mismatched(outcome: Result<(), CommitError>) -> String {
    match outcome {
        Err(CommitError::Mismatch { view, id }) => {
            assert_eq!(view, aircraft());
            id.to_string()
        }
        other => panic!("a write should not have matched, not {other:?}"),
    }
}

/// The entry that was not as a commit expected it.
pub(crate) fn entry_mismatched(outcome: Result<(), CommitError>) -> (Table, String) {
    match outcome {
        Err(CommitError::EntryMismatch { table, id }) => (table, id.to_string()),
        other => panic!("an entry should not have matched, not {other:?}"),
    }
}
