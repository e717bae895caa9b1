//! `[projections.NAME.placement]`: who spreads keys over lanes.

use std::path::PathBuf;

use toml::{Table, Value};

use super::effective::{json, path, table};
use super::plugin_config::{self, PluginConfig};
use super::reader::Section;
use super::values;

/// A policy that moves slots of keys between lanes.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// The policy's Wasm file. Relative paths have been resolved against the configuration's
    /// folder.
    pub policy: PathBuf,
    /// Most slots that one answer of the policy may move; 64 by default.
    pub move_budget: u32,
    /// Handed to the policy; an empty object by default.
    pub config: PluginConfig,
}

const MOVE_BUDGET: u32 = 64;

/// `None` where the section is absent, or wrong.
pub(super) fn read(mut section: Section<'_>, lanes: Option<u32>) -> Option<Placement> {
    if section.is_absent() {
        return None;
    }
    let context = section.context();
    let resolve = values::path(|path| context.resolve(path));
    let policy = section.require("policy", "name the policy's Wasm file", resolve);
    let move_budget = section.read("move-budget", values::count);
    let config = section.field("config");
    let config = config.and_then(|field| plugin_config::read(&field));
    if lanes == Some(1) {
        section.own_problem(
            "there is one lane, so nothing can be placed; raise \"lanes\" of the projection, or \
             remove this section",
        );
    }
    section.finish();
    Some(Placement {
        policy: policy?,
        move_budget: move_budget.unwrap_or(MOVE_BUDGET),
        config: config.unwrap_or_default(),
    })
}

pub(super) fn to_toml(placement: &Placement) -> Table {
    table([
        ("policy", path(&placement.policy)),
        ("move-budget", Value::from(placement.move_budget)),
        ("config", json(placement.config.shown())),
    ])
}
