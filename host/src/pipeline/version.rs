//! Which plugin a projection runs, and for how long it is trusted.
//!
//! - A [`Version`] is one decision: the plugin that folds, and perhaps a candidate that folds
//!   beside it and stores nothing.
//! - A [`Trial`] watches the first events of a version. One that fails is to be withdrawn; until it
//!   is, nothing more is folded.
//! - A [`CrashBudget`] bounds how often a plugin may crash. What is left to do then is to stand
//!   still: a plugin that crashes on one event after the other helps nobody by parking them all.
//!
//! Not here: who decides (`deployment`), how a domain changes over (`domain`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::shadow::Candidate;
use crate::projection::{Descriptor, FaultKind, HostError, Projector};

/// Makes an instance of a projection for a lane.
pub type MakeProjector = Arc<dyn Fn() -> Result<Box<dyn Projector>, HostError> + Send + Sync>;

/// What a projection runs, from one decision to the next.
#[derive(Clone)]
pub struct Version {
    /// Of the decision; later ones are greater.
    pub number: u64,
    /// The plugin's.
    pub hash: Arc<str>,
    pub descriptor: Arc<Descriptor>,
    pub make_projector: MakeProjector,
    /// A plugin that was rolled back: what was parked for its faults is folded again.
    pub withdrawn: Option<Arc<str>>,
    /// `None` where the version has nothing to prove.
    pub trial: Option<Arc<Trial>>,
    pub crashes: Arc<CrashBudget>,
    /// Folds the same events, and stores nothing.
    pub candidate: Option<Candidate>,
}

/// Tells which version runs.
#[async_trait]
pub trait Versions: Send + Sync {
    /// The version that is known now, and each one that follows.
    fn watch(&self) -> watch::Receiver<Arc<Version>>;

    /// Returns when everything shows that was decided before the call. Who claims a partition
    /// asks, so that no event is folded by a version older than that of the owner before.
    /// The text says why that cannot be known.
    async fn catch_up(&self) -> Result<(), String>;
}

/// How many of its first events a version may leave unfolded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialTerms {
    /// The trial is over after so many.
    pub events: usize,
    /// It has failed with one more.
    pub faults_max: usize,
}

/// The first events of a version, on one host.
#[derive(Debug)]
pub struct Trial {
    terms: TrialTerms,
    folded: AtomicUsize,
    faults: AtomicUsize,
    /// Why it has failed.
    failure: watch::Sender<Option<String>>,
}

impl Trial {
    pub fn new(terms: TrialTerms) -> Self {
        Trial {
            terms,
            folded: AtomicUsize::new(0),
            faults: AtomicUsize::new(0),
            failure: watch::Sender::new(None),
        }
    }

    pub fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Waits until it has failed, and says why. It may never.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        let failed = failed.expect("the sender is here").clone();
        failed.expect("it was waited for")
    }

    pub(super) fn folded(&self, events: usize) {
        self.folded.fetch_add(events, Ordering::Relaxed);
    }

    /// An event is at fault. True where the trial has failed, by this event or before; the event
    /// is left as it is then.
    pub(super) fn fault(&self, what: &str) -> bool {
        if self.has_failed() {
            return true;
        }
        let folded = self.folded.load(Ordering::Relaxed);
        if folded >= self.terms.events {
            return false;
        }
        let faults = self.faults.fetch_add(1, Ordering::Relaxed) + 1;
        if faults <= self.terms.faults_max {
            return false;
        }
        self.fail(format!(
            "it could not fold {faults} of its first {} events, the last one because {what}",
            folded + faults
        ));
        true
    }

    /// The same, where a single fault already stops a partition.
    pub(super) fn stopped(&self, what: &str) -> bool {
        if !self.has_failed() {
            let folded = self.folded.load(Ordering::Relaxed);
            if folded >= self.terms.events {
                return false;
            }
            self.fail(format!("it stopped after {folded} events: {what}"));
        }
        true
    }

    fn fail(&self, why: String) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(why);
            first
        });
    }
}

/// How many events a plugin may crash on, in how long a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashTerms {
    pub crashes_max: usize,
    pub window: Duration,
}

