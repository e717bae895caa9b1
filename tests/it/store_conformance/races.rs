//! What holds when hosts meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use projectionist::record::Offset;
use projectionist::store::{CommitError, Guard, Store, StoredDocument, Table};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use crate::fixtures::{
    Batch, State, aircraft, claim, document, entry, entry_mismatched, fenced, load, owner,
    partition, value,
};
use crate::site::Site;

/// A race in which nobody is overtaken shows nothing.
const FENCES_MIN: usize = 10;
const ROUNDS_MIN: usize = 200;
const ROUNDS_MAX: usize = 50_000;

pub(crate) async fn concurrent_commits_of_different_partitions_all_land(site: Arc<Site>) {
    const PARTITIONS: i32 = 4;
    const COMMITS: i64 = 25;
    let hosts = [site.host().await, site.host().await];
    hosts[0]
        .prepare(&[aircraft()])
        .await
        .expect("a view can be prepared");

    let mut owners = JoinSet::new();
    for number in 0..PARTITIONS {
        let host = Arc::clone(&hosts[usize::from(number % 2 == 1)]);
        owners.spawn(async move {
            let epoch = claim(&host, &partition(number)).await.epoch;
            for offset in 0..COMMITS {
                let batch = Batch::over(&partition(number), epoch, offset..offset + 1)
                    .insert(&format!("{number}/{offset}"), &document(offset));
                batch
                    .store(&host)
                    .await
                    .expect("each has its own partition");
            }
        });
    }
    owners.join_all().await;

    let state = State::of(&site).await;
    for number in 0..4 {
        assert_eq!(state.next(number), COMMITS);
    }
    assert_eq!(state.documents.len(), 100);
}

/// Either the claimer reads what the commit left, or the commit is fenced: 200 times.
pub(crate) async fn a_claim_and_a_commit_never_cross(site: Arc<Site>) {
    let mut random = StdRng::seed_from_u64(7);
    let (mut holder, mut epoch) = owner(&site).await;
    let mut claimer = site.host().await;
    let mut stored = 0;
    let mut fences = 0;
    for round in 0..200 {
        let mut new = document(round);
        new.provenance.offset = Offset(stored);
        let batch = Batch::over(&partition(0), epoch, stored..stored + 1);
        let batch = match stored {
            0 => batch.insert("a", &new),
            _ => batch.update("a", &new, Guard::SoleWriter),
        };
        let mut head_start = || Duration::from_millis(random.random_range(0..4));
        let (committer_waits, claimer_waits) = (head_start(), head_start());
        let committing = async {
            tokio::time::sleep(committer_waits).await;
            batch.store(&holder).await
        };
        let claiming = async {
            tokio::time::sleep(claimer_waits).await;
            claim(&claimer, &partition(0)).await
        };
        let (outcome, claim) = tokio::join!(committing, claiming);

        match outcome {
            Ok(()) => stored += 1,
            lost => {
                assert_eq!(fenced(lost), [0]);
                fences += 1;
            }
        }
        assert_eq!(claim.next.0, stored, "round {round}");
        let found = load(&claimer, &["a"]).await;
        let offset = found[0].as_ref().map(|d| d.provenance.offset.0);
        assert_eq!(offset, (stored > 0).then(|| stored - 1), "round {round}");

        std::mem::swap(&mut holder, &mut claimer);
        epoch = claim.epoch;
    }
    assert!(stored > 0 && fences > 0, "{stored} stored, {fences} fenced");
}

/// Two hosts take a partition from each other at random and count its events in one document,
/// each from what it read when it claimed. An event that is lost or counted twice shows.
pub(crate) async fn of_racing_owners_each_event_is_counted_once(site: Arc<Site>) {
    let (store, _) = owner(&site).await;
    let fences = Arc::new(AtomicUsize::new(0));
    let mut hosts = JoinSet::new();
    for seed in 0..2 {
        let (host, fences) = (site.host().await, Arc::clone(&fences));
        let random = StdRng::seed_from_u64(seed);
        hosts.spawn(async move { race(&host, random, &fences).await });
    }
    let mut stored: Vec<StoredRun> = hosts.join_all().await.into_iter().flatten().collect();
    assert!(fences.load(Ordering::SeqCst) >= FENCES_MIN, "too few met");

    stored.sort_by_key(|run| run.from);
    let mut end = 0;
    let mut epoch = 0;
    for run in &stored {
        assert_eq!(run.from, end, "{stored:?}");
        assert!(run.epoch >= epoch, "{stored:?}");
        (end, epoch) = (run.to, run.epoch);
    }
    let state = State::seen_by(&store).await;
    let counter = state.document("counter").expect("somebody has committed");
    assert_eq!((state.next(0), value(counter)), (end, end));
    let revisions = i64::try_from(stored.len()).expect("it is small");
    assert_eq!(counter.provenance.revision, revisions);
}

