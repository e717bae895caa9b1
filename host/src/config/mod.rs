//! The configuration: from TOML and the environment to checked structs.
//!
//! ```toml
//! [kafka]
//! brokers = "localhost:9092"
//!
//! [stores.main]
//! kind = "mongodb"
//! uri = "mongodb://${MONGODB_USER}:${MONGODB_PASSWORD}@localhost:27017/?replicaSet=rs0"
//! database = "readmodels"
//!
//! [projections.aircraft]
//! plugin = "aircraft.wasm"
//! topics = ["flights"]
//! ```
//!
//! Guarantees:
//! - A [`Config`] is complete and consistent: every default is filled in, every reference leads
//!   somewhere, every cross-check has passed.
//! - Nothing that was written is ignored: an unknown key or variable is a problem.
//! - All [`Problems`] are reported together, each with its place and its full key.
//! - What came through `${}`, or is a password by its nature, is redacted in `Debug`, in messages
//!   and in [`Config::to_toml_redacted`].
//!
//! Not here: whether plugins, topics, brokers and servers exist (`app`). The reference of all keys
//! is `docs/guide/configuration.md`.
//!
//! Layers, each knowing only those before it: `problem`, `tree` (what was written),
//! `environment` (variables), `reader` (keys), `values` (texts), and one file for each section.

mod dedupe;
mod effective;
mod environment;
mod gateway;
mod host;
mod kafka;
mod parking;
mod placement;
mod places;
mod plugin_config;
mod plugins;
mod problem;
mod projections;
mod reader;
mod readers;
mod routing;
mod secret;
mod stores;
mod suggest;
#[cfg(test)]
mod tests;
mod tokens;
mod tree;
mod trial;
mod values;
mod view_names;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use dedupe::{Dedupe, IdSource, Scope, WithoutId};
pub use environment::PREFIX;
pub use gateway::{Gateway, RateLimit};
pub use host::{Host, LogFormat};
pub use kafka::{GroupProtocol, Kafka};
pub use parking::{OnFault, Parking};
pub use placement::Placement;
pub use places::Written;
pub use plugin_config::PluginConfig;
pub use plugins::Plugins;
pub use problem::{KeyPath, Place, Problem, Problems};
pub use projections::{
    Batch, Limits, Messages, Projection, Queue, TABLE_ELEMENTS_LIMIT, WithoutKey,
};
pub use readers::{Jwt, JwtKey, ReaderToken, Readers};
pub use routing::Routing;
pub use secret::{REDACTED, Secret};
pub use stores::{Copy, Location, Store};
pub use tokens::{Role, Token, TokenSource, check_token};
pub use trial::Trial;
pub use view_names::ViewNames;
pub use views::View;

use environment::Variables;
use places::Places;
use reader::{Context, Section};

/// What a host runs by.
#[derive(Clone, PartialEq)]
pub struct Config {
    pub host: Host,
    pub kafka: Kafka,
    pub plugins: Plugins,
    /// By name; at least one.
    pub stores: BTreeMap<String, Store>,
    /// By name; at least one.
    pub projections: BTreeMap<String, Projection>,
    pub gateway: Gateway,
    /// Those of the projections' views that say more than nothing, by name.
    pub views: BTreeMap<String, View>,
    /// Keys whose values came through `${}`: shown to nobody.
    hidden: BTreeSet<KeyPath>,
    places: Places,
}

/// Reads a file; a file that cannot be read is a problem like any other. Relative paths in the
/// file become absolute.
pub fn load(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    default_name: &str,
) -> Result<Config, Problems> {
    let unreadable = |error: std::io::Error| {
        Problems::new(vec![Problem {
            place: Place::File(path.into()),
            key: None,
            message: format!("cannot be read: {error}"),
        }])
    };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let folder = std::path::absolute(path).map_err(unreadable)?;
    let folder = folder.parent().unwrap_or(Path::new("/"));
    read(&text, path, folder, environment, default_name)
}

/// Checks a file's text. `path` stands in the problems, and relative paths in the text are
/// resolved against its folder.
pub fn parse(
    text: &str,
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    default_name: &str,
) -> Result<Config, Problems> {
    let folder = path.parent().unwrap_or(Path::new(""));
    read(text, path, folder, environment, default_name)
}

fn read(
    text: &str,
    path: &Path,
    folder: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    default_name: &str,
) -> Result<Config, Problems> {
    let path: Arc<Path> = path.into();
    let variables: Variables = environment.into_iter().collect();
    let mut table = tree::parse(text, &path).map_err(Problems::new)?;
    let problems = environment::overlay(&mut table, &variables);
    let environment = variables.clone();
    let context = Context::new(path, folder, variables, problems);

    let mut root = Section::root(&context, &table);
    let host = root.section("host");
    let kafka = kafka::read(root.section("kafka"));
    let (host, named) = host::read(host, default_name, &kafka);
    let plugins = plugins::read(root.section("plugins"), &environment);
    let stores = stores::read(root.section("stores"));
    let projections = projections::read(root.section("projections"), &stores);
    let known: Vec<&str> = projections.keys().map(String::as_str).collect();
    tokens::check_named(named, &known);
    let gateway = gateway::read(root.section("gateway"), host.listen);
    let views = views::read(&root.section("views"));
    root.finish();
    let stores = stores.checked;
    Ok(Config {
        places: Places::of(&table),
        hidden: context.finish()?,
        host,
        kafka,
        plugins,
        stores,
        projections,
        gateway,
        views,
    })
}

impl Config {
    /// The configuration in force as TOML, with every default filled in and every secret replaced
    /// by [`REDACTED`].
    pub fn to_toml_redacted(&self) -> String {
        effective::to_toml(self)
    }

    /// Where a key was written, or else the section that it would be in; for messages about what
    /// shows only with the plugins at hand.
    pub fn place_of<'k>(&self, key: impl IntoIterator<Item = &'k str>) -> Written {
        self.places.of_key(key)
    }
}

/// The redacted TOML.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_toml_redacted())
    }
}
