//! A policy, compiled: started only to be asked what it is.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::Component;

use crate::projection;

use super::bindings::placement::{PlacementPolicyPre, balancing};
use super::bindings::routing::RoutingPolicyPre;
use super::engine::Engine;
use super::fault::ended;
use super::guest::Guest;
use super::instance;
use super::limits::Limits;
use super::logs::Logs;

/// Ready to start, its types held against the contract.
pub(super) enum Policy {
    Placement(PlacementPolicyPre<Guest>),
    Routing(RoutingPolicyPre<Guest>),
}

/// Where a policy ended before it had said what it is.
pub(super) enum Silent {
    Start(projection::Error),
    Describe(projection::Error),
}

impl Policy {
    pub(super) fn placement(engine: &Engine, component: &Component) -> wasmtime::Result<Self> {
        let linked = engine.policies().instantiate_pre(component)?;
        PlacementPolicyPre::new(linked).map(Policy::Placement)
    }

    pub(super) fn routing(engine: &Engine, component: &Component) -> wasmtime::Result<Self> {
        let linked = engine.policies().instantiate_pre(component)?;
        RoutingPolicyPre::new(linked).map(Policy::Routing)
    }

    /// Starts an instance for this one question.
    pub(super) fn describe(
        &self,
        engine: &Engine,
        limits: Limits,
        logs: Arc<Logs>,
    ) -> Result<balancing::Policy, Silent> {
        let mut store = instance::store(engine.wasmtime(), &limits, logs);
        match self {
            Policy::Placement(plugin) => {
                let started = plugin.instantiate(&mut store);
                let policy = heard(&mut store, started).map_err(Silent::Start)?;
                enter(&mut store, &limits);
                let interface = policy.projectionist_plugin_placement();
                let described = interface.call_describe(&mut store);
                heard(&mut store, described).map_err(Silent::Describe)
            }
            Policy::Routing(plugin) => {
                let started = plugin.instantiate(&mut store);
                let policy = heard(&mut store, started).map_err(Silent::Start)?;
                enter(&mut store, &limits);
                let interface = policy.projectionist_plugin_routing();
                let described = interface.call_describe(&mut store);
                heard(&mut store, described).map_err(Silent::Describe)
            }
        }
    }
}

fn enter(store: &mut Store<Guest>, limits: &Limits) {
    store.data_mut().enter(limits.call_max, None);
    store.set_epoch_deadline(1);
}

fn heard<T>(store: &mut Store<Guest>, result: wasmtime::Result<T>) -> Result<T, projection::Error> {
    let last_error = store.data_mut().leave();
    result.map_err(|error| ended(error, last_error))
}
