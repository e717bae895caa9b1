//! How often a partition was refused what it needs, and when to claim it again.

use std::time::Duration;

use tokio::time::Instant;

/// A partition that was refused something is claimed again after so long, and then after twice as
/// long each time.
const FIRST: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_mins(1);

/// Refusals of one partition, of which the next claim comes the later the more there were lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusals {
    count: u32,
    last: Option<Instant>,
}

impl Refusals {
    /// Notes one, and answers how long to wait then.
    pub(super) fn another(&mut self, now: Instant) -> Duration {
        let lately = |last: Instant| now.saturating_duration_since(last) < 2 * MAX;
        if !self.last.is_some_and(lately) {
            self.count = 0;
        }
        self.last = Some(now);
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(self.count));
        self.count = self.count.saturating_add(1);
        pause.min(MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_again_after_a_while_without() {
        let mut refusals = Refusals::default();
        let mut now = Instant::now();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = refusals.another(now);
            assert_eq!(pause, Duration::from_secs(seconds));
            now += pause;
        }
        assert_eq!(refusals.another(now + 2 * MAX), FIRST);
    }
}
