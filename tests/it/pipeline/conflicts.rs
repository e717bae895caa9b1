//! Documents that are not as their domain left them.

use crate::faults::add;
use crate::faulty::Hold;
use crate::journal::Entry;
use crate::ledger::Logic;
use crate::scene::{Options, Scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_one_writer_that_was_removed_is_read_again_once() {
    let scene = Scene::new(Logic::ByKey, 2).await;
    scene.topic.transfer(0, "a", "b", 1);
    let host = scene.owner(Options::default()).await;
    scene.until_all_is_right().await;

    host.store.meddle("a", 1);
    scene.topic.transfer(0, "a", "b", 20);
    scene.until_next(0, 2).await;
    let (account, _) = scene.account("balances", "a").await.expect("it exists");
    assert_eq!((account.sum, account.count), (20, 1), "made anew");
    host.until_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_one_writer_that_others_keep_changing_stops_its_partition() {
    let scene = Scene::new(Logic::ByKey, 2).await;
    scene.topic.transfer(0, "a", "b", 1);
    let host = scene.owner(Options::default()).await;
    scene.until_all_is_right().await;

    host.store.meddle("a", usize::MAX);
    scene.topic.transfer(0, "a", "b", 20);
    scene.topic.transfer(1, "c", "d", 1);
    let words = [
        "transfers/0 stands still",
        "\"a\"",
        "\"balances\"",
        "changed",
    ];
    host.until_reason(&words).await;
    scene.until_next(1, 1).await;
    assert_eq!(scene.next(0).await, 1);
    let attempts = host.journal.entries().into_iter().filter(|entry| {
        matches!(entry, Entry::Attempted(moved) if moved[0].partition == 0 && moved[0].from == 1)
    });
    assert_eq!(attempts.count(), 2, "one fresh read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_document_that_another_has_changed_is_folded_again() {
    let scene = Scene::new(Logic::Shared, 1).await;
    scene.topic.transfer(0, "a", "b", 1);
    let host = scene.owner(Options::default()).await;
    scene.until_all_is_right().await;

    host.store.set_hold(Hold::BeforeItHappens);
    let offset = scene.topic.transfer(0, "a", "b", 20);
    host.journal.until_folded(0, offset).await;
    assert_eq!(add(&scene, "a", 1000).await, 999);
    host.store.set_hold(Hold::Nowhere);
    scene.until_next(0, 2).await;
    let (account, _) = scene.account("accounts", "a").await.expect("it exists");
    assert_eq!(account.sum, 1000 - 21);
    host.until_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_that_write_the_same_documents_end_with_the_right_sums() {
    for logic in [Logic::Shared, Logic::Both] {
        let scene = Scene::new(logic, 4).await;
        scene.topic.fill(50, 800, 6);
        let hosts = [
            scene.host(Options::default()),
            scene.host(Options::default()),
        ];
        hosts[0].group.assign(&[0, 1]).await;
        hosts[1].group.assign(&[2, 3]).await;
        scene.until_all_is_right().await;
        let (mut attempts, mut stored) = (0, 0);
        for host in &hosts {
            host.until_ready().await;
            for entry in host.journal.entries() {
                attempts += usize::from(matches!(entry, Entry::Attempted(_)));
                stored += usize::from(matches!(entry, Entry::Stored(_)));
            }
        }
        assert!(
            attempts > stored,
            "they met: {attempts} tries, {stored} stored"
        );
    }
}
