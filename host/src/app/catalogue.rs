//! The plugins that a configuration names: loaded, checked, and asked for their views.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::policies::{Configured, Load};
use super::{Error, VIEW_VERSION, versions};
use crate::config::{self, Config};
use crate::plugin::{self, Engine, Program, Unread};
use crate::store::{CheckpointId, ViewId};
use crate::telemetry::health::describe;

/// Every projection of a configuration with its plugin.
pub struct Catalogue {
    /// The process's own; there is one.
    pub engine: Arc<Engine>,
    pub plugins: Vec<Plugin>,
    /// Who picks copies, by the names of their stores.
    pub routing: BTreeMap<String, Configured<plugin::Routing>>,
}

pub struct Plugin {
    /// The projection's name.
    pub name: Arc<str>,
    pub projection: config::Projection,
    pub program: Arc<Program>,
    /// Who places keys; `None` for the built-in way.
    pub placement: Option<Configured<plugin::Placement>>,
    /// The plugin's file.
    pub bytes: Vec<u8>,
}

/// What is wrong with one plugin.
#[derive(Debug)]
pub struct Problem {
    /// Whose it is: `projection "aircraft"`.
    pub what: String,
    pub path: PathBuf,
    pub message: String,
}

impl Catalogue {
    /// Loads all plugins and configures an instance of each. All problems are reported together.
    pub fn load(config: &Config) -> Result<Self, Error> {
        let engine = super::host_engine(config)?;
        let mut plugins = Vec::new();
        let mut problems = Vec::new();
        for (name, projection) in &config.projections {
            let loaded =
                load(&engine, name, projection).map_err(|message| (&projection.plugin, message));
            let placement = match &projection.placement {
                None => Ok(None),
                Some(placement) => load_placement(&engine, name, placement)
                    .map(Some)
                    .map_err(|message| (&placement.policy, message)),
            };
            match (loaded, placement) {
                (Ok((program, bytes)), Ok(placement)) => plugins.push(Plugin {
                    name: name.as_str().into(),
                    projection: projection.clone(),
                    program,
                    placement,
                    bytes,
                }),
                (loaded, placement) => {
                    for (path, message) in loaded.err().into_iter().chain(placement.err()) {
                        problems.push(Problem {
                            what: projection_name(name),
                            path: path.clone(),
                            message,
                        });
                    }
                }
            }
        }
        problems.extend(shared_views(&plugins));
        let mut routing = BTreeMap::new();
        for (name, store) in &config.stores {
            let Some(configured) = &store.routing else {
                continue;
            };
            match load_routing(&engine, name, configured) {
                Ok(policy) => {
                    routing.insert(name.clone(), policy);
                }
                Err(message) => problems.push(Problem {
                    what: format!("store \"{name}\""),
                    path: configured.policy.clone(),
                    message,
                }),
            }
        }
        if problems.is_empty() {
            Ok(Catalogue {
                engine,
                plugins,
                routing,
            })
        } else {
            Err(Error::Plugins(problems))
        }
    }

    /// The views that are kept in a copy of a store, each with its writer.
    pub(super) fn views_in(&self, store: &str, copy: &str) -> Vec<(ViewId, String)> {
        self.plugins
            .iter()
            .filter(|plugin| plugin.projection.store == store)
            .flat_map(|plugin| {
                let writer = CheckpointId::writer(&plugin.name, VIEW_VERSION, copy);
                plugin.views().map(move |view| (view, writer.clone()))
            })
            .collect()
    }

    /// The store that keeps a view.
    pub fn store_of(&self, view: &str) -> Option<(&str, ViewId)> {
        self.plugins.iter().find_map(|plugin| {
            let id = plugin.views().find(|id| &*id.name == view)?;
            Some((plugin.projection.store.as_str(), id))
        })
    }

    /// The names of all views.
    pub fn view_names(&self) -> Vec<String> {
        let views = self.plugins.iter().flat_map(Plugin::views);
        views.map(|view| view.name.to_string()).collect()
    }
}

