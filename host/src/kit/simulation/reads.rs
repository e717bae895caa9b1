//! Reads over copies. Each copy has so many workers, which answer one read at a time; what comes
//! while all are busy waits in a queue. How long an answer takes follows an exponential
//! distribution around the copy's mean.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::Serialize;

use super::figures::quantile;
use super::load::{Read, exponential};
use crate::balance::{Balancer, Outcome, Pick};
use crate::policy::{Request, RoutingPolicy, Source, Target, TargetId};

/// A copy that is made up.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    pub name: String,
    pub weight: u32,
    /// How long an answer takes in the mean, once a worker has turned to it.
    pub answer_us: f64,
    pub workers: usize,
}

/// What came of the reads.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Result {
    pub reads: usize,
    /// Of each copy, in their order: its part of all reads.
    pub shares: Vec<f64>,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// Reads that the built-in policy picked for, because the one at test was at fault.
    pub stood_in: u64,
    /// The 99th percentile of each second.
    pub p99_ms_by_second: Vec<f64>,
}

struct State {
    balancer: Balancer,
    start: Instant,
    copies: Vec<Running>,
    random: StdRng,
    /// The next to be over is on top.
    under_way: BinaryHeap<UnderWay>,
    latencies_ms: Vec<(f64, f64)>,
}

struct Running {
    copy: Copy,
    free: usize,
    waiting: VecDeque<Waiting>,
    reads: usize,
}

struct Waiting {
    pick: Pick,
    asked_us: f64,
}

struct UnderWay {
    over_us: f64,
    copy: usize,
    read: Waiting,
}

/// Replays the reads over the copies, of which there is at least one. Without a policy the
/// built-in one picks. `seed` makes how long answers take.
pub fn run(
    reads: &[Read],
    copies: &[Copy],
    policy: Option<Arc<dyn Source<dyn RoutingPolicy>>>,
    seed: u64,
) -> Result {
    let targets: Vec<Target> = (0..)
        .zip(copies)
        .map(|(id, copy)| Target::new(TargetId(id), &copy.name, copy.weight))
        .collect();
    let ids: Vec<TargetId> = targets.iter().map(|target| target.id).collect();
    let has_policy = policy.is_some();
    let mut state = State {
        balancer: Balancer::new("simulation", targets, policy),
        start: Instant::now(),
        copies: copies.iter().cloned().map(Running::new).collect(),
        random: StdRng::seed_from_u64(seed),
        under_way: BinaryHeap::new(),
        latencies_ms: Vec::with_capacity(reads.len()),
    };
    for read in reads {
        state.until(read.at_ms * 1e3);
        state.ask(read, &ids);
    }
    state.until(f64::INFINITY);
    state.result(has_policy)
}

impl State {
    fn ask(&mut self, read: &Read, ids: &[TargetId]) {
        let asked_us = read.at_ms * 1e3;
        let request = Request {
            key: read.key.as_bytes(),
            client: &read.client,
            tried: &[],
        };
        let now = self.start + Duration::from_secs_f64(asked_us / 1e6);
        let pick = self.balancer.pick(&request, ids, now);
        let place = ids.iter().position(|id| *id == pick.target());
        let place = place.expect("a balancer picks what it is offered");
        let read = Waiting { pick, asked_us };
        let copy = &mut self.copies[place];
        copy.reads += 1;
        if copy.free == 0 {
            copy.waiting.push_back(read);
        } else {
            copy.free -= 1;
            self.begin(place, read, asked_us);
        }
    }

    fn begin(&mut self, copy: usize, read: Waiting, now_us: f64) {
        let takes_us = exponential(&mut self.random, self.copies[copy].copy.answer_us);
        self.under_way.push(UnderWay {
            over_us: now_us + takes_us,
            copy,
            read,
        });
    }

    /// Lets all answers come that are over by then.
    fn until(&mut self, now_us: f64) {
        while self
            .under_way
            .peek()
            .is_some_and(|next| next.over_us <= now_us)
        {
            let Some(UnderWay {
                over_us,
                copy,
                read,
            }) = self.under_way.pop()
            else {
                return;
            };
            let latency_us = over_us - read.asked_us;
            self.latencies_ms.push((over_us / 1e3, latency_us / 1e3));
            let latency = Duration::from_secs_f64(latency_us / 1e6);
            self.balancer.done(read.pick, latency, Outcome::Answered);
            match self.copies[copy].waiting.pop_front() {
                Some(next) => self.begin(copy, next, over_us),
                None => self.copies[copy].free += 1,
            }
        }
    }

