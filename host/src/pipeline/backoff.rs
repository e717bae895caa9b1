//! How long to wait before trying again: doubling, with full jitter, so that hosts that failed
//! together do not come back together.

use std::time::Duration;

use rand::RngExt;

#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    pub fn new(first: Duration, max: Duration) -> Self {
        Backoff {
            first,
            max,
            attempts: 0,
        }
    }

    /// The next delay: between half of and the whole of `first × 2^attempts`, at most `max`.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = self
            .first
            .saturating_mul(2u32.saturating_pow(self.attempts))
            .min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        ceiling.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// It worked: the next delay is a short one again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
        for ceiling_ms in [10, 20, 40, 80, 100, 100] {
            let delay = backoff.next_delay();
            let ceiling = Duration::from_millis(ceiling_ms);
            assert!(
                delay >= ceiling / 2 && delay <= ceiling,
                "{delay:?} of {ceiling:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(10));
    }
}
