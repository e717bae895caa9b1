//! What each projection runs, as its deployments say: loaded, and told to its pipeline.
//!
//! Guarantees:
//! - A version is told only when its plugin is loaded and has taken the projection's
//!   configuration. One that cannot be is told as well, as one that does not start: its partitions
//!   stand still with the reason, for another host may run it already.
//! - Who asks to catch up knows afterwards every decision that was stored before.
//!
//! A version that fails its trial is rolled back from here.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, warn};

use super::{Plugin, options};
use crate::config;
use crate::deployment::desk::{Check, Place, Subject, Unfit};
use crate::deployment::{self, Change, Decision, Deployments, Grounds, Revision};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::shadow::{Candidate, Report};
use crate::pipeline::version::{CrashBudget, MakeProjector, Trial, Version, Versions};
use crate::plugin::{self, Program};
use crate::projection::{Descriptor, HostError, Ownership, View};
use crate::registry::{self, Registry};
use crate::store::Store;
use crate::telemetry::health::describe;
use crate::telemetry::recurring;

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
    /// The same without a candidate and with a crash budget of its own, for further copies.
    plain: watch::Sender<Arc<Version>>,
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
    /// The host could not look at a plugin; it may later.
    #[error("cannot load plugin {plugin}")]
    Engine {
        plugin: String,
        #[source]
        source: plugin::Error,
    },
    #[error(
        "the file of the configuration has the views {own}, and plugin {active}, which runs, has \
         {views}; keep those, or give the projection another name and its views other names or \
         another store"
    )]
    Views {
        active: String,
        views: String,
        own: String,
    },
}

