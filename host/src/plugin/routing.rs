//! A routing policy as a balancer sees it.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;

use crate::policy::{self, Fault, Request, Target, TargetId};

use super::bindings::placement::balancing;
use super::bindings::routing::RoutingPolicy;
use super::bindings::routing::exports::projectionist::plugin::routing as raw;
use super::error::Error;
use super::guest::Guest;
use super::kind::Kind;
use super::limits::Limits;
use super::policy::{Compiled, Configured, Policy, Running, World, refused};

/// What `pick` and `observe` may take. The engine looks at its clock every 5 ms, so a policy that
/// stalls holds up a read for 10 ms or a little more.
pub const PICK_TIME_MAX: Duration = Duration::from_millis(5);

/// What the start of an instance and `configure` may take: a read may wait for it.
const START_TIME_MAX: Duration = Duration::from_millis(100);

/// A routing policy with its configuration: starts instances for a balancer.
#[derive(Clone)]
pub struct Routing(Arc<Configured>);

/// Keeps the questions of the last pick, so that the next one allocates nothing.
struct Instance {
    configured: Arc<Configured>,
    running: Running<RoutingPolicy>,
    request: raw::Request,
    eligible: Vec<balancing::Target>,
}

impl Routing {
    /// Holds the configuration against the policy's schema, then starts and configures an instance
    /// to see that it takes it. `balanced` is what it routes reads to, for messages and metrics.
    pub fn new(
        policy: Arc<Policy>,
        balanced: &str,
        config: &serde_json::Value,
    ) -> Result<Self, Error> {
        let limits = Limits {
            call_max: START_TIME_MAX,
            ..Limits::default()
        };
        Configured::new::<RoutingPolicy>(policy, balanced, config, limits)
            .map(|configured| Routing(Arc::new(configured)))
    }

    /// The kind that [`Policy::load`] is to look for.
    pub const KIND: Kind = Kind::Routing;
}

impl policy::Source<dyn policy::RoutingPolicy> for Routing {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn start(&self) -> Result<Box<dyn policy::RoutingPolicy>, Fault> {
        Ok(Box::new(Instance {
            running: self.0.start()?,
            configured: self.0.clone(),
            request: raw::Request {
                key: Vec::new(),
                client: String::new(),
                tried: Vec::new(),
            },
            eligible: Vec::new(),
        }))
    }
}

impl policy::RoutingPolicy for Instance {
    fn pick(&mut self, request: &Request<'_>, eligible: &[Target]) -> Result<TargetId, Fault> {
        if self.running.is_worn() {
            self.running = self.configured.start()?;
        }
        ask(&mut self.request, request);
        offer(&mut self.eligible, eligible);
        let given = request.key.len() + request.client.len() + targets_bytes(eligible);
        let answer = self.running.call(PICK_TIME_MAX, given, |policy, store| {
            let policy = policy.projectionist_plugin_routing();
            policy.call_pick(store, &self.request, &self.eligible)
        })?;
        answer.map(TargetId).map_err(refused)
    }

    fn observe(&mut self, target: TargetId, latency_us: u32, ok: bool) -> Result<(), Fault> {
        self.running.call(PICK_TIME_MAX, 0, |policy, store| {
            let policy = policy.projectionist_plugin_routing();
            policy.call_observe(store, target.0, latency_us, ok)
        })
    }
}

impl World for RoutingPolicy {
    fn start(compiled: &Compiled, store: &mut Store<Guest>) -> wasmtime::Result<Self> {
        match compiled {
            Compiled::Routing(policy) => policy.instantiate(store),
            Compiled::Placement(_) => Err(wasmtime::Error::msg("it is a placement policy")),
        }
    }

    fn describe(&self, store: &mut Store<Guest>) -> wasmtime::Result<balancing::Policy> {
        self.projectionist_plugin_routing().call_describe(store)
    }

    fn configure(
        &self,
        store: &mut Store<Guest>,
        config: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        self.projectionist_plugin_routing()
            .call_configure(store, config)
    }
}

fn ask(question: &mut raw::Request, request: &Request<'_>) {
    question.key.clear();
    question.key.extend_from_slice(request.key);
    question.client.clear();
    question.client.push_str(request.client);
    question.tried.clear();
    question.tried.extend(request.tried.iter().map(|id| id.0));
}

/// Names go with ids for good, so only the numbers change from one pick to the next.
fn offer(question: &mut Vec<balancing::Target>, eligible: &[Target]) {
    let is_the_same = question.len() == eligible.len()
        && question
            .iter()
            .zip(eligible)
            .all(|(old, new)| old.id == new.id.0);
    if is_the_same {
        for (old, new) in question.iter_mut().zip(eligible) {
            old.weight = new.weight;
            old.in_flight = new.in_flight;
            old.latency_us = new.latency_us;
            old.served = new.served;
            old.failed = new.failed;
            old.cpu_permille = new.cpu_permille;
        }
    } else {
        question.clear();
        question.extend(eligible.iter().map(target));
    }
}

/// What targets take as a policy is given them.
pub(super) fn targets_bytes(targets: &[Target]) -> usize {
    let names = targets.iter().map(|target| target.name.len());
    names.sum::<usize>() + targets.len() * size_of::<balancing::Target>()
}

pub(super) fn target(target: &Target) -> balancing::Target {
    balancing::Target {
        id: target.id.0,
        name: target.name.to_string(),
        weight: target.weight,
        in_flight: target.in_flight,
        latency_us: target.latency_us,
        served: target.served,
        failed: target.failed,
        cpu_permille: target.cpu_permille,
    }
}
