//! `[stores.NAME.routing]`: who picks the copy that answers a read.

use std::path::PathBuf;

use toml::Table;

use super::effective::{json, path, table};
use super::plugin_config::{self, PluginConfig};
use super::reader::Section;
use super::values;

/// A policy that spreads reads over copies.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// The policy's Wasm file. Relative paths have been resolved against the configuration's
    /// folder.
    pub policy: PathBuf,
    /// Handed to the policy; an empty object by default.
    pub config: PluginConfig,
}

/// `None` where the section is absent, or wrong.
pub(super) fn read(mut section: Section<'_>, is_alone: bool) -> Option<Routing> {
    if section.is_absent() {
        return None;
    }
    let context = section.context();
    let resolve = values::path(|path| context.resolve(path));
    let policy = section.require("policy", "name the policy's Wasm file", resolve);
    let config = section.field("config");
    let config = config.and_then(|field| plugin_config::read(&field));
    if is_alone {
        section.own_problem(
            "there is one copy, so nothing can be picked; add [stores.NAME.copies.COPY], or remove \
             this section",
        );
    }
    section.finish();
    Some(Routing {
        policy: policy?,
        config: config.unwrap_or_default(),
    })
}

pub(super) fn to_toml(routing: &Routing) -> Table {
    table([
        ("policy", path(&routing.policy)),
        ("config", json(routing.config.shown())),
    ])
}
