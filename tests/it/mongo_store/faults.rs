//! Whatever goes wrong in a transaction, an event ends up stored once or not at all.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::ClientSession;
use projectionist::store::mongo::MongoStore;
use projectionist::store::{CommitError, Error, Guard, Store, ViewId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::scene::{Scene, checkpoint};
use projectionist_tests::mongod::Mongod;

/// What becomes of a commit while the server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored,
    /// Stored when it is called again on a server in order.
    StoredLater,
    TooLarge,
    Refused,
}

/// A fault in these commands; what is failed is in `how`.
pub(crate) fn fault(times: i32, command: &str, how: Document) -> Document {
    // Fail points are configured by a client of another name.
    let mut data = doc! { "failCommands": [command], "appName": "projectionist" };
    data.extend(how);
    match times {
        0 => doc! { "mode": "alwaysOn", "data": data },
        times => doc! { "mode": { "times": times }, "data": data },
    }
}

pub(crate) fn cut() -> Document {
    doc! { "closeConnection": true }
}

pub(crate) fn error(code: i32) -> Document {
    doc! { "errorCode": code }
}

fn transient(code: i32) -> Document {
    doc! { "errorCode": code, "errorLabels": ["TransientTransactionError"] }
}

/// The command takes effect, and its answer says that nobody knows.
pub(crate) fn unknown() -> Document {
    doc! { "writeConcernError": { "code": 64, "errmsg": "waiting for replication timed out" } }
}

pub(crate) fn outcome(result: Result<(), CommitError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Stored,
        Err(CommitError::TooLarge(_)) => Outcome::TooLarge,
        Err(CommitError::Store(Error::Unavailable { .. })) => Outcome::StoredLater,
        Err(CommitError::Store(Error::Refused { .. })) => Outcome::Refused,
        Err(other) => panic!("nobody else writes, and yet: {other:?}"),
    }
}

#[tokio::test]
async fn each_fault_ends_with_the_event_stored_once_or_not_at_all() {
    use Outcome::{Refused, Stored, StoredLater, TooLarge};
    const ALWAYS: i32 = 0;
    const COMMIT: &str = "commitTransaction";
    let cases = [
        ("cut at the commit", fault(1, COMMIT, cut()), Stored),
        // The driver sends it twice by itself.
        ("cut at three commits", fault(3, COMMIT, cut()), Stored),
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
        (
            "the primary is gone at the commit",
            fault(1, COMMIT, error(10107)),
            Stored,
        ),
        (
            "lost at the commit",
            fault(1, COMMIT, transient(251)),
            Stored,
        ),
        (
            "an unknown error at the commit",
            fault(1, COMMIT, error(1)),
            StoredLater,
        ),
        ("cut at the update", fault(1, "update", cut()), Stored),
        (
            "lost at the update",
            fault(1, "update", transient(251)),
            Stored,
        ),
        (
            "lost at the insert",
            fault(2, "insert", transient(246)),
            Stored,
        ),
        (
            "a conflict at the update",
            fault(1, "update", transient(112)),
            Stored,
        ),
        (
            "a conflict at the insert",
            fault(3, "insert", transient(112)),
            Stored,
        ),
        (
            "conflicts for ever",
            fault(ALWAYS, "insert", transient(112)),
            StoredLater,
        ),
        (
            "too large for a transaction",
            fault(1, "insert", error(257)),
            TooLarge,
        ),
        (
            "too large for the cache, said to be transient",
            fault(1, "insert", transient(388)),
            TooLarge,
        ),
        (
            "a privilege was taken",
            fault(1, "insert", error(13)),
            Refused,
        ),
        (
            "credentials that do not count any more",
            fault(1, "insert", error(18)),
            Refused,
        ),
        ("a full disk", fault(1, "insert", error(14031)), StoredLater),
        (
            "a full disk at the commit",
            fault(1, COMMIT, error(14031)),
            StoredLater,
        ),
        (
            "an internal error",
            fault(1, "insert", error(8)),
            StoredLater,
        ),
    ];
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "faults").await;
    let mut offset = 1;
    for (name, fault, expected) in cases {
        for guard in [Guard::SoleWriter, Scene::unchanged(offset + 1)] {
            let commit = scene.commit(offset, guard);
            scene.break_down(&fault).await;
            let broken = outcome(scene.store.commit(&commit).await);
            scene.heal().await;
            assert_eq!(broken, expected, "{name}");
            let stored = i64::from(broken == Stored);
            scene.assert_events(offset + stored, name).await;

            let again = outcome(scene.store.commit(&commit).await);
            assert_eq!(again, Stored, "{name}, again");
            offset += 1;
            scene.assert_events(offset, name).await;
        }
    }
}

