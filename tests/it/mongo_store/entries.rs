//! Entries while the server fails, and as an earlier version of this host has left them.

use bson::raw::RawDocumentBuf;
use bson::{Document, doc, rawdoc};
use projectionist::store::{CommitError, Entry, Error, Store, Table};

use crate::faults::{Outcome, cut, error, fault, outcome, unknown};
use crate::scene::{Scene, checkpoint};
use projectionist_tests::mongod::Mongod;

fn entry(id: &str, body: RawDocumentBuf) -> Entry {
    Entry {
        table: Table::Parked,
        id: id.into(),
        body,
    }
}

async fn stored(scene: &Scene) -> Vec<Entry> {
    let stored = scene.store.entries(Table::Parked, "", None, 100).await;
    stored.expect("the server is in order")
}

#[tokio::test]
async fn each_fault_ends_with_the_repair_stored_once_or_not_at_all() {
    use Outcome::{Stored, StoredLater};
    const ALWAYS: i32 = 0;
    const COMMIT: &str = "commitTransaction";
    let cases = [
        ("cut at the commit", fault(1, COMMIT, cut()), Stored),
        (
            "cut at all commits",
            fault(ALWAYS, COMMIT, cut()),
            StoredLater,
        ),
        ("stored, unknown once", fault(1, COMMIT, unknown()), Stored),
        (
            "stored, unknown always",
            fault(ALWAYS, COMMIT, unknown()),
            Stored,
        ),
        ("cut at the insert", fault(1, "insert", cut()), Stored),
        ("cut at the update", fault(1, "update", cut()), Stored),
    ];
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "repairs").await;
    for (number, (name, fault, expected)) in (0..).zip(cases) {
        let commit = scene.repair(number);
        scene.break_down(&fault).await;
        let broken = outcome(scene.store.commit(&commit).await);
        scene.heal().await;
        assert_eq!(broken, expected, "{name}");
        let done = i64::from(broken == Stored);
        scene.assert_repairs(number + done, name).await;

        let again = outcome(scene.store.commit(&commit).await);
        assert_eq!(again, Stored, "{name}, again");
        scene.assert_repairs(number + 1, name).await;
    }
}

#[tokio::test]
async fn a_checkpoint_of_an_earlier_version_gets_its_repairs_when_it_is_claimed() {
    let server = Mongod::replica_set().await;
    let mut scene = Scene::new(&server, "earlier").await;
    let checkpoints = scene.database.collection::<Document>("_checkpoints");
    let id = doc! { "_id": checkpoint().to_string() };
    let without = doc! { "$unset": { "repairs": "" } };
    let changed = checkpoints.update_one(id, without).await;
    assert_eq!(changed.expect("writable").modified_count, 1);

    let read = scene.store.checkpoint(&checkpoint()).await;
    let read = read.expect("readable").expect("it was claimed");
    assert_eq!((read.next.0, read.repairs), (1, 0));
    let claim = scene.store.claim(&checkpoint(), "next").await;
    scene.claim = claim.expect("the server is in order");
    assert_eq!((scene.claim.next.0, scene.claim.repairs), (1, 0));
    let repaired = outcome(scene.store.commit(&scene.repair(0)).await);
    assert_eq!(repaired, Outcome::Stored);
    scene.assert_repairs(1, "after the claim").await;
}

#[tokio::test]
async fn an_entry_whose_put_was_not_answered_is_put() {
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "put").await;
    let first = entry("a", rawdoc! { "x": 1 });
    let second = entry("a", rawdoc! { "y": 2 });
    for entry in [first, second] {
        scene.break_down(&fault(1, "findAndModify", cut())).await;
        let put = scene.store.put_entry(&entry).await;
        scene.heal().await;
        put.expect("the driver asks again");
        assert_eq!(stored(&scene).await, [entry]);
    }
}

#[tokio::test]
async fn a_removal_that_a_majority_did_not_confirm_is_to_be_repeated() {
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "removed").await;
    let ids = ["a".into()];
    for fault in [fault(1, "delete", unknown()), fault(1, "delete", cut())] {
        let entry = entry("a", rawdoc! {});
        scene.store.put_entry(&entry).await.expect("in order");
        scene.break_down(&fault).await;
        let removed = scene.store.remove_entries(Table::Parked, &ids);
        let error = removed.await.expect_err("nobody knows");
        scene.heal().await;
        assert!(error.is_transient(), "{error:?}");
        let again = scene.store.remove_entries(Table::Parked, &ids);
        again.await.expect("the server is in order");
        assert_eq!(stored(&scene).await, []);
    }
}

#[tokio::test]
async fn a_missing_privilege_is_refused_with_the_collections_name() {
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "unauthorised").await;
    let table = Table::Parked;
    let ids = ["a".into()];
    for command in ["find", "findAndModify", "delete"] {
        scene.break_down(&fault(1, command, error(13))).await;
        let outcome = match command {
            "find" => scene.store.entries(table, "", None, 1).await.map(drop),
            "delete" => scene.store.remove_entries(table, &ids).await,
            _ => scene.store.put_entry(&entry("a", rawdoc! {})).await,
        };
        scene.heal().await;
        let error = outcome.expect_err("the right was taken");
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("collection \"_parked\""), "{text}");
        assert!(text.contains("grant the user the role"), "{text}");
    }
}

#[tokio::test]
async fn an_entry_that_a_users_index_forbids_is_refused_by_name() {
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "indexed").await;
    let index = doc! { "key": { "none": 1 }, "name": "none", "unique": true };
    let create = doc! { "createIndexes": "_parked", "indexes": [index] };
    let created = scene.database.run_command(create).await;
    created.expect("no entry breaks no index");

    let first = outcome(scene.store.commit(&scene.repair(0)).await);
    assert_eq!(first, Outcome::Stored);
    let error = scene.store.commit(&scene.repair(1)).await;
    let error = error.expect_err("no \"none\" twice");
    let text = error.to_string();
    assert!(matches!(error, CommitError::Rejected(_)), "{text}");
    assert!(text.contains("entry \"1\" of _parked"), "{text}");
    scene.assert_repairs(1, "after the refusal").await;
}
