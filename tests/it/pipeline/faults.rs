//! What the plugin cannot fold.

use crate::faulty::{Hold, intrude};
use crate::journal::Entry;
use crate::ledger::{Account, Logic, Trouble};
use crate::scene::{Options, Scene};
use projectionist::store::{Change, Guard, StoredDocument, ViewId, Write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_stops_its_partition_at_its_event_and_no_other() {
    for logic in [Logic::ByKey, Logic::Shared] {
        for (trouble, kind) in [
            (Trouble::Reject, "the plugin rejected the event"),
            (Trouble::Trap, "the plugin trapped"),
        ] {
            let scene = Scene::new(logic, 3).await;
            scene.topic.fill(20, 600, 30);
            let culprit = scene.topic.events(1)[123].offset.0;
            scene.troubles.set(1, culprit, trouble);
            let host = scene
                .owner(Options {
                    batch_events_max: 50,
                    ..Options::default()
                })
                .await;

            let event = format!("transfers/1, offset {culprit}");
            let reason = ["transfers/1 stands still", &event, kind, "no such currency"];
            host.until_reason(&reason).await;
            for partition in [0, 2] {
                let end = scene.topic.end(partition);
                scene.until_next(partition, end).await;
            }
            // Offsets without an event before the culprit may count as stored, or not.
            let next = scene.next(1).await;
            let before = scene.topic.events(1)[122].offset.next().0;
            assert!((before..=culprit).contains(&next), "{next}, not {culprit}");
            scene.assert_right().await;

            // The others go on.
            scene.topic.fill(21, 200, 30);
            for partition in [0, 2] {
                let end = scene.topic.end(partition);
                scene.until_next(partition, end).await;
            }
            assert_eq!(scene.next(1).await, next);
            scene.assert_right().await;
        }
    }
}

/// A partition that stands still folds nothing again, so what is folded before the fault must be
/// stored before it counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_waits_for_a_commit_that_may_come_to_nothing() {
    for trouble in [Trouble::Reject, Trouble::Trap] {
        let scene = Scene::new(Logic::Shared, 1).await;
        scene.topic.transfer(0, "a", "b", 1);
        let host = scene.owner(Options::default()).await;
        scene.until_all_is_right().await;

        host.store.set_hold(Hold::BeforeItHappens);
        let first = scene.topic.transfer(0, "a", "b", 2);
        host.journal.until_folded(0, first).await;
        host.journal
            .until_any(
                "the second commit",
                |entry| matches!(entry, Entry::Attempted(moved) if moved[0].from == first),
            )
            .await;
        let culprit = first + 1;
        scene.troubles.set(0, culprit, trouble);
        scene.topic.transfer(0, "a", "b", 4);
        host.journal
            .until_any("the fault", |entry| matches!(entry, Entry::Faulted(0)))
            .await;
        let sum = add(&scene, "a", 1000).await;
        host.store.set_hold(Hold::Nowhere);

        let event = format!("offset {culprit}");
        host.until_reason(&["transfers/0 stands still", &event])
            .await;
        assert_eq!(scene.next(0).await, culprit);
        let (account, _) = scene.account("accounts", "a").await.expect("it exists");
        assert_eq!(account.sum, sum - 2);
    }
}

/// Another writer of a shared view adds to an account; answers the sum.
pub(crate) async fn add(scene: &Scene, id: &str, amount: i64) -> i64 {
    let (account, document) = scene.account("accounts", id).await.expect("it exists");
    let account = Account {
        sum: account.sum + amount,
        ..account
    };
    let mut provenance = document.provenance.clone();
    provenance.revision += 1;
    provenance.partition.partition = 99;
    let change = Change::Update {
        document: StoredDocument {
            body: account.body(),
            provenance,
        },
        guard: Guard::Unchanged(document.provenance),
    };
    let view = ViewId::new("accounts", 1);
    let id = id.into();
    intrude(&*scene.store, Write { view, id, change }).await;
    account.sum
}