#[tokio::test]
async fn what_cannot_pass_is_refused_wherever_it_comes_up_and_all_else_is_not() {
    let cases = [
        ("a missing privilege", 13, false),
        ("wrong credentials", 18, false),
        ("a full disk", 14031, true),
        ("a shutdown", 91, true),
        ("a primary that is none", 10107, true),
        ("a network", 89, true),
    ];
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "refusals").await;
    let view = ViewId::new("aircraft", 1);
    for (name, code, transient) in cases {
        for command in ["findAndModify", "find", "update"] {
            // The driver tries some of them again by itself.
            scene.break_down(&fault(0, command, error(code))).await;
            let failed = match command {
                "findAndModify" => scene.store.claim(&checkpoint(), "test").await.err(),
                "find" => scene.store.load(&view, &["N1".into()]).await.err(),
                _ => scene
                    .store
                    .share_keys(&format!("p{code}/v1/main"))
                    .await
                    .err(),
            };
            scene.heal().await;
            let failed = failed.expect(name);
            assert_eq!(
                failed.is_transient(),
                transient,
                "{name}, {command}: {failed}"
            );
        }
    }
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_counts_once() {
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "claims").await;
    let before = scene.store.checkpoint(&checkpoint()).await;
    let before = before.expect("readable").expect("it was claimed");
    scene.break_down(&fault(1, "findAndModify", cut())).await;
    let claim = scene.store.claim(&checkpoint(), "test").await;
    scene.heal().await;
    let claim = claim.expect("the driver asks again");
    assert_eq!(claim.epoch.0, before.epoch.0 + 1);
    assert_eq!(claim.next, before.next);
}

/// Leaves a transaction open, as a host does that is killed before its commit.
async fn killed_host(server: &Mongod, scene: &Scene) {
    let host = MongoStore::connect(&server.uri(), scene.database.name()).await;
    let host = host.expect("a replica set");
    let claim = host.claim(&checkpoint(), "killed").await;
    let mut commit = scene.commit(1, Guard::SoleWriter);
    commit.advances[0].epoch = claim.expect("the server is in order").epoch;
    scene
        .break_down(&fault(0, "commitTransaction", cut()))
        .await;
    let killed = host.commit(&commit).await;
    scene.heal().await;
    assert_eq!(outcome(killed), Outcome::StoredLater);
}

#[tokio::test]
async fn a_partition_of_a_killed_host_goes_on_without_delay() {
    let server = Mongod::replica_set().await;
    let mut scene = Scene::new(&server, "killed").await;
    // A multiple of what a claim waits, and a fraction of what the server gives a transaction.
    let in_time = Duration::from_secs(20);
    killed_host(&server, &scene).await;
    let claim = tokio::time::timeout(in_time, scene.store.claim(&checkpoint(), "next")).await;
    let claim = claim.expect("in time").expect("the server is in order");
    assert_eq!((claim.epoch.0, claim.next.0), (3, 1));

    scene.claim = claim;
    let commit = scene.commit(1, Scene::unchanged(1));
    let stored = tokio::time::timeout(in_time, scene.store.commit(&commit)).await;
    stored.expect("in time").expect("nobody else is here");
    scene.assert_events(2, "by the next host").await;
}

