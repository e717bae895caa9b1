//! One host: what it knows of the partition, from its assignment to its end.

use std::collections::VecDeque;

use projectionist::parked::{self, KeyEntry};
use projectionist::pipeline::cache::Cache;
use projectionist::pipeline::dedupe::stored;
use projectionist::pipeline::queue::Item;
use projectionist::record::NextOffset;
use projectionist::store::Table;

use super::dice::Dice;
use super::mutant::Mutant;
use super::owner::{CHECKPOINT, Found, Owner};
use super::store::Store;
use super::topic::Topic;

#[derive(Debug, Default)]
pub(crate) struct Worker {
    /// Counts its assignments and claims.
    pub(crate) generation: u64,
    pub(crate) stage: Stage,
    /// What was fetched, with the generation that it was fetched for.
    queue: VecDeque<(u64, Item)>,
    /// Only for [`Mutant::ClaimKeepsTheCache`].
    kept: Option<Cache>,
}

#[derive(Debug, Default)]
pub(crate) enum Stage {
    #[default]
    Idle,
    Claiming(Claiming),
    Running(Box<Owner>),
    /// It stands still, and says why.
    Stopped(String),
}

/// A claim and what is read for it, one step after the other.
#[derive(Debug)]
pub(crate) struct Claiming {
    steps: VecDeque<ClaimStep>,
    found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimStep {
    Claim,
    LoadKeys,
    LoadSeen,
}

impl Worker {
    /// Starts to claim the partition, because the group gave it, or once more.
    pub(crate) fn assign(&mut self, mutant: Option<Mutant>) {
        use ClaimStep::{Claim, LoadKeys, LoadSeen};
        let steps = match mutant {
            Some(Mutant::ParkedKeysLoadedBeforeTheClaim) => [LoadKeys, Claim, LoadSeen],
            Some(Mutant::SeenLoadedBeforeTheClaim) => [LoadSeen, Claim, LoadKeys],
            _ => [Claim, LoadKeys, LoadSeen],
        };
        self.abandon();
        self.generation += 1;
        self.stage = Stage::Claiming(Claiming {
            steps: steps.into(),
            found: Found::default(),
        });
    }

    /// Lets go at once, whatever is under way.
    pub(crate) fn abandon(&mut self) {
        if let Stage::Running(owner) = std::mem::take(&mut self.stage) {
            self.kept = Some(owner.cache);
        }
    }

    /// Its memory is gone.
    pub(crate) fn crash(&mut self) {
        *self = Worker {
            generation: self.generation + 1,
            ..Worker::default()
        };
    }

    pub(crate) fn owner_mut(&mut self) -> Option<&mut Owner> {
        match &mut self.stage {
            Stage::Running(owner) => Some(owner),
            Stage::Idle | Stage::Claiming(_) | Stage::Stopped(_) => None,
        }
    }

    /// One step of a claim. Answers it where something was asked of the store, and whether the
    /// answer is lost: then it is asked again.
    pub(crate) fn claim_step(
        &mut self,
        store: &mut Store,
        mutant: Option<Mutant>,
        kafka: NextOffset,
        dice: &mut Dice,
    ) -> Option<ClaimStep> {
        let Stage::Claiming(Claiming { steps, found }) = &mut self.stage else {
            return None;
        };
        let step = steps.pop_front();
        let prefix = parked::keys_prefix(&CHECKPOINT);
        match step {
            Some(ClaimStep::Claim) => {
                found.claim = Some(store.claim());
                if dice.pick(8) == 7 {
                    // The answer is lost.
                    steps.push_front(ClaimStep::Claim);
                }
            }
            Some(ClaimStep::LoadKeys) => {
                let keys = store.entries(Table::ParkedKeys, &prefix);
                let keys = keys.map(|entry| KeyEntry::from_entry(entry).expect("written here"));
                found.keys = keys.collect();
            }
            Some(ClaimStep::LoadSeen) => {
                let prefix = stored::segments_prefix(&CHECKPOINT);
                let seen = store.entries(Table::Seen, &prefix);
                let seen = seen.map(|entry| stored::segment_from_entry(entry).expect("as above"));
                found.segments = seen.collect();
            }
            None => {
                let mut owner = Owner::new(mutant, std::mem::take(found), dice);
                if mutant == Some(Mutant::FetchFromKafkasOffset) {
                    owner.position = kafka;
                }
                if let Some(cache) = self.kept.take()
                    && mutant == Some(Mutant::ClaimKeepsTheCache)
                {
                    owner.cache = cache;
                }
                self.stage = Stage::Running(Box::new(owner));
            }
        }
        step
    }

    /// Fetches up to `limit` records. True where there are any.
    pub(crate) fn fetch(&mut self, topic: &Topic, end: NextOffset, limit: usize) -> bool {
        let generation = self.generation;
        let mut any = false;
        for _ in 0..limit {
            let Stage::Running(owner) = &mut self.stage else {
                break;
            };
            let Some(item) = topic.read(owner.position, end) else {
                break;
            };
            owner.position = match &item {
                Item::Event(event) => event.offset.next(),
                Item::Position(position) => *position,
                Item::Epoch(_) => owner.position,
            };
            self.queue.push_back((generation, item));
            any = true;
        }
        any
    }

    /// Takes in what was fetched. True where there is any.
    pub(crate) fn receive(&mut self, mutant: Option<Mutant>) -> bool {
        let Stage::Running(owner) = &mut self.stage else {
            return false;
        };
        let any = !self.queue.is_empty();
        for (generation, item) in self.queue.drain(..) {
            if generation == self.generation || mutant == Some(Mutant::OldRecordsTaken) {
                owner.receive(item);
            }
        }
        any
    }
}
