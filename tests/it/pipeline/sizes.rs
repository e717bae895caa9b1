//! Commits that are more than a transaction takes.

use crate::journal::Entry;
use crate::ledger::Logic;
use crate::scene::{Options, Scene};

fn largest_stored(entries: &[Entry]) -> usize {
    let stored = entries.iter().filter_map(|entry| match entry {
        Entry::Stored(moved) => Some(moved[0].writes),
        _ => None,
    });
    stored.max().expect("something was stored")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_too_large_is_stored_in_parts() {
    for logic in [Logic::ByKey, Logic::Shared, Logic::Both] {
        let scene = Scene::new(logic, 3).await;
        scene.topic.fill(40, 600, 60);
        let host = scene.host(Options {
            batch_events_max: 50,
            ..Options::default()
        });
        host.store.set_writes_max(5);
        host.group.assign(&scene.topic.partitions()).await;
        scene.until_all_is_right().await;
        let entries = host.journal.entries();
        assert!((2..=5).contains(&largest_stored(&entries)));
        host.until_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_documents_are_too_large_stops_its_partition() {
    let scene = Scene::new(Logic::Shared, 2).await;
    for index in 0..30 {
        // A transfer to oneself shapes one document, another two.
        let to = if index == 17 { "k1" } else { "k0" };
        scene.topic.transfer(0, "k0", to, 1);
        scene.topic.transfer(1, "k1", "k1", 1);
    }
    let host = scene.host(Options::default());
    host.store.set_writes_max(1);
    host.group.assign(&[0, 1]).await;
    let event = [
        "transfers/0 stands still",
        "offset 17",
        "too",
        "over 16 MiB",
    ];
    host.until_reason(&event).await;
    scene.until_next(1, 30).await;
    assert_eq!(scene.next(0).await, 17);
    scene.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_whose_documents_are_too_large_are_parked_also_one_behind_the_other() {
    let mut scene = Scene::new(Logic::Shared, 1).await;
    let too_large = 10..20;
    for index in 0..30 {
        let from = format!("k{index}");
        let to = if too_large.contains(&index) {
            "x"
        } else {
            from.as_str()
        };
        scene.topic.transfer(0, &from, to, 1);
    }
    let host = scene.host(Options::default().parking());
    host.store.set_writes_max(1);
    host.group.assign(&[0]).await;
    scene.until_next(0, 30).await;
    let parked = scene.until_parked(10).await;
    let mut parked: Vec<i64> = parked.iter().map(|key| key.entry.first.0).collect();
    parked.sort_unstable();
    assert_eq!(parked, too_large.collect::<Vec<i64>>());

    host.store.set_writes_max(usize::MAX);
    scene.drain_all().await;
    scene.until_all_is_right().await;
}
