//! What only this store has: a file, its neighbours, and SQLite's ways to fail. What it shares
//! with every store is in `tests/it/store_conformance.rs`.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bson::rawdoc;
use tempfile::TempDir;

use super::*;
use crate::record::{Epoch, Lineage, NextOffset, Offset, TopicPartition};
use crate::store::{Advance, Change, Provenance, Repairs, Write};

mod entries;
mod reading;

/// A folder with a store's file in it, or without one yet.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Place { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("views.db")
    }

    fn open(&self) -> EmbeddedStore {
        EmbeddedStore::open(&self.file()).expect("the file is in order")
    }

    /// A store with the view prepared and the partition claimed once.
    async fn owner(&self) -> EmbeddedStore {
        let store = self.open();
        store.prepare(&[aircraft()]).await.expect("in order");
        let claim = store.claim(&checkpoint(), "test").await.expect("in order");
        assert_eq!(claim.epoch, Epoch(1));
        store
    }

    /// The file as any SQLite tool opens it.
    fn tool(&self) -> Connection {
        Connection::open(self.file()).expect("it is an SQLite database")
    }

    fn refusal(&self) -> String {
        match EmbeddedStore::open(&self.file()) {
            Err(error @ Error::Refused { .. }) => error.to_string(),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("the file was taken"),
        }
    }
}

fn aircraft() -> ViewId {
    ViewId::new("aircraft", 1)
}

fn checkpoint() -> CheckpointId {
    CheckpointId {
        projection: "aircraft".into(),
        version: 1,
        copy: "main".into(),
        partition: TopicPartition::new("flights", 0),
    }
}

/// Inserts one document, as the first claimer, for the event at `offset`.
fn insert(view: &ViewId, id: &str, text: &str, offset: i64) -> Commit {
    let document = StoredDocument {
        body: rawdoc! { "text": text },
        provenance: Provenance {
            revision: 1,
            partition: TopicPartition::new("flights", 0),
            offset: Offset(offset),
            plugin: "5e1f".into(),
        },
    };
    Commit {
        writes: vec![Write {
            view: view.clone(),
            id: id.into(),
            change: Change::Insert(document),
        }],
        entries: Vec::new(),
        advances: vec![Advance {
            checkpoint: checkpoint(),
            epoch: Epoch(1),
            from: NextOffset(offset),
            to: NextOffset(offset + 1),
            lineage: Lineage::default(),
            repairs: Repairs { from: 0, to: 0 },
        }],
    }
}

async fn progress(store: &EmbeddedStore) -> NextOffset {
    let claim = store.checkpoint(&checkpoint()).await.expect("readable");
    claim.expect("it was claimed").next
}

async fn exists(store: &EmbeddedStore, id: &str) -> bool {
    let found = store.load(&aircraft(), &[id.into()]).await;
    found.expect("readable")[0].is_some()
}

fn unavailable(outcome: Result<(), CommitError>) {
    match outcome {
        Err(CommitError::Store(error)) if error.is_transient() => {}
        other => panic!("the store should have been unavailable, not {other:?}"),
    }
}

#[test]
fn a_new_file_comes_with_its_folders() {
    let place = Place::new();
    let path = place.folder.path().join("a/b/views.db");
    let store = EmbeddedStore::open(&path).expect("folders can be created");
    assert!(path.is_file());
    assert!(store.address().contains("a/b/views.db"));
}

#[test]
fn a_file_of_somebody_elses_is_refused_and_left_as_it_is() {
    const OTHERS: &str = "database of another application";
    let cases = [
        ("a table", "CREATE TABLE t (a)", OTHERS),
        ("an application's mark", "PRAGMA application_id = 7", OTHERS),
        (
            "a table and a log",
            "PRAGMA journal_mode = WAL; CREATE TABLE t (a)",
            OTHERS,
        ),
        (
            "a newer format",
            "PRAGMA application_id = 0x50726a6e; PRAGMA user_version = 9",
            "it has format 9 and this host reads format 1",
        ),
        ("no SQLite at all", "", "it is no SQLite database"),
    ];
    for (name, content, reason) in cases {
        let place = Place::new();
        match content {
            "" => fs::write(place.file(), "a,b\n".repeat(200)).expect("written"),
            content => place.tool().execute_batch(content).expect("valid"),
        }
        let before = fs::read(place.file()).expect("readable");

        let refusal = place.refusal();
        assert!(refusal.contains(reason), "{name}: {refusal}");
        assert!(refusal.contains("views.db"), "{name}: {refusal}");
        let after = fs::read(place.file()).expect("readable");
        assert!(before == after, "{name} has changed");
    }
}

