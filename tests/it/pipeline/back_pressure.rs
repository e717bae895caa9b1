//! Queues are bounded; a slow store slows the source down.

use projectionist::pipeline::queue::Limits;

use crate::faulty::Hold;
use crate::journal::Entry;
use crate::ledger::Logic;
use crate::scene::{Options, Scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_answer_pauses_the_source_until_it_does() {
    let event_bytes = {
        let topic = crate::topic::Topic::new(1);
        topic.transfer(0, "k0", "k1", 1);
        topic.events(0)[0].size_bytes()
    };
    let limits = [
        (
            "by count",
            Limits {
                events_max: 100,
                bytes_max: usize::MAX,
            },
        ),
        (
            "by bytes",
            Limits {
                events_max: usize::MAX / 2,
                bytes_max: 100 * event_bytes,
            },
        ),
    ];
    for logic in [Logic::ByKey, Logic::Shared] {
        for (name, queue) in limits {
            let queue = Limits {
                events_max: queue.events_max.min(10_000),
                ..queue
            };
            let scene = Scene::new(logic, 1).await;
            for _ in 0..1000 {
                scene.topic.transfer(0, "k0", "k1", 1);
            }
            let host = scene.host(Options {
                queue,
                ..Options::default()
            });
            host.store.set_hold(Hold::BeforeItHappens);
            host.group.assign(&[0]).await;
            host.journal
                .until_any("a full queue", |entry| *entry == Entry::Full(0))
                .await;
            // What is folded frees no room.
            host.journal.until_folded(0, 10).await;
            let sent = |entries: &[Entry]| {
                let sent = entries.iter();
                sent.filter(|entry| matches!(entry, Entry::Sent(..)))
                    .count()
            };
            assert_eq!(sent(&host.journal.entries()), 100, "{name}");

            host.store.set_hold(Hold::Nowhere);
            scene.until_all_is_right().await;
            let entries = host.journal.entries();
            assert!(entries.contains(&Entry::Resumed(0)), "{name}");
            assert_eq!(sent(&entries), 1000, "{name}: each event was sent once");
            assert_bounded(name, &entries);
        }
    }
}

/// At no time more than a queueful of events was anywhere in the pipeline.
fn assert_bounded(name: &str, entries: &[Entry]) {
    let (mut sent, mut stored) = (0, 0);
    for entry in entries {
        match entry {
            Entry::Sent(_, offset) => sent = offset + 1,
            Entry::Stored(moved) => stored = moved[0].to,
            _ => {}
        }
        assert!(sent - stored <= 100, "{name}: {sent} sent, {stored} stored");
    }
}
