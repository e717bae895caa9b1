//! Order, exactly once, and folding ahead, while nothing goes wrong.

use crate::faulty::Hold;
use crate::journal::Entry;
use crate::ledger::{Logic, NOBODY, Trouble};
use crate::scene::{Options, Scene};

const LOGICS: [Logic; 3] = [Logic::ByKey, Logic::Shared, Logic::Both];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_key_are_folded_in_order_and_stored_exactly_once() {
    for logic in LOGICS {
        let scene = Scene::new(logic, 4).await;
        scene.topic.fill(1, 1000, 40);
        let host = scene
            .owner(Options {
                batch_events_max: 7,
                ..Options::default()
            })
            .await;
        // Some events come while others are under way.
        host.journal.until_folded(0, 20).await;
        scene.topic.fill(2, 1000, 40);
        scene.until_all_is_right().await;
        assert_folded_once(&scene, &host.journal.entries());
        host.until_ready().await;
    }
}

/// While nothing goes wrong, no event is folded twice.
fn assert_folded_once(scene: &Scene, entries: &[Entry]) {
    for partition in scene.topic.partitions() {
        let mut after = -1;
        let mut events = 0;
        for entry in entries {
            let Entry::Folded(of, first, last) = *entry else {
                continue;
            };
            if of == partition {
                assert!(first > after, "{first} was folded before");
                after = last;
                events += scene
                    .topic
                    .events(partition)
                    .iter()
                    .filter(|event| (first..=last).contains(&event.offset.0))
                    .count();
            }
        }
        assert_eq!(events, scene.topic.events(partition).len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folding_goes_on_while_a_commit_is_under_way() {
    for logic in LOGICS {
        let scene = Scene::new(logic, 1).await;
        scene.topic.fill(3, 100, 10);
        let host = scene.host(Options::default());
        host.store.set_hold(Hold::BeforeItHappens);
        host.group.assign(&[0]).await;
        let to = host
            .journal
            .until("a commit", |entries| {
                entries.iter().find_map(|entry| match entry {
                    Entry::Attempted(moved) => Some(moved[0].to),
                    _ => None,
                })
            })
            .await;
        host.journal.until_folded(0, to).await;
        assert_eq!(scene.next(0).await, 0, "nothing is stored yet");

        let attempts = |entries: &[Entry]| {
            let attempts = entries.iter();
            attempts
                .filter(|entry| matches!(entry, Entry::Attempted(_)))
                .count()
        };
        assert_eq!(attempts(&host.journal.entries()), 1, "one at a time");
        host.store.set_hold(Hold::Nowhere);
        scene.until_all_is_right().await;
        assert_folded_once(&scene, &host.journal.entries());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_of_the_next_batch_are_read_while_one_is_folded() {
    let scene = Scene::new(Logic::ByKey, 1).await;
    for offset in 0..60 {
        let key = if offset < 35 { "a" } else { "b" };
        scene.topic.transfer(0, key, NOBODY, 1);
    }
    // Were "b" read for its own batch only, the batch before would never end.
    scene.troubles.set(0, 25, Trouble::WaitsForRead("b"));
    let host = scene.host(Options {
        cache_bytes: 1 << 20,
        ..Options::default()
    });
    // With a commit under way and the next one full, all that is behind them waits.
    host.store.set_hold(Hold::BeforeItHappens);
    host.group.assign(&[0]).await;
    host.journal
        .until_any("the last event", |entry| *entry == Entry::Sent(0, 59))
        .await;
    host.store.set_hold(Hold::Nowhere);
    scene.until_all_is_right().await;
    let entries = host.journal.entries();
    let asked = entries.iter().filter(|entry| match entry {
        Entry::Read(ids) => ids.iter().any(|id| id == "b"),
        _ => false,
    });
    assert_eq!(asked.count(), 1, "it is not read again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_without_events_are_stored_too() {
    for logic in LOGICS {
        let scene = Scene::new(logic, 2).await;
        scene.topic.skip(0, 5);
        scene.topic.transfer(0, "a", "b", 1);
        scene.topic.skip(0, 3);
        let host = scene.owner(Options::default()).await;
        scene.until_all_is_right().await;
        assert_eq!(scene.next(0).await, 9);

        scene.topic.skip(1, 4);
        scene.until_all_is_right().await;
        assert_eq!(scene.next(1).await, 4);
        host.until_ready().await;
    }
}
