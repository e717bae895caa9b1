//! A placement policy as a placer sees it.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;

use crate::policy::{self, Fault, Snapshot, TargetId};

use super::bindings::placement::exports::projectionist::plugin::placement as raw;
use super::bindings::placement::{PlacementPolicy, balancing};
use super::error::Error;
use super::guest::Guest;
use super::kind::Kind;
use super::limits::Limits;
use super::policy::{Compiled, Configured, Policy, Running, World, refused};
use super::routing::{target, targets_bytes};

/// What `place` may take; it is off the path of events.
const PLACE_TIME_MAX: Duration = Duration::from_millis(200);

/// A placement policy with its configuration: starts instances for a placer.
#[derive(Clone)]
pub struct Placement(Arc<Configured>);

struct Instance {
    configured: Arc<Configured>,
    running: Running<PlacementPolicy>,
}

impl Placement {
    /// Holds the configuration against the policy's schema, then starts and configures an instance
    /// to see that it takes it. `balanced` is the projection, for messages and metrics.
    pub fn new(
        policy: Arc<Policy>,
        balanced: &str,
        config: &serde_json::Value,
    ) -> Result<Self, Error> {
        Configured::new::<PlacementPolicy>(policy, balanced, config, Limits::default())
            .map(|configured| Placement(Arc::new(configured)))
    }

    /// The kind that [`Policy::load`] is to look for.
    pub const KIND: Kind = Kind::Placement;
}

impl policy::Source<dyn policy::PlacementPolicy> for Placement {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn start(&self) -> Result<Box<dyn policy::PlacementPolicy>, Fault> {
        Ok(Box::new(Instance {
            running: self.0.start()?,
            configured: self.0.clone(),
        }))
    }
}

impl policy::PlacementPolicy for Instance {
    fn place(&mut self, snapshot: &Snapshot<'_>) -> Result<Vec<TargetId>, Fault> {
        if self.running.is_worn() {
            self.running = self.configured.start()?;
        }
        let question = raw::Snapshot {
            targets: snapshot.targets.iter().map(target).collect(),
            owners: snapshot.owners.iter().map(|id| id.0).collect(),
            slot_load: snapshot.slot_load.to_vec(),
            move_budget: snapshot.move_budget,
        };
        let given = size_of_val(snapshot.owners)
            + size_of_val(snapshot.slot_load)
            + targets_bytes(snapshot.targets);
        let answer = self.running.call(PLACE_TIME_MAX, given, |policy, store| {
            let policy = policy.projectionist_plugin_placement();
            policy.call_place(store, &question)
        })?;
        let owners = answer.map_err(refused)?;
        Ok(owners.into_iter().map(TargetId).collect())
    }
}

impl World for PlacementPolicy {
    fn start(compiled: &Compiled, store: &mut Store<Guest>) -> wasmtime::Result<Self> {
        match compiled {
            Compiled::Placement(policy) => policy.instantiate(store),
            Compiled::Routing(_) => Err(wasmtime::Error::msg("it is a routing policy")),
        }
    }

    fn describe(&self, store: &mut Store<Guest>) -> wasmtime::Result<balancing::Policy> {
        self.projectionist_plugin_placement().call_describe(store)
    }

    fn configure(
        &self,
        store: &mut Store<Guest>,
        config: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        self.projectionist_plugin_placement()
            .call_configure(store, config)
    }
}
