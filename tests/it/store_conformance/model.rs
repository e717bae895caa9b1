//! Random histories of two hosts, compared step by step with a model that is obviously right.

use std::collections::BTreeMap;
use std::sync::Arc;

use projectionist::projection::DocumentId;
use projectionist::record::{Epoch, NextOffset, Offset};
use projectionist::store::{
    Advance, Change, CheckpointId, Claim, Commit, CommitError, Entry, EntryChange, Guard,
    Provenance, Repairs, Store, StoredDocument, Table,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::fixtures::{Batch, State, aircraft, claim, document, entry, load, page, partition};
use crate::site::Site;

const HISTORIES: u64 = 8;
const STEPS: usize = 60;
const PARTITIONS: i32 = 2;
const IDS: [&str; 3] = ["a", "b", "c"];
const TABLE: Table = Table::Parked;

pub(crate) async fn a_random_history_ends_as_the_model_says(site: Arc<Site>) {
    let hosts = [site.host().await, site.host().await];
    hosts[0]
        .prepare(&[aircraft()])
        .await
        .expect("a view can be prepared");
    let mut model = Model::default();
    for seed in 0..HISTORIES {
        let mut random = StdRng::seed_from_u64(seed);
        let mut last = Batch::default();
        for step in 0..STEPS {
            let at = format!("history {seed}, step {step}");
            let host = hosts.choose(&mut random).expect("there are two");
            match random.random_range(0..10) {
                0 => {
                    let checkpoint = partition(random.random_range(0..PARTITIONS));
                    let expected = model.claim(&checkpoint);
                    assert_eq!(claim(host, &checkpoint).await, expected, "{at}");
                }
                1 => {
                    let outcome = told(last.store(host).await);
                    assert_eq!(outcome, model.commit(&last.0), "{at}: again {last:?}");
                }
                _ => {
                    last = model.random_batch(&mut random);
                    let outcome = told(last.store(host).await);
                    assert_eq!(outcome, model.commit(&last.0), "{at}: {last:?}");
                }
            }
            model.compare(host, &at).await;
        }
    }
    assert_eq!(model.outcomes.len(), 4, "{:?}", model.outcomes);
    let repaired = model.checkpoints.values().any(|claim| claim.repairs > 0);
    assert!(repaired, "no commit left its position");
    let state = State::of(&site).await;
    assert_eq!(state.documents, model.documents());
    assert_eq!(state.entries, model.entries());
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Stored,
    Fenced(Vec<CheckpointId>),
    Mismatch(DocumentId),
    EntryMismatch(Arc<str>),
}

fn told(outcome: Result<(), CommitError>) -> Outcome {
    match outcome {
        Ok(()) => Outcome::Stored,
        Err(CommitError::Fenced { mut checkpoints }) => {
            checkpoints.sort();
            Outcome::Fenced(checkpoints)
        }
        Err(CommitError::Mismatch { id, .. }) => Outcome::Mismatch(id),
        Err(CommitError::EntryMismatch { id, .. }) => Outcome::EntryMismatch(id),
        Err(other) => panic!("the store is in order, yet answers {other:?}"),
    }
}

#[derive(Default)]
struct Model {
    checkpoints: BTreeMap<CheckpointId, Claim>,
    documents: BTreeMap<DocumentId, StoredDocument>,
    entries: BTreeMap<Arc<str>, Entry>,
    /// How often each kind of outcome came up: a history without fences proves little.
    outcomes: BTreeMap<&'static str, usize>,
}

impl Model {
    fn claim(&mut self, checkpoint: &CheckpointId) -> Claim {
        let none = Claim {
            epoch: Epoch(0),
            next: NextOffset::ZERO,
            repairs: 0,
        };
        let claim = self.checkpoints.entry(checkpoint.clone()).or_insert(none);
        claim.epoch.0 += 1;
        *claim
    }

    fn commit(&mut self, commit: &Commit) -> Outcome {
        let outcome = self.decide(commit);
        let kind = match outcome {
            Outcome::Stored => "stored",
            Outcome::Fenced(_) => "fenced",
            Outcome::Mismatch(_) => "mismatch",
            Outcome::EntryMismatch(_) => "entry mismatch",
        };
        *self.outcomes.entry(kind).or_default() += 1;
        outcome
    }

    fn decide(&mut self, commit: &Commit) -> Outcome {
        let stands_at = |advance: &Advance, next, repairs| {
            let claim = Claim {
                epoch: advance.epoch,
                next,
                repairs,
            };
            self.checkpoints.get(&advance.checkpoint) == Some(&claim)
        };
        let is_done = |a: &Advance| stands_at(a, a.to, a.repairs.to);
        if commit.advances.iter().all(is_done) {
            return Outcome::Stored;
        }
        let is_lost = |a: &&Advance| !stands_at(a, a.from, a.repairs.from);
        let lost = commit.advances.iter().filter(is_lost);
        let mut lost: Vec<CheckpointId> = lost.map(|a| a.checkpoint.clone()).collect();
        if !lost.is_empty() {
            lost.sort();
            return Outcome::Fenced(lost);
        }
        let mut documents = self.documents.clone();
        for write in &commit.writes {
            let matches = |guard: &Guard, old: &StoredDocument| match guard {
                Guard::SoleWriter => true,
                Guard::Unchanged(provenance) => old.provenance == *provenance,
            };
            let old = documents.get(&write.id);
            let matched = match &write.change {
                Change::Insert(_) => old.is_none(),
                Change::Update { guard, .. } | Change::Delete { guard } => {
                    old.is_some_and(|old| matches(guard, old))
                }
            };
            if !matched {
                return Outcome::Mismatch(write.id.clone());
            }
            match &write.change {
                Change::Insert(document) | Change::Update { document, .. } => {
                    documents.insert(write.id.clone(), document.clone());
                }
                Change::Delete { .. } => {
                    documents.remove(&write.id);
                }
            }
        }
        let mut entries = self.entries.clone();
        for change in &commit.entries {
            let id = Arc::clone(change.id());
            let (existed, inserted) = match change {
                EntryChange::Insert(new) => (entries.insert(id, new.clone()), true),
                EntryChange::Replace(new) => (entries.insert(id, new.clone()), false),
                EntryChange::Remove { id, .. } => (entries.remove(id), false),
            };
            if existed.is_some() == inserted {
                return Outcome::EntryMismatch(Arc::clone(change.id()));
            }
        }
        self.documents = documents;
        self.entries = entries;
        for Advance {
            checkpoint,
            epoch,
            to,
            repairs,
            ..
        } in &commit.advances
        {
            let moved = Claim {
                epoch: *epoch,
                next: *to,
                repairs: repairs.to,
            };
            self.checkpoints.insert(checkpoint.clone(), moved);
        }
        Outcome::Stored
    }

    /// A commit that is mostly right: each part of it is wrong now and then. At most one document
    /// or entry is, so that which one the store names is certain.
    fn random_batch(&self, random: &mut StdRng) -> Batch {
        let mut batch = Batch::default();
        let first = random.random_range(0..PARTITIONS);
        for number in first..random.random_range(first..PARTITIONS) + 1 {
            let known = self.checkpoints.get(&partition(number)).copied();
            let (mut epoch, mut from) = known.map_or((1, 0), |c| (c.epoch.0, c.next.0));
            let mut repairs = known.map_or(0, |c| c.repairs);
            if random.random_bool(0.1) {
                epoch -= 1;
            }
            if random.random_bool(0.1) {
                from += 1;
            }
            if random.random_bool(0.05) {
                repairs += 1;
            }
            let repaired = random.random_bool(0.2);
            let to = from + random.random_range(i64::from(!repaired)..4);
            batch = batch.and_over(&partition(number), Epoch(epoch), from..to);
            let advance = batch.0.advances.last_mut().expect("it was just made");
            advance.repairs = Repairs {
                from: repairs,
                to: repairs + i64::from(repaired),
            };
        }
        let wrong = random
            .random_bool(0.2)
            .then(|| random.random_range(0..2 * IDS.len()));
        for (index, id) in IDS.into_iter().enumerate() {
            if wrong == Some(index) {
                batch = batch.write(id, self.wrong_change(random, id));
            } else if random.random_bool(0.6) {
                batch = batch.write(id, self.right_change(random, id));
            }
        }
        for (index, id) in IDS.into_iter().enumerate() {
            let is_wrong = wrong == Some(IDS.len() + index);
            if is_wrong || random.random_bool(0.4) {
                let expected = self.entries.contains_key(id) != is_wrong;
                batch = batch.change(entry_change(random, id, expected));
            }
        }
        batch
    }

    fn right_change(&self, random: &mut StdRng, id: &str) -> Change {
        let mut new = document(random.random_range(0..1000));
        new.provenance.offset = Offset(random.random_range(0..1000));
        let Some(old) = self.documents.get(id) else {
            return Change::Insert(new);
        };
        new.provenance.revision = old.provenance.revision + 1;
        let guard = match random.random_bool(0.5) {
            true => Guard::SoleWriter,
            false => Guard::Unchanged(old.provenance.clone()),
        };
        match random.random_bool(0.7) {
            true => Change::Update {
                document: new,
                guard,
            },
            false => Change::Delete { guard },
        }
    }

    fn wrong_change(&self, random: &mut StdRng, id: &str) -> Change {
        let new = document(random.random_range(0..1000));
        match (self.documents.get(id), random.random_bool(0.5)) {
            (Some(_), true) => Change::Insert(new),
            (Some(old), false) => Change::Update {
                document: new,
                guard: Guard::Unchanged(Provenance {
                    offset: Offset(old.provenance.offset.0 + 1),
                    ..old.provenance.clone()
                }),
            },
            (None, true) => Change::Update {
                document: new,
                guard: Guard::SoleWriter,
            },
            (None, false) => Change::Delete {
                guard: Guard::SoleWriter,
            },
        }
    }

    async fn compare(&self, host: &Arc<dyn Store>, at: &str) {
        let expected: Vec<Option<StoredDocument>> = IDS
            .iter()
            .map(|id| self.documents.get(*id).cloned())
            .collect();
        assert_eq!(load(host, &IDS).await, expected, "{at}");
        let entries = page(host, TABLE, "", None, usize::MAX).await;
        assert_eq!(entries, self.entries(), "{at}");
        for number in 0..PARTITIONS {
            let found = host.checkpoint(&partition(number)).await;
            let found = found.expect("a checkpoint can be read");
            let expected = self.checkpoints.get(&partition(number)).copied();
            assert_eq!(found, expected, "{at}");
        }
    }

    fn documents(&self) -> Vec<(DocumentId, StoredDocument)> {
        let documents = self.documents.iter();
        documents.map(|(id, d)| (id.clone(), d.clone())).collect()
    }

    fn entries(&self) -> Vec<Entry> {
        self.entries.values().cloned().collect()
    }
}

/// A change of an entry that the writer takes to exist or not.
fn entry_change(random: &mut StdRng, id: &str, exists: bool) -> EntryChange {
    let entry = entry(TABLE, id, random.random_range(0..1000));
    match (exists, random.random_bool(0.5)) {
        (false, _) => EntryChange::Insert(entry),
        (true, true) => EntryChange::Replace(entry),
        (true, false) => EntryChange::Remove {
            table: entry.table,
            id: entry.id,
        },
    }
}