/// What keeps an event out that arrives in two partitions: each takes its id for a new one.
pub(crate) async fn of_concurrent_inserts_of_an_entry_exactly_one_is_stored(site: Arc<Site>) {
    const INSERTS: i64 = 25;
    let (store, _) = owner(&site).await;
    let hosts = [store, site.host().await];
    let mut epochs = Vec::new();
    for (number, host) in (0..).zip(&hosts) {
        epochs.push(claim(host, &partition(number)).await.epoch);
    }
    let mut nexts = [0, 0];
    for number in 0..INSERTS {
        let id = format!("id {number}");
        let insert = |at: i32| {
            let index = usize::from(at == 1);
            Batch::over(
                &partition(at),
                epochs[index],
                nexts[index]..nexts[index] + 1,
            )
            .insert(&format!("{at}/{number}"), &document(number))
            .insert_entry(&entry(Table::SeenIds, &id, i64::from(at)))
        };
        let (first, second) = (insert(0), insert(1));
        let (first, second) = tokio::join!(first.store(&hosts[0]), second.store(&hosts[1]));
        let (winner, lost) = match (first, second) {
            (Ok(()), lost) => (0, lost),
            (lost, Ok(())) => (1, lost),
            neither => panic!("one of two goes through, not {neither:?}"),
        };
        assert_eq!(entry_mismatched(lost), (Table::SeenIds, id));
        nexts[winner] += 1;
    }
    let state = State::of(&site).await;
    assert_eq!([state.next(0), state.next(1)], nexts);
    assert_eq!(state.documents.len(), 25);
    assert_eq!(state.entries.len(), 25);
    for entry in &state.entries {
        let winner = entry.body.get_i64("value").expect("every fixture has one");
        let document = entry.id.replace("id ", &format!("{winner}/"));
        assert!(state.document(&document).is_some(), "{document}");
    }
}

/// A commit that was reported as stored.
#[derive(Debug)]
struct StoredRun {
    epoch: i64,
    from: i64,
    to: i64,
}

/// Goes on until the hosts have got into each other's way often enough, and answers what was
/// stored. `fences` counts that for both.
async fn race(host: &Arc<dyn Store>, mut random: StdRng, fences: &AtomicUsize) -> Vec<StoredRun> {
    let mut stored = Vec::new();
    let mut owned = None;
    for round in 0..ROUNDS_MAX {
        if round >= ROUNDS_MIN && fences.load(Ordering::SeqCst) >= FENCES_MIN {
            break;
        }
        let (epoch, from, counter) = match owned.take() {
            Some(state) if !random.random_bool(0.1) => state,
            _ => {
                let claim = claim(host, &partition(0)).await;
                let counter = load(host, &["counter"]).await.swap_remove(0);
                (claim.epoch, claim.next.0, counter)
            }
        };
        let to = from + random.random_range(1..10);
        let (batch, counted) = count(
            Batch::over(&partition(0), epoch, from..to),
            counter,
            to - from,
        );
        match batch.store(host).await {
            Ok(()) => {
                stored.push(StoredRun {
                    epoch: epoch.0,
                    from,
                    to,
                });
                owned = Some((epoch, to, Some(counted)));
            }
            Err(CommitError::Fenced { .. }) => {
                fences.fetch_add(1, Ordering::SeqCst);
            }
            Err(other) => panic!("only a fence may stop a commit, not {other}"),
        }
    }
    stored
}

/// Adds to the counter that this host knows.
fn count(batch: Batch, known: Option<StoredDocument>, events: i64) -> (Batch, StoredDocument) {
    match known {
        None => {
            let counted = document(events);
            (batch.insert("counter", &counted), counted)
        }
        Some(known) => {
            let mut counted = document(value(&known) + events);
            counted.provenance.revision = known.provenance.revision + 1;
            let batch = batch.update("counter", &counted, Guard::SoleWriter);
            (batch, counted)
        }
    }
}
