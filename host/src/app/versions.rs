//! What each projection runs, as its deployments say: loaded, and told to its pipeline.
//!
//! Guarantees:
//! - A version is told only when its plugin is loaded and has taken the projection's
//!   configuration. One that cannot be is told as well, as one that does not start: its partitions
//!   stand still with the reason, for another host may run it already.
//! - Who asks to catch up knows afterwards every decision that was stored before.
//!
//! A version that fails its trial is rolled back from here.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;
use tracing::{error, warn};

use super::{Plugin, options};
use crate::config;
use crate::deployment::desk::{Check, Place, Unfit};
use crate::deployment::{self, Change, Decision, Deployments, Grounds, Revision};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::shadow::{Candidate, Report};
use crate::pipeline::version::{CrashBudget, MakeProjector, Trial, Version, Versions};
use crate::plugin::{self, Program};
use crate::projection::{Descriptor, HostError};
use crate::registry::{self, Registry};
use crate::store::Store;
use crate::telemetry::health::describe;

/// How often the store is asked what is to run.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// An activation is on trial for so long. Later starts of a host trust it.
const TRIAL_TIME: Duration = Duration::from_secs(3600);

/// Follows the deployments of one projection.
pub(super) struct Follower {
    deployments: Deployments,
    loader: Loader,
    /// Who rolls back what fails its trial.
    host: String,
    version: watch::Sender<Arc<Version>>,
    /// Held while the store is asked, so that versions are told in their order.
    newest: tokio::sync::Mutex<Revision>,
}

/// Makes versions of a projection from plugins.
struct Loader {
    name: Arc<str>,
    projection: config::Projection,
    engine: Arc<plugin::Engine>,
    registry: Registry,
    /// What ran last: to go back to it costs nothing.
    programs: Mutex<Vec<Arc<Program>>>,
}

/// Programs that are kept: what runs, its candidate, and what ran before.
const PROGRAMS_MAX: usize = 4;

/// A projection's deployments cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Deployment(#[from] deployment::Error),
    #[error(transparent)]
    Registry(#[from] registry::Error),
}

/// Why a plugin of a revision is not run.
enum Unusable {
    /// The store did not answer.
    Away(registry::Error),
    No(String),
}

impl Follower {
    /// Finds out what a projection is to run. Its own file counts where it is not the one that
    /// was configured before.
    pub(super) async fn start(
        plugin: &Plugin,
        store: Arc<dyn Store>,
        host: &str,
    ) -> Result<Follower, Error> {
        let grounds = Grounds {
            by: format!("the configuration of host \"{host}\""),
            reason: String::new(),
        };
        let registry = Registry::new(Arc::clone(&store));
        let about = plugin.program.about();
        registry.save(about, &plugin.bytes, &grounds.by).await?;
        let deployments = Deployments::new(store, Arc::clone(&plugin.name));
        let newest = deployments.start(plugin.program.hash(), &grounds).await?;
        let loader = Loader {
            name: Arc::clone(&plugin.name),
            projection: plugin.projection.clone(),
            engine: Arc::clone(plugin.program.engine()),
            registry,
            programs: Mutex::new(vec![Arc::clone(&plugin.program)]),
        };
        let views = plugin.program.descriptor();
        let version = loader.version(&newest, views).await?;
        Ok(Follower {
            deployments,
            loader,
            host: host.to_owned(),
            version: watch::Sender::new(Arc::new(version)),
            newest: tokio::sync::Mutex::new(newest),
        })
    }

