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

/// What is wrong with one plugin, or shows with it at hand.
#[derive(Debug)]
pub struct Problem {
    /// What of the configuration it is about.
    pub written: config::Written,
    /// Whose it is: `projection "aircraft"`.
    pub what: String,
    /// The plugin's file, where it is about one.
    pub path: Option<PathBuf>,
    pub message: String,
}

impl Catalogue {
    /// Loads all plugins and configures an instance of each. All problems are reported together.
    pub fn load(config: &Config) -> Result<Self, Error> {
        let engine = super::host_engine(config)?;
        let mut plugins = Vec::new();
        let mut problems = Vec::new();
        for (name, projection) in &config.projections {
            let loaded = load(&engine, name, projection)
                .map_err(|wrong| (&projection.plugin, wrong.key, wrong.message));
            let placement = match &projection.placement {
                None => Ok(None),
                Some(placement) => {
                    load_placement(&engine, name, placement)
                        .map(Some)
                        .map_err(|message| {
                            let key = ["placement", "policy"].map(str::to_owned).to_vec();
                            (&placement.policy, key, message)
                        })
                }
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
                    for (path, key, message) in loaded.err().into_iter().chain(placement.err()) {
                        let key = key.iter().map(String::as_str);
                        let key = ["projections", name.as_str()].into_iter().chain(key);
                        problems.push(Problem {
                            written: config.place_of(key),
                            what: projection_name(name),
                            path: Some(path.clone()),
                            message,
                        });
                    }
                }
            }
        }
        problems.extend(shared_views(config, &plugins));
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
                    written: config.place_of(["stores", name.as_str(), "routing", "policy"]),
                    what: format!("store \"{name}\""),
                    path: Some(configured.policy.clone()),
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
            written,
            what,
            path,
            message,
        } = self;
        write!(f, "{written}: {what}")?;
        if let Some(path) = path {
            write!(f, ", {}", path.display())?;
        }
        write!(f, ": {message}")
    }
}

/// What is wrong with a projection, and the key within its section that says so.
struct Wrong {
    key: Vec<String>,
    message: String,
}

impl Wrong {
    fn at(key: &str, message: String) -> Self {
        Wrong {
            key: vec![key.to_owned()],
            message,
        }
    }

    fn of(error: &plugin::Error) -> Self {
        let message = describe(error);
        match error {
            plugin::Error::Configuration { detail, .. } => Wrong {
                key: key_in_config(detail),
                message,
            },
            plugin::Error::Refused { .. } | plugin::Error::Engine(_) => {
                Wrong::at("plugin", message)
            }
        }
    }
}

/// The key of a plugin's configuration that a text about it opens with: a JSON pointer where it
/// breaks the schema, and often a key where the plugin speaks itself. A word that is no key leads
/// to the section, where it would be.
fn key_in_config(detail: &str) -> Vec<String> {
    let first = detail.split([' ', ':']).next().unwrap_or_default();
    let keys = match first.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(str::to_owned).collect(),
        None => vec![first.to_owned()],
    };
    ["config".to_owned()].into_iter().chain(keys).collect()
}

fn load(
    engine: &Arc<Engine>,
    name: &str,
    projection: &config::Projection,
) -> Result<(Arc<Program>, Vec<u8>), Wrong> {
    let read = read(&projection.plugin, &format!("projections.{name}.plugin"));
    let (file, bytes) = read.map_err(|message| Wrong::at("plugin", message))?;
    let program = Program::load(engine, &file, &bytes).map_err(|error| Wrong::of(&error))?;
    let key = projection.views.key().unwrap_or("plugin");
    let program = versions::call_views(projection, &program);
    let program = program.map_err(|message| Wrong::at(key, message))?;
    let configured = versions::configure(name, projection, &program);
    configured.map_err(|error| Wrong::of(&error))?;
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

/// Two projections that write one view would overwrite one another's documents, and of two views
/// with one name the gateway could serve one. Each pair of projections is told once.
fn shared_views(config: &Config, plugins: &[Plugin]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, plugin) in plugins.iter().enumerate() {
        for other in &plugins[..index] {
            let names: Vec<String> = plugin
                .views()
                .filter(|view| other.views().any(|other| other.name == view.name))
                .map(|view| format!("\"{}\"", view.name))
                .collect();
            let message = match names.is_empty() {
                true => None,
                false => clash(config, plugin, other, &names.join(", ")),
            };
            problems.extend(message.map(|message| Problem {
                written: naming(config, plugin),
                what: projection_name(&plugin.name),
                path: Some(plugin.projection.plugin.clone()),
                message,
            }));
        }
    }
    problems
}

/// What keeps two projections from having views of the same `names`.
fn clash(config: &Config, plugin: &Plugin, other: &Plugin, names: &str) -> Option<String> {
    let [store, others] = [plugin, other].map(|plugin| plugin.projection.store.as_str());
    let at_other = naming(config, other);
    let locations = |store: &str| {
        config.stores[store]
            .copies
            .iter()
            .map(|copy| &copy.location)
    };
    if locations(store).any(|one| locations(others).any(|other| one == other)) {
        return Some(format!(
            "it writes view {names} in store \"{store}\", which projection \"{}\" writes too \
             ({at_other}); call it something else with view or views in [projections.{}], or keep \
             them in two stores (databases)",
            other.name, plugin.name
        ));
    }
    config.gateway.listen.is_some().then(|| {
        format!(
            "the gateway would serve its view {names} in store \"{store}\", and that of projection \
             \"{}\" in store \"{others}\" under one name ({at_other}); call one of them something \
             else with view or views in its section, or leave gateway.listen out",
            other.name
        )
    })
}

/// Where it is said what a projection's views are called.
fn naming(config: &Config, plugin: &Plugin) -> config::Written {
    let key = plugin.projection.views.key().unwrap_or("plugin");
    config.place_of(["projections", &*plugin.name, key])
}