#[test]
fn what_cannot_be_a_file_is_refused() {
    let place = Place::new();
    fs::create_dir(place.file()).expect("created");
    assert!(place.refusal().contains("cannot be opened"));

    let below_a_file = place.folder.path().join("file");
    fs::write(&below_a_file, "").expect("written");
    let refusal = EmbeddedStore::open(&below_a_file.join("views.db")).err();
    let refusal = refusal.expect("a file is no folder").to_string();
    assert!(refusal.contains("cannot be created"), "{refusal}");
}

#[tokio::test]
async fn many_may_open_a_new_file_at_once() {
    let place = Place::new();
    let openers: Vec<_> = (0..8)
        .map(|_| {
            let path = place.file();
            tokio::task::spawn_blocking(move || EmbeddedStore::open(&path))
        })
        .collect();
    for (opener, epoch) in openers.into_iter().zip(1..) {
        let store = opener.await.expect("no panic").expect("it can be opened");
        let claim = store.claim(&checkpoint(), "test").await.expect("in order");
        assert_eq!(claim.epoch, Epoch(epoch));
    }
}

#[tokio::test]
async fn another_writer_delays_commits_but_no_loads() {
    let place = Place::new();
    let store = place.owner().await;
    let first = insert(&aircraft(), "a", "", 0);
    store.commit(&first).await.expect("in order");
    store
        .write(|connection| connection.busy_timeout(Duration::ZERO))
        .await
        .expect("in order");

    let other = place.tool();
    other
        .execute_batch("BEGIN IMMEDIATE")
        .expect("nobody writes");
    let second = insert(&aircraft(), "b", "", 1);
    unavailable(store.commit(&second).await);
    assert!(store.claim(&checkpoint(), "test").await.is_err());
    assert!(store.ping().await.is_err());
    assert!(exists(&store, "a").await);
    assert!(!exists(&store, "b").await);

    other.execute_batch("ROLLBACK").expect("it is open");
    store.commit(&second).await.expect("the other has gone");
    assert!(exists(&store, "b").await);
    store.ping().await.expect("in order");
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_stores_nothing() {
    let place = Place::new();
    let store = place.owner().await;
    let pages_max = async |pages: i64| {
        store
            .write(move |connection| {
                connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            })
            .await
            .expect("in order");
    };
    pages_max(20).await;
    let large = insert(&aircraft(), "a", &"x".repeat(1_000_000), 0);
    unavailable(store.commit(&large).await);
    assert_eq!(progress(&store).await, NextOffset::ZERO);
    assert!(!exists(&store, "a").await);

    pages_max(1_000_000).await;
    store.commit(&large).await.expect("there is space again");
    assert!(exists(&store, "a").await);
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_refused() {
    let place = Place::new();
    let store = place.owner().await;
    store
        .write(|connection| connection.pragma_update(None, "query_only", true))
        .await
        .expect("in order");

    let outcome = store.commit(&insert(&aircraft(), "a", "", 0)).await;
    match outcome {
        Err(CommitError::Store(error @ Error::Refused { .. })) => {
            assert!(error.to_string().contains("the right to write"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_the_way_out() {
    let place = Place::new();
    let store = place.owner().await;
    let large = insert(&aircraft(), "a", &"x".repeat(100_000), 0);
    store.commit(&large).await.expect("in order");
    drop(store);
    closed(&place);

    let mut bytes = fs::read(place.file()).expect("readable");
    // The first page holds the names of the tables: the file can be opened.
    bytes[4096..].fill(0xa5);
    fs::write(place.file(), bytes).expect("written");

    let store = place.open();
    let error = store.load(&aircraft(), &["a".into()]).await;
    let error = error.expect_err("the document's page is gone");
    assert!(!error.is_transient());
    assert!(error.to_string().contains("the file is damaged"), "{error}");
}

#[tokio::test]
async fn a_document_changed_by_hand_is_named() {
    let place = Place::new();
    let store = place.owner().await;
    let commit = insert(&aircraft(), "a", "", 0);
    store.commit(&commit).await.expect("in order");
    place
        .tool()
        .execute_batch(r#"UPDATE "aircraft.v1" SET bson = x'00'"#)
        .expect("anybody may");

    let error = store.load(&aircraft(), &["a".into()]).await;
    match error.expect_err("no BSON") {
        Error::Foreign { view, id, .. } => assert_eq!((view, &*id), (aircraft(), "a")),
        other => panic!("{other}"),
    }
    assert!(store.scan(&aircraft(), None, 1).await.is_err());
}

#[tokio::test]
async fn any_tool_reads_documents_under_the_plain_name() {
    let place = Place::new();
    let store = place.owner().await;
    store
        .prepare(&[ViewId::new("aircraft", 2)])
        .await
        .expect("in order");
    let commit = insert(&aircraft(), "N1'2", "ü", 0);
    store.commit(&commit).await.expect("in order");

    let row: (String, String, i64, i64) = place
        .tool()
        .query_row(
            r#"SELECT id, json_extract(json, '$.text'), revision, "offset" FROM aircraft"#,
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .expect("the first version stays the active one");
    assert_eq!(row, ("N1'2".to_owned(), "ü".to_owned(), 1, 0));
}

#[tokio::test]
async fn names_are_quoted_and_those_of_sqlite_refused() {
    let place = Place::new();
    let store = place.owner().await;
    let views = ["select", "a-b", "quote\"d", "x; DROP TABLE _checkpoints"]
        .map(|name| ViewId::new(name, 3));
    store.prepare(&views).await.expect("names are quoted");
    for (view, offset) in views.iter().zip(0..) {
        let commit = insert(view, "a", "", offset);
        store.commit(&commit).await.expect("in order");
        let found = store.scan(view, None, 9).await.expect("readable");
        assert_eq!(found.len(), 1, "{view}");
    }

    let error = store.prepare(&[ViewId::new("sqlite_stat", 1)]).await;
    let error = error.expect_err("SQLite would refuse it").to_string();
    assert!(
        error.contains("give view \"sqlite_stat\" another name"),
        "{error}"
    );
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_done_whole() {
    let place = Place::new();
    let store = place.owner().await;
    let commit = insert(&aircraft(), "a", "", 0);
    {
        let mut committing = store.commit(&commit);
        let once = futures_util::poll!(&mut committing);
        assert!(once.is_pending() || matches!(once, std::task::Poll::Ready(Ok(()))));
    }
    // Queued behind it.
    let claim = store.claim(&checkpoint(), "test").await.expect("in order");
    assert_eq!(claim.next, NextOffset(1));
    assert!(exists(&store, "a").await);
}

#[tokio::test]
async fn a_removed_file_shows_in_the_ping() {
    let place = Place::new();
    let store = place.owner().await;
    store.ping().await.expect("in order");
    fs::remove_file(place.file()).expect("removed");
    let error = store.ping().await.expect_err("it is gone").to_string();
    assert!(error.contains("has been removed"), "{error}");
}

#[tokio::test]
async fn a_dropped_store_closes_its_file() {
    let place = Place::new();
    let store = place.owner().await;
    store
        .commit(&insert(&aircraft(), "a", "", 0))
        .await
        .expect("in order");
    drop(store);
    closed(&place);
    assert!(exists(&place.open(), "a").await);
}

/// Waits until the last connection has taken the log away with it.
fn closed(place: &Place) {
    let log = place.folder.path().join("views.db-wal");
    let deadline = Instant::now() + Duration::from_secs(30);
    while log.exists() {
        assert!(Instant::now() < deadline, "the file stays open");
        std::thread::yield_now();
    }
}
