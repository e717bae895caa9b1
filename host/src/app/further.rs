//! The copies of stores beside the first ones: each is opened, projected into and read from by
//! itself, whatever becomes of the others.
//!
//! Guarantees:
//! - The host starts and goes on without such a copy. As soon as it answers, its consumer groups
//!   catch up from its own checkpoints.
//! - A copy that refuses (another database's views, wrong credentials) is tried again now and then,
//!   and nothing else waits for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::reading::{self, Reading, Seat};
use super::supervisor::Supervised;
use super::versions::Follower;
use super::{
    Catalogue, Error, Plugin, label, look_after, parked_place, runners, startup, store_name, tell,
};
use crate::config::{self, Config};
use crate::kafka::metadata::Metadata;
use crate::parked::desk::Desk;
use crate::pipeline::backoff::Backoff;
use crate::pipeline::version::{Version, Versions};
use crate::plugin;
use crate::store::{Readable, Store, User, ViewId, apart};
use crate::telemetry::health::{Health, ProjectionState, describe};

/// How long a claim waits for the first copy to tell of the newest decision. What a host knows is
/// half a second old at most, and that copy may be away for days.
const PATIENCE: Duration = Duration::from_secs(5);

/// A copy, and what is to be projected into it.
pub(super) struct Further {
    /// The store's name.
    store: String,
    copy: config::Copy,
    /// The views, each with its writer.
    owned: Vec<(ViewId, String)>,
    projections: Vec<Followed>,
    /// Where the gateway reads it.
    seats: Vec<Seat>,
}

/// A projection, and who tells what it runs.
#[derive(Clone)]
pub(super) struct Followed {
    pub(super) plugin: Arc<Plugin>,
    pub(super) follower: Arc<Follower>,
    pub(super) placement: Option<watch::Receiver<plugin::Placement>>,
    /// How many its topics have together, where that is known.
    pub(super) partitions: Option<usize>,
}

/// What all copies have from the host.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) config: Arc<Config>,
    pub(super) metadata: Metadata,
    pub(super) health: Health,
    pub(super) parked: Desk,
}

impl Further {
    /// Those of all stores. Nothing is projected into them yet.
    pub(super) fn all(
        config: &Config,
        catalogue: &Catalogue,
        gateway: Option<&Reading>,
    ) -> Vec<Further> {
        let stores = config.stores.iter();
        let copies =
            stores.flat_map(|(name, store)| store.further().iter().map(move |c| (name, c)));
        let further = copies.map(|(store, copy)| Further {
            store: store.clone(),
            copy: copy.clone(),
            owned: catalogue.views_in(store, &copy.name),
            projections: Vec::new(),
            seats: gateway.map_or_else(Vec::new, |gateway| gateway.seats(&copy.name)),
        });
        further.collect()
    }

    /// Projects into it those of these that keep their views in its store.
    pub(super) fn take_on(&mut self, projections: &[Followed], health: &Health) {
        health.set_spare(&self.what());
        for followed in projections {
            if followed.plugin.projection.store == self.store {
                let name = self.label(&followed.plugin);
                health.set_spare(&name);
                health.set_projection(&name, ProjectionState::Joining);
                self.projections.push(followed.clone());
            }
        }
    }

    /// Runs until `stop` is cancelled and everything is drained, or until nothing is left that can
    /// go on.
    pub(super) async fn run(self, shared: Shared, stop: CancellationToken) -> Result<(), Error> {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        let mut refused = None;
        let store = loop {
            let opened = stop.run_until_cancelled(self.open(&shared)).await;
            match opened {
                Some(Ok(store)) => break store,
                Some(Err(error)) => {
                    self.wait(&shared.health, &error);
                    let pause = tokio::time::sleep(backoff.next_delay());
                    stop.run_until_cancelled(pause).await;
                    refused = Some(error);
                }
                // Nothing was begun that would have to be ended.
                None => return refused.map_or(Ok(()), Err),
            }
        };
        let mut services = JoinSet::new();
        let mut running = JoinSet::new();
        let reachability = shared.health.reachability(self.what());
        services.spawn(look_after(Arc::clone(&store) as _, reachability));
        for followed in &self.projections {
            let Followed {
                plugin,
                follower,
                placement,
                partitions,
            } = followed;
            let versions: Arc<dyn Versions> = Arc::new(Patient(Arc::clone(follower)));
            let name = self.label(plugin);
            services.spawn(tell(
                shared.health.clone(),
                Arc::clone(&name),
                versions.watch(),
            ));
            let parts = runners::Parts {
                copy: self.copy.name.clone(),
                reachability: shared.health.reachability(self.what()),
                store: Arc::clone(&store) as _,
                versions,
                registry: follower.registry(),
                placement: placement.clone(),
                metadata: shared.metadata.clone(),
                producer: None,
                health: shared.health.clone(),
                commits: reading::commits(&self.seats, &name),
            };
            let found = match partitions {
                Some(partitions) => Ok(*partitions),
                None => startup::count_partitions(&plugin.projection, &shared.metadata).await,
            };
            let supervised = Supervised::new(&shared.config, plugin, parts, found);
            running.spawn(supervised.run(stop.clone()));
            let of_pipeline = Arc::clone(&store) as Arc<dyn Store>;
            let operators = apart(&of_pipeline, User::Operators);
            let (name, place) = parked_place(plugin, &self.copy.name, operators);
            shared.parked.open(&name, place);
        }
        for seat in &self.seats {
            seat.open(&store, &mut services, &shared.health);
        }
        let result = runners::join(running).await;
        services.shutdown().await;
        store.close().await;
        result
    }

    /// The store refuses; it may be put right.
    fn wait(&self, health: &Health, error: &Error) {
        let reason = describe(error);
        for Followed { plugin, .. } in &self.projections {
            let label = self.label(plugin);
            warn!(projection = %label, "failed, trying again: {reason}");
            let state = ProjectionState::Waiting {
                code: "copy-refused",
                reason: reason.clone(),
            };
            health.set_projection(&label, state);
        }
    }

    /// Opens the store, however long it takes to be there.
    async fn open(&self, shared: &Shared) -> Result<Arc<dyn Readable>, Error> {
        let reachability = shared.health.reachability(self.what());
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            match startup::open_copy(&shared.config, &self.copy, &self.owned).await {
                Ok(store) => {
                    reachability.reached();
                    let address = crate::store::Store::address(&*store);
                    info!(
                        store = self.store,
                        copy = self.copy.name,
                        "{address} is kept current"
                    );
                    return Ok(store);
                }
                Err(error) if error.is_transient() => reachability.lost(&error),
                Err(source) => {
                    return Err(Error::Store {
                        store: self.copy.name.clone(),
                        source,
                    });
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    fn label(&self, plugin: &Plugin) -> Arc<str> {
        label(&plugin.name, &self.store, &self.copy.name)
    }

    fn what(&self) -> String {
        store_name(&self.copy.name)
    }
}

/// The versions of a projection, for a copy that does not wait for the first one.
struct Patient(Arc<Follower>);

#[async_trait]
impl Versions for Patient {
    fn watch(&self) -> watch::Receiver<Arc<Version>> {
        self.0.watch_plain()
    }

    async fn catch_up(&self) -> Result<(), String> {
        let reason = match tokio::time::timeout(PATIENCE, self.0.catch_up()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        };
        warn!(
            projection = %self.0.name(),
            "cannot see whether another plugin is to run by now, going on with what is known: {reason}"
        );
        Ok(())
    }
}
