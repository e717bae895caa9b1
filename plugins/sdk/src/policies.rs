//! The functions that the host calls, for any policy: what
//! [`export_routing!`](crate::export_routing) and [`export_placement!`](crate::export_placement)
//! are made of.

use std::cell::RefCell;

use crate::bindings::placement::projectionist::plugin::balancing::Policy;
use crate::guest::{read_config, report_panics};
use crate::policy::{Placement, Request, Routing, Snapshot, Target, TargetId};

/// Where a plugin keeps its policy between two calls.
pub type Configured<P> = RefCell<Option<P>>;

const UNCONFIGURED: &str = "it was asked before configure";

pub fn describe_routing<P: Routing>() -> Policy {
    report_panics();
    Policy {
        name: P::NAME.to_owned(),
        version: P::VERSION.to_owned(),
        description: P::DESCRIPTION.to_owned(),
        config_schema: P::CONFIG_SCHEMA.to_owned(),
    }
}

pub fn describe_placement<P: Placement>() -> Policy {
    report_panics();
    Policy {
        name: P::NAME.to_owned(),
        version: P::VERSION.to_owned(),
        description: P::DESCRIPTION.to_owned(),
        config_schema: P::CONFIG_SCHEMA.to_owned(),
    }
}

pub fn configure_routing<P: Routing>(slot: &Configured<P>, config: &str) -> Result<(), String> {
    report_panics();
    slot.replace(Some(routing(config)?));
    Ok(())
}

pub fn configure_placement<P: Placement>(slot: &Configured<P>, config: &str) -> Result<(), String> {
    report_panics();
    slot.replace(Some(placement(config)?));
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
