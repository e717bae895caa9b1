//! Other versions of the plugin: swapped in, tried, rolled back, and folded beside.

use std::collections::BTreeMap;
use std::sync::Arc;

use projectionist::pipeline::version::TrialTerms;
use projectionist_tests::wait;

use crate::faulty::Hold;
use crate::journal::Entry;
use crate::ledger::{Logic, NEXT, OTHER, PLUGIN, Trouble};
use crate::releases::{Release, report};
use crate::scene::{Host, Options, Scene};

async fn end(host: Host) {
    host.stop.cancel();
    host.ended().await.expect("it was asked to end");
}

async fn until_stored(scene: &Scene) {
    for partition in scene.topic.partitions() {
        let end = scene.topic.end(partition);
        scene.until_next(partition, end).await;
    }
}

/// Waits until so many instances were made: a domain folds nothing more then but with them.
async fn until_made(host: &Host, instances: usize) {
    wait::until("the next version to be started", async || {
        match host.releases.made() {
            made if made >= instances => Ok(()),
            made => Err(made),
        }
    })
    .await;
}

/// How many domains fold these partitions.
fn domains(logic: Logic, partitions: usize) -> usize {
    match logic {
        Logic::ByKey => partitions,
        Logic::Shared | Logic::Both => 1,
    }
}