    /// The way to this projection's deployments.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        Place {
            deployments: self.deployments.clone(),
            registry: self.loader.registry.clone(),
            check: Arc::clone(self) as Arc<dyn Check>,
        }
    }

    /// Looks after the deployments for as long as the host runs.
    pub(super) async fn run(self: Arc<Self>) {
        let mut reported = Report::default();
        loop {
            let trial = self.version.borrow().trial.clone();
            tokio::select! {
                why = failed(trial.as_deref()) => {
                    self.roll_back(&why).await;
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            if let Err(error) = self.look().await {
                let name = &self.loader.name;
                warn!(projection = %name, "cannot see which plugin is to run: {}", describe(&error));
            }
            self.report(&mut reported).await;
        }
    }

    /// Tells of the newest revision, where it is not told yet.
    async fn look(&self) -> Result<(), Error> {
        let mut known = self.newest.lock().await;
        let Some(newest) = self.deployments.after(known.number).await?.pop() else {
            return Ok(());
        };
        let descriptor = Arc::clone(&self.version.borrow().descriptor);
        let version = self.loader.version(&newest, &descriptor).await?;
        *known = newest;
        self.version.send_replace(Arc::new(version));
        Ok(())
    }

    /// Withdraws the version that runs, unless somebody was faster.
    async fn roll_back(&self, why: &str) {
        let version = Arc::clone(&self.version.borrow());
        let name = &self.loader.name;
        error!(projection = %name, plugin = %version.hash, "rolling back: {why}");
        let decision = Decision::RollbackFrom(version.number);
        let grounds = Grounds {
            by: format!("host \"{}\", by itself", self.host),
            reason: why.to_owned(),
        };
        match self.deployments.decide(&decision, &grounds).await {
            Ok(_) | Err(deployment::Error::Superseded(_)) => {}
            Err(error) => {
                warn!(projection = %name, "cannot roll back, trying again: {}", describe(&error));
            }
        }
    }

    /// Stores what this host found out about a candidate.
    async fn report(&self, reported: &mut Report) {
        let version = Arc::clone(&self.version.borrow());
        let Some(candidate) = &version.candidate else {
            return;
        };
        let report = candidate.report.lock();
        let report = report.expect("nobody panics with the lock").clone();
        if report == *reported {
            return;
        }
        let put = self
            .deployments
            .put_report(version.number, &self.host, &report);
        match put.await {
            Ok(()) => *reported = report,
            Err(error) => {
                let name = &self.loader.name;
                warn!(projection = %name, "cannot store what a candidate came to: {}", describe(&error));
            }
        }
    }
}

/// Waits until a trial has failed; for ever, where there is none.
async fn failed(trial: Option<&Trial>) -> String {
    match trial {
        Some(trial) => trial.failed().await,
        None => std::future::pending().await,
    }
}

#[async_trait]
impl Check for Follower {
    async fn check(&self, plugin: &str) -> Result<(), Unfit> {
        let own = Arc::clone(&self.version.borrow().descriptor);
        match self.loader.plugin(plugin, &own).await {
            Ok(_) => Ok(()),
            Err(Unusable::Away(error)) => Err(Unfit::Registry(error)),
            Err(Unusable::No(reason)) => Err(Unfit::Plugin(reason)),
        }
    }
}

#[async_trait]
impl Versions for Follower {
    fn watch(&self) -> watch::Receiver<Arc<Version>> {
        self.version.subscribe()
    }

    async fn catch_up(&self) -> Result<(), String> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match self.look().await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_unavailable() => {
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(error) => return Err(describe(&error)),
            }
        }
    }
}

impl Loader {
    /// What a revision runs. `views` are those that the projection has.
    async fn version(&self, revision: &Revision, own: &Arc<Descriptor>) -> Result<Version, Error> {
        let (descriptor, make_projector) = match self.plugin(&revision.active, own).await {
            Ok(program) => {
                let descriptor = Arc::clone(program.descriptor());
                (descriptor, self.make_projector(program))
            }
            Err(Unusable::Away(error)) => return Err(error.into()),
            Err(Unusable::No(reason)) => (Arc::clone(own), never(reason)),
        };
        let candidate = match &revision.candidate {
            None => None,
            Some(hash) => Some(self.candidate(hash, &descriptor).await?),
        };
        let activated = revision.change == Change::Activated;
        let on_trial = activated && revision.before.is_some() && is_young(revision.at_ms);
        let terms = options::trial(&self.projection.trial);
        Ok(Version {
            number: revision.number,
            hash: revision.active.as_str().into(),
            descriptor,
            make_projector,
            withdrawn: revision.withdrawn.as_deref().map(Into::into),
            trial: on_trial.then(|| Arc::new(Trial::new(terms))),
            crashes: Arc::new(CrashBudget::new(options::crashes(&self.projection.limits))),
            candidate,
        })
    }

