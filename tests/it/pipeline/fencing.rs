//! Partitions that others have claimed.

use crate::faulty::Hold;
use crate::journal::{Entry, Journal};
use crate::ledger::Logic;
use crate::scene::{Host, Options, Scene};

fn partitions(entry: &Entry) -> Option<(&'static str, Vec<i32>)> {
    let (kind, moved) = match entry {
        Entry::Attempted(moved) => ("attempted", moved),
        Entry::Stored(moved) => ("stored", moved),
        _ => return None,
    };
    let mut partitions: Vec<i32> = moved.iter().map(|m| m.partition).collect();
    partitions.sort_unstable();
    Some((kind, partitions))
}

/// A host whose next commit is of partitions 0, 1 and 2 at once, held before it happens; partition
/// 1 is somebody else's meanwhile.
async fn fenced_in_the_midst(logic: Logic) -> (Scene, Host) {
    let scene = Scene::new(logic, 4).await;
    let host = scene.host(Options {
        commits_in_flight_max: 1,
        ..Options::default()
    });
    host.group.assign(&[0, 1, 2, 3]).await;
    host.until_ready().await;
    // While this commit waits, those of the others gather behind it.
    host.store.set_hold(Hold::BeforeItHappens);
    scene.topic.transfer(3, "k3", "k3", 1);
    host.journal
        .until_any("the first commit", |entry| {
            matches!(entry, Entry::Attempted(_))
        })
        .await;
    // A domain hands its batch over before it folds the next; a joined one has one for all.
    for offset in [0, 1] {
        for partition in [0, 1, 2] {
            let key = format!("k{partition}");
            assert_eq!(scene.topic.transfer(partition, &key, "k0", 1), offset);
        }
        for partition in [0, 1, 2] {
            host.journal.until_folded(partition, offset).await;
        }
    }
    let claim = scene.store.claim(&scene.checkpoint_id(1), "rival").await;
    claim.expect("the store is in order");
    host.store.set_hold(Hold::Nowhere);
    (scene, host)
}

async fn until_joint_attempt(journal: &Journal) {
    journal
        .until_any("a commit of partition 1 and others", |entry| {
            partitions(entry).is_some_and(|(kind, partitions)| {
                kind == "attempted" && partitions.contains(&1) && partitions.len() > 1
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_partition_is_dropped_from_a_joined_transaction_and_the_others_are_stored() {
    for logic in [Logic::ByKey, Logic::Shared] {
        let (scene, host) = fenced_in_the_midst(logic).await;
        for partition in [0, 2, 3] {
            let end = scene.topic.end(partition);
            scene.until_next(partition, end).await;
        }
        until_joint_attempt(&host.journal).await;
        for entry in host.journal.entries() {
            match entry {
                Entry::Restarted(..) => break,
                Entry::Stored(moved) => {
                    assert!(moved.iter().all(|m| m.partition != 1), "{moved:?}");
                }
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_partition_that_is_still_assigned_is_claimed_again() {
    for logic in [Logic::ByKey, Logic::Shared] {
        let (scene, host) = fenced_in_the_midst(logic).await;
        host.journal
            .until_any("partition 1 to be fetched again", |entry| {
                *entry == Entry::Restarted(1, 0)
            })
            .await;
        scene.until_all_is_right().await;
        host.until_ready().await;
        let claim = scene.claimed(1).await.expect("it is claimed");
        assert_eq!(claim.epoch.0, 3, "this host, its rival, this host");
    }
}

/// Otherwise it would take the partition from its rightful owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_partition_that_is_revoked_is_not_claimed_again() {
    let scene = Scene::new(Logic::Shared, 2).await;
    let host = scene.owner(Options::default()).await;
    host.until_ready().await;
    for partition in [0, 1] {
        let claim = scene
            .store
            .claim(&scene.checkpoint_id(partition), "rival")
            .await;
        claim.expect("the store is in order");
    }
    // Both at once, so that both would be claimed again at the same time.
    host.store.set_hold(Hold::BeforeItHappens);
    scene.topic.fill(30, 100, 10);
    host.journal.until_folded(0, 0).await;
    host.journal.until_folded(1, 0).await;
    host.store.set_hold(Hold::Nowhere);
    for partition in ["transfers/0", "transfers/1"] {
        host.until_reason(&[partition, "not claimed yet"]).await;
    }
    host.group.lose(&[0]).await;
    host.journal.until_released(0).await;

    let restarted = |entry: &Entry| matches!(entry, Entry::Restarted(1, _));
    host.journal
        .until_any("partition 1 to be fetched again", restarted)
        .await;
    let end = scene.topic.end(1);
    scene.until_next(1, end).await;
    let claim = scene.claimed(0).await.expect("it is claimed");
    assert_eq!(
        (claim.epoch.0, claim.next.0),
        (2, 0),
        "as the rival left it"
    );
    scene.assert_right().await;
}