/// The crashes of one version on one host: traps, time and memory limits.
#[derive(Debug)]
pub struct CrashBudget {
    terms: CrashTerms,
    crashes: Mutex<Crashes>,
}

#[derive(Debug, Default)]
struct Crashes {
    /// Those that count, oldest first.
    at: VecDeque<Instant>,
    /// Why nothing more is folded.
    exhausted: Option<String>,
}

impl CrashBudget {
    pub fn new(terms: CrashTerms) -> Self {
        CrashBudget {
            terms,
            crashes: Mutex::default(),
        }
    }

    /// Why the plugin may not go on; `None` where it may.
    pub fn exhausted(&self) -> Option<String> {
        self.crashes().exhausted.clone()
    }

    /// An event was found at fault.
    pub(super) fn fault(&self, kind: FaultKind, detail: &str, now: Instant) {
        match kind {
            FaultKind::Trap | FaultKind::Timeout | FaultKind::Memory => {}
            FaultKind::Rejected | FaultKind::Failed | FaultKind::InvalidOutput => return,
        }
        let CrashTerms {
            crashes_max,
            window,
        } = self.terms;
        let mut crashes = self.crashes();
        crashes.at.push_back(now);
        while crashes.at.front().is_some_and(|at| now - *at > window) {
            crashes.at.pop_front();
        }
        if crashes.at.len() > crashes_max {
            let found = crashes.at.len();
            crashes.exhausted.get_or_insert_with(|| {
                format!(
                    "its plugin has crashed on {found} events within {} s, and may on {crashes_max} \
                     (limits.crashes, limits.crash-window), the last time: {kind}: {detail}; \
                     activate another version, or mend the plugin and restart",
                    window.as_secs_f64()
                )
            });
        }
    }

    fn crashes(&self) -> std::sync::MutexGuard<'_, Crashes> {
        self.crashes.lock().expect("nobody panics with the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: TrialTerms = TrialTerms {
        events: 100,
        faults_max: 2,
    };

    #[test]
    fn a_trial_fails_with_the_first_fault_above_its_limit() {
        let trial = Trial::new(TERMS);
        trial.folded(99);
        assert!(!trial.fault("a"));
        assert!(!trial.fault("b"));
        assert!(!trial.has_failed());
        assert!(trial.fault("c"));
        assert!(trial.has_failed());
        assert!(trial.fault("d"), "it stays so");
    }

    #[tokio::test]
    async fn who_waits_for_a_failure_learns_of_the_first() {
        let trial = Trial::new(TERMS);
        assert!(trial.stopped("a trap"));
        assert!(trial.stopped("another"));
        assert_eq!(trial.failed().await, "it stopped after 0 events: a trap");
    }

    #[test]
    fn after_its_events_a_trial_fails_no_more() {
        let trial = Trial::new(TERMS);
        trial.folded(100);
        for _ in 0..10 {
            assert!(!trial.fault("a"));
        }
        assert!(!trial.stopped("a"));
    }

    #[test]
    fn crashes_count_as_long_as_their_window() {
        let terms = CrashTerms {
            crashes_max: 2,
            window: Duration::from_secs(60),
        };
        let budget = CrashBudget::new(terms);
        let mut now = Instant::now();
        for _ in 0..10 {
            budget.fault(FaultKind::Trap, "unreachable", now);
            budget.fault(FaultKind::Rejected, "is a plugin's right", now);
            now += Duration::from_secs(31);
        }
        assert_eq!(budget.exhausted(), None);
        budget.fault(FaultKind::Timeout, "10 ms", now);
        let reason = budget.exhausted();
        assert_eq!(reason, None, "of three, one is too old");
        budget.fault(FaultKind::Memory, "128 MiB", now);
        let reason = budget.exhausted().expect("three within a minute");
        assert!(reason.contains("limits.crashes"), "{reason}");
        now += Duration::from_secs(600);
        budget.fault(FaultKind::Trap, "unreachable", now);
        assert_eq!(
            budget.exhausted(),
            Some(reason),
            "until another version comes"
        );
    }
}