    async fn candidate(&self, hash: &str, own: &Descriptor) -> Result<Candidate, Error> {
        let make_projector = match self.plugin(hash, own).await {
            Ok(program) if program.descriptor().encoding != own.encoding => {
                never("its encoding is not that of the plugin that runs".to_owned())
            }
            Ok(program) => self.make_projector(program),
            Err(Unusable::Away(error)) => return Err(error.into()),
            Err(Unusable::No(reason)) => never(reason),
        };
        Ok(Candidate {
            hash: hash.into(),
            make_projector,
            report: Arc::default(),
        })
    }

    /// Loads a plugin, and lets it take the projection's configuration.
    async fn plugin(&self, hash: &str, own: &Descriptor) -> Result<Arc<Program>, Unusable> {
        if let Some(program) = self.kept(hash) {
            return Ok(program);
        }
        let bytes = match self.registry.bytes(hash).await {
            Ok(bytes) => bytes,
            Err(error @ registry::Error::Store(_)) => return Err(Unusable::Away(error)),
            Err(error) => return Err(Unusable::No(error.to_string())),
        };
        let engine = Arc::clone(&self.engine);
        let (name, projection) = (Arc::clone(&self.name), self.projection.clone());
        let label = hash.to_owned();
        let loading = tokio::task::spawn_blocking(move || {
            let program = Program::load(&engine, &label, &bytes)?;
            configure(&name, &projection, &program)?;
            Ok(program)
        });
        let loaded: Result<Arc<Program>, plugin::Error> = loading
            .await
            .map_err(|error| Unusable::No(format!("loading it ended: {error}")))?;
        let program = loaded.map_err(|error| Unusable::No(describe(&error)))?;
        if program.descriptor().views != own.views {
            return Err(Unusable::No(
                "its views are not those of the plugin that runs".to_owned(),
            ));
        }
        let mut programs = self.programs();
        programs.push(Arc::clone(&program));
        if programs.len() > PROGRAMS_MAX {
            programs.remove(0);
        }
        Ok(program)
    }

    fn kept(&self, hash: &str) -> Option<Arc<Program>> {
        let programs = self.programs();
        let kept = programs.iter().find(|program| **program.hash() == *hash);
        kept.cloned()
    }

    fn programs(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Program>>> {
        self.programs.lock().expect("nobody panics with the lock")
    }

    fn make_projector(&self, program: Arc<Program>) -> MakeProjector {
        let (name, projection) = (Arc::clone(&self.name), self.projection.clone());
        Arc::new(move || match configure(&name, &projection, &program) {
            Ok(projector) => Ok(Box::new(projector)),
            Err(error) => Err(HostError::Engine(Box::new(error))),
        })
    }
}

/// A projection's plugin with its configuration.
pub(super) fn configure(
    name: &str,
    projection: &config::Projection,
    program: &Arc<Program>,
) -> Result<plugin::Projection, plugin::Error> {
    let limits = options::limits(&projection.limits);
    let config = projection.config.expose();
    let topics = projection.messages.topics.iter();
    let topics: Arc<[Arc<str>]> = topics.map(|topic| topic.as_str().into()).collect();
    let projector = plugin::Projection::new(Arc::clone(program), name, config, limits)?;
    Ok(projector.sending_to(topics))
}

/// Stands for a plugin that cannot be run.
fn never(reason: String) -> MakeProjector {
    Arc::new(move || Err(HostError::Engine(reason.clone().into())))
}

fn is_young(at_ms: i64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    now_ms.saturating_sub(at_ms) < i64::try_from(TRIAL_TIME.as_millis()).unwrap_or(i64::MAX)
}

impl Error {
    /// True where the store did not answer, so that asking again later may help.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Error::Deployment(error) => error.is_unavailable(),
            Error::Registry(error) => error.is_unavailable(),
        }
    }
}