/// Why a plugin of a revision is not run.
enum Unusable {
    /// Not now: the store did not answer, or the host could not look at it.
    Away(Error),
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
        check_views(&deployments, &registry, plugin).await?;
        let newest = deployments.start(plugin.program.hash(), &grounds).await?;
        let history = deployments.after(0).await?;
        let loader = Loader {
            name: Arc::clone(&plugin.name),
            projection: plugin.projection.clone(),
            engine: Arc::clone(plugin.program.engine()),
            registry,
            programs: Mutex::new(vec![Arc::clone(&plugin.program)]),
        };
        let own = plugin.program.descriptor();
        let version = loader.version(&newest, &history, own, None).await?;
        Ok(Follower {
            deployments,
            loader,
            host: host.to_owned(),
            plain: watch::Sender::new(Arc::new(plain(&version, None, &plugin.projection))),
            version: watch::Sender::new(Arc::new(version)),
            newest: tokio::sync::Mutex::new(newest),
        })
    }

    /// What a further copy runs: events are folded twice on this host, and a candidate and a trial
    /// shall see them once.
    pub(super) fn watch_plain(&self) -> watch::Receiver<Arc<Version>> {
        self.plain.subscribe()
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.loader.name
    }

    pub(super) fn registry(&self) -> Registry {
        self.loader.registry.clone()
    }

    /// The way to this projection's deployments.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        Place {
            deployments: self.deployments.for_operators(),
            registry: self.loader.registry.for_operators(),
            check: Arc::clone(self) as Arc<dyn Check>,
            subject: Subject::Projection,
        }
    }

    /// Looks after the deployments for as long as the host runs.
    pub(super) async fn run(self: Arc<Self>) {
        let mut reported = (0, Report::default());
        loop {
            let version = Arc::clone(&self.version.borrow());
            tokio::select! {
                why = failed(version.trial.as_deref()) => {
                    self.roll_back(&version, &why).await;
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            if let Err(error) = self.look().await {
                let name = &self.loader.name;
                let why = describe(&error);
                if recurring::admit("deployments", name, &why) {
                    warn!(projection = %name, "cannot see which plugin is to run: {why}");
                }
            }
            self.report(&mut reported).await;
        }
    }

    /// Tells of the newest revision, where it is not told yet.
    async fn look(&self) -> Result<(), Error> {
        let mut known = self.newest.lock().await;
        if self.deployments.after(known.number).await?.is_empty() {
            return Ok(());
        }
        let history = self.deployments.after(0).await?;
        let Some(newest) = history.last().cloned() else {
            return Ok(());
        };
        let before = Arc::clone(&self.version.borrow());
        let own = &before.descriptor;
        let version = self.loader.version(&newest, &history, own, Some(&before));
        let version = version.await?;
        *known = newest;
        let plain_before = Arc::clone(&self.plain.borrow());
        let plain = plain(&version, Some(&plain_before), &self.loader.projection);
        self.version.send_replace(Arc::new(version));
        self.plain.send_replace(Arc::new(plain));
        Ok(())
    }

    /// Withdraws a version, unless somebody was faster.
    async fn roll_back(&self, version: &Version, why: &str) {
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

    /// Stores what this host found out about a candidate, where that is not what it has `reported`
    /// of this revision.
    async fn report(&self, reported: &mut (u64, Report)) {
        let version = Arc::clone(&self.version.borrow());
        let Some(candidate) = &version.candidate else {
            return;
        };
        let report = candidate.report.lock();
        let report = report.expect("nobody panics with the lock").clone();
        let report = (version.number, report);
        if report == *reported {
            return;
        }
        let put = self
            .deployments
            .put_report(version.number, &self.host, &report.1);
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
            Err(Unusable::Away(Error::Registry(error))) => Err(Unfit::Registry(error)),
            Err(Unusable::Away(error)) => Err(Unfit::Host(describe(&error))),
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
    /// What a revision runs, the newest of these; `own` has the projection's views, and `before` is
    /// what runs so far.
    async fn version(
        &self,
        revision: &Revision,
        history: &[Revision],
        own: &Arc<Descriptor>,
        before: Option<&Version>,
    ) -> Result<Version, Error> {
        let (descriptor, make_projector) = match self.plugin(&revision.active, own).await {
            Ok(program) => {
                let descriptor = Arc::clone(program.descriptor());
                (descriptor, self.make_projector(program))
            }
            Err(Unusable::Away(error)) => return Err(error),
            Err(Unusable::No(reason)) => (Arc::clone(own), never(reason)),
        };
        let candidate = match &revision.candidate {
            None => None,
            Some(hash) => Some(self.candidate(hash, &descriptor).await?),
        };
        let withdrawn: BTreeSet<&str> = history
            .iter()
            .filter_map(|revision| revision.withdrawn.as_deref())
            .filter(|withdrawn| *withdrawn != revision.active)
            .collect();
        // A revision that changes something else is no new beginning for what folds.
        let same = before.filter(|before| *before.hash == *revision.active);
        let (trial, crashes) = match same {
            Some(before) => (before.trial.clone(), Arc::clone(&before.crashes)),
            None => {
                let terms = options::crashes(&self.projection.limits);
                (self.trial(revision), Arc::new(CrashBudget::new(terms)))
            }
        };
        Ok(Version {
            number: revision.number,
            hash: revision.active.as_str().into(),
            descriptor,
            make_projector,
            withdrawn: withdrawn.into_iter().map(Into::into).collect(),
            trial,
            crashes,
            candidate,
        })
    }

    /// The trial of what was activated a short time ago.
    fn trial(&self, revision: &Revision) -> Option<Arc<Trial>> {
        let left = TRIAL_TIME.checked_sub(age(revision.at_ms))?;
        if revision.change != Change::Activated || revision.before.is_none() {
            return None;
        }
        let terms = options::trial(&self.projection.trial);
        Some(Arc::new(Trial::new(terms, Instant::now() + left)))
    }

    async fn candidate(&self, hash: &str, own: &Descriptor) -> Result<Candidate, Error> {
        let make_projector = match self.plugin(hash, own).await {
            Ok(program) if program.descriptor().encoding != own.encoding => {
                never("its encoding is not that of the plugin that runs".to_owned())
            }
            Ok(program) => self.make_projector(program),
            Err(Unusable::Away(error)) => return Err(error),
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
            Err(error @ registry::Error::Store(_)) => return Err(Unusable::Away(error.into())),
            Err(error) => return Err(Unusable::No(error.to_string())),
        };
        let engine = Arc::clone(&self.engine);
        let (name, projection) = (Arc::clone(&self.name), self.projection.clone());
        let label = hash.to_owned();
        let loading = tokio::task::spawn_blocking(move || {
            let program = load(&engine, &label, &bytes, (&name, &projection))?;
            configure(&name, &projection, &program)?;
            Ok(program)
        });
        let loaded: Result<Arc<Program>, plugin::Error> = loading
            .await
            .map_err(|error| Unusable::No(format!("loading it ended: {error}")))?;
        let program = loaded.map_err(|error| match error {
            plugin::Error::Engine(_) => Unusable::Away(Error::Engine {
                plugin: hash.to_owned(),
                source: error,
            }),
            plugin::Error::Refused { .. } | plugin::Error::Configuration { .. } => {
                Unusable::No(describe(&error))
            }
        })?;
        let (its, own) = (&program.descriptor().views, &own.views);
        if its != own {
            return Err(Unusable::No(format!(
                "its views ({}) are not those of the plugin that runs ({}); keep those, or give the \
                 projection another name, and its views, too",
                tell_views(its),
                tell_views(own)
            )));
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

/// A version for a further copy; `before` is what that runs so far.
fn plain(version: &Version, before: Option<&Version>, projection: &config::Projection) -> Version {
    let same = before.filter(|before| before.hash == version.hash);
    let crashes = match same {
        Some(before) => Arc::clone(&before.crashes),
        None => Arc::new(CrashBudget::new(options::crashes(&projection.limits))),
    };
    Version {
        crashes,
        trial: None,
        candidate: None,
        ..version.clone()
    }
}

/// A projection's plugin from its file, its views called as the configuration says. `label` is for
/// messages.
pub(super) fn load(
    engine: &Arc<plugin::Engine>,
    label: &str,
    bytes: &[u8],
    projection: (&str, &config::Projection),
) -> Result<Arc<Program>, plugin::Error> {
    let program = Program::load(engine, label, bytes)?;
    let (name, config) = projection;
    let called = call_views(config, &program);
    called.map_err(|detail| plugin::Error::configuration(label, name, detail))
}

/// The same plugin, its views called as the configuration says.
///
/// # Errors
/// What the configuration says of views that the plugin does not have.
pub(super) fn call_views(
    projection: &config::Projection,
    program: &Program,
) -> Result<Arc<Program>, String> {
    let views = &program.descriptor().views;
    let own: Vec<&str> = views.iter().map(|view| &*view.name).collect();
    Ok(program.calling_views(projection.views.of(&own)?))
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

/// How long ago it was, as far as the clocks of two hosts agree.
fn age(at_ms: i64) -> Duration {
    let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(at_ms).unwrap_or(0));
    SystemTime::now().duration_since(at).unwrap_or_default()
}

/// A file with other views cannot go on where another plugin has left off: of its views, some would
/// lack what came before.
async fn check_views(
    deployments: &Deployments,
    registry: &Registry,
    plugin: &Plugin,
) -> Result<(), Error> {
    let Some(newest) = deployments.newest().await? else {
        return Ok(());
    };
    if newest.active == plugin.program.about().sha256 {
        return Ok(());
    }
    let own = &plugin.program.descriptor().views;
    let active = match registry.find(&newest.active).await {
        Ok(active) => views_of(&active.about, &plugin.projection),
        // Somebody has removed it; nobody can run it.
        Err(registry::Error::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if active.as_ref() == Some(own) {
        return Ok(());
    }
    Err(Error::Views {
        active: newest.active,
        views: active.map_or_else(|| "others".to_owned(), |views| tell_views(&views)),
        own: tell_views(own),
    })
}

/// A plugin's views under the names that a projection gives them; `None` where it cannot.
fn views_of(about: &plugin::About, projection: &config::Projection) -> Option<Vec<View>> {
    let views = &about.projection.as_ref()?.views;
    let own: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
    let names = projection.views.of(&own).ok()?;
    let view = |(name, view): (&str, &plugin::AboutView)| View {
        name: name.into(),
        ownership: view.ownership,
    };
    Some(names.into_iter().zip(views).map(view).collect())
}

fn tell_views(views: &[View]) -> String {
    let views = views.iter().map(|view| {
        let ownership = match view.ownership {
            Ownership::ByKey => "by-key",
            Ownership::Shared => "shared",
        };
        format!("{} {ownership}", view.name)
    });
    views.collect::<Vec<_>>().join(", ")
}

impl Error {
    /// True where the store did not answer, so that asking again later may help.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Error::Deployment(error) => error.is_unavailable(),
            Error::Registry(error) => error.is_unavailable(),
            Error::Engine { .. } => true,
            Error::Views { .. } => false,
        }
    }
}
