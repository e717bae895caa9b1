//! Duplicates, and what the plugin cannot fold: parked by key, drained, skipped.

use projectionist::parked::desk::ParkedKey;
use projectionist::parked::{Action, KeyEntry, Request, event_entry, event_id, key_id};
use projectionist::pipeline::{ParkingOptions, parking};
use projectionist::record::{Lineage, Offset};
use projectionist::store::{Advance, Commit, Entry, EntryChange, Repairs, Table};
use projectionist_tests::wait;

use crate::faulty::Hold;
use crate::journal;
use crate::ledger::{Logic, Trouble};
use crate::scene::{Host, Options, Scene};

fn options() -> Options {
    Options::default().parking()
}

async fn until_stored(scene: &Scene) {
    for partition in scene.topic.partitions() {
        scene
            .until_next(partition, scene.topic.end(partition))
            .await;
    }
}

async fn end(host: Host) {
    host.stop.cancel();
    host.ended().await.expect("it was asked to end");
}

async fn offsets(scene: &Scene, key: &ParkedKey) -> Vec<i64> {
    let events = scene.desk().events(&key.id, 100_000).await;
    let events = events.expect("the store is in order");
    events.iter().map(|event| event.offset.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_event_parks_its_key_and_the_others_flow() {
    for logic in [Logic::ByKey, Logic::Shared, Logic::Both] {
        for trouble in [Trouble::Reject, Trouble::Trap] {
            let mut scene = Scene::new(logic, 2).await;
            scene.topic.fill(1, 400, 20);
            let events = scene.topic.events(1);
            let culprit = events[80].clone();
            scene.troubles.set(1, culprit.offset.0, trouble);
            let host = scene.owner(options()).await;
            until_stored(&scene).await;

            let parked = scene.until_parked(1).await;
            let key = culprit.key().expect("it has a key");
            assert_eq!(parked[0].entry.key.as_deref(), Some(key));
            assert_eq!(parked[0].id.first, culprit.offset);
            assert_eq!(parked[0].entry.reason.detail, "no such currency");
            let behind = events[80..].iter().filter(|event| event.key() == Some(key));
            let behind: Vec<i64> = behind.map(|event| event.offset.0).collect();
            assert_eq!(offsets(&scene, &parked[0]).await, behind, "in their order");
            assert_eq!(parked[0].entry.events, behind.len() as u64);

            scene.troubles.clear();
            scene.drain_all().await;
            scene.until_all_is_right().await;

            // The key flows again.
            let key = std::str::from_utf8(key).expect("it is text");
            scene.topic.transfer(1, key, "k0", 5);
            scene.until_all_is_right().await;
            assert!(scene.parked().await.is_empty());
            end(host).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_comes_first_in_the_middle_and_last() {
    let mut scene = Scene::new(Logic::ByKey, 1).await;
    for round in 0..3 {
        for key in ["first", "middle", "last"] {
            scene.topic.transfer(0, key, "x", round);
        }
    }
    for offset in [0, 4, 8] {
        scene.troubles.set(0, offset, Trouble::Trap);
    }
    let host = scene.owner(options()).await;
    until_stored(&scene).await;
    let parked = scene.until_parked(3).await;
    let firsts: Vec<i64> = parked.iter().map(|key| key.id.first.0).collect();
    assert_eq!(firsts, [0, 4, 8]);
    assert_eq!(offsets(&scene, &parked[0]).await, [0, 3, 6]);
    assert_eq!(offsets(&scene, &parked[1]).await, [4, 7]);
    assert_eq!(offsets(&scene, &parked[2]).await, [8]);

    scene.troubles.clear();
    scene.drain_all().await;
    scene.until_all_is_right().await;
    end(host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_and_seen_outlives_the_host() {
    let mut scene = Scene::new(Logic::ByKey, 1).await;
    let first = scene.topic.append_with_id(0, "a", Some("x 1"), "1");
    scene.troubles.set(0, first, Trouble::Reject);
    scene.topic.append_with_id(0, "b", Some("x 2"), "2");
    let host = scene.owner(options()).await;
    until_stored(&scene).await;
    end(host).await;

    // The next owner knows the key and both ids.
    scene.troubles.clear();
    scene.topic.repeat(0, 0);
    scene.topic.repeat(0, 1);
    let behind = scene.topic.append_with_id(0, "a", Some("x 3"), "3");
    let host = scene.owner(options()).await;
    until_stored(&scene).await;
    let parked = scene.until_parked(1).await;
    assert_eq!(offsets(&scene, &parked[0]).await, [first, behind]);

    scene.drain_all().await;
    scene.until_all_is_right().await;
    end(host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_with_ten_thousand_events_behind_a_poison_one_is_drained_in_order() {
    let mut scene = Scene::new(Logic::ByKey, 1).await;
    scene.troubles.set(0, 0, Trouble::Reject);
    for amount in 0..10_001 {
        scene.topic.transfer(0, "a", "x", amount);
    }
    let limits = parking::Limits {
        events_per_key_max: 20_000,
        ..options().parking.limits
    };
    let parking = ParkingOptions {
        limits,
        ..options().parking
    };
    let host = scene
        .owner(Options {
            parking,
            batch_events_max: 500,
            ..options()
        })
        .await;
    until_stored(&scene).await;
    let parked = scene.until_parked(1).await;
    assert_eq!(parked[0].entry.events, 10_001);

    scene.troubles.clear();
    scene.drain_all().await;
    scene.until_all_is_right().await;
    end(host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_keys_flow_while_a_key_with_many_events_is_drained() {
    const PARKED: i64 = 20_000;
    for logic in [Logic::ByKey, Logic::Shared] {
        let mut scene = Scene::new(logic, 1).await;
        scene.troubles.set(0, 0, Trouble::Reject);
        for amount in 0..PARKED {
            scene.topic.transfer(0, "a", "x", amount % 10);
        }
        let limits = parking::Limits {
            events_per_key_max: 100_000,
            ..options().parking.limits
        };
        let parking = ParkingOptions {
            limits,
            ..options().parking
        };
        let host = scene
            .owner(Options {
                parking,
                batch_events_max: 2_000,
                ..options()
            })
            .await;
        until_stored(&scene).await;
        let parked = scene.until_parked(1).await;
        scene.troubles.clear();
        scene.drained = true;

        // New events come while a step of the drain is being stored.
        host.store.set_hold(Hold::BeforeItHappens);
        scene.ask(&parked[0], Action::Drain { plugin: None }).await;
        let drains = |entry: &journal::Entry| {
            let Some([moved]) = moved(entry) else {
                return false;
            };
            moved.from == moved.to
        };
        let attempted =
            |entry: &journal::Entry| matches!(entry, journal::Entry::Attempted(_)) && drains(entry);
        host.journal.until_any("a drain", attempted).await;
        let offset = scene.topic.transfer(0, "b", "y", 1);
        let sent = journal::Entry::Sent(0, offset);
        host.journal.until_any("it", |entry| *entry == sent).await;
        host.store.set_hold(Hold::Nowhere);
        until_stored(&scene).await;
        scene.drain_all().await;
        scene.until_all_is_right().await;

        let entries = host.journal.entries();
        let after = entries.iter().skip_while(|entry| **entry != sent);
        let stored: Vec<bool> = after
            .filter(|entry| matches!(entry, journal::Entry::Stored(_)))
            .map(drains)
            .collect();
        let before = stored.iter().take_while(|drains| **drains).count();
        assert!(before <= 1, "{logic:?}: it waited for {before} steps");
        assert!(stored.len() > 15, "{logic:?}: nothing was being drained");
        end(host).await;
    }
}

/// How a commit moves checkpoints, where the entry is of one.
fn moved(entry: &journal::Entry) -> Option<&[journal::Moved]> {
    match entry {
        journal::Entry::Attempted(moved) | journal::Entry::Stored(moved) => Some(moved),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_fails_again_keeps_the_rest_parked() {
    let mut scene = Scene::new(Logic::ByKey, 1).await;
    for amount in 0..6 {
        scene.topic.transfer(0, "a", "x", amount);
    }
    for offset in [1, 4] {
        scene.troubles.set(0, offset, Trouble::Trap);
    }
    let host = scene.owner(options()).await;
    until_stored(&scene).await;
    let parked = scene.until_parked(1).await;
    assert_eq!(offsets(&scene, &parked[0]).await, [1, 2, 3, 4, 5]);

    scene.troubles.clear();
    scene.troubles.set(0, 4, Trouble::Reject);
    scene.ask(&parked[0], Action::Drain { plugin: None }).await;
    let rest = until_answered(&scene).await;
    assert_eq!(offsets(&scene, &rest).await, [4, 5]);
    assert_eq!(rest.entry.events, 2);
    assert_eq!(rest.entry.reason.kind, "the plugin rejected the event");

    scene.troubles.clear();
    scene.drain_all().await;
    scene.until_all_is_right().await;
    end(host).await;
}

/// Waits until the only parked key is one that nothing is asked of.
async fn until_answered(scene: &Scene) -> ParkedKey {
    wait::until("the request to be carried out", async || {
        let mut parked = scene.parked().await;
        match parked.pop() {
            Some(key) if key.request.is_none() => Ok(key),
            other => Err(other),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skipped_event_is_kept_with_the_reason_and_the_rest_can_be_drained() {
    let mut scene = Scene::new(Logic::ByKey, 1).await;
    for amount in 0..3 {
        scene.topic.transfer(0, "a", "x", amount);
    }
    scene.troubles.set(0, 0, Trouble::Reject);
    let host = scene.owner(options()).await;
    until_stored(&scene).await;
    let parked = scene.until_parked(1).await;
    let skip = Action::Skip {
        offset: 0,
        reason: "a test transfer".to_owned(),
    };
    scene.ask(&parked[0], skip).await;
    let rest = until_answered(&scene).await;
    assert_eq!(offsets(&scene, &rest).await, [1, 2]);

    scene.drain_all().await;
    let (account, _) = scene.account("balances", "a").await.expect("it exists");
    assert_eq!((account.sum, account.count), (3, 2));
    let prefix = format!("{}/", scene.checkpoint_id(0));
    let table = projectionist::store::Table::Skipped;
    let skipped = scene.store.entries(table, &prefix, None, 10).await;
    let skipped = skipped.expect("the store is in order");
    assert_eq!(skipped.len(), 1);
    let body = skipped[0].body.get_document("skipped").expect("why it was");
    assert_eq!(body.get_str("reason").expect("a reason"), "a test transfer");
    end(host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_limit_the_partition_stands_still_and_a_drain_lets_it_go_on() {
    let mut scene = Scene::new(Logic::ByKey, 1).await;
    for amount in 0..8 {
        scene.topic.transfer(0, "a", "x", amount);
        scene.topic.transfer(0, "b", "x", amount);
    }
    scene.troubles.set(0, 0, Trouble::Reject);
    let parking = ParkingOptions {
        limits: parking::Limits {
            events_per_key_max: 3,
            ..options().parking.limits
        },
        ..options().parking
    };
    let host = scene
        .owner(Options {
            parking,
            ..options()
        })
        .await;
    let reason = ["transfers/0", "offset 6", "events-per-key", "parked list"];
    host.until_reason(&reason).await;
    scene.until_next(0, 6).await;
    assert_eq!(scene.until_parked(1).await[0].entry.events, 3);

    scene.troubles.clear();
    scene.drain_all().await;
    scene.until_all_is_right().await;
    host.until_ready().await;
    end(host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_store_parks_nothing() {
    let scene = Scene::new(Logic::ByKey, 2).await;
    scene.topic.fill(3, 300, 10);
    let host = scene.owner(options()).await;
    scene.until_all_is_right().await;
    host.store.set_mode(crate::faulty::Mode::Away);
    scene.topic.fill(4, 300, 10);
    host.until_reason(&["store \"main\""]).await;
    host.store.set_mode(crate::faulty::Mode::Up);
    scene.until_all_is_right().await;
    assert!(scene.parked().await.is_empty());
    end(host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_about_what_is_not_parked_any_more_is_dropped() {
    let mut scene = Scene::new(Logic::ByKey, 1).await;
    scene.topic.transfer(0, "a", "x", 1);
    scene.topic.transfer(0, "b", "x", 1);
    for offset in [0, 1] {
        scene.troubles.set(0, offset, Trouble::Reject);
    }
    let host = scene.owner(options()).await;
    let parked = scene.until_parked(2).await;
    let stray = drain_request(&scene, Offset(77));
    scene.store.put_entry(&stray).await.expect("it is in order");
    wait::until("the request to be dropped", async || {
        let ids = [stray.id.clone()];
        let found = scene.store.find_entries(stray.table, &ids).await;
        let found = found.expect("the store is in order");
        if found.is_empty() { Ok(()) } else { Err(found) }
    })
    .await;
    assert_eq!(parked.len(), 2);
    scene.troubles.clear();
    scene.drain_all().await;
    scene.until_all_is_right().await;
    end(host).await;
}

fn drain_request(scene: &Scene, first: Offset) -> Entry {
    let request = Request {
        action: Action::Drain { plugin: None },
        by: "a test".to_owned(),
        at_ms: 0,
    };
    request.to_entry(&scene.checkpoint_id(0), first)
}

/// Another host claims partition 0, and changes what is parked there before it is gone again.
async fn repair_by_a_rival(scene: &Scene, entries: Vec<EntryChange>) {
    let checkpoint = scene.checkpoint_id(0);
    let claim = scene.store.claim(&checkpoint, "rival").await;
    let claim = claim.expect("the store is in order");
    let advance = Advance {
        checkpoint,
        epoch: claim.epoch,
        from: claim.next,
        to: claim.next,
        lineage: Lineage::default(),
        repairs: Repairs {
            from: claim.repairs,
            to: claim.repairs + 1,
        },
    };
    let commit = Commit {
        writes: Vec::new(),
        entries,
        advances: vec![advance],
    };
    scene
        .store
        .commit(&commit)
        .await
        .expect("nobody hinders it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_host_does_not_stop_at_parked_events_that_its_rival_has_done_with() {
    let scene = Scene::new(Logic::ByKey, 1).await;
    scene.topic.transfer(0, "a", "x", 1);
    scene.troubles.set(0, 0, Trouble::Reject);
    let host = scene.owner(options()).await;
    let parked = scene.until_parked(1).await;
    until_stored(&scene).await;

    let checkpoint = scene.checkpoint_id(0);
    let remove = |table, id| EntryChange::Remove { table, id };
    let skipped = vec![
        remove(Table::Parked, event_id(&checkpoint, Offset(0), Offset(0))),
        remove(Table::ParkedKeys, key_id(&checkpoint, Offset(0))),
    ];
    repair_by_a_rival(&scene, skipped).await;
    // The host has seen a request that its rival has carried out since.
    let request = drain_request(&scene, parked[0].id.first);
    scene.store.put_entry(&request).await.expect("in order");

    host.journal
        .until_any("another claim", |entry| {
            matches!(entry, journal::Entry::Restarted(0, 1))
        })
        .await;
    scene.topic.transfer(0, "a", "x", 2);
    until_stored(&scene).await;
    let (account, _) = scene.account("balances", "a").await.expect("it is folded");
    assert_eq!(
        account.count, 1,
        "only the later event, for the key is free"
    );
    end(host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_host_drops_no_request_about_what_its_rival_has_parked() {
    let mut scene = Scene::new(Logic::ByKey, 1).await;
    scene.topic.transfer(0, "a", "x", 1);
    scene.topic.transfer(0, "b", "x", 2);
    for offset in [0, 1] {
        scene.troubles.set(0, offset, Trouble::Reject);
    }
    let host = scene.owner(options()).await;
    let parked = scene.until_parked(2).await;
    until_stored(&scene).await;

    // As if the rival had parked it once more, behind another event.
    let old = parked.iter().find(|key| key.id.first == Offset(1));
    let old = old.expect("it is parked").entry.clone();
    let event = scene.topic.events(0)[1].clone();
    let checkpoint = scene.checkpoint_id(0);
    let new = KeyEntry {
        first: Offset(77),
        ..old
    };
    let moved = vec![
        EntryChange::Remove {
            table: Table::Parked,
            id: event_id(&checkpoint, Offset(1), Offset(1)),
        },
        EntryChange::Remove {
            table: Table::ParkedKeys,
            id: key_id(&checkpoint, Offset(1)),
        },
        EntryChange::Insert(event_entry(&checkpoint, new.first, &event)),
        EntryChange::Insert(new.to_entry(&checkpoint)),
    ];
    repair_by_a_rival(&scene, moved).await;
    scene.troubles.clear();
    scene.drained = true;
    let request = drain_request(&scene, new.first);
    scene.store.put_entry(&request).await.expect("in order");

    let left = scene.until_parked(1).await;
    assert_eq!(left[0].id.first, Offset(0), "the other one is drained");
    scene.drain_all().await;
    scene.until_all_is_right().await;
    end(host).await;
}
