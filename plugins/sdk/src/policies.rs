//! The functions that the host calls, for any policy: what
//! [`export_routing!`](crate::export_routing) and [`export_placement!`](crate::export_placement)
//! are made of.

use crate::bindings::placement::projectionist::plugin::balancing::Policy;
pub use crate::guest::Configured;
use crate::guest::{read_config, report_panics};
use crate::policy::{Placement, Request, Routing, Snapshot, Target, TargetId};

const UNCONFIGURED: &str = "it was asked before configure";

pub fn describe_routing<P: Routing>() -> Policy {
    described(P::NAME, P::VERSION, P::DESCRIPTION, P::CONFIG_SCHEMA)
}

pub fn describe_placement<P: Placement>() -> Policy {
    described(P::NAME, P::VERSION, P::DESCRIPTION, P::CONFIG_SCHEMA)
}

fn described(name: &str, version: &str, description: &str, config_schema: &str) -> Policy {
    report_panics();
    Policy {
        name: name.to_owned(),
        version: version.to_owned(),
        description: description.to_owned(),
        config_schema: config_schema.to_owned(),
    }
}

pub fn configure_routing<P: Routing>(slot: &Configured<P>, config: &str) -> Result<(), String> {
    configure(slot, config, routing)
}

pub fn configure_placement<P: Placement>(slot: &Configured<P>, config: &str) -> Result<(), String> {
    configure(slot, config, placement)
}

fn configure<P>(
    slot: &Configured<P>,
    config: &str,
    make: impl FnOnce(&str) -> Result<P, String>,
) -> Result<(), String> {
    report_panics();
    slot.replace(Some(make(config)?));
    Ok(())
}

pub fn pick<P: Routing>(
    slot: &Configured<P>,
    request: &Request,
    eligible: &[Target],
) -> Result<TargetId, String> {
    let mut policy = slot.borrow_mut();
    policy.as_mut().ok_or(UNCONFIGURED)?.pick(request, eligible)
}

pub fn observe<P: Routing>(slot: &Configured<P>, target: TargetId, latency_us: u32, ok: bool) {
    if let Some(policy) = slot.borrow_mut().as_mut() {
        policy.observe(target, latency_us, ok);
    }
}

pub fn place<P: Placement>(
    slot: &Configured<P>,
    snapshot: &Snapshot,
) -> Result<Vec<TargetId>, String> {
    let mut policy = slot.borrow_mut();
    policy.as_mut().ok_or(UNCONFIGURED)?.place(snapshot)
}

pub(crate) fn routing<P: Routing>(config: &str) -> Result<P, String> {
    P::new(read_config(P::NAME, config)?)
}

pub(crate) fn placement<P: Placement>(config: &str) -> Result<P, String> {
    P::new(read_config(P::NAME, config)?)
}
