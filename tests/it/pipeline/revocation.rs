//! Partitions that are given up: revoked, lost, or left at the end.

use std::time::Duration;

use projectionist::pipeline::queue::Sent;
use projectionist::telemetry::health::ProjectionState;
use projectionist_tests::wait;

use crate::faulty::{Hold, Mode};
use crate::journal::Entry;
use crate::ledger::{Logic, NOBODY};
use crate::scene::{Host, Options, Scene};
use crate::topic::Topic;

const LOGICS: [Logic; 3] = [Logic::ByKey, Logic::Shared, Logic::Both];

/// Where a partition stood when the source let go of it: folded to, stored to.
fn positions(entries: &[Entry], partition: i32) -> (i64, i64) {
    let (mut folded, mut stored) = (0, 0);
    for entry in entries {
        match entry {
            Entry::Folded(of, _, last) if *of == partition => folded = last + 1,
            Entry::Stored(moved) => {
                let moved = moved.iter().find(|moved| moved.partition == partition);
                stored = moved.map_or(stored, |moved| moved.to);
            }
            _ => {}
        }
    }
    (folded, stored)
}

/// A host that is in the midst of two partitions, with a commit under way and more folded.
async fn busy_host(scene: &Scene, hold: Hold, options: Options) -> Host {
    let host = scene.host(options);
    host.store.set_hold(hold);
    host.group.assign(&[0, 1]).await;
    // Events come when both are claimed: those of one alone would fill the commit that is held.
    for partition in [0, 1] {
        wait::until("a claim", async || {
            scene.claimed(partition).await.map(drop).ok_or(partition)
        })
        .await;
    }
    for _ in 0..200 {
        for partition in [0, 1] {
            let key = format!("k{partition}");
            scene.topic.transfer(partition, &key, "k0", 1);
        }
    }
    for partition in [0, 1] {
        host.journal.until_folded(partition, 0).await;
    }
    host.journal
        .until_any("a commit", |entry| matches!(entry, Entry::Attempted(_)))
        .await;
    host
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_folded_of_a_revoked_partition_is_stored_before_it_is_released() {
    for logic in LOGICS {
        let scene = Scene::new(logic, 2).await;
        let host = busy_host(&scene, Hold::BeforeItHappens, Options::default()).await;
        host.group.revoke(&[0]).await;
        // The host has taken the notice once it says that the partition is draining.
        projectionist_tests::wait::until("partition 0 to drain", async || {
            let health = host.health.readiness();
            let text = format!("{:?}", health.projections);
            if text.contains("Draining") {
                Ok(())
            } else {
                Err(text)
            }
        })
        .await;
        host.store.set_hold(Hold::Nowhere);
        host.journal.until_released(0).await;
        let next = scene.next(0).await;
        let end = scene.topic.end(1);
        scene.until_next(1, end).await;

        let entries = host.journal.entries();
        let released = |entry: &Entry| *entry == Entry::Released(vec![0]);
        let at = entries
            .iter()
            .position(released)
            .expect("it was waited for");
        let (folded, stored) = positions(&entries[..at], 0);
        assert!(stored > 0 && stored < scene.topic.end(0), "in the midst");
        assert_eq!((folded, next), (stored, stored));
        assert_eq!(positions(&entries[at..], 0), (0, 0), "nothing comes after");
        scene.assert_right().await;

        let other = scene.host(Options::default());
        other.group.assign(&[0]).await;
        scene.until_all_is_right().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_cannot_finish_ends_at_the_deadline() {
    for logic in LOGICS {
        for mode in [Mode::Away, Mode::Silent] {
            let scene = Scene::new(logic, 2).await;
            let options = Options {
                drain_timeout: Duration::from_millis(200),
                ..Options::default()
            };
            let host = busy_host(&scene, Hold::BeforeItHappens, options).await;
            host.store.set_mode(mode);
            host.store.set_hold(Hold::Nowhere);
            host.group.revoke(&[0]).await;
            host.journal.until_released(0).await;
            assert_eq!(scene.next(0).await, 0);

            let other = scene.host(Options::default());
            other.group.assign(&[0]).await;
            let end = scene.topic.end(0);
            scene.until_next(0, end).await;
            // The first host comes back, with what it had under way.
            host.store.set_mode(Mode::Up);
            scene.until_all_is_right().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_partition_is_released_at_once() {
    for logic in LOGICS {
        for hold in [Hold::BeforeItHappens, Hold::AfterItHappened] {
            let scene = Scene::new(logic, 2).await;
            let host = busy_host(&scene, hold, Options::default()).await;
            host.group.lose(&[0]).await;
            host.journal.until_released(0).await;

            let other = scene.host(Options::default());
            other.group.assign(&[0]).await;
            let end = scene.topic.end(0);
            scene.until_next(0, end).await;
            host.store.set_hold(Hold::Nowhere);
            scene.until_all_is_right().await;
            host.until_ready().await;
        }
    }
}

/// Whether a commit has happened is known when it is answered, and not before: what reads the
/// store earlier and folds again could fold the same events twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_under_way_counts_for_those_that_stay_when_a_partition_is_lost() {
    let scene = Scene::new(Logic::Both, 2).await;
    let host = scene.host(Options::default());
    host.group.assign(&[0, 1]).await;
    host.until_ready().await;
    host.store.set_hold(Hold::AfterItHappened);
    scene.topic.transfer(1, "k1", NOBODY, 1);
    scene.until_next(1, 1).await;
    host.group.lose(&[0]).await;
    host.journal.until_released(0).await;
    host.store.set_hold(Hold::Nowhere);
    for _ in 0..20 {
        scene.topic.transfer(1, "k1", NOBODY, 1);
    }
    let other = scene.host(Options::default());
    other.group.assign(&[0]).await;
    scene.until_all_is_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_stores_what_is_folded_and_leaves_the_group() {
    for logic in LOGICS {
        let scene = Scene::new(logic, 2).await;
        let host = busy_host(&scene, Hold::BeforeItHappens, Options::default()).await;
        host.stop.cancel();
        host.store.set_hold(Hold::Nowhere);
        let (journal, health) = (host.journal.clone(), host.health.clone());
        host.ended().await.expect("it was asked to end");

        let entries = journal.entries();
        assert_eq!(entries.last(), Some(&Entry::Left));
        for partition in [0, 1] {
            let (folded, stored) = positions(&entries, partition);
            assert!(stored > 0);
            assert_eq!((folded, scene.next(partition).await), (stored, stored));
        }
        scene.assert_right().await;
        assert_eq!(health.projection("ledger"), Some(ProjectionState::Ended));

        let _next = scene.owner(Options::default()).await;
        scene.until_all_is_right().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_also_while_the_store_is_away() {
    for logic in [Logic::ByKey, Logic::Shared] {
        let scene = Scene::new(logic, 2).await;
        let options = Options {
            drain_timeout: Duration::from_millis(200),
            ..Options::default()
        };
        let host = busy_host(&scene, Hold::BeforeItHappens, options).await;
        host.store.set_mode(Mode::Silent);
        host.store.set_hold(Hold::Nowhere);
        host.stop.cancel();
        let journal = host.journal.clone();
        host.ended().await.expect("it was asked to end");
        assert_eq!(journal.entries().last(), Some(&Entry::Left));
        assert_eq!((scene.next(0).await, scene.next(1).await), (0, 0));
    }
}

/// What a consumer had fetched for an earlier assignment may be old: since then another host has
/// folded it, and the topic may even hold something else there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_an_old_assignment_are_dropped() {
    for logic in LOGICS {
        for lost in [false, true] {
            let scene = Scene::new(logic, 2).await;
            let host = busy_host(&scene, Hold::Nowhere, Options::default()).await;
            match lost {
                false => host.group.revoke(&[0]).await,
                true => host.group.lose(&[0]).await,
            }
            host.journal.until_released(0).await;
            let other = scene.host(Options::default());
            other.group.assign(&[0]).await;
            scene.until_next(0, scene.topic.end(0)).await;
            other.group.revoke(&[0]).await;
            other.journal.until_released(0).await;

            let folded_before = host.journal.entries().len();
            host.group.assign(&[0]).await;
            let next = scene.topic.end(0);
            let is_fetched = |entry: &Entry| *entry == Entry::Fetched(0, next);
            host.journal.until_any("the new claim", is_fetched).await;
            // The next offset: a queue that took it would let it through.
            let late = Topic::draft(next, "k0", "k1 1000000");
            let sent = host.group.send_late(&late, 0);
            assert!(matches!(sent[..], [Sent::Closed]), "{sent:?}");

            for _ in 0..20 {
                scene.topic.transfer(0, "k0", "k1", 1);
            }
            scene.until_all_is_right().await;
            let after = &host.journal.entries()[folded_before..];
            let folded_again =
                |entry: &Entry| matches!(entry, Entry::Folded(0, first, _) if *first < next);
            assert!(!after.iter().any(folded_again), "{after:?}");
        }
    }
}
