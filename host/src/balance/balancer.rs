//! Picks the copy that answers a read: the safe runner around a routing policy.
//!
//! Guarantees, whatever the policy answers:
//! - A pick is one of the targets that were offered, and a healthy one where there is any
//!   ([`health`]). No answer of a policy is taken unchecked.
//! - A policy that traps, stalls, refuses or answers nonsense holds up that one pick for its time
//!   limit at most. Then the built-in round robin stands in, a metric and the log say so, and a new
//!   instance is tried after a back-off.
//! - What is known of a target (in flight, latency, served, failed) is kept by its id, and a pick
//!   that is dropped does not stay in flight.
//!
//! Not here: which targets are fresh enough, and reading itself.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::health::{self, Health};
use super::meters::Meters;
use super::routing::RoundRobin;
use super::seat::Seat;
use crate::policy::{Fault, Request, RoutingPolicy, Source, Target, TargetId};

/// A new latency counts for one part in so many of the moving average.
const LATENCY_PARTS: u32 = 8;

/// Shares its state with its clones.
#[derive(Clone)]
pub struct Balancer {
    shared: Arc<Mutex<State>>,
}

struct State {
    balanced: Arc<str>,
    targets: Vec<Target>,
    /// Of each target.
    health: Vec<Health>,
    seat: Seat<dyn RoutingPolicy>,
    built_in: RoundRobin,
    picks: Picks,
    meters: Meters,
    /// Of the pick that is being made: kept so that a pick allocates nothing.
    candidates: Vec<usize>,
    eligible: Vec<Target>,
}

/// A target that was picked. To be handed to [`Balancer::done`]; dropped, it counts for nothing.
#[must_use = "what is picked is in flight until it is done"]
pub struct Pick {
    target: TargetId,
    index: usize,
    at: Instant,
    shared: Arc<Mutex<State>>,
}

/// Who has picked how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picks {
    pub by_policy: u64,
    pub by_built_in: u64,
}

/// How a read went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// The target is at fault: it did not answer, or answered with garbage.
    Failed,
}

impl Balancer {
    /// A balancer over these targets, which stay the same for its life. `balanced` names what they
    /// are copies of, for metrics and the log. Without a policy the built-in one picks.
    ///
    /// The policy is started with the first pick; to learn of its faults before, start it once.
    ///
    /// # Panics
    ///
    /// If there is no target, or two have the same id.
    pub fn new(
        balanced: &str,
        targets: Vec<Target>,
        policy: Option<Arc<dyn Source<dyn RoutingPolicy>>>,
    ) -> Self {
        assert!(!targets.is_empty(), "somebody has to answer");
        for (index, target) in targets.iter().enumerate() {
            let is_new = targets[..index].iter().all(|other| other.id != target.id);
            assert!(is_new, "two targets have the id {}", target.id.0);
        }
        let balanced: Arc<str> = balanced.into();
        let names = targets.iter().map(|target| &*target.name);
        let state = State {
            meters: Meters::new(&balanced, names),
            health: vec![Health::default(); targets.len()],
            candidates: Vec::with_capacity(targets.len()),
            eligible: Vec::with_capacity(targets.len()),
            seat: Seat::new(&balanced, policy),
            picks: Picks::default(),
            built_in: RoundRobin::default(),
            targets,
            balanced,
        };
        Balancer {
            shared: Arc::new(Mutex::new(state)),
        }
    }

    /// Picks one of `eligible`, which are the targets that are fresh enough; where it names none
    /// that is known, one of all. What the request has failed on is picked only if nothing else is
    /// left.
    pub fn pick(&self, request: &Request<'_>, eligible: &[TargetId], now: Instant) -> Pick {
        let mut state = self.state();
        if let Some(source) = state.seat.offer(now) {
            // Nobody should wait for the start but this one read.
            drop(state);
            let started = source.start();
            state = self.state();
            state.seat.take(&source, started, now);
        }
        let index = state.pick(request, eligible, now);
        let target = &mut state.targets[index];
        target.in_flight += 1;
        let (target, in_flight) = (target.id, target.in_flight);
        state.meters.targets[index]
            .in_flight
            .set(f64::from(in_flight));
        Pick {
            target,
            index,
            at: now,
            shared: self.shared.clone(),
        }
    }

    /// Takes note of how a read went, which took so long from the pick on.
    pub fn done(&self, pick: Pick, latency: Duration, outcome: Outcome) {
        let mut state = self.state();
        let now = pick.at + latency;
        let latency_us = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        let ok = outcome == Outcome::Answered;
        state.learn(pick.index, latency_us, outcome, now);
        let observed = match state.seat.working() {
            Some(policy) => policy.observe(pick.target, latency_us, ok),
            None => Ok(()),
        };
        if let Err(fault) = observed {
            state.seat.failed(&fault, now);
        }
    }

