//! The only place that wires concrete parts: configuration in, a running host out.
//!
//! Construction goes from what is nearest to what is farthest: plugins, the HTTP port, the stores,
//! Kafka's topics; then one consumer and one runner a projection. What is wrong before the
//! projections start ends the host with one message, but for topics that Kafka refuses: their
//! projections wait, and the others start. What goes wrong later is waited out, or tried again.
//!
//! On shutdown every runner drains and leaves its group, within the drain time-out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{self, Admin, ChangeDesk, Desks, ProjectionDesk};
use crate::changes::Changes;
use crate::config::{self, Config};
use crate::deployment;
use crate::gateway;
use crate::kafka::producer::Producer;
use crate::kafka::{self, Connection, metadata::Metadata};
use crate::parked::desk::{Desk, Place};
use crate::pipeline::runner;
use crate::pipeline::version::{Version, Versions as _};
use crate::plugin::{self, About};
use crate::registry::Registry;
use crate::registry::upload::{self, Refused, Uploads};
use crate::store::{self, Store};
use crate::telemetry::health::{Health, ProjectionState};
use crate::telemetry::metrics::{self, Metrics, UPKEEP_INTERVAL};
use crate::telemetry::recurring;

mod budget;
mod catalogue;
mod descriptors;
mod further;
mod options;
mod policies;
mod reach;
mod reading;
mod runners;
mod secrets;
mod startup;
mod stores;
mod supervisor;
mod versions;

pub use catalogue::{Catalogue, Plugin};
use further::Further;
pub use reach::reach;
use reading::Reading;
use secrets::Watched;
pub use stores::{first, open_store};
use stores::{for_operators, look_after, store_name, writable};
use supervisor::Supervised;

/// Every projection builds the first version of its views.
pub const VIEW_VERSION: u32 = 1;

/// At the end: for changes under way to be recorded.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// A host whose parts are built and checked. Nothing is consumed yet.
pub struct App {
    health: Health,
    address: SocketAddr,
    /// What goes on beside the projections: the HTTP server, the look after the stores.
    services: JoinSet<()>,
    changes: ChangeDesk,
    stores: BTreeMap<String, Arc<dyn Store>>,
    gateway: Option<Reading>,
    projections: Vec<Supervised>,
    /// The copies beside the first ones.
    further: Vec<Further>,
    shared: further::Shared,
}

