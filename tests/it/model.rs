//! The commit protocol as a state machine: every crash, pause and loss, by the hundred thousand.
//!
//! Two hosts, a topic and a store in memory, and a network that loses, delays and repeats. A
//! schedule is a list of decisions: which of them does its next step, what becomes of a message,
//! when the group moves the partition, when a host crashes, when a user asks for a parked key to
//! be drained. The hosts work with the real `Partition`, `Sieve`, `Cache` and `Pending`, and take
//! the steps of `pipeline::domain` and `pipeline::runner`, one at a time.
//!
//! After every commit and at every claim: what the store holds is a plain fold of the events
//! before the checkpoint, less those that are parked, and the parked events of a key are its last
//! ones, in order and complete. Only the last claimer stores anything. In the end, everything is
//! folded.
//!
//! Each [`Mutant`] is the protocol without one of its parts; the same schedules must find it out.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[path = "model/audit.rs"]
mod audit;
#[path = "model/commit.rs"]
mod commit;
#[path = "model/dice.rs"]
mod dice;
#[path = "model/mutant.rs"]
mod mutant;
#[path = "model/owner.rs"]
mod owner;
#[path = "model/repair.rs"]
mod repair;
#[path = "model/store.rs"]
mod store;
#[path = "model/topic.rs"]
mod topic;
#[path = "model/worker.rs"]
mod worker;
#[path = "model/world.rs"]
mod world;

use mutant::Mutant;
use topic::{Sketch, Topic, sketches};
use world::{Tally, World};

const SCHEDULES: u32 = 100_000;

/// Another seed tries other schedules: `PROJECTIONIST_MODEL_SEED=7 make test ARGS='--test model'`.
const SEED: &str = "PROJECTIONIST_MODEL_SEED";

/// What happens, from an empty store to its end.
#[derive(Clone, Debug)]
struct Schedule {
    sketches: Vec<Sketch>,
    gap: u8,
    decisions: Vec<u16>,
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let gap = prop_oneof![2 => Just(0u8), 1 => 1..4u8];
    let parts = (sketches(), gap, vec(any::<u16>(), 50..400));
    parts.prop_map(|(sketches, gap, decisions)| Schedule {
        sketches,
        gap,
        decisions,
    })
}

fn runner(cases: u32, stream: u64) -> TestRunner {
    let seed: u64 = std::env::var(SEED).map_or(0, |seed| seed.parse().expect("a number"));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&stream.to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

impl Schedule {
    /// # Errors
    /// With what is wrong.
    fn run(&self, mutant: Option<Mutant>) -> Result<Tally, String> {
        let topic = Topic::new(&self.sketches, self.gap);
        let mut world = World::new(&topic, &self.decisions, mutant);
        world.run().map(|()| world.tally)
    }

    /// The same once more, with everything that happens.
    fn explain(&self) -> String {
        let topic = Topic::new(&self.sketches, self.gap);
        let mut world = World::new(&topic, &self.decisions, None).traced();
        // Only what happens on the way is wanted: the result is known.
        drop(world.run());
        world.trace()
    }
}

#[test]
fn whatever_happens_the_store_holds_the_plain_fold() {
    let tally = Cell::new(Tally::default());
    let result = runner(SCHEDULES, 0).run(&schedules(), |schedule| {
        let run = schedule.run(None).map_err(|wrong| {
            TestCaseError::fail(format!("{wrong}, after\n{}", schedule.explain()))
        })?;
        tally.set(tally.get() + run);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    println!("{SCHEDULES} schedules: {:?}", tally.get());
    tally.get().assert_many();
}

#[test]
fn every_mutant_is_found_out() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        let started = Instant::now();
        match found_out(mutant) {
            Some((schedules, how)) => {
                println!("{mutant:?}: {schedules} {:?} {how}", started.elapsed())
            }
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "not found out: {missed:?}");
}

/// After how many schedules, and how.
fn found_out(mutant: Mutant) -> Option<(u32, String)> {
    let mut runner = runner(1, 1);
    let strategy = schedules();
    for number in 1..=SCHEDULES {
        let schedule = strategy
            .new_tree(&mut runner)
            .expect("a schedule can be made")
            .current();
        let run = catch_unwind(AssertUnwindSafe(|| schedule.run(Some(mutant))));
        match run {
            Ok(Ok(_)) => {}
            Ok(Err(wrong)) => return Some((number, wrong)),
            Err(_) => return Some((number, "a panic".to_owned())),
        }
    }
    None
}