    fn result(self, has_policy: bool) -> Result {
        let stood_in = self.balancer.picks().by_built_in;
        let reads = self.latencies_ms.len();
        let mut by_second: Vec<Vec<f64>> = Vec::new();
        for (at_ms, latency_ms) in &self.latencies_ms {
            let second = (at_ms / 1e3) as usize;
            by_second.resize(by_second.len().max(second + 1), Vec::new());
            by_second[second].push(*latency_ms);
        }
        let p99 = |mut latencies: Vec<f64>| {
            latencies.sort_by(f64::total_cmp);
            quantile(&latencies, 0.99)
        };
        let mut latencies: Vec<f64> = self.latencies_ms.iter().map(|(_, ms)| *ms).collect();
        latencies.sort_by(f64::total_cmp);
        let share = |copy: &Running| copy.reads as f64 / reads.max(1) as f64;
        Result {
            reads,
            shares: self.copies.iter().map(share).collect(),
            mean_ms: latencies.iter().sum::<f64>() / reads.max(1) as f64,
            p50_ms: quantile(&latencies, 0.5),
            p99_ms: quantile(&latencies, 0.99),
            max_ms: quantile(&latencies, 1.0),
            stood_in: if has_policy { stood_in } else { 0 },
            p99_ms_by_second: by_second.into_iter().map(p99).collect(),
        }
    }
}

impl Running {
    fn new(copy: Copy) -> Self {
        Running {
            free: copy.workers,
            copy,
            waiting: VecDeque::new(),
            reads: 0,
        }
    }
}

// The heap has the greatest on top, and the next to be over is wanted there.
impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.over_us.total_cmp(&self.over_us)
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for UnderWay {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::simulation::load::ReadPlan;
    use crate::policy::Fault;

    /// Always the copy with this id.
    struct Always(u32);

    impl RoutingPolicy for Always {
        fn pick(&mut self, _: &Request<'_>, _: &[Target]) -> std::result::Result<TargetId, Fault> {
            Ok(TargetId(self.0))
        }

        fn observe(&mut self, _: TargetId, _: u32, _: bool) -> std::result::Result<(), Fault> {
            Ok(())
        }
    }

    impl Source<dyn RoutingPolicy> for Always {
        fn name(&self) -> &str {
            "always"
        }

        fn start(&self) -> std::result::Result<Box<dyn RoutingPolicy>, Fault> {
            Ok(Box::new(Always(self.0)))
        }
    }

    fn copies(answers_us: &[f64]) -> Vec<Copy> {
        let copy = |answer_us: &f64| Copy {
            name: format!("copy-{answer_us}"),
            weight: 1,
            answer_us: *answer_us,
            workers: 2,
        };
        answers_us.iter().map(copy).collect()
    }

    fn reads() -> Vec<Read> {
        let plan = ReadPlan {
            seed: 1,
            reads_per_second: 500.0,
            seconds: 20.0,
            keys: 100,
            clients: 10,
            zipf: 1.0,
        };
        plan.reads()
    }

    #[test]
    fn answers_take_as_long_as_queueing_theory_says() {
        // One copy, two workers, half busy: 2 ms / (1 - 0.5²) in the mean.
        let result = run(&reads(), &copies(&[2_000.0]), None, 3);
        assert_eq!(result.shares, [1.0]);
        let expected = 2.0 / (1.0 - 0.25);
        assert!((result.mean_ms - expected).abs() < 0.2, "{result:?}");
        assert_eq!(result, run(&reads(), &copies(&[2_000.0]), None, 3));
    }

    #[test]
    fn a_policy_that_always_picks_one_copy_and_one_that_picks_nonsense() {
        let two = copies(&[500.0, 1_000.0]);
        let result = run(&reads(), &two, Some(Arc::new(Always(1))), 3);
        assert_eq!((result.shares, result.stood_in), (vec![0.0, 1.0], 0));
        let result = run(&reads(), &two, Some(Arc::new(Always(7))), 3);
        assert_eq!(result.stood_in, result.reads as u64);
        assert!((result.shares[0] - 0.5).abs() < 0.01, "{result:?}");
        assert!((20..=21).contains(&result.p99_ms_by_second.len()));
    }
}
