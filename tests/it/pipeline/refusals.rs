//! Documents that the store does not take: an index or a validator forbids them.

use projectionist::parked::Action;
use projectionist::parked::desk::ParkedKey;
use projectionist_tests::wait;

use crate::journal::Entry;
use crate::ledger::{Account, Logic};
use crate::scene::{Host, Options, Scene};

/// What no account may be shaped by: its chain shows it, whatever comes after it.
const FORBIDDEN: i64 = 1_000_000;

fn options() -> Options {
    Options {
        batch_events_max: 64,
        ..Options::default()
    }
    .parking()
}

/// Lets the store take no account that has ever got so much.
fn forbid(host: &Host) {
    host.store
        .refuse(|document| Account::read(document.body.as_bytes()).sum.abs() > FORBIDDEN / 2);
}

async fn until_stored(scene: &Scene) {
    for partition in scene.topic.partitions() {
        let end = scene.topic.end(partition);
        scene.until_next(partition, end).await;
    }
}

async fn offsets(scene: &Scene, key: &ParkedKey) -> Vec<i64> {
    let events = scene.desk().events(&key.id, 100_000).await;
    let events = events.expect("the store is in order");
    events.iter().map(|event| event.offset.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_event_that_makes_a_document_refused_parks_its_key_and_the_others_flow() {
    for logic in [Logic::ByKey, Logic::Shared, Logic::Both] {
        let mut scene = Scene::new(logic, 2).await;
        let mut expected = Vec::new();
        // In the same batch the key comes before the forbidden event, and often after it.
        for round in 0..40 {
            for key in ["a", "b", "c", "d"] {
                let forbidden = key == "b" && round == 20;
                let amount = if forbidden { FORBIDDEN } else { round };
                let to = if key == "b" { "z" } else { "y" };
                let offset = scene.topic.transfer(1, key, to, amount);
                if key == "b" && round >= 20 {
                    expected.push(offset);
                }
            }
            scene.topic.transfer(0, "e", "f", round);
        }
        let host = scene.host(options());
        forbid(&host);
        host.group.assign(&[0, 1]).await;
        until_stored(&scene).await;

        let parked = scene.until_parked(1).await;
        assert_eq!(parked[0].entry.key.as_deref(), Some(&b"b"[..]), "{logic:?}");
        assert_eq!(offsets(&scene, &parked[0]).await, expected, "{logic:?}");
        let reason = &parked[0].entry.reason;
        assert_eq!(
            reason.kind,
            "the store does not take what follows from the event"
        );
        assert!(reason.detail.contains("index \"rule\""), "{reason:?}");
        let refused = |entry: &&Entry| matches!(entry, Entry::Refused);
        let refusals = host.journal.entries().iter().filter(refused).count();
        assert!(refusals < 20, "{refusals} commits for one event");
        host.until_ready().await;

        host.store.take_all();
        scene.drain_all().await;
        scene.until_all_is_right().await;
        host.stop.cancel();
        host.ended().await.expect("it was asked to end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_to_be_parked_a_refused_document_stops_its_partition() {
    let scene = Scene::new(Logic::ByKey, 2).await;
    for round in 0..30 {
        let amount = if round == 17 { FORBIDDEN } else { round };
        scene.topic.transfer(0, "a", "x", amount);
        scene.topic.transfer(0, "b", "x", round);
        scene.topic.transfer(1, "c", "x", round);
    }
    let host = scene.host(Options::default());
    forbid(&host);
    host.group.assign(&[0, 1]).await;
    let reason = [
        "transfers/0",
        "offset 34",
        "index \"rule\"",
        "nothing is lost",
    ];
    host.until_reason(&reason).await;
    scene.until_next(1, 30).await;
    assert_eq!(scene.next(0).await, 34, "everything before it is stored");
    scene.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_takes_nothing_any_more_stops_the_partition_instead_of_parking_all() {
    for logic in [Logic::ByKey, Logic::Shared] {
        let mut scene = Scene::new(logic, 1).await;
        for amount in 0..20 {
            scene.topic.transfer(0, &format!("k{amount}"), "x", amount);
        }
        let host = scene.owner(options()).await;
        scene.until_all_is_right().await;
        host.store.refuse(|_| true);
        for amount in 0..200 {
            scene.topic.transfer(0, &format!("k{amount}"), "x", amount);
        }
        let reason = [
            "does not take",
            "transfers/0",
            "offset 29",
            "index \"rule\"",
        ];
        host.until_reason(&reason).await;
        assert_eq!(scene.parked().await.len(), 9, "{logic:?}");
        assert_eq!(scene.next(0).await, 29, "{logic:?}");
        host.stop.cancel();
        host.ended().await.expect("it was asked to end");

        // The rule is mended, and the host started again.
        let host = scene.owner(options()).await;
        scene.drain_all().await;
        scene.until_all_is_right().await;
        host.stop.cancel();
        host.ended().await.expect("it was asked to end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_refused_documents_among_others_are_all_parked() {
    let mut scene = Scene::new(Logic::ByKey, 1).await;
    for n in 0..600 {
        let amount = if n % 10 == 3 { FORBIDDEN } else { 1 };
        scene.topic.transfer(0, &format!("k{n}"), "x", amount);
    }
    let host = scene.host(options());
    forbid(&host);
    host.group.assign(&[0]).await;
    until_stored(&scene).await;
    scene.until_parked(60).await;
    host.store.take_all();
    scene.drain_all().await;
    scene.until_all_is_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_whose_document_is_refused_keeps_the_rest_parked() {
    let mut scene = Scene::new(Logic::ByKey, 1).await;
    for amount in [1, FORBIDDEN, 2, 3] {
        scene.topic.transfer(0, "a", "x", amount);
    }
    let host = scene.host(options());
    forbid(&host);
    host.group.assign(&[0]).await;
    until_stored(&scene).await;
    let parked = scene.until_parked(1).await;
    assert_eq!(offsets(&scene, &parked[0]).await, [1, 2, 3]);

    let before = parked[0].entry.reason.at_ms;
    scene.ask(&parked[0], Action::Drain { plugin: None }).await;
    let key = wait::until("the request to be carried out", async || {
        let mut parked = scene.parked().await;
        match parked.pop() {
            Some(key) if key.request.is_none() => Ok(key),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(offsets(&scene, &key).await, [1, 2, 3]);
    assert!(key.entry.reason.at_ms >= before);

    host.store.take_all();
    scene.drain_all().await;
    scene.until_all_is_right().await;
}
