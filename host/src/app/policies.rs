//! Which policy each balancer asks: the one of the configuration, or what its deployments say.
//!
//! A policy is deployed like a projection's plugin, under a name that no projection can have:
//! `STORE.routing`, `PROJECTION.placement`.
//!
//! Guarantee: a policy is told only when it is loaded and has taken its configuration. One that
//! cannot be is left out with a line of the log, and what was asked before goes on.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tracing::{info, warn};

use super::versions::Error;
use crate::deployment::desk::{Check, Place, Subject, Unfit};
use crate::deployment::{Deployments, Grounds, Revision};
use crate::pipeline::backoff::Backoff;
use crate::plugin::{self, About};
use crate::policy::Fault;
use crate::registry::Registry;
use crate::store::Store;
use crate::telemetry::health::describe;
use crate::telemetry::recurring;

/// How often the store is asked what is to run.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Makes a policy with its configuration from a file's bytes; the text is for messages.
pub(super) type Load<P> = Arc<dyn Fn(&str, &[u8]) -> Result<P, plugin::Error> + Send + Sync>;

/// The policy that the configuration names.
#[derive(Clone)]
pub struct Configured<P> {
    pub(super) policy: P,
    pub(super) about: About,
    pub(super) bytes: Vec<u8>,
    /// Makes others with the same configuration.
    pub(super) load: Load<P>,
}

/// Follows the deployments of one balancer's policy.
pub(super) struct Follower<P> {
    name: Arc<str>,
    deployments: Deployments,
    registry: Registry,
    load: Load<P>,
    policy: watch::Sender<P>,
    /// Held while the store is asked, so that policies are told in their order.
    newest: Mutex<Revision>,
}

impl<P: Clone + Send + Sync + 'static> Follower<P> {
    /// Finds out what is to be asked. The file of the configuration counts where it is not the one
    /// that was configured before. `store` keeps plugins and deployments.
    pub(super) async fn start(
        name: Arc<str>,
        configured: &Configured<P>,
        store: Arc<dyn Store>,
        host: &str,
    ) -> Result<Arc<Self>, Error> {
        let by = format!("the configuration of host \"{host}\"");
        let registry = Registry::new(Arc::clone(&store));
        let about = &configured.about;
        registry.save(about, &configured.bytes, &by).await?;
        let deployments = Deployments::new(store, Arc::clone(&name));
        let grounds = Grounds {
            by,
            reason: String::new(),
        };
        let newest = deployments.start(&about.sha256, &grounds).await?;
        let follower = Follower {
            policy: watch::Sender::new(configured.policy.clone()),
            load: Arc::clone(&configured.load),
            name,
            deployments,
            registry,
            newest: Mutex::new(newest.clone()),
        };
        if newest.active != about.sha256 {
            follower.tell(&newest).await?;
        }
        Ok(Arc::new(follower))
    }

    /// The policy to ask, and each one that follows.
    pub(super) fn watch(&self) -> watch::Receiver<P> {
        self.policy.subscribe()
    }

    /// The way to the deployments.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        Place {
            deployments: self.deployments.for_operators(),
            registry: self.registry.for_operators(),
            check: Arc::clone(self) as Arc<dyn Check>,
            subject: Subject::Policy,
        }
    }

    /// Looks after the deployments for as long as the host runs.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if let Err(error) = self.look().await {
                let name = &self.name;
                let why = describe(&error);
                if recurring::admit("deployments", name, &why) {
                    warn!(policy = %name, "cannot see which policy is to be asked: {why}");
                }
            }
        }
    }

    async fn look(&self) -> Result<(), Error> {
        let mut known = self.newest.lock().await;
        let Some(newest) = self.deployments.after(known.number).await?.pop() else {
            return Ok(());
        };
        if newest.active == known.active || self.tell(&newest).await? {
            *known = newest;
        }
        Ok(())
    }

    /// False where the host could not find out about the policy: it is to be told of again.
    async fn tell(&self, revision: &Revision) -> Result<bool, Error> {
        let (name, plugin) = (&self.name, &revision.active);
        match self.find(plugin).await {
            Ok(policy) => {
                info!(policy = %name, %plugin, revision = revision.number, "another policy is asked");
                self.policy.send_replace(policy);
                Ok(true)
            }
            Err(Unfit::Registry(error)) if error.is_unavailable() => Err(error.into()),
            Err(unfit) => {
                warn!(policy = %name, %plugin, "the policy is not asked, and the one before goes on: {unfit}");
                Ok(!matches!(unfit, Unfit::Host(_)))
            }
        }
    }

    async fn find(&self, hash: &str) -> Result<P, Unfit> {
        let bytes = self.registry.bytes(hash).await?;
        let (load, label) = (Arc::clone(&self.load), hash.to_owned());
        let loaded = tokio::task::spawn_blocking(move || load(&label, &bytes)).await;
        let loaded = loaded.map_err(|error| Unfit::Host(format!("loading it ended: {error}")))?;
        loaded.map_err(|error| match error {
            plugin::Error::Engine(_) => Unfit::Host(describe(&error)),
            plugin::Error::Refused { .. } | plugin::Error::Configuration { .. } => {
                Unfit::Plugin(describe(&error))
            }
        })
    }
}

/// Hands a balancer the policy that is told, and each one that follows, until the balancer is gone
/// or nobody tells any more. One that does not start is tried again until it does, or another one
/// is told.
pub(super) async fn hand_over<P, F>(mut policies: watch::Receiver<P>, change: F)
where
    P: Clone + Send + Sync + 'static,
    F: Fn(P) -> Result<(), Fault> + Clone + Send + 'static,
{
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    loop {
        let (policy, change) = (policies.borrow_and_update().clone(), change.clone());
        // To start a policy may take a while.
        let changed = tokio::task::spawn_blocking(move || change(policy)).await;
        let pause = match changed {
            Ok(Ok(())) | Err(_) => None,
            Ok(Err(fault)) => {
                warn!("the policy before goes on: {fault}");
                Some(backoff.next_delay())
            }
        };
        let told = match pause {
            None => policies.changed().await.is_ok(),
            Some(pause) => match tokio::time::timeout(pause, policies.changed()).await {
                Ok(told) => told.is_ok(),
                Err(_) => continue,
            },
        };
        if !told {
            return;
        }
        backoff.reset();
    }
}

#[async_trait]
impl<P: Clone + Send + Sync + 'static> Check for Follower<P> {
    async fn check(&self, plugin: &str) -> Result<(), Unfit> {
        self.find(plugin).await.map(drop)
    }
}