/// Why a host did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}", join(.0))]
    Plugins(Vec<catalogue::Problem>),
    #[error(transparent)]
    Engine(#[from] plugin::Error),
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
    #[error(transparent)]
    Admin(#[from] admin::Error),
    #[error(transparent)]
    Gateway(#[from] gateway::Error),
    #[error(transparent)]
    Secrets(#[from] secrets::Unusable),
    #[error(
        "the configuration names views that no projection writes: {}; there are {}",
        unknown.join(", "), known.join(", ")
    )]
    UnknownViews {
        /// Where they are named.
        unknown: Vec<String>,
        known: Vec<String>,
    },
    #[error(transparent)]
    Budget(#[from] budget::TooSmall),
    #[error(
        "this process may have {allowed} open files, and this configuration needs {needed} at least; \
         raise that limit (LimitNOFILE of a unit, ulimit -n of a shell)"
    )]
    OpenFiles { allowed: u64, needed: u64 },
    #[error("store \"{store}\": {source}")]
    Store { store: String, source: store::Error },
    #[error("projection \"{projection}\": {source}")]
    Versions {
        projection: Arc<str>,
        source: versions::Error,
    },
    #[error(transparent)]
    Kafka(#[from] kafka::Error),
    #[error(transparent)]
    Projection(#[from] runner::Failed),
}

impl App {
    /// Builds and checks everything, waiting for Kafka and the stores up to the start-up time-out.
    pub async fn build(config: &Config) -> Result<App, Error> {
        descriptors::ensure(config)?;
        let own = config.clone();
        // To compile takes seconds, and a signal shall end a start at once.
        let checked = tokio::task::spawn_blocking(move || check(&own)).await;
        let catalogue = checked.expect("checks do not panic")?;
        let health = Health::default();
        let metrics = Metrics::global()?;
        let admin = Admin::bind(config.host.listen, health.clone(), metrics.clone()).await?;
        let address = admin.address();
        info!(%address, "metrics and health are served");
        for plugin in &catalogue.plugins {
            health.set_projection(&plugin.name, ProjectionState::Joining);
        }
        let mut services = JoinSet::new();
        services.spawn(keep_up(metrics));

        let deadline = tokio::time::Instant::now() + config.host.startup_timeout;
        let tails = catalogue.engine.tails().clone();
        let desks = Desks::new(ProjectionDesk::new(health.clone(), tails));
        let changes = desks.changes.clone();
        let access = options::access(&config.host)?;
        services.spawn(admin.serve(desks.clone(), access.clone()));
        let gateway = reading::bind(&config.gateway).await?;
        let readers = gateway.as_ref().map(reading::Bound::access);
        if let Some(watched) = Watched::new(config, access, readers) {
            services.spawn(watched.follow());
        }
        let metadata = Metadata::new(&connection(config))?;
        // What needs the stores alone is served while Kafka is still waited for.
        let stores = async {
            let readable = startup::open_stores(config, &catalogue, deadline).await?;
            let mut gateway = gateway
                .map(|gateway| reading::open(gateway, config, &catalogue, &readable, &health));
            let stores = writable(readable);
            let operators = for_operators(&stores);
            if let Some(gateway) = &mut gateway {
                gateway.sign_with(startup::cursor_key(&operators, deadline).await?);
            }
            let parked = Desk::default();
            for plugin in &catalogue.plugins {
                let copy = &plugin.projection.store;
                let (name, place) = parked_place(plugin, copy, Arc::clone(&operators[copy]));
                parked.open(&name, place);
            }
            desks.parked.open(parked.clone());
            desks
                .changes
                .open(Changes::new(first(&operators), &config.host.name));
            desks.plugins.open(uploads(config, &catalogue, &operators));
            Ok((stores, gateway, parked))
        };
        let topics = startup::find_all_topics(&catalogue, &metadata, deadline);
        let ((stores, gateway, parked), found) = tokio::try_join!(stores, topics)?;

        let sends = |plugin: &Plugin| plugin.projection.sends();
        let producer = match catalogue.plugins.iter().any(sends) {
            true => Some(Arc::new(Producer::new(&connection(config))?)),
            false => None,
        };
        let mut further = Further::all(config, &catalogue, gateway.as_ref());
        let shared_config = Arc::new(config.clone());
        let mut projections = Vec::new();
        let mut followed = Vec::new();
        let mut places = BTreeMap::new();
        for (plugin, found) in catalogue.plugins.into_iter().zip(found) {
            let store = Arc::clone(&stores[&plugin.projection.store]);
            let plugin = Arc::new(plugin);
            let follower = startup::follow(config, &plugin, &store, deadline).await?;
            services.spawn(Arc::clone(&follower).run());
            let mut placement = None;
            if let Some(configured) = &plugin.placement {
                let subject = format!("{}.placement", plugin.name);
                let follower =
                    startup::follow_policy(config, &subject, configured, &stores, deadline);
                let follower = follower.await?;
                services.spawn(Arc::clone(&follower).run());
                places.insert(subject.into(), follower.place());
                placement = Some(follower.watch());
            }
            places.insert(Arc::clone(&plugin.name), follower.place());
            let versions = follower.watch();
            services.spawn(tell(health.clone(), Arc::clone(&plugin.name), versions));
            followed.push(further::Followed {
                plugin: Arc::clone(&plugin),
                follower: Arc::clone(&follower),
                placement: placement.clone(),
                partitions: found.as_ref().ok().copied(),
            });
            let name = &plugin.projection.store;
            let parts = runners::Parts {
                copy: name.clone(),
                reachability: health.reachability(store_name(name)),
                store,
                registry: follower.registry(),
                versions: follower,
                placement,
                metadata: metadata.clone(),
                producer: producer.clone(),
                health: health.clone(),
                commits: gateway
                    .as_ref()
                    .and_then(|gateway| gateway.commits(&plugin.name)),
            };
            projections.push(Supervised::new(&shared_config, &plugin, parts, found));
        }
        for copy in &mut further {
            copy.take_on(&followed, &health);
        }
        for (store, configured) in &catalogue.routing {
            let subject = format!("{store}.routing");
            let follower = startup::follow_policy(config, &subject, configured, &stores, deadline);
            let follower = follower.await?;
            services.spawn(Arc::clone(&follower).run());
            places.insert(subject.into(), follower.place());
            if let Some(gateway) = &gateway {
                gateway.ask(store, follower.watch(), &mut services);
            }
        }
        let registry = registry(&for_operators(&stores));
        let deployments = deployment::desk::Desk::new(registry, places);
        desks.deployments.open(deployments);
        for (name, store) in &stores {
            let reachability = health.reachability(store_name(name));
            services.spawn(look_after(Arc::clone(store), reachability));
        }
        let shared = further::Shared {
            config: shared_config,
            metadata,
            health: health.clone(),
            parked,
        };
        Ok(App {
            further,
            shared,
            health,
            address,
            services,
            changes,
            stores,
            gateway,
            projections,
        })
    }

    /// What the host knows of its state.
    pub fn health(&self) -> &Health {
        &self.health
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until `stop` is cancelled and everything is drained, or until no projection is left
    /// that can go on.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut running = JoinSet::new();
        if let Some(gateway) = self.gateway {
            gateway.start(&mut self.services, &self.health, &stop);
        }
        for projection in self.projections {
            running.spawn(projection.run(stop.clone()));
        }
        for copy in self.further {
            running.spawn(copy.run(self.shared.clone(), stop.clone()));
        }
        let result = runners::join(running).await;
        self.services.shutdown().await;
        if tokio::time::timeout(RECORD_TIMEOUT, self.changes.close())
            .await
            .is_err()
        {
            warn!(
                "what operators have asked for last is not in the log of changes: the store does \
                not answer"
            );
        }
        join_all(self.stores.values().map(|store| store.close())).await;
        info!("ended");
        result
    }
}

/// Checks what can be checked without Kafka and without the stores: the plugins, the URIs of stores,
/// and whether librdkafka takes the properties.
pub fn check(config: &Config) -> Result<Catalogue, Error> {
    let wrong = stores::wrong_uris(config);
    if !wrong.is_empty() {
        return Err(Error::Plugins(wrong));
    }
    let catalogue = Catalogue::load(config)?;
    let known = catalogue.view_names();
    let unknown = reading::unknown_views(config, &known);
    if !unknown.is_empty() {
        return Err(Error::UnknownViews { unknown, known });
    }
    options::access(&config.host)?;
    options::readers(&config.gateway)?;
    Metadata::new(&connection(config))?;
    Ok(catalogue)
}

/// What can be used, and is not all that is configured: keys of gateway.jwt.jwks.
pub fn left_out(config: &Config) -> Result<Vec<String>, Error> {
    let keys = options::keys_left_out(&config.gateway)?;
    let told = |key: String| format!("gateway.jwt.jwks: {key}; the file's other keys are used");
    Ok(keys.into_iter().map(told).collect())
}

/// Whether this process may open as many files as a host of this configuration needs.
pub fn check_limits(config: &Config) -> Result<(), Error> {
    descriptors::ensure(config)
}

/// The engine of a command: it takes plugin files in children of this binary.
pub fn engine(plugins: &config::Plugins) -> Result<Arc<plugin::Engine>, plugin::Error> {
    let workshop = options::workshop(plugins);
    plugin::Engine::with_workshop(workshop).map(Arc::new)
}

/// The engine of a host, with room for what its projections may cause.
fn host_engine(config: &Config) -> Result<Arc<plugin::Engine>, Error> {
    let budget = budget::of(config)?;
    let workshop = options::workshop(&config.plugins);
    let engine = plugin::Engine::with_workshop(workshop)?;
    Ok(Arc::new(engine.with_memory_budget(budget)))
}

/// Checks a projection's bytes. `name` is for messages.
pub fn check_plugin(config: &Config, name: &str, bytes: &[u8]) -> Result<About, Error> {
    let engine = host_engine(config)?;
    let program = plugin::Program::load(&engine, name, bytes)?;
    Ok(program.about().clone())
}

/// Where plugins are uploaded to.
fn registry(stores: &BTreeMap<String, Arc<dyn Store>>) -> Registry {
    Registry::new(first(stores))
}

/// The way into the registry, with the checks that every plugin must pass.
fn uploads(
    config: &Config,
    catalogue: &Catalogue,
    stores: &BTreeMap<String, Arc<dyn Store>>,
) -> Uploads {
    let registry = registry(stores);
    let engine = Arc::clone(&catalogue.engine);
    let check = move |bytes: &[u8]| {
        plugin::examine(&engine, "upload", bytes).map_err(|error| match error {
            plugin::Error::Engine(error) => Refused::Host(error.to_string()),
            plugin::Error::Refused { .. } | plugin::Error::Configuration { .. } => {
                Refused::Plugin(error.to_string())
            }
        })
    };
    let limits = upload::Limits {
        bytes_max: plugin::MODULE_BYTES_MAX,
        plugins_max: options::count(config.plugins.uploads_max),
    };
    Uploads::new(registry, limits, Arc::new(check))
}

/// Where a projection keeps what is parked in a copy of its store.
pub fn parked_place(plugin: &Plugin, copy: &str, store: Arc<dyn Store>) -> (Arc<str>, Place) {
    let place = Place {
        projection: Arc::clone(&plugin.name),
        store,
        copy: copy.into(),
        version: VIEW_VERSION,
    };
    (label(&plugin.name, &plugin.projection.store, copy), place)
}

/// What a projection is called in a copy of its store, on the board, in metrics, in the log and in
/// the names of parked keys.
fn label(projection: &Arc<str>, store: &str, copy: &str) -> Arc<str> {
    match copy == store {
        true => Arc::clone(projection),
        false => format!("{projection}@{copy}").into(),
    }
}

/// How this host reaches Kafka.
fn connection(config: &Config) -> Connection {
    let properties = config.kafka.properties.iter();
    Connection {
        brokers: config.kafka.brokers.join(","),
        client_id: config.host.name.clone(),
        hidden: properties
            .clone()
            .filter(|(_, value)| value.is_hidden())
            .map(|(name, _)| name.clone())
            .collect(),
        properties: properties
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect(),
    }
}

/// Tells which plugin a projection is to run.
async fn tell(health: Health, projection: Arc<str>, mut versions: watch::Receiver<Arc<Version>>) {
    loop {
        let plugin = Arc::clone(&versions.borrow_and_update().hash);
        health.set_plugin(&projection, &plugin);
        if versions.changed().await.is_err() {
            return;
        }
    }
}

async fn keep_up(metrics: Metrics) {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        metrics.run_upkeep();
        recurring::tell();
    }
}

fn join(problems: &[catalogue::Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

impl Error {
    /// True where the configuration, or a plugin that it names, is wrong.
    pub fn is_configuration(&self) -> bool {
        match self {
            Error::Plugins(_)
            | Error::Budget(_)
            | Error::Secrets(_)
            | Error::UnknownViews { .. }
            | Error::Kafka(kafka::Error::Config(_)) => true,
            Error::Engine(_)
            | Error::Metrics(_)
            | Error::Admin(_)
            | Error::Gateway(_)
            | Error::OpenFiles { .. }
            | Error::Store { .. }
            | Error::Versions { .. }
            | Error::Kafka(_)
            | Error::Projection(_) => false,
        }
    }

    /// True where Kafka or a store did not answer, so that starting again later may help.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Error::Store { source, .. } => source.is_transient(),
            Error::Versions { source, .. } => source.is_unavailable(),
            Error::Kafka(error) => error.is_transient(),
            Error::Plugins(_)
            | Error::Budget(_)
            | Error::Secrets(_)
            | Error::UnknownViews { .. }
            | Error::Engine(_)
            | Error::Metrics(_)
            | Error::Admin(_)
            | Error::Gateway(_)
            | Error::OpenFiles { .. }
            | Error::Projection(_) => false,
        }
    }
}
