//! The balancer around policies that do as they are told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::health::{EJECTION, FAILURES_MAX};
use super::{Balancer, Outcome};
use crate::policy::{Fault, FaultKind, Request, RoutingPolicy, Source, Target, TargetId};

const REQUEST: Request<'static> = Request {
    key: b"order-1",
    client: "127.0.0.1",
    tried: &[],
};

const MILLISECOND: Duration = Duration::from_millis(1);

/// What a policy does at each call.
#[derive(Clone, Debug)]
enum Act {
    Pick(u32),
    Fail,
    FailToObserve(u32),
}

#[derive(Clone)]
struct Puppet {
    act: Arc<Mutex<Act>>,
    starts: Arc<AtomicUsize>,
    may_start: bool,
}

impl Puppet {
    fn new(act: Act) -> Self {
        Puppet {
            act: Arc::new(Mutex::new(act)),
            starts: Arc::default(),
            may_start: true,
        }
    }

    fn does(&self, act: Act) {
        *self.act.lock().expect("no panic") = act;
    }

    fn act(&self) -> Act {
        self.act.lock().expect("no panic").clone()
    }
}

fn trap() -> Fault {
    Fault {
        kind: FaultKind::Trap,
        detail: "told to".to_owned(),
    }
}

impl RoutingPolicy for Puppet {
    fn pick(&mut self, _: &Request<'_>, eligible: &[Target]) -> Result<TargetId, Fault> {
        assert!(!eligible.is_empty());
        match self.act() {
            Act::Pick(id) | Act::FailToObserve(id) => Ok(TargetId(id)),
            Act::Fail => Err(trap()),
        }
    }

    fn observe(&mut self, _: TargetId, _: u32, _: bool) -> Result<(), Fault> {
        match self.act() {
            Act::FailToObserve(_) => Err(trap()),
            Act::Pick(_) | Act::Fail => Ok(()),
        }
    }
}

impl Source<dyn RoutingPolicy> for Puppet {
    fn name(&self) -> &str {
        "puppet"
    }

    fn start(&self) -> Result<Box<dyn RoutingPolicy>, Fault> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        match self.may_start {
            true => Ok(Box::new(self.clone())),
            false => Err(trap()),
        }
    }
}

/// Targets 10, 11, 12 and so on.
fn targets(count: u32) -> Vec<Target> {
    let target = |n| Target::new(TargetId(10 + n), &format!("copy-{n}"), 1);
    (0..count).map(target).collect()
}

fn ids(ids: &[u32]) -> Vec<TargetId> {
    ids.iter().copied().map(TargetId).collect()
}

fn read(balancer: &Balancer, eligible: &[u32], now: Instant, outcome: Outcome) -> u32 {
    let pick = balancer.pick(&REQUEST, &ids(eligible), now);
    let target = pick.target();
    balancer.done(pick, MILLISECOND, outcome);
    target.0
}

