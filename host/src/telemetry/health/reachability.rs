//! Whether what the host depends on answers, and since when it does not.
//!
//! Two kinds of callers tell: those who use a thing (a commit, a claim, a read), and those who
//! only look whether it is there. A look that succeeds proves less than a use that fails: a
//! database whose disk is full answers every ping. So a look ends an outage that a use has noticed
//! only when no use has failed for a while.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use metrics::{counter, gauge};
use serde::Serialize;
use tracing::{info, warn};

use super::{Health, describe, rfc3339};

/// Something that does not answer.
#[derive(Clone, Debug, Serialize)]
pub struct Outage {
    pub reason: String,
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    #[serde(skip)]
    started: Instant,
    /// When somebody who wanted to use it last failed.
    #[serde(skip)]
    missed: Option<Instant>,
}

/// Reports whether one thing outside of the host answers.
#[derive(Clone, Debug)]
pub struct Reachability {
    health: Health,
    /// `Kafka`, `store "main"`.
    what: Arc<str>,
}

/// Whoever uses a store or Kafka tries again sooner than this.
const MISSED_FOR_LONG: Duration = Duration::from_secs(15);

impl Reachability {
    pub(super) fn new(health: Health, what: Arc<str>) -> Self {
        Reachability { health, what }
    }

    /// It did what it was asked for.
    pub fn reached(&self) {
        self.end_if(|_| true);
    }

    /// It is there, and does not seem to be missed by anybody.
    pub fn answered(&self) {
        self.end_if(|outage| {
            outage
                .missed
                .is_none_or(|missed| missed.elapsed() > MISSED_FOR_LONG)
        });
    }

    /// It did not do what it was asked for. The first of a row is logged; each is counted.
    pub fn lost(&self, error: &dyn std::error::Error) {
        self.note(describe(error), Some(Instant::now()));
    }

    /// Somebody who looked did not find it there.
    pub fn silent(&self, reason: String) {
        self.note(reason, None);
    }

    fn end_if(&self, ended: impl Fn(&Outage) -> bool) {
        let unreachable = &self.health.board.unreachable;
        if unreachable.is_empty() {
            return;
        }
        let outage = unreachable.remove_if(&*self.what, |_, outage| ended(outage));
        if let Some((what, outage)) = outage {
            let outage_s = outage.started.elapsed().as_secs();
            info!(outage_s, "{what} answers again");
            self.publish(None);
        }
    }

    fn note(&self, reason: String, missed: Option<Instant>) {
        let what = self.what.to_string();
        counter!("projectionist_unreachable_total", "what" => what.clone()).increment(1);
        self.health
            .board
            .unreachable
            .entry(what)
            .and_modify(|outage| {
                outage.reason.clone_from(&reason);
                outage.missed = missed.or(outage.missed);
            })
            .or_insert_with(|| {
                warn!("{} does not answer, trying again: {reason}", self.what);
                let since = SystemTime::now();
                self.publish(Some(since));
                Outage {
                    reason,
                    since,
                    started: Instant::now(),
                    missed,
                }
            });
    }

    fn publish(&self, since: Option<SystemTime>) {
        let since_s = since
            .and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map_or(0.0, |since| since.as_secs_f64());
        let what = || self.what.to_string();
        let unreachable = if since.is_some() { 1.0 } else { 0.0 };
        gauge!("projectionist_unreachable", "what" => what()).set(unreachable);
        gauge!("projectionist_unreachable_since_timestamp_seconds", "what" => what()).set(since_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_does_not_end_what_a_use_has_noticed() {
        let health = Health::default();
        let store = health.reachability("store \"main\"");
        store.lost(&std::io::Error::other("the disk is full"));
        let since = health.outages()["store \"main\""].since;
        store.answered();
        store.silent("no answer".to_owned());
        store.answered();

        let outages = health.outages();
        assert_eq!(outages["store \"main\""].reason, "no answer");
        assert_eq!(outages["store \"main\""].since, since);
        store.reached();
        assert!(health.outages().is_empty());
    }

    #[test]
    fn a_look_ends_what_only_a_look_has_noticed() {
        let health = Health::default();
        let store = health.reachability("store \"main\"");
        store.silent("no answer".to_owned());
        assert!(!health.outages().is_empty());
        store.answered();
        assert!(health.outages().is_empty());
    }
}
