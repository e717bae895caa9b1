//! Random histories of two hosts that take partitions from one another while their store fails.
//!
//! Whatever happened, the documents end as the plain fold has them.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::task::{JoinSet, LocalSet};

use crate::faulty::{Hold, Mode, Weather};
use crate::journal::Entry;
use crate::ledger::{Logic, Trouble};
use crate::scene::{Host, Options, Scene};

const HISTORIES: u64 = 25;
const STEPS: usize = 40;
const PARTITIONS: i32 = 4;

/// What the topics hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Clean,
    /// Events that came before, and events that the plugin cannot fold until the end.
    RepeatsAndPoison,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_and_rebalances_end_as_the_plain_fold() {
    run_all(Input::Clean).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_they_do_with_repeated_events_and_parked_ones_that_are_drained() {
    run_all(Input::RepeatsAndPoison).await;
}

async fn run_all(input: Input) {
    // The histories wait on one thread; their hosts run on all.
    let all = LocalSet::new();
    all.run_until(async {
        let mut histories: JoinSet<Astray> = JoinSet::new();
        for logic in [Logic::ByKey, Logic::Shared, Logic::Both] {
            for seed in 0..HISTORIES {
                histories.spawn_local(async move {
                    println!("{logic:?}, history {seed}");
                    History::run(logic, input, seed).await
                });
            }
        }
        let mut astray = Astray::default();
        while let Some(history) = histories.join_next().await {
            let more =
                history.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
            astray.commits += more.commits;
            astray.batches += more.batches;
        }
        // Histories in which nothing went wrong would prove little.
        assert!(astray.commits > 0 && astray.batches > 0, "{astray:?}");
    })
    .await;
}

/// What came to nothing and was done again.
#[derive(Debug, Default)]
struct Astray {
    commits: usize,
    batches: usize,
}

struct History {
    scene: Scene,
    hosts: [Host; 2],
    /// Whose partition it is, as an index into the hosts.
    owners: Vec<usize>,
    /// How often each host was told to give up each partition.
    revocations: [[usize; PARTITIONS as usize]; 2],
    random: StdRng,
    input: Input,
    seed: u64,
}

impl History {
    async fn run(logic: Logic, input: Input, seed: u64) -> Astray {
        let scene = Scene::new(logic, PARTITIONS).await;
        let options = Options {
            drain_timeout: Duration::from_millis(50),
            lanes: lanes_of(seed),
            // In every other history there is room to read ahead.
            cache_bytes: [2048, 1 << 20][usize::from(seed.is_multiple_of(2))],
            ..Options::default()
        };
        let options = match input {
            Input::Clean => options,
            Input::RepeatsAndPoison => options.parking(),
        };
        let mut history = History {
            hosts: [scene.host(options.clone()), scene.host(options)],
            scene,
            owners: vec![0, 0, 1, 1],
            revocations: [[0; PARTITIONS as usize]; 2],
            random: StdRng::seed_from_u64(seed),
            input,
            seed,
        };
        history.hosts[0].group.assign(&[0, 1]).await;
        history.hosts[1].group.assign(&[2, 3]).await;
        for step in 0..STEPS {
            history.step(step).await;
        }
        for host in &history.hosts {
            host.store.set_weather(None);
            host.store.set_hold(Hold::Nowhere);
            host.store.set_mode(Mode::Up);
        }
        if input == Input::RepeatsAndPoison {
            history.drain().await;
        }
        history.scene.until_all_is_right().await;
        let mut astray = Astray::default();
        for host in history.hosts {
            astray.add(&host.journal.entries(), lanes_of(history.seed));
            host.stop.cancel();
            host.ended().await.expect("it was asked to end");
        }
        history.scene.assert_right().await;
        astray
    }

    async fn step(&mut self, step: usize) {
        let seed = self.seed * 1000 + u64::try_from(step).expect("steps are few");
        match self.random.random_range(0..8) {
            0 | 1 => self.fill(seed),
            2 => self.change_weather(seed),
            3 => {
                let modes = [Mode::Up, Mode::Up, Mode::Away, Mode::Silent];
                let mode = *modes.choose(&mut self.random).expect("there are some");
                self.host().store.set_mode(mode);
            }
            4 => {
                let holds = [
                    Hold::Nowhere,
                    Hold::Nowhere,
                    Hold::BeforeItHappens,
                    Hold::AfterItHappened,
                ];
                let hold = *holds.choose(&mut self.random).expect("there are some");
                self.host().store.set_hold(hold);
            }
            5 | 6 => self.revoke().await,
            _ => self.lose().await,
        }
        self.let_some_happen().await;
    }

    fn fill(&mut self, seed: u64) {
        match self.input {
            Input::Clean => self.scene.topic.fill(seed, 60, 12),
            Input::RepeatsAndPoison => {
                for (partition, offset) in self.scene.topic.fill_with_repeats(seed, 60, 12) {
                    let trouble = match self.random.random_range(0..100) {
                        0 => Trouble::Reject,
                        1 => Trouble::Trap,
                        _ => continue,
                    };
                    self.scene.troubles.set(partition, offset, trouble);
                }
            }
        }
    }

    /// The plugin can fold everything now, and is asked to.
    async fn drain(&mut self) {
        for partition in self.scene.topic.partitions() {
            let end = self.scene.topic.end(partition);
            self.scene.until_next(partition, end).await;
        }
        self.scene.troubles.clear();
        self.scene.drain_all().await;
    }

    fn host(&mut self) -> &Host {
        let index = self.random.random_range(0..2);
        &self.hosts[index]
    }

    fn change_weather(&mut self, seed: u64) {
        let weather = Weather {
            random: StdRng::seed_from_u64(seed),
            breaks: 0.2,
            slow: 0.3,
        };
        self.host().store.set_weather(Some(weather));
    }

    /// A rebalance in good order: the next owner comes when the last one has let go.
    async fn revoke(&mut self) {
        let partition = self.random.random_range(0..PARTITIONS);
        let (last, next) = self.pass_on(partition);
        self.hosts[last].group.revoke(&[partition]).await;
        // Not just any release: one for each time that the host was told to. With an earlier one,
        // the group could give the partition back to a host that is still draining it.
        let revocations = self.revocations[last][index(partition)];
        let journal = &self.hosts[last].journal;
        journal
            .until("the release", |entries| {
                (releases(entries, partition) == revocations).then_some(())
            })
            .await;
        self.hosts[next].group.assign(&[partition]).await;
    }

    /// The group gives a partition away, and its last owner learns of it late.
    async fn lose(&mut self) {
        let partition = self.random.random_range(0..PARTITIONS);
        let (last, next) = self.pass_on(partition);
        self.hosts[next].group.assign(&[partition]).await;
        self.let_some_happen().await;
        self.hosts[last].group.lose(&[partition]).await;
    }

    fn pass_on(&mut self, partition: i32) -> (usize, usize) {
        let index = index(partition);
        let last = self.owners[index];
        self.owners[index] = 1 - last;
        self.revocations[last][index] += 1;
        (last, self.owners[index])
    }

    /// Until one of the hosts has done something more, or a few turns have passed.
    async fn let_some_happen(&mut self) {
        for _ in 0..self.random.random_range(0..2000) {
            tokio::task::yield_now().await;
        }
    }
}

impl Astray {
    fn add(&mut self, entries: &[Entry], lanes: usize) {
        let mut folded = [-1; PARTITIONS as usize];
        for entry in entries {
            match entry {
                Entry::Attempted(_) => self.commits += 1,
                Entry::Stored(_) => self.commits = self.commits.saturating_sub(1),
                // The parts of several lanes overlap without being folded again.
                Entry::Folded(partition, first, last) if lanes == 1 => {
                    let index = index(*partition);
                    self.batches += usize::from(*first <= folded[index]);
                    folded[index] = *last;
                }
                _ => {}
            }
        }
    }
}

/// Partitions are folded by one lane in some histories, by several in others.
fn lanes_of(seed: u64) -> usize {
    1 + usize::try_from(seed % 3).expect("less than three")
}

fn index(partition: i32) -> usize {
    usize::try_from(partition).expect("partitions count from 0")
}

fn releases(entries: &[Entry], partition: i32) -> usize {
    let released = entries.iter();
    released
        .filter(
            |entry| matches!(entry, Entry::Released(partitions) if partitions.contains(&partition)),
        )
        .count()
}
