//! Finds the policies that a simulation compares.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

use crate::app;
use crate::cli::{Failure, environment};
use crate::config::Plugins;
use crate::plugin::{self, Kind, Policy};

/// Names the policy that the host has in itself.
const BUILT_IN: &str = "built-in";

/// A policy as the command line names it: `NAME`, `FILE.wasm`, either with `=CONFIG`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    pub(super) name: String,
    config: Value,
}

/// Reads `NAME` or `NAME=CONFIG`.
pub(super) fn parse(text: &str) -> Result<Named, String> {
    let (name, config) = match text.split_once('=') {
        None => (text, json!({})),
        Some((name, config)) => {
            let config = serde_json::from_str(config).map_err(|error| {
                format!("the configuration behind \"{name}=\" is no JSON: {error}")
            })?;
            (name, config)
        }
    };
    Ok(Named {
        name: name.to_owned(),
        config,
    })
}

/// What a simulation runs, with the name for its line; `None` is the built-in policy.
pub(super) type Runnable<S> = (String, Option<S>);

/// Loads the policies. `start` makes of each, with its configuration, what the simulation takes.
pub(super) fn load<S>(
    policies: &[Named],
    folder: Option<&Path>,
    kind: Kind,
    start: impl Fn(Arc<Policy>, &Value) -> Result<S, plugin::Error>,
) -> Result<Vec<Runnable<S>>, Failure> {
    let mut loaded = Vec::new();
    let mut engine = None;
    for Named { name, config } in policies {
        if name == BUILT_IN {
            loaded.push((name.clone(), None));
            continue;
        }
        let engine = match &engine {
            Some(engine) => Arc::clone(engine),
            None => {
                let plugins = Plugins::defaults(environment());
                let started = app::engine(&plugins).map_err(|e| Failure::Other(e.into()))?;
                engine.insert(started).clone()
            }
        };
        let path = path(name, folder)?;
        let bytes = std::fs::read(&path).with_context(|| {
            format!(
                "cannot read {}; policies are {BUILT_IN}, the names of shipped ones (whose folder \
                 --plugins tells), or the path of a .wasm file",
                path.display()
            )
        })?;
        let policy = Policy::load(&engine, name, &bytes, kind);
        let source = policy.and_then(|policy| start(policy, config));
        let source = source.map_err(|error| match error {
            plugin::Error::Refused { .. } | plugin::Error::Configuration { .. } => {
                Failure::Wrong(error.into())
            }
            plugin::Error::Engine(_) => Failure::Other(error.into()),
        })?;
        loaded.push((label(name, config), Some(source)));
    }
    Ok(loaded)
}

/// Two lines of one policy differ in its configuration.
fn label(name: &str, config: &Value) -> String {
    let name = Path::new(name).file_stem().unwrap_or(name.as_ref());
    let name = name.to_string_lossy();
    match config {
        Value::Object(config) if config.is_empty() => name.into_owned(),
        config => format!("{name} {config}"),
    }
}

fn path(name: &str, folder: Option<&Path>) -> Result<PathBuf, Failure> {
    if name.ends_with(".wasm") {
        return Ok(PathBuf::from(name));
    }
    let file = format!("{}.wasm", name.replace('-', "_"));
    match folder {
        Some(folder) => Ok(folder.join(file)),
        None => Ok(beside_this_program()?.join(file)),
    }
}

/// Where the build that made this program leaves its plugins.
fn beside_this_program() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let build = program.ancestors().nth(2);
    let build = build.ok_or_else(|| anyhow!("cannot tell where plugins are; name --plugins"))?;
    Ok(build.join("wasm32-unknown-unknown/release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_named_with_or_without_its_configuration() {
        let named = |name: &str, config| Named {
            name: name.to_owned(),
            config,
        };
        assert_eq!(parse("hash"), Ok(named("hash", json!({}))));
        let unit = json!({"unit-us": 5});
        assert_eq!(
            parse("least-time={\"unit-us\": 5}"),
            Ok(named("least-time", unit.clone()))
        );
        let error = parse("hash={").expect_err("no JSON");
        assert!(
            error.starts_with("the configuration behind \"hash=\""),
            "{error}"
        );
        assert_eq!(label("a/mine.wasm", &unit), "mine {\"unit-us\":5}");
    }

    #[test]
    fn a_shipped_policy_is_a_file_in_a_folder() {
        let folder = Path::new("plugins");
        let found = |name: &str| path(name, Some(folder)).ok();
        assert_eq!(found("ip-hash"), Some(folder.join("ip_hash.wasm")));
        assert_eq!(found("./mine.wasm"), Some(PathBuf::from("./mine.wasm")));
    }
}
