//! Whether a target may be asked, told by how it has answered.
//!
//! - [`FAILURES_MAX`] failures in a row eject a target, for [`EJECTION`] × the times it was ejected,
//!   at most [`EJECTION_MAX`]. Each [`EJECTION`] of good health takes one of those times back.
//! - The last target that is left is never ejected.
//! - A target that comes back is asked in a tenth of the reads first, and in all of them after
//!   [`SLOW_START`].
//! - Where less than half of the targets are healthy, health is ignored: what is left would break
//!   under the load of all.
//!
//! The figures are Envoy's defaults. Pure: times come in as arguments.
//!
//! Not here: freshness. Whoever reads knows what is fresh enough.

use std::time::{Duration, Instant};

/// Failures in a row that eject a target.
pub const FAILURES_MAX: u32 = 5;
/// For how long a target is ejected for the first time.
pub const EJECTION: Duration = Duration::from_secs(30);
pub const EJECTION_MAX: Duration = Duration::from_secs(300);
/// How long it takes until a target that was ejected is asked as often as before.
pub const SLOW_START: Duration = Duration::from_secs(10);

/// In how many of a thousand reads a target takes part when it has just come back.
const SHARE_MIN_PERMILLE: u32 = 100;
const ALL_PERMILLE: u32 = 1_000;

/// Of one target.
#[derive(Clone, Debug, Default)]
pub struct Health {
    failures_in_a_row: u32,
    ejections: u32,
    /// The end of the last ejection, in the future or not.
    back_at: Option<Instant>,
    /// Sums up its share of the reads while it starts slowly.
    credit_permille: u32,
}

impl Health {
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.back_at.is_some_and(|back_at| now < back_at)
    }

    pub fn succeeded(&mut self) {
        self.failures_in_a_row = 0;
    }

    /// Takes note of a failure. True where the target should be ejected, which is [`Health::eject`].
    pub fn failed(&mut self, now: Instant) -> bool {
        // What was asked before the ejection may still fail.
        if self.is_ejected(now) {
            return false;
        }
        self.failures_in_a_row += 1;
        self.failures_in_a_row >= FAILURES_MAX
    }

    /// Ejects the target, and tells for how long.
    pub fn eject(&mut self, now: Instant) -> Duration {
        if let Some(back_at) = self.back_at {
            let well = now.saturating_duration_since(back_at).as_secs() / EJECTION.as_secs();
            let well = u32::try_from(well).unwrap_or(u32::MAX);
            self.ejections = self.ejections.saturating_sub(well);
        }
        self.ejections = self.ejections.saturating_add(1);
        let time = EJECTION.saturating_mul(self.ejections).min(EJECTION_MAX);
        self.back_at = Some(now + time);
        self.failures_in_a_row = 0;
        self.credit_permille = 0;
        time
    }

    /// In how many of a thousand reads it takes part: in all unless it has just come back.
    fn share_permille(&self, now: Instant) -> u32 {
        let Some(back_at) = self.back_at else {
            return ALL_PERMILLE;
        };
        let since = now.saturating_duration_since(back_at).min(SLOW_START);
        let share = since.as_millis() * u128::from(ALL_PERMILLE) / SLOW_START.as_millis();
        let share = u32::try_from(share).expect("a thousand at most");
        share.max(SHARE_MIN_PERMILLE)
    }

    fn starts_slowly(&self, now: Instant) -> bool {
        self.share_permille(now) < ALL_PERMILLE
    }

    /// Whether it takes part in this read. Spreads its share evenly over the reads.
    fn takes_part(&mut self, now: Instant) -> bool {
        let share = self.share_permille(now);
        if share == ALL_PERMILLE {
            return true;
        }
        self.credit_permille += share;
        let takes_part = self.credit_permille >= ALL_PERMILLE;
        if takes_part {
            self.credit_permille -= ALL_PERMILLE;
        }
        takes_part
    }
}

/// Leaves those of `candidates`, which are indices into `health`, that should be asked: at least
/// one, if there is one.
pub fn retain(candidates: &mut Vec<usize>, health: &mut [Health], now: Instant) {
    let ejected = candidates
        .iter()
        .filter(|&&index| health[index].is_ejected(now));
    let healthy = candidates.len() - ejected.count();
    if healthy * 2 < candidates.len() {
        return;
    }
    candidates.retain(|&index| !health[index].is_ejected(now));
    // Where all start slowly, there is nobody to spare them.
    if candidates
        .iter()
        .all(|&index| health[index].starts_slowly(now))
    {
        return;
    }
    candidates.retain(|&index| health[index].takes_part(now));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn fail(health: &mut Health, now: Instant) -> bool {
        (0..FAILURES_MAX).any(|_| health.failed(now))
    }

    #[test]
    fn five_failures_in_a_row_eject_and_four_do_not() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..3 {
            for _ in 0..4 {
                assert!(!health.failed(now));
            }
            health.succeeded();
        }
        assert!(fail(&mut health, now));
    }

    #[test]
    fn each_ejection_is_longer_up_to_a_limit_and_good_health_makes_them_shorter() {
        let mut now = Instant::now();
        let mut health = Health::default();
        for seconds in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
            assert_eq!(health.eject(now), Duration::from_secs(seconds));
            assert!(health.is_ejected(after(now, seconds - 1)));
            assert!(!fail(&mut health, after(now, seconds - 1)), "it is out");
            now = after(now, seconds);
            assert!(!health.is_ejected(now));
        }
        now = after(now, 30 * 10);
        assert_eq!(health.eject(now), Duration::from_secs(60));
    }

    #[test]
    fn a_target_comes_back_slowly() {
        let start = Instant::now();
        let mut health = [Health::default(), Health::default()];
        health[1].eject(start);
        let mut parts = |seconds| {
            let asked = (0..100).filter(|_| {
                let mut candidates = vec![0, 1];
                retain(&mut candidates, &mut health, after(start, seconds));
                candidates.contains(&1)
            });
            asked.count()
        };
        assert_eq!(parts(29), 0);
        assert_eq!(parts(30), 10);
        assert_eq!(parts(35), 50);
        assert_eq!(parts(40), 100);
    }

    #[test]
    fn health_is_ignored_where_less_than_half_are_healthy() {
        let now = Instant::now();
        let mut health = vec![Health::default(); 4];
        let left = |health: &mut [Health]| {
            let mut candidates = vec![0, 1, 2, 3];
            retain(&mut candidates, health, after(now, 1));
            candidates
        };
        health[0].eject(now);
        health[2].eject(now);
        assert_eq!(left(&mut health), [1, 3]);
        health[3].eject(now);
        assert_eq!(left(&mut health), [0, 1, 2, 3]);
    }

    #[test]
    fn a_target_that_starts_slowly_is_asked_where_it_is_alone() {
        let now = Instant::now();
        let mut health = [Health::default(), Health::default()];
        health[1].eject(now);
        for _ in 0..20 {
            let mut candidates = vec![1];
            retain(&mut candidates, &mut health, after(now, 31));
            assert_eq!(candidates, [1]);
        }
    }
}
