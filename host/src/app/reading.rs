//! The gateway: which views it serves, from where, to whom.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::policies::hand_over;
use super::{Catalogue, Error, Plugin, VIEW_VERSION, label, options, store_name};
use crate::config::{self, Config};
use crate::gateway::access::Access;
use crate::gateway::cache::{Cache, Documents};
use crate::gateway::copies::{Copies, Copy, Opened, Picker};
use crate::gateway::positions::Positions;
use crate::gateway::{CursorKey, Gateway, Setup, View};
use crate::pipeline::CommitStream;
use crate::plugin;
use crate::store::list::Index;
use crate::store::{CheckpointId, Readable, Store, User, ViewId, apart};
use crate::telemetry::health::Health;

/// A gateway whose port is bound, and who may read there.
pub(super) struct Bound {
    gateway: Gateway,
    setup: Setup,
}

impl Bound {
    /// Whose tokens may be replaced.
    pub(super) fn access(&self) -> Access {
        self.setup.access.clone()
    }
}

/// A gateway that is ready to serve.
pub(super) struct Reading {
    bound: Bound,
    views: Vec<View>,
    /// Of each projection, and for how long one of them may lag.
    copies: Vec<(Copies, Duration)>,
    seats: Vec<Seat>,
    /// Of each store.
    pickers: BTreeMap<String, Picker>,
    /// The first copies, which are open.
    first: BTreeMap<String, Arc<dyn Readable>>,
}

/// Where a projection is read in one copy.
#[derive(Clone)]
pub(super) struct Seat {
    /// As [`CheckpointId::writer`].
    writer: String,
    copy: Arc<Copy>,
}

/// Names of views in the configuration that no projection writes.
pub(super) fn unknown_views(config: &Config, known: &[String]) -> Vec<String> {
    let is_unknown = |view: &str| view != options::ALL && !known.iter().any(|name| name == view);
    let declared = config.views.keys().filter(|view| is_unknown(view));
    let at = |key: &[&str]| match config.place_of(key.iter().copied()).place {
        Some(place) => format!(" ({place})"),
        None => String::new(),
    };
    let declared = declared.map(|view| format!("views.{view}{}", at(&["views", view.as_str()])));
    let mut unknown: Vec<String> = declared.collect();
    for (role, views) in &config.gateway.readers.roles {
        let at = at(&["gateway", "roles", role.as_str(), "views"]);
        let views = views.iter().filter(|view| is_unknown(view));
        unknown.extend(views.map(|view| format!("gateway.roles.{role}.views: {view}{at}")));
    }
    unknown
}

/// The declared indexes of a view.
pub(super) fn indexes(config: &Config, view: &str) -> Vec<Index> {
    let declared = config.views.get(view).into_iter();
    let indexes = declared.flat_map(|view| &view.indexes).map(|fields| {
        Index::new(fields.iter().map(String::as_str)).expect("the configuration checks fields")
    });
    indexes.collect()
}

/// Binds the gateway's port, where there is to be one.
pub(super) async fn bind(gateway: &config::Gateway) -> Result<Option<Bound>, Error> {
    let Some(address) = gateway.listen else {
        return Ok(None);
    };
    let setup = options::readers(gateway)?;
    for key in options::keys_left_out(gateway)? {
        warn!("gateway.jwt.jwks: {key}; the file's other keys are used");
    }
    let gateway = Gateway::bind(address, options::reading(gateway)).await?;
    Ok(Some(Bound { gateway, setup }))
}

/// Finds the views of all projections. `first` are the stores' first copies.
pub(super) fn open(
    bound: Bound,
    config: &Config,
    catalogue: &Catalogue,
    first: &BTreeMap<String, Arc<dyn Readable>>,
    health: &Health,
) -> Reading {
    let documents = config.gateway.cache_bytes_max;
    let documents = documents.map(|bytes_max| Arc::new(Documents::new(options::bytes(bytes_max))));
    let pickers = config.stores.iter();
    let pickers = pickers.map(|(name, store)| {
        let reads = health.reachability(format!("{} (for readers)", store_name(name)));
        let picker = picker(name, store, catalogue).reporting(reads);
        (name.clone(), picker)
    });
    let mut reading = Reading {
        bound,
        views: Vec::new(),
        copies: Vec::new(),
        seats: Vec::new(),
        pickers: pickers.collect(),
        first: first.clone(),
    };
    for plugin in &catalogue.plugins {
        reading.add(config, plugin, documents.as_ref());
    }
    reading
}

