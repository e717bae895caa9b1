//! The gateway: which views it serves, from where, to whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Catalogue, Error, Plugin, VIEW_VERSION, options};
use crate::config::{self, Config};
use crate::gateway::copies::{Copies, Copy};
use crate::gateway::positions::Positions;
use crate::gateway::{Gateway, Setup, View};
use crate::store::list::Index;
use crate::store::{CheckpointId, Readable, ViewId};
use crate::telemetry::health::Health;

/// A gateway whose port is bound, and who may read there.
pub(super) struct Bound {
    gateway: Gateway,
    setup: Setup,
}

/// A gateway that is ready to serve.
pub(super) struct Reading {
    bound: Bound,
    views: Vec<View>,
    /// Of each projection.
    positions: Vec<(Arc<str>, Arc<Positions>)>,
}

/// Names of views in the configuration that no projection writes.
pub(super) fn unknown_views(config: &Config, known: &[String]) -> Vec<String> {
    let is_unknown = |view: &str| view != options::ALL && !known.iter().any(|name| name == view);
    let declared = config.views.keys().filter(|view| is_unknown(view));
    let mut unknown: Vec<String> = declared.map(|view| format!("views.{view}")).collect();
    for (role, views) in &config.gateway.readers.roles {
        let views = views.iter().filter(|view| is_unknown(view));
        unknown.extend(views.map(|view| format!("gateway.roles.{role}.views: {view}")));
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
    let gateway = Gateway::bind(address, options::reading(gateway)).await?;
    Ok(Some(Bound { gateway, setup }))
}

/// Finds the views of all projections.
pub(super) fn open(
    bound: Bound,
    config: &Config,
    catalogue: &Catalogue,
    stores: &BTreeMap<String, Arc<dyn Readable>>,
) -> Reading {
    let mut reading = Reading {
        bound,
        views: Vec::new(),
        positions: Vec::new(),
    };
    for plugin in &catalogue.plugins {
        reading.add(config, plugin, &stores[&plugin.projection.store]);
    }
    reading
}

impl Reading {
    fn add(&mut self, config: &Config, plugin: &Plugin, store: &Arc<dyn Readable>) {
        let copy = plugin.projection.store.as_str();
        let read_timeout = config.gateway.read_timeout;
        let writer = CheckpointId::writer(&plugin.name, VIEW_VERSION, copy);
        let positions = Positions::new(Arc::clone(store) as _, writer, read_timeout);
        let positions = Arc::new(positions);
        let copy = Arc::new(Copy {
            name: copy.into(),
            store: Arc::clone(store) as _,
            reader: Arc::clone(store) as _,
            positions: Arc::clone(&positions),
            read_timeout,
        });
        let topics = plugin.projection.topics.iter();
        let topics: Vec<Arc<str>> = topics.map(|topic| topic.as_str().into()).collect();
        for view in &plugin.program.descriptor().views {
            self.views.push(View {
                id: ViewId::new(Arc::clone(&view.name), VIEW_VERSION),
                projection: Arc::clone(&plugin.name),
                topics: topics.clone(),
                ownership: view.ownership,
                indexes: indexes(config, &view.name),
                copies: Copies::new(vec![Arc::clone(&copy)]),
            });
        }
        self.positions.push((Arc::clone(&plugin.name), positions));
    }

    /// Serves until `stop` is cancelled.
    pub(super) fn start(
        self,
        services: &mut JoinSet<()>,
        health: &Health,
        stop: &CancellationToken,
    ) {
        for (projection, positions) in self.positions {
            let health = health.clone();
            services.spawn(async move { positions.follow((health, projection)).await });
        }
        let Bound { gateway, setup } = self.bound;
        services.spawn(gateway.serve(self.views, setup, stop.clone()));
    }
}
