//! The versions that one host is told to run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use projectionist::pipeline::shadow::{Candidate, Report};
use projectionist::pipeline::version::{
    CrashBudget, CrashTerms, MakeProjector, Trial, TrialTerms, Version, Versions,
};
use projectionist::projection::HostError;
use tokio::sync::watch;

use crate::journal::Journal;
use crate::ledger::{Ledger, Logic, PLUGIN, Troubles};

pub(crate) struct Releases {
    logic: Logic,
    troubles: Troubles,
    journal: Journal,
    version: watch::Sender<Arc<Version>>,
    /// Instances that were made, of any plugin.
    made: Arc<AtomicUsize>,
}

/// What is to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Release {
    /// One that is none does not start.
    pub(crate) plugin: Option<&'static str>,
    pub(crate) withdrawn: Option<&'static str>,
    pub(crate) trial: Option<TrialTerms>,
    pub(crate) crashes_max: Option<usize>,
    pub(crate) candidate: Option<&'static str>,
}

impl Release {
    pub(crate) fn of(plugin: &'static str) -> Self {
        Release {
            plugin: Some(plugin),
            ..Release::default()
        }
    }
}

impl Releases {
    pub(crate) fn new(logic: Logic, troubles: Troubles, journal: Journal) -> Self {
        let made: Arc<AtomicUsize> = Arc::default();
        let first = Version {
            number: 1,
            hash: PLUGIN.into(),
            descriptor: logic.descriptor(),
            make_projector: maker(PLUGIN, logic, &troubles, &journal, &made),
            withdrawn: Vec::new(),
            trial: None,
            crashes: Arc::new(budget(None)),
            candidate: None,
        };
        Releases {
            logic,
            troubles,
            journal,
            version: watch::Sender::new(Arc::new(first)),
            made,
        }
    }

    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Lets this run from now on.
    pub(crate) fn release(&self, release: &Release) -> Arc<Version> {
        let number = self.version.borrow().number + 1;
        let make = |plugin| {
            maker(
                plugin,
                self.logic,
                &self.troubles,
                &self.journal,
                &self.made,
            )
        };
        let hour = tokio::time::Instant::now() + Duration::from_secs(3600);
        let candidate = release.candidate.map(|plugin| Candidate {
            hash: plugin.into(),
            make_projector: make(plugin),
            report: Arc::default(),
        });
        let version = Arc::new(Version {
            number,
            hash: release.plugin.unwrap_or("none").into(),
            descriptor: self.logic.descriptor(),
            make_projector: match release.plugin {
                Some(plugin) => make(plugin),
                None => Arc::new(|| Err(HostError::Engine("it is broken".into()))),
            },
            withdrawn: release.withdrawn.into_iter().map(Into::into).collect(),
            trial: release.trial.map(|terms| Arc::new(Trial::new(terms, hour))),
            crashes: Arc::new(budget(release.crashes_max)),
            candidate,
        });
        self.version.send_replace(Arc::clone(&version));
        version
    }
}

pub(crate) fn report(version: &Version) -> Report {
    let candidate = version.candidate.as_ref().expect("there is a candidate");
    candidate.report.lock().expect("nobody panics here").clone()
}

fn maker(
    plugin: &'static str,
    logic: Logic,
    troubles: &Troubles,
    journal: &Journal,
    made: &Arc<AtomicUsize>,
) -> MakeProjector {
    let (troubles, journal) = (troubles.clone(), journal.clone());
    let made = Arc::clone(made);
    Arc::new(move || {
        made.fetch_add(1, Ordering::SeqCst);
        let ledger = Ledger::new(plugin, logic, troubles.clone(), journal.clone());
        Ok(Box::new(ledger))
    })
}

fn budget(crashes_max: Option<usize>) -> CrashBudget {
    CrashBudget::new(CrashTerms {
        crashes_max: crashes_max.unwrap_or(usize::MAX),
        window: Duration::from_secs(3600),
    })
}

#[async_trait]
impl Versions for Releases {
    fn watch(&self) -> watch::Receiver<Arc<Version>> {
        self.version.subscribe()
    }

    async fn catch_up(&self) -> Result<(), String> {
        Ok(())
    }
}
