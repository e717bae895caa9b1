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

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::shadow::Candidate;
use crate::projection::{Descriptor, FaultKind, HostError, Projector};
use crate::record::{Offset, TopicPartition};

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
    /// Plugins that were rolled back: what was parked for their faults is folded again.
    pub withdrawn: Vec<Arc<str>>,
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
    /// It is over then, however few events there were.
    until: Instant,
    folded: AtomicUsize,
    faults: Mutex<HashSet<Place>>,
    /// Why it has failed.
    failure: watch::Sender<Option<String>>,
}

/// An event's. One that is folded again and again, on results that come to nothing, counts once.
pub type Place = (TopicPartition, Offset);

impl Trial {
    pub fn new(terms: TrialTerms, until: Instant) -> Self {
        Trial {
            terms,
            until,
            folded: AtomicUsize::new(0),
            faults: Mutex::default(),
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

    fn is_over(&self, now: Instant) -> bool {
        now >= self.until || self.folded.load(Ordering::Relaxed) >= self.terms.events
    }

    /// An event is at fault. True where the trial has failed, by this event or before; the event
    /// is left as it is then.
    pub(super) fn fault(&self, event: Place, what: &str, now: Instant) -> bool {
        if self.has_failed() {
            return true;
        }
        if self.is_over(now) {
            return false;
        }
        let mut faults = self.faults.lock().expect("nobody panics with the lock");
        faults.insert(event);
        let faults = faults.len();
        if faults <= self.terms.faults_max {
            return false;
        }
        let folded = self.folded.load(Ordering::Relaxed);
        self.fail(format!(
            "it could not fold {faults} of its first {} events, the last one because {what}",
            folded + faults
        ));
        true
    }

    /// The same, where a single fault already stops a partition.
    pub(super) fn stopped(&self, what: &str, now: Instant) -> bool {
        if !self.has_failed() {
            if self.is_over(now) {
                return false;
            }
            let folded = self.folded.load(Ordering::Relaxed);
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
    at: VecDeque<(Instant, Place)>,
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
    pub(super) fn fault(&self, event: Place, kind: FaultKind, detail: &str, now: Instant) {
        match kind {
            FaultKind::Trap | FaultKind::Timeout | FaultKind::Memory => {}
            FaultKind::Rejected
            | FaultKind::Failed
            | FaultKind::InvalidOutput
            | FaultKind::Unstorable => return,
        }
        let CrashTerms {
            crashes_max,
            window,
        } = self.terms;
        let mut crashes = self.crashes();
        while crashes.at.front().is_some_and(|(at, _)| now - *at > window) {
            crashes.at.pop_front();
        }
        if !crashes.at.iter().any(|(_, known)| *known == event) {
            crashes.at.push_back((now, event));
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

    const HOUR: Duration = Duration::from_secs(3600);

    fn event(offset: i64) -> Place {
        (TopicPartition::new("orders", 0), Offset(offset))
    }

    #[test]
    fn a_trial_fails_with_the_first_fault_above_its_limit() {
        let now = Instant::now();
        let trial = Trial::new(TERMS, now + HOUR);
        trial.folded(99);
        assert!(!trial.fault(event(1), "a", now));
        assert!(!trial.fault(event(2), "b", now));
        assert!(!trial.fault(event(2), "b", now), "the same once more");
        assert!(!trial.has_failed());
        assert!(trial.fault(event(3), "c", now));
        assert!(trial.has_failed());
        assert!(trial.fault(event(1), "d", now + 2 * HOUR), "it stays so");
    }

    #[tokio::test]
    async fn who_waits_for_a_failure_learns_of_the_first() {
        let now = Instant::now();
        let trial = Trial::new(TERMS, now + HOUR);
        assert!(trial.stopped("a trap", now));
        assert!(trial.stopped("another", now));
        assert_eq!(trial.failed().await, "it stopped after 0 events: a trap");
    }

    #[test]
    fn after_its_events_or_its_time_a_trial_fails_no_more() {
        let now = Instant::now();
        let (long, late) = (Trial::new(TERMS, now + HOUR), now + HOUR);
        long.folded(100);
        let short = Trial::new(TERMS, now + HOUR);
        for (trial, now) in [(long, now), (short, late)] {
            for offset in 0..10 {
                assert!(!trial.fault(event(offset), "a", now));
            }
            assert!(!trial.stopped("a", now));
        }
    }

    #[test]
    fn crashes_count_as_long_as_their_window() {
        let terms = CrashTerms {
            crashes_max: 2,
            window: Duration::from_secs(60),
        };
        let budget = CrashBudget::new(terms);
        let mut now = Instant::now();
        for offset in 0..10 {
            budget.fault(event(offset), FaultKind::Trap, "unreachable", now);
            budget.fault(event(100 + offset), FaultKind::Rejected, "its right", now);
            now += Duration::from_secs(31);
        }
        assert_eq!(budget.exhausted(), None);
        budget.fault(event(20), FaultKind::Timeout, "10 ms", now);
        budget.fault(event(20), FaultKind::Timeout, "the same again", now);
        let reason = budget.exhausted();
        assert_eq!(reason, None, "of three, one is too old");
        budget.fault(event(21), FaultKind::Memory, "128 MiB", now);
        let reason = budget.exhausted().expect("three within a minute");
        assert!(reason.contains("limits.crashes"), "{reason}");
        now += Duration::from_secs(600);
        budget.fault(event(22), FaultKind::Trap, "unreachable", now);
        let still = budget.exhausted();
        assert_eq!(still, Some(reason), "until another version comes");
    }
}
