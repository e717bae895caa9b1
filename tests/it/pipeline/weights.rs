//! Documents that weigh much more than the events that shape them.

use projectionist::projection::Ownership;
use projectionist::record::Offset;
use projectionist::store::{Change, Provenance, Store, StoredDocument, Write};

use crate::faulty::intrude_all;
use crate::journal::Entry;
use crate::ledger::{Account, Logic, PLUGIN};
use crate::scene::{Options, Scene};
use crate::topic::partition_id;

const DOCUMENTS: usize = 300;

/// A tenth of what a batch may weigh.
const DOCUMENT_BYTES: usize = 100_000;

/// What a batch may weigh in a scene.
const BATCH_BYTES: usize = 1024 * 1024;

fn options() -> Options {
    Options {
        batch_events_max: 500,
        cache_bytes: 4 * BATCH_BYTES,
        ..Options::default()
    }
}

/// As partition 0 has left it, before its first event.
fn large() -> StoredDocument {
    let mut body = Account::default().body();
    body.append(bson::raw::cstr!("pad"), "x".repeat(DOCUMENT_BYTES));
    StoredDocument {
        body,
        provenance: Provenance {
            revision: 1,
            partition: partition_id(0),
            offset: Offset(0),
            plugin: PLUGIN.into(),
        },
    }
}

/// Stores a large document for each account.
async fn store_large(store: &dyn Store, scene: &Scene) {
    let (view, _) = scene.views().remove(0);
    scene.topic.skip(0, 1);
    for first in (0..DOCUMENTS).step_by(50) {
        let writes = (first..first + 50).map(|n| Write {
            view: view.clone(),
            id: format!("k{n}").into(),
            change: Change::Insert(large()),
        });
        intrude_all(store, writes.collect()).await;
    }
}

/// Events of each fold, in order.
fn folds(scene: &Scene, entries: &[Entry]) -> Vec<usize> {
    let events = scene.topic.events(0);
    let folds = entries.iter().filter_map(|entry| match entry {
        Entry::Folded(_, first, last) => {
            let folded = events
                .iter()
                .filter(|event| (*first..=*last).contains(&event.offset.0));
            Some(folded.count())
        }
        _ => None,
    });
    folds.collect()
}

/// Bytes of each read, in order.
fn loads(entries: &[Entry]) -> Vec<usize> {
    let loads = entries.iter().filter_map(|entry| match entry {
        Entry::Loaded(bytes) => Some(*bytes),
        _ => None,
    });
    loads.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_documents_are_read_about_once_and_a_batch_holds_few_of_them() {
    for logic in [Logic::ByKey, Logic::Shared] {
        let scene = Scene::new(logic, 1).await;
        store_large(&*scene.store, &scene).await;
        for n in 0..DOCUMENTS {
            // To oneself: one account a transfer, in either view.
            let key = format!("k{n}");
            scene.topic.transfer(0, &key, &key, 1);
        }
        let host = scene.owner(options()).await;
        scene.until_all_is_right().await;

        let entries = host.journal.entries();
        let loads = loads(&entries);
        let (read, most) = (loads.iter().sum::<usize>(), loads.iter().max());
        let all = DOCUMENTS * DOCUMENT_BYTES;
        assert!(read < all + all / 4, "{logic:?}: {read} bytes of {all}");
        let folds = folds(&scene, &entries);
        let views = scene.views();
        match views[0].1 {
            Ownership::ByKey => {
                let most = *most.expect("something was read");
                assert!(most < BATCH_BYTES + 2 * DOCUMENT_BYTES, "{most} at once");
                let largest = *folds.iter().max().expect("something was folded");
                assert!(largest <= BATCH_BYTES / DOCUMENT_BYTES, "{folds:?}");
            }
            // Which documents a batch reads is known when it is folded: the first one tells.
            Ownership::Shared => {
                assert!(folds[0] <= 32, "{folds:?}");
                let largest = *folds[1..].iter().max().expect("as above");
                assert!(largest <= BATCH_BYTES / DOCUMENT_BYTES, "{folds:?}");
            }
        }
        host.until_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_long_again_behind_large_documents() {
    let scene = Scene::new(Logic::ByKey, 1).await;
    store_large(&*scene.store, &scene).await;
    for n in 0..DOCUMENTS {
        scene.topic.transfer(0, &format!("k{n}"), "x", 1);
    }
    let host = scene.owner(options()).await;
    scene.until_all_is_right().await;
    for n in 0..2_000 {
        scene.topic.transfer(0, &format!("small{n}"), "x", 1);
    }
    scene.until_all_is_right().await;
    let folds = folds(&scene, &host.journal.entries());
    let largest = *folds.iter().max().expect("something was folded");
    assert!(largest > 100, "{folds:?}");
    host.until_ready().await;
}