fn picker(name: &str, store: &config::Store, catalogue: &Catalogue) -> Picker {
    let copies = store.copies.iter();
    let copies = copies.map(|copy| (copy.name.as_str(), copy.weight));
    let policy = catalogue.routing.get(name);
    let policy = policy.map(|configured| Arc::new(configured.policy.clone()) as _);
    Picker::new(name, copies, policy)
}

impl Reading {
    /// `documents` are kept for all views together, where any are.
    fn add(&mut self, config: &Config, plugin: &Plugin, documents: Option<&Arc<Documents>>) {
        let name = &plugin.projection.store;
        let store = &config.stores[name];
        let seat = |copy: &config::Copy| Seat {
            writer: CheckpointId::writer(&plugin.name, VIEW_VERSION, &copy.name),
            copy: {
                let label = label(&plugin.name, name, &copy.name);
                let cache = documents.map(|documents| Arc::new(Cache::new(documents, &label)));
                let copy = Copy::new(&copy.name, &label, config.gateway.read_timeout);
                Arc::new(copy.cached(cache))
            },
        };
        let seats: Vec<Seat> = store.copies.iter().map(seat).collect();
        let copies = seats.iter().map(|seat| Arc::clone(&seat.copy)).collect();
        let copies = Copies::new(copies, self.pickers[name].clone());
        let topics = plugin.projection.topics.iter();
        let topics: Vec<Arc<str>> = topics.map(|topic| topic.as_str().into()).collect();
        for view in &plugin.program.descriptor().views {
            self.views.push(View {
                id: ViewId::new(Arc::clone(&view.name), VIEW_VERSION),
                projection: Arc::clone(&plugin.name),
                topics: topics.clone(),
                ownership: view.ownership,
                indexes: indexes(config, &view.name),
                copies: copies.clone(),
            });
        }
        self.copies.push((copies, store.stale_after));
        self.seats.extend(seats);
    }

    /// Signs cursors with this key.
    pub(super) fn sign_with(&mut self, key: CursorKey) {
        self.bound.setup.cursors = key;
    }

    /// Has a store's copies picked by the policy that is told, and by each one that follows.
    pub(super) fn ask(
        &self,
        store: &str,
        policies: watch::Receiver<plugin::Routing>,
        services: &mut JoinSet<()>,
    ) {
        let picker = self.pickers[store].clone();
        services.spawn(hand_over(policies, move |policy| {
            picker.ask(Arc::new(policy))
        }));
    }

    /// Where projections are read in a copy.
    pub(super) fn seats(&self, copy: &str) -> Vec<Seat> {
        let seats = self.seats.iter();
        let seats = seats.filter(|seat| &*seat.copy.name == copy);
        seats.cloned().collect()
    }

    /// Who hears of what a projection stores in a first copy.
    pub(super) fn commits(&self, projection: &str) -> Option<Arc<dyn CommitStream>> {
        commits(&self.seats, projection)
    }

    /// Serves until `stop` is cancelled.
    pub(super) fn start(
        self,
        services: &mut JoinSet<()>,
        health: &Health,
        stop: &CancellationToken,
    ) {
        for seat in &self.seats {
            if let Some(store) = self.first.get(&*seat.copy.name) {
                seat.open(store, services, health);
            }
        }
        for (copies, stale_after) in self.copies {
            let probed = copies.clone();
            services.spawn(async move { probed.probe().await });
            if copies.are_several() {
                services.spawn(async move { copies.compare(stale_after).await });
            }
        }
        let Bound { gateway, setup } = self.bound;
        services.spawn(gateway.serve(self.views, setup, stop.clone()));
    }
}

/// Who hears of what a projection stores, by what it is called in the copy.
pub(super) fn commits(seats: &[Seat], label: &str) -> Option<Arc<dyn CommitStream>> {
    let seat = seats.iter().find(|seat| *seat.copy.label == *label)?;
    let cache = seat.copy.cache()?;
    Some(Arc::clone(cache) as _)
}

impl Seat {
    /// From now on the copy is read, and `services` know how far it is.
    pub(super) fn open(
        &self,
        store: &Arc<dyn Readable>,
        services: &mut JoinSet<()>,
        health: &Health,
    ) {
        let Seat { writer, copy } = self;
        let read_timeout = copy.read_timeout;
        let positions = Positions::new(Arc::clone(store) as _, writer.clone(), read_timeout);
        let positions = Arc::new(positions);
        let of_pipeline = Arc::clone(store) as Arc<dyn Store>;
        copy.open(Opened {
            store: apart(&of_pipeline, User::Readers),
            reader: Arc::clone(store) as _,
            positions: Arc::clone(&positions),
        });
        let own = (health.clone(), Arc::clone(&copy.label));
        services.spawn(async move { positions.follow(own).await });
    }
}