    /// Has another policy pick from now on. Whatever picks now goes on where the new one does not
    /// start.
    ///
    /// # Errors
    /// The new policy's fault.
    pub fn change_policy(
        &self,
        source: Arc<dyn Source<dyn RoutingPolicy>>,
        now: Instant,
    ) -> Result<(), Fault> {
        let policy = source.start()?;
        self.state().seat.change(source, policy, now);
        Ok(())
    }

    /// What is known of each target now.
    pub fn targets(&self) -> Vec<Target> {
        self.state().targets.clone()
    }

    /// Who has picked so far.
    pub fn picks(&self) -> Picks {
        self.state().picks
    }

    /// The targets that are ejected now.
    pub fn ejected(&self, now: Instant) -> Vec<TargetId> {
        let state = self.state();
        let targets = state.targets.iter().zip(&state.health);
        let ejected = targets.filter(|(_, health)| health.is_ejected(now));
        ejected.map(|(target, _)| target.id).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().expect("nothing panics under this lock")
    }
}

impl State {
    /// Gives the index of the target that was picked.
    fn pick(&mut self, request: &Request<'_>, eligible: &[TargetId], now: Instant) -> usize {
        self.select(request, eligible, now);
        // The usual case needs no copy.
        let offered = if self.candidates.len() == self.targets.len() {
            &self.targets
        } else {
            self.eligible.clear();
            let offered = self.candidates.iter().map(|&index| &self.targets[index]);
            self.eligible.extend(offered.cloned());
            &self.eligible
        };
        if let Some(policy) = self.seat.working() {
            let answer = policy.pick(request, offered).and_then(|id| {
                let place = offered.iter().position(|target| target.id == id);
                place.ok_or_else(|| {
                    let offered: Vec<u32> = offered.iter().map(|target| target.id.0).collect();
                    Fault::nonsense(format_args!(
                        "it picked target {}, and could choose of {offered:?}",
                        id.0
                    ))
                })
            });
            match answer {
                Ok(place) => {
                    self.picks.by_policy += 1;
                    self.meters.picks_by_policy.increment(1);
                    return self.candidates[place];
                }
                Err(fault) => self.seat.failed(&fault, now),
            }
        }
        self.picks.by_built_in += 1;
        self.meters.picks_by_built_in.increment(1);
        let id = self.built_in.turn(offered);
        let place = offered.iter().position(|target| target.id == id);
        self.candidates[place.expect("the built-in policy picks what it is offered")]
    }

    /// Sets `candidates` to the indices of those that may be picked, in the targets' order.
    fn select(&mut self, request: &Request<'_>, eligible: &[TargetId], now: Instant) {
        let candidates = &mut self.candidates;
        candidates.clear();
        let all = self.targets.iter().enumerate();
        let offered = all.filter(|(_, target)| eligible.contains(&target.id));
        candidates.extend(offered.map(|(index, _)| index));
        if candidates.is_empty() {
            candidates.extend(0..self.targets.len());
        }
        if !request.tried.is_empty() {
            let targets = &self.targets;
            let is_tried = |&index: &usize| request.tried.contains(&targets[index].id);
            if !candidates.iter().all(is_tried) {
                candidates.retain(|index| !is_tried(index));
            }
        }
        health::retain(candidates, &mut self.health, now);
    }

    fn learn(&mut self, index: usize, latency_us: u32, outcome: Outcome, now: Instant) {
        let (target, meters) = (&mut self.targets[index], &self.meters.targets[index]);
        match outcome {
            Outcome::Answered => {
                target.served += 1;
                target.latency_us = averaged(target.latency_us, latency_us);
                self.health[index].succeeded();
                meters.answered.increment(1);
                meters.seconds.record(f64::from(latency_us) / 1e6);
            }
            Outcome::Failed => {
                target.failed += 1;
                meters.failed.increment(1);
                let should_go = self.health[index].failed(now);
                let left = self.health.iter().filter(|health| !health.is_ejected(now));
                if should_go && left.count() > 1 {
                    self.eject(index, now);
                }
            }
        }
    }

    fn eject(&mut self, index: usize, now: Instant) {
        let time = self.health[index].eject(now);
        self.meters.targets[index].ejections.increment(1);
        tracing::warn!(
            balanced = &*self.balanced,
            target_name = &*self.targets[index].name,
            "ejected for {time:?}, after {} failures in a row",
            health::FAILURES_MAX
        );
    }
}

/// Never 0, which means that there was no answer yet.
fn averaged(average_us: u32, latency_us: u32) -> u32 {
    if average_us == 0 {
        return latency_us.max(1);
    }
    let parts = u64::from(LATENCY_PARTS);
    let sum = u64::from(average_us) * (parts - 1) + u64::from(latency_us) + parts / 2;
    u32::try_from(sum / parts)
        .expect("an average is within its parts")
        .max(1)
}

impl Pick {
    /// Whom to ask.
    pub fn target(&self) -> TargetId {
        self.target
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        let mut state = self.shared.lock().expect("nothing panics under this lock");
        let target = &mut state.targets[self.index];
        target.in_flight -= 1;
        let in_flight = target.in_flight;
        state.meters.targets[self.index]
            .in_flight
            .set(f64::from(in_flight));
    }
}