/// A transaction of somebody else that has changed `N1` and stays open.
async fn somebody_else(scene: &Scene) -> ClientSession {
    let mut session = scene
        .client
        .start_session()
        .await
        .expect("the server is up");
    session.start_transaction().await.expect("none is open");
    let change = doc! { "$set": { "legs": 0_i64, "_m.rev": 0_i64 } };
    let changed = scene
        .database
        .collection::<Document>("aircraft.v1")
        .update_one(doc! { "_id": "N1" }, change)
        .session(&mut session)
        .await;
    assert_eq!(changed.expect("nobody else is here").matched_count, 1);
    session
}

/// How many transactions the server has aborted so far.
async fn aborted(scene: &Scene) -> i64 {
    let status = doc! { "serverStatus": 1 };
    let status = scene.client.database("admin").run_command(status).await;
    let status = status.expect("the server is up");
    let transactions = status.get_document("transactions").expect("a section");
    transactions.get_i64("totalAborted").expect("a counter")
}

#[tokio::test]
async fn a_conflict_that_ends_well_is_waited_out() {
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "waited").await;
    let mut session = somebody_else(&scene).await;
    let before = aborted(&scene).await;
    let commit = scene.commit(1, Scene::unchanged(1));
    let release = async {
        while aborted(&scene).await == before {
            tokio::task::yield_now().await;
        }
        session.abort_transaction().await.expect("it is open");
    };
    let (stored, ()) = tokio::join!(scene.store.commit(&commit), release);
    stored.expect("the document is as it was");
    scene.assert_events(2, "after the other gave up").await;
}

#[tokio::test]
async fn a_conflict_with_a_change_is_a_mismatch() {
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "mismatch").await;
    let mut session = somebody_else(&scene).await;
    let before = aborted(&scene).await;
    let commit = scene.commit(1, Scene::unchanged(1));
    let release = async {
        while aborted(&scene).await == before {
            tokio::task::yield_now().await;
        }
        session.commit_transaction().await.expect("it is open");
    };
    let (stored, ()) = tokio::join!(scene.store.commit(&commit), release);
    let error = stored.expect_err("the document is another");
    assert!(
        matches!(&error, CommitError::Mismatch { id, .. } if **id == *"N1"),
        "{error:?}"
    );
    let kept = scene.store.checkpoint(&checkpoint()).await;
    assert_eq!(kept.expect("readable").expect("claimed").next.0, 1);
}

#[tokio::test]
async fn a_document_that_a_users_index_forbids_is_refused_by_name() {
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "indexed").await;
    let index = doc! { "key": { "legs": 1 }, "name": "legs", "unique": true };
    let create = doc! { "createIndexes": "aircraft.v1", "indexes": [index] };
    let created = scene.database.run_command(create).await;
    created.expect("one document breaks no index");

    let mut commit = scene.commit(1, Guard::SoleWriter);
    commit.writes.remove(0);
    let error = scene.store.commit(&commit).await.expect_err("1 leg twice");
    let text = error.to_string();
    assert!(matches!(error, CommitError::Rejected(_)), "{text}");
    assert!(
        text.contains("\"new 1\"") && text.contains("aircraft.v1"),
        "{text}"
    );
    scene.assert_events(1, "after the refusal").await;
}

#[tokio::test]
async fn a_commit_that_was_dropped_may_be_repeated() {
    let server = Mongod::replica_set().await;
    let scene = Scene::new(&server, "dropped").await;
    let mut random = StdRng::seed_from_u64(5);
    for offset in 1..60 {
        let commit = scene.commit(offset, Scene::unchanged(offset));
        let patience = Duration::from_micros(random.random_range(0..8_000));
        let dropped = tokio::time::timeout(patience, scene.store.commit(&commit)).await;
        if let Ok(stored) = dropped {
            stored.expect("the server is in order");
        }
        scene
            .store
            .commit(&commit)
            .await
            .expect("the server is in order");
        scene.assert_events(offset + 1, &offset.to_string()).await;
    }
}
