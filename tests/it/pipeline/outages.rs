//! Commits that break, and stores that are away.

use crate::faulty::{Break, Mode};
use crate::journal::Entry;
use crate::ledger::Logic;
use crate::scene::{Options, Scene};

const LOGICS: [Logic; 2] = [Logic::ByKey, Logic::Both];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_breaks_before_or_after_it_happened_is_applied_once() {
    for logic in LOGICS {
        let scene = Scene::new(logic, 3).await;
        scene.topic.fill(10, 400, 20);
        let host = scene.host(Options::default());
        host.store.break_next([
            Break::After,
            Break::Before,
            Break::After,
            Break::After,
            Break::Before,
            Break::Before,
        ]);
        host.group.assign(&scene.topic.partitions()).await;
        scene.until_all_is_right().await;
        host.until_ready().await;
        let restarts = host.journal.entries();
        let fenced = |entry: &Entry| matches!(entry, Entry::Restarted(..));
        assert!(!restarts.iter().any(fenced), "nobody else was there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_store_stops_nothing_and_readiness_names_it() {
    for logic in LOGICS {
        let scene = Scene::new(logic, 2).await;
        let host = scene.host(Options::default());
        let away = ["store \"main\"", "does not answer", "connection refused"];

        host.store.set_mode(Mode::Away);
        host.group.assign(&[0, 1]).await;
        host.until_reason(&away).await;
        host.until_reason(&["transfers/0", "not claimed yet"]).await;
        host.store.set_mode(Mode::Up);
        host.until_ready().await;

        scene.topic.fill(11, 200, 10);
        scene.until_all_is_right().await;

        host.store.set_mode(Mode::Away);
        scene.topic.fill(12, 200, 50);
        host.until_reason(&away).await;
        let stored = (scene.next(0).await, scene.next(1).await);
        let reasons = host.health.readiness().reasons;
        assert!(
            reasons.iter().all(|r| !r.contains("stands still")),
            "{reasons:?}"
        );

        host.store.set_mode(Mode::Up);
        scene.until_all_is_right().await;
        assert!((scene.next(0).await, scene.next(1).await) > stored);
        host.until_ready().await;
    }
}

/// A privilege that is taken away and given back, between two claims and between two commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_refuses_is_asked_again_and_all_goes_on_by_itself() {
    for logic in LOGICS {
        let scene = Scene::new(logic, 2).await;
        let host = scene.host(Options::default());
        host.store.set_mode(Mode::Refusing);
        host.group.assign(&[0, 1]).await;
        for partition in ["transfers/0", "transfers/1"] {
            let words = [partition, "stands still", "not authorised", "tried again"];
            host.until_reason(&words).await;
        }
        host.store.set_mode(Mode::Up);
        host.until_ready().await;
        scene.topic.fill(13, 100, 10);
        scene.until_all_is_right().await;

        host.store.set_mode(Mode::Refusing);
        scene.topic.fill(14, 100, 50);
        host.until_reason(&["stands still", "not authorised", "tried again"])
            .await;
        host.store.set_mode(Mode::Up);
        scene.until_all_is_right().await;
        host.until_ready().await;
    }
}
