//! When a policy that failed is tried again: after a second, then after twice as long each time,
//! up to a minute. One that has worked for a minute is as good as new.
//!
//! Pure: times come in as arguments.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Probation {
    faults: u32,
    /// When it was last started.
    since: Option<Instant>,
}

impl Probation {
    pub(super) fn started(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Takes note of a fault, and tells when to try again.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        let worked = self
            .since
            .take()
            .map(|since| now.saturating_duration_since(since));
        if worked.is_some_and(|worked| worked >= MAX) {
            self.faults = 0;
        }
        let delay = FIRST.saturating_mul(2_u32.saturating_pow(self.faults));
        self.faults = self.faults.saturating_add(1);
        delay.min(MAX)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.faults > 0
    }

    /// Whether it had failed before: then the log has been told.
    pub(super) fn is_known_to_fail(&self) -> bool {
        self.faults > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_until_it_has_worked_for_a_minute() {
        let start = Instant::now();
        let mut probation = Probation::default();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            probation.started(start);
            let failed = probation.failed(start + Duration::from_secs(59));
            assert_eq!(failed, Duration::from_secs(seconds));
        }
        assert!(probation.is_known_to_fail());
        probation.started(start);
        let failed = probation.failed(start + Duration::from_secs(60));
        assert_eq!(failed, FIRST);
        assert!(!probation.is_known_to_fail());
    }
}