#[test]
fn the_built_in_policy_stands_in_after_any_fault_until_a_new_instance_works() {
    for act in [
        Act::Fail,
        Act::Pick(99),
        Act::Pick(12),
        Act::FailToObserve(11),
    ] {
        let puppet = Puppet::new(Act::Pick(11));
        let starts = puppet.starts.clone();
        let policy: Arc<dyn Source<dyn RoutingPolicy>> = Arc::new(puppet.clone());
        let balancer = Balancer::new("faults", targets(3), Some(policy));
        let start = Instant::now();
        let read = |now| read(&balancer, &[10, 11], now, Outcome::Answered);
        let four = |now| (0..4).map(|_| read(now)).collect::<Vec<_>>();

        assert_eq!(four(start), [11; 4], "{act:?}");
        puppet.does(act.clone());
        read(start);
        puppet.does(Act::Pick(11));
        let mut stood_in = four(start + Duration::from_millis(900));
        stood_in.sort_unstable();
        assert_eq!(stood_in, [10, 10, 11, 11], "{act:?}");
        assert_eq!(starts.load(Ordering::SeqCst), 1);
        assert_eq!(
            four(start + Duration::from_millis(1_100)),
            [11; 4],
            "{act:?}"
        );
        assert_eq!(starts.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn a_policy_that_does_not_start_is_tried_again_ever_more_seldom() {
    let puppet = Puppet {
        may_start: false,
        ..Puppet::new(Act::Pick(10))
    };
    let starts = puppet.starts.clone();
    let balancer = Balancer::new("no-start", targets(2), Some(Arc::new(puppet)));
    let start = Instant::now();
    let mut tried = Vec::new();
    for second in 0..100 {
        let before = starts.load(Ordering::SeqCst);
        read(
            &balancer,
            &[10, 11],
            start + Duration::from_secs(second),
            Outcome::Answered,
        );
        if starts.load(Ordering::SeqCst) > before {
            tried.push(second);
        }
    }
    assert_eq!(tried, [0, 1, 3, 7, 15, 31, 63]);
}

#[test]
fn a_new_policy_takes_over_only_if_it_starts() {
    let balancer = Balancer::new(
        "change",
        targets(2),
        Some(Arc::new(Puppet::new(Act::Pick(10)))),
    );
    let now = Instant::now();
    let broken = Puppet {
        may_start: false,
        ..Puppet::new(Act::Pick(11))
    };
    assert_eq!(balancer.change_policy(Arc::new(broken), now), Err(trap()));
    assert_eq!(read(&balancer, &[10, 11], now, Outcome::Answered), 10);
    let works = Puppet::new(Act::Pick(11));
    assert_eq!(balancer.change_policy(Arc::new(works), now), Ok(()));
    assert_eq!(read(&balancer, &[10, 11], now, Outcome::Answered), 11);
}

#[test]
fn a_copy_that_fails_is_ejected_and_the_last_one_is_not() {
    let balancer = Balancer::new("ejection", targets(2), None);
    let start = Instant::now();
    for _ in 0..FAILURES_MAX {
        read(&balancer, &[10], start, Outcome::Failed);
    }
    assert_eq!(balancer.ejected(start + EJECTION), ids(&[10]));
    for _ in 0..10 * FAILURES_MAX {
        assert_eq!(read(&balancer, &[10, 11], start, Outcome::Failed), 11);
    }
    assert_eq!(balancer.ejected(start), ids(&[10]));
    // Offered alone, as the only one that is fresh enough, it is asked nevertheless.
    assert_eq!(read(&balancer, &[10], start, Outcome::Failed), 10);
    let later = start + EJECTION + MILLISECOND;
    assert_eq!(balancer.ejected(later), []);
}

#[test]
fn what_a_request_has_failed_on_is_picked_only_where_nothing_else_is_left() {
    let balancer = Balancer::new("tried", targets(2), None);
    let now = Instant::now();
    for tried in [[10, 10], [11, 11], [10, 11]] {
        let tried = ids(&tried);
        let request = Request {
            tried: &tried,
            ..REQUEST
        };
        for _ in 0..4 {
            let pick = balancer.pick(&request, &ids(&[10, 11]), now);
            let is_tried = tried.contains(&pick.target());
            assert_eq!(is_tried, tried[0] != tried[1]);
        }
    }
}

#[test]
fn a_balancer_knows_of_each_copy_what_it_does() {
    let balancer = Balancer::new("state", targets(2), None);
    let now = Instant::now();
    let first = balancer.pick(&REQUEST, &ids(&[10]), now);
    let second = balancer.pick(&REQUEST, &ids(&[10]), now);
    let third = balancer.pick(&REQUEST, &ids(&[10]), now);
    assert_eq!(balancer.targets()[0].in_flight, 3);
    drop(first);
    balancer.done(second, Duration::from_micros(800), Outcome::Answered);
    balancer.done(third, Duration::from_micros(1_600), Outcome::Answered);
    assert_eq!(read(&balancer, &[10], now, Outcome::Failed), 10);
    let expected = Target {
        served: 2,
        failed: 1,
        latency_us: 900,
        ..targets(1).remove(0)
    };
    assert_eq!(balancer.targets()[0], expected);
    assert_eq!(balancer.targets()[1], targets(2)[1]);
}

#[test]
fn many_threads_share_a_balancer() {
    let balancer = Balancer::new("threads", targets(4), None);
    let now = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    read(&balancer, &[10, 11, 12, 13], now, Outcome::Answered);
                }
            });
        }
    });
    for target in balancer.targets() {
        assert_eq!((target.served, target.in_flight), (1_000, 0));
    }
}

#[derive(Clone, Debug)]
struct Step {
    act: Act,
    eligible: Vec<u32>,
    outcome: Outcome,
    pause_ms: u64,
}

fn any_step() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        4 => (8_u32..16).prop_map(Act::Pick),
        1 => Just(Act::Fail),
        1 => (8_u32..16).prop_map(Act::FailToObserve),
    ];
    let outcome = prop_oneof![Just(Outcome::Answered), Just(Outcome::Failed)];
    let eligible = prop::collection::vec(9_u32..15, 0..5);
    (act, eligible, outcome, 0_u64..3_000).prop_map(|(act, eligible, outcome, pause_ms)| Step {
        act,
        eligible,
        outcome,
        pause_ms,
    })
}

proptest! {
    /// Whatever a policy answers and however targets fail.
    #[test]
    fn a_pick_is_always_one_that_was_offered(steps in prop::collection::vec(any_step(), 1..200)) {
        let puppet = Puppet::new(Act::Fail);
        let balancer = Balancer::new("any", targets(4), Some(Arc::new(puppet.clone())));
        let mut now = Instant::now();
        let mut reads: HashMap<u32, u64> = HashMap::new();
        for step in steps {
            puppet.does(step.act);
            now += Duration::from_millis(step.pause_ms);
            let known: Vec<u32> = (10..14).filter(|id| step.eligible.contains(id)).collect();
            let healthy: Vec<u32> = {
                let ejected = balancer.ejected(now);
                let is_healthy = |id: &&u32| !ejected.contains(&TargetId(**id));
                known.iter().filter(is_healthy).copied().collect()
            };
            let picked = read(&balancer, &step.eligible, now, step.outcome);
            prop_assert!((10..14).contains(&picked));
            prop_assert!(known.is_empty() || known.contains(&picked));
            if healthy.len() * 2 >= known.len() && !known.is_empty() {
                prop_assert!(healthy.contains(&picked));
            }
            *reads.entry(picked).or_default() += 1;
            prop_assert!(balancer.ejected(now).len() < 4);
        }
        for target in balancer.targets() {
            prop_assert_eq!(target.in_flight, 0);
            let read = reads.get(&target.id.0).copied().unwrap_or_default();
            prop_assert_eq!(target.served + target.failed, read);
        }
    }
}