impl Plugin {
    fn views(&self) -> impl Iterator<Item = ViewId> + '_ {
        let views = self.program.descriptor().views.iter();
        views.map(|view| ViewId::new(Arc::clone(&view.name), VIEW_VERSION))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            what,
            path,
            message,
        } = self;
        write!(f, "{what}, {}: {message}", path.display())
    }
}

fn load(
    engine: &Arc<Engine>,
    name: &str,
    projection: &config::Projection,
) -> Result<(Arc<Program>, Vec<u8>), String> {
    let (file, bytes) = read(&projection.plugin, &format!("projections.{name}.plugin"))?;
    let program = Program::load(engine, &file, &bytes).map_err(|error| describe(&error))?;
    versions::configure(name, projection, &program).map_err(|error| describe(&error))?;
    Ok((program, bytes))
}

fn load_placement(
    engine: &Arc<Engine>,
    name: &str,
    placement: &config::Placement,
) -> Result<Configured<plugin::Placement>, String> {
    let key = format!("projections.{name}.placement.policy");
    let (kind, config) = (plugin::Placement::KIND, &placement.config);
    let configure = plugin::Placement::new;
    load_policy(
        engine,
        (&placement.policy, &key),
        kind,
        (name, config),
        configure,
    )
}

fn load_routing(
    engine: &Arc<Engine>,
    store: &str,
    routing: &config::Routing,
) -> Result<Configured<plugin::Routing>, String> {
    let key = format!("stores.{store}.routing.policy");
    let (kind, config) = (plugin::Routing::KIND, &routing.config);
    let configure = plugin::Routing::new;
    load_policy(
        engine,
        (&routing.policy, &key),
        kind,
        (store, config),
        configure,
    )
}

/// `file` comes with the key of the configuration that names it, and `balanced` with what a policy
/// is handed for it.
fn load_policy<P: 'static>(
    engine: &Arc<Engine>,
    file: (&Path, &str),
    kind: plugin::Kind,
    balanced: (&str, &config::PluginConfig),
    configure: fn(Arc<plugin::Policy>, &str, &serde_json::Value) -> Result<P, plugin::Error>,
) -> Result<Configured<P>, String> {
    let engine = Arc::clone(engine);
    let (name, config) = (balanced.0.to_owned(), balanced.1.clone());
    let load = move |label: &str, bytes: &[u8]| {
        let policy = plugin::Policy::load(&engine, label, bytes, kind)?;
        let about = policy.about().clone();
        configure(policy, &name, config.expose()).map(|policy| (policy, about))
    };
    let (label, bytes) = read(file.0, file.1)?;
    let (policy, about) = load(&label, &bytes).map_err(|error| describe(&error))?;
    let load: Load<P> = Arc::new(move |label, bytes| Ok(load(label, bytes)?.0));
    Ok(Configured {
        policy,
        about,
        bytes,
        load,
    })
}

fn projection_name(name: &str) -> String {
    format!("projection \"{name}\"")
}

/// A file's name and its bytes. `key` is the one of the configuration that names it.
fn read(path: &Path, key: &str) -> Result<(String, Vec<u8>), String> {
    let file = path.file_name().unwrap_or(path.as_os_str());
    let bytes = plugin::read_file(path).map_err(|error| match error {
        Unread::Io { source, .. } => {
            format!("cannot be read: {source}; build the plugin, or correct {key}")
        }
        Unread::Refused(error) => describe(&error),
    })?;
    Ok((file.to_string_lossy().into_owned(), bytes))
}

/// Two projections that write one view would overwrite one another's documents.
fn shared_views(plugins: &[Plugin]) -> Vec<Problem> {
    let mut owners: BTreeMap<(&str, Arc<str>), &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for plugin in plugins {
        for view in plugin.views() {
            let key = (plugin.projection.store.as_str(), Arc::clone(&view.name));
            if let Some(owner) = owners.insert(key, &plugin.name) {
                problems.push(Problem {
                    what: projection_name(&plugin.name),
                    path: plugin.projection.plugin.clone(),
                    message: format!(
                        "it writes view \"{}\" in store \"{}\", which projection \"{owner}\" writes \
                         too; keep them in two stores (databases)",
                        view.name, plugin.projection.store
                    ),
                });
            }
        }
    }
    problems
}