/// The plugin that shaped each stored document last, and by which event.
async fn shaped_by(scene: &Scene, view: &str) -> Vec<(i32, i64, Arc<str>)> {
    let view = scene
        .views()
        .into_iter()
        .find(|(id, _)| &*id.name == view)
        .expect("it has this view");
    let documents = scene.store.scan(&view.0, None, usize::MAX).await;
    let documents = documents.expect("a view can be scanned");
    let shaped = documents.into_iter().map(|(_, document)| {
        let provenance = document.provenance;
        let partition = provenance.partition.partition;
        (partition, provenance.offset.0, provenance.plugin)
    });
    shaped.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_folded_by_one_version_and_the_next_takes_over_once() {
    for logic in [Logic::ByKey, Logic::Shared, Logic::Both] {
        let scene = Scene::new(logic, 3).await;
        scene.topic.fill(40, 300, 2_000);
        let host = scene.owner(Options::default()).await;
        host.journal
            .until_any("a commit", |entry| matches!(entry, Entry::Stored(_)))
            .await;
        let made = host.releases.made();
        host.releases.release(&Release::of(NEXT));
        until_made(&host, made + domains(logic, 3)).await;
        scene.topic.fill(41, 600, 2_000);
        scene.until_all_is_right().await;

        let view = scene.views()[0].0.name.to_string();
        let shaped = shaped_by(&scene, &view).await;
        let mut first_of_next: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, offset, plugin) in &shaped {
            if **plugin == *NEXT {
                let first = first_of_next.entry(*partition).or_insert(*offset);
                *first = (*first).min(*offset);
            }
        }
        assert_eq!(first_of_next.len(), 3, "every partition has changed over");
        for (partition, offset, plugin) in &shaped {
            let next = *offset >= first_of_next[partition];
            assert_eq!(&**plugin == NEXT, next, "{partition}, {offset}");
        }
        assert!(shaped.iter().any(|(_, _, plugin)| **plugin == *PLUGIN));
        end(host).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stood_still_goes_on_with_a_version_that_can_fold_it() {
    for logic in [Logic::ByKey, Logic::Shared] {
        let scene = Scene::new(logic, 2).await;
        scene.topic.fill(42, 200, 20);
        let culprit = scene.topic.events(1)[33].offset.0;
        scene.troubles.set_for(PLUGIN, 1, culprit, Trouble::Trap);
        let host = scene.owner(Options::default()).await;
        host.until_reason(&["transfers/1 stands still"]).await;

        host.releases.release(&Release::default());
        let words = [
            "transfers/1 stands still",
            "it is broken",
            "activate another",
        ];
        host.until_reason(&words).await;
        host.releases.release(&Release::of(NEXT));
        scene.until_all_is_right().await;
        host.until_ready().await;
        end(host).await;
    }
}

/// A partition may be about to stop when the next version comes, and only wait for a commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_comes_while_the_one_before_stops_is_not_missed() {
    for logic in [Logic::ByKey, Logic::Shared] {
        let scene = Scene::new(logic, 1).await;
        scene.topic.transfer(0, "a", "b", 1);
        let host = scene.owner(Options::default()).await;
        scene.until_all_is_right().await;

        host.store.set_hold(Hold::BeforeItHappens);
        let first = scene.topic.transfer(0, "a", "b", 2);
        let is_first =
            |entry: &Entry| matches!(entry, Entry::Attempted(moved) if moved[0].from == first);
        host.journal.until_any("the second commit", is_first).await;
        scene
            .troubles
            .set_for(PLUGIN, 0, first + 1, Trouble::Reject);
        scene.topic.transfer(0, "a", "b", 4);
        host.journal
            .until_any("the fault", |entry| matches!(entry, Entry::Faulted(0)))
            .await;
        let made = host.releases.made();
        host.releases.release(&Release::of(NEXT));
        until_made(&host, made + 1).await;
        host.store.set_hold(Hold::Nowhere);
        scene.until_all_is_right().await;
        host.until_ready().await;
        end(host).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_where_no_more_can_be_parked_goes_on_with_the_next_version() {
    let mut scene = Scene::new(Logic::ByKey, 1).await;
    scene.topic.fill(60, 100, 50);
    let events = scene.topic.events(0);
    for event in [&events[20], &events[21]] {
        scene
            .troubles
            .set_for(PLUGIN, 0, event.offset.0, Trouble::Reject);
    }
    assert_ne!(events[20].key(), events[21].key(), "of two keys");
    let mut options = Options::default().parking();
    options.parking.limits.keys_max = 1;
    let host = scene.owner(options).await;
    host.until_reason(&["transfers/0 stands still", "parking.keys"])
        .await;

    host.releases.release(&Release {
        withdrawn: Some(PLUGIN),
        ..Release::of(NEXT)
    });
    until_stored(&scene).await;
    scene.drained = true;
    scene.until_parked(0).await;
    scene.until_all_is_right().await;
    host.until_ready().await;
    end(host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_withdrawn_version_has_parked_is_folded_by_the_one_before() {
    for logic in [Logic::ByKey, Logic::Shared] {
        let mut scene = Scene::new(logic, 2).await;
        scene.topic.fill(43, 300, 20);
        let events = scene.topic.events(0);
        let poison = [&events[events.len() - 90], &events[events.len() - 50]];
        for (event, trouble) in poison.iter().zip([Trouble::Trap, Trouble::Reject]) {
            scene.troubles.set_for(NEXT, 0, event.offset.0, trouble);
        }
        let host = scene.host(Options::default().parking());
        host.releases.release(&Release::of(NEXT));
        host.group.assign(&scene.topic.partitions()).await;
        until_stored(&scene).await;
        let keys: std::collections::BTreeSet<_> = poison.iter().map(|event| event.key()).collect();
        for parked in scene.until_parked(keys.len()).await {
            assert_eq!(parked.entry.reason.plugin, NEXT);
        }

        host.releases.release(&Release {
            withdrawn: Some(NEXT),
            ..Release::of(PLUGIN)
        });
        scene.drained = true;
        scene.until_parked(0).await;
        scene.until_all_is_right().await;
        end(host).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_its_trial_folds_nothing_more_and_loses_nothing() {
    for logic in [Logic::ByKey, Logic::Shared] {
        for on_trap in [Trouble::Reject, Trouble::Trap] {
            let mut scene = Scene::new(logic, 1).await;
            let terms = TrialTerms {
                events: 1_000,
                faults_max: 3,
            };
            scene.topic.fill(46, 450, 100);
            for event in scene.topic.events(0) {
                if event.offset.0 >= 90 && event.offset.0 % 10 == 0 {
                    scene.troubles.set_for(NEXT, 0, event.offset.0, on_trap);
                }
            }
            let host = scene.host(Options::default().parking());
            let version = host.releases.release(&Release {
                trial: Some(terms),
                ..Release::of(NEXT)
            });
            host.group.assign(&scene.topic.partitions()).await;
            scene.topic.fill(47, 400, 100);
            let trial = version.trial.as_ref().expect("it is on trial");
            let failed = tokio::time::timeout(wait::DEADLINE, trial.failed()).await;
            let why = failed.expect("it fails");
            assert!(why.contains("no such currency"), "{why}");
            host.releases.release(&Release {
                withdrawn: Some(NEXT),
                ..Release::of(PLUGIN)
            });
            scene.drained = true;
            until_stored(&scene).await;
            scene.until_parked(0).await;
            scene.until_all_is_right().await;
            let next = scene.topic.end(0);
            let blamed = host.journal.entries().into_iter();
            let blamed = blamed.filter(|entry| matches!(entry, Entry::Faulted(0)));
            // It has not gone through hundreds of them.
            assert!(blamed.count() < 100, "of {next} events");
            end(host).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_that_stops_at_its_first_fault_is_over_with_it() {
    let scene = Scene::new(Logic::ByKey, 1).await;
    let host = scene.owner(Options::default()).await;
    scene.topic.fill(48, 50, 10);
    until_stored(&scene).await;
    let terms = TrialTerms {
        events: 1_000,
        faults_max: 100,
    };
    scene.topic.fill(49, 50, 10);
    let culprit = scene.topic.events(0).last().expect("it is full").offset.0;
    let culprit = culprit + 1;
    scene.troubles.set_for(NEXT, 0, culprit, Trouble::Trap);
    let version = host.releases.release(&Release {
        trial: Some(terms),
        ..Release::of(NEXT)
    });
    scene.topic.fill(50, 50, 10);
    let trial = version.trial.as_ref().expect("it is on trial");
    let failed = tokio::time::timeout(wait::DEADLINE, trial.failed()).await;
    failed.expect("it fails");
    host.releases.release(&Release::of(PLUGIN));
    scene.until_all_is_right().await;
    host.until_ready().await;
    end(host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_crashes_too_often_stops_until_another_version_comes() {
    for logic in [Logic::ByKey, Logic::Shared] {
        let mut scene = Scene::new(logic, 2).await;
        scene.topic.fill(51, 400, 100);
        for partition in scene.topic.partitions() {
            for event in scene.topic.events(partition).iter().step_by(9) {
                let offset = event.offset.0;
                scene
                    .troubles
                    .set_for(NEXT, partition, offset, Trouble::Trap);
            }
        }
        let host = scene.host(Options::default().parking());
        host.releases.release(&Release {
            crashes_max: Some(4),
            ..Release::of(NEXT)
        });
        host.group.assign(&scene.topic.partitions()).await;
        for partition in ["transfers/0 stands still", "transfers/1 stands still"] {
            let reason = host.until_reason(&[partition, "limits.crashes"]).await;
            assert!(reason.contains("no such currency"), "{reason}");
        }
        let parked = scene.parked().await.len();
        assert!((1..=8).contains(&parked), "{parked}");

        host.releases.release(&Release {
            withdrawn: Some(NEXT),
            ..Release::of(PLUGIN)
        });
        scene.drained = true;
        until_stored(&scene).await;
        scene.until_parked(0).await;
        scene.until_all_is_right().await;
        host.until_ready().await;
        end(host).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_is_compared_and_stores_nothing() {
    for logic in [Logic::ByKey, Logic::Shared, Logic::Both] {
        let scene = Scene::new(logic, 2).await;
        scene.topic.fill(52, 100, 20);
        let host = scene.owner(Options::default()).await;
        until_stored(&scene).await;

        let made = host.releases.made();
        let same = host.releases.release(&Release {
            candidate: Some(NEXT),
            ..Release::of(PLUGIN)
        });
        until_made(&host, made + 2 * domains(logic, 2)).await;
        scene.topic.fill(53, 200, 20);
        scene.until_all_is_right().await;
        let found = report(&same);
        assert_eq!(found.events, 200, "{found:?}");
        assert!(found.documents >= 20, "{found:?}");
        assert_eq!((found.differing, found.faults), (0, 0), "{found:?}");

        let made = host.releases.made();
        let other = host.releases.release(&Release {
            candidate: Some(OTHER),
            ..Release::of(PLUGIN)
        });
        until_made(&host, made + 2 * domains(logic, 2)).await;
        scene.topic.fill(54, 200, 20);
        scene.until_all_is_right().await;
        let found = report(&other);
        let written = found.documents;
        assert!(
            found.differing > 0 && found.differing <= written,
            "{found:?}"
        );
        assert_eq!(found.samples.len(), 10, "{found:?}");
        for sample in &found.samples {
            assert_ne!(sample.active, sample.candidate, "{sample:?}");
        }
        end(host).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_fails_disturbs_nobody_and_is_given_up() {
    let scene = Scene::new(Logic::Shared, 1).await;
    scene.topic.fill(55, 2_000, 20);
    for event in scene.topic.events(0).iter().step_by(5) {
        scene
            .troubles
            .set_for(OTHER, 0, event.offset.0, Trouble::Trap);
    }
    let host = scene.host(Options::default());
    let version = host.releases.release(&Release {
        candidate: Some(OTHER),
        ..Release::of(PLUGIN)
    });
    host.group.assign(&scene.topic.partitions()).await;
    scene.until_all_is_right().await;
    let found = report(&version);
    assert_eq!(found.faults, 100, "{found:?}");
    let given_up = found.given_up.expect("after so many");
    assert!(given_up.contains("100 batches"), "{given_up}");
    let fault = found.last_fault.expect("there were some");
    assert!(fault.contains("no such currency"), "{fault}");
    end(host).await;
}
