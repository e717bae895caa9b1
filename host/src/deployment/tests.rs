use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::store::embedded::EmbeddedStore;

struct Place {
    deployments: Deployments,
    _folder: TempDir,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("the test needs a temporary folder");
    let store = EmbeddedStore::open(&folder.path().join("store.db"));
    let store = store.expect("a file in an empty folder can be opened");
    Place {
        deployments: Deployments::new(Arc::new(store), "orders".into()),
        _folder: folder,
    }
}

fn grounds() -> Grounds {
    Grounds {
        by: "ada".to_owned(),
        reason: "a test".to_owned(),
    }
}

async fn start(place: &Place, plugin: &str) -> Revision {
    let started = place.deployments.start(plugin, &grounds()).await;
    started.expect("the store is in order")
}

async fn decide(place: &Place, decision: Decision) -> Result<Revision, Error> {
    place.deployments.decide(&decision, &grounds()).await
}

fn activate(plugin: &str) -> Decision {
    Decision::Activate(plugin.to_owned())
}

#[tokio::test]
async fn what_was_activated_stays_until_the_configuration_names_another_file() {
    let place = place();
    assert_eq!(start(&place, "a").await.number, 1);
    assert_eq!(start(&place, "a").await.number, 1, "nothing is new");
    let activated = decide(&place, activate("b")).await.expect("in order");
    assert_eq!((activated.number, &*activated.active), (2, "b"));
    assert_eq!(start(&place, "a").await, activated);

    let configured = start(&place, "c").await;
    assert_eq!((configured.number, &*configured.active), (3, "c"));
    let back = decide(&place, Decision::Rollback).await.expect("in order");
    assert_eq!(back.active, "b");
    assert_eq!(back.withdrawn.as_deref(), Some("c"));
    assert_eq!(start(&place, "c").await, back);

    // What was activated and built into the configuration then is no change of what runs.
    let built_in = start(&place, "b").await;
    assert_eq!((&*built_in.active, built_in.before), ("b", back.before));
    let back = decide(&place, Decision::Rollback).await.expect("in order");
    assert_eq!(back.active, "a");
}

#[tokio::test]
async fn a_rollback_goes_further_each_time() {
    let place = place();
    start(&place, "a").await;
    for plugin in ["b", "c", "d"] {
        let shadowed = decide(&place, Decision::Shadow(Some(plugin.to_owned()))).await;
        let shadowed = shadowed.expect("in order");
        assert_eq!(shadowed.candidate.as_deref(), Some(plugin));
        assert_ne!(shadowed.active, plugin);
        let activated = decide(&place, activate(plugin)).await.expect("in order");
        assert_eq!(activated.candidate, None);
    }
    for plugin in ["c", "b", "a"] {
        let back = decide(&place, Decision::Rollback).await.expect("in order");
        assert_eq!(back.active, plugin);
    }
    let error = decide(&place, Decision::Rollback).await;
    let error = error.expect_err("nothing is before the first");
    assert!(matches!(error, Error::NothingBefore(_)), "{error}");
}

#[tokio::test]
async fn what_changes_nothing_is_refused() {
    let place = place();
    let error = decide(&place, activate("a"))
        .await
        .expect_err("no host yet");
    assert!(error.to_string().contains("start a host"), "{error}");
    start(&place, "a").await;
    for decision in [activate("a"), Decision::Shadow(Some("a".to_owned()))] {
        let error = decide(&place, decision).await.expect_err("it runs");
        assert!(matches!(error, Error::Active { .. }), "{error}");
    }
    let error = decide(&place, Decision::Shadow(None)).await;
    assert!(matches!(error, Err(Error::NoCandidate(_))));
    decide(&place, activate("b")).await.expect("in order");
    let late = decide(&place, Decision::RollbackFrom(1)).await;
    assert!(matches!(late, Err(Error::Superseded(_))));
    let shadow = Decision::Shadow(Some("c".to_owned()));
    decide(&place, shadow).await.expect("in order");
    let back = decide(&place, Decision::RollbackFrom(2)).await;
    assert_eq!(back.expect("nothing else folds since").active, "a");
    let late = decide(&place, Decision::RollbackFrom(2)).await;
    assert!(matches!(late, Err(Error::Superseded(_))));
}

#[tokio::test]
async fn of_those_who_decide_at_once_each_makes_a_revision() {
    let place = place();
    start(&place, "a").await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..10 {
        let deployments = place.deployments.clone();
        tasks.spawn(async move {
            let decision = Decision::Activate(format!("b{number}"));
            deployments.decide(&decision, &grounds()).await
        });
    }
    let made = tasks.join_all().await;
    let mut numbers: Vec<u64> = made
        .into_iter()
        .map(|made| made.expect("there is room for each").number)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (2..12).collect::<Vec<u64>>());
    let all = place.deployments.after(0).await.expect("in order");
    assert_eq!(all.len(), 11);
    let some = place.deployments.after(7).await.expect("in order");
    assert_eq!(some, all[7..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A stack of plugins is the model: what runs is on top.
    #[test]
    fn activations_and_rollbacks_are_a_stack(decisions in prop::collection::vec(0..5_u8, 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be built").block_on(async {
            let place = place();
            let mut stack = vec!["0".to_owned()];
            start(&place, "0").await;
            for decision in decisions {
                let top = stack.last().expect("there is one").clone();
                let made = match decision {
                    0 => {
                        let made = decide(&place, Decision::Rollback).await;
                        prop_assert_eq!(made.is_ok(), stack.len() > 1);
                        if stack.len() > 1 {
                            stack.pop();
                        }
                        made
                    }
                    plugin => {
                        let made = decide(&place, activate(&plugin.to_string())).await;
                        prop_assert_eq!(made.is_ok(), top != plugin.to_string());
                        if made.is_ok() {
                            stack.push(plugin.to_string());
                        }
                        made
                    }
                };
                let newest = place.deployments.newest().await.expect("in order");
                let newest = newest.expect("there is one");
                if let Ok(made) = made {
                    prop_assert_eq!(&made, &newest);
                }
                prop_assert_eq!(&newest.active, stack.last().expect("there is one"));
            }
            Ok(())
        })?;
    }
}
