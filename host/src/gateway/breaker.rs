//! A circuit breaker: a copy that does not answer is left alone for a while, so that readers are
//! told at once instead of after a time-out, and so that a store that comes back is not run over.
//!
//! - [`FAILURES_MAX`] failures in a row open it, for [`REST`]; each time that it opens again
//!   without an answer in between, for twice as long, up to [`REST_MAX`].
//! - After that, one read at a time tries the copy. Its answer closes the breaker.
//! - Once the copy has answered anything since it was last tried, also a read that nobody waited
//!   for any more, the next read tries it without waiting for the rest to end.
//!
//! The balancer's health (`balance::health`) prefers other copies; this is for the reads that have
//! no other one. Times come in as arguments.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;

const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(4);

/// Of one copy.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures_in_a_row: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    rest: Duration,
    /// When a read last failed or was last let through.
    since: Instant,
    /// When the next read may try.
    until: Instant,
    /// Whether one tries now.
    tried: bool,
}

impl Breaker {
    /// Whether a read may ask the copy. Where the copy is on trial, the next read has to wait for
    /// this one, or for as long as the copy has rested: a read that is dropped tells nothing.
    /// `answered` is when the copy has last answered anybody.
    pub(super) fn admit(&self, now: Instant, answered: Option<Instant>) -> bool {
        match &mut self.state().open {
            None => true,
            Some(open) => {
                let is_back = answered.is_some_and(|answered| answered > open.since);
                if now < open.until && !is_back {
                    return false;
                }
                open.until = now + open.rest;
                open.since = now;
                open.tried = true;
                true
            }
        }
    }

    /// True where it is open: reads are refused, or were until a moment ago.
    pub(super) fn is_open(&self) -> bool {
        self.state().open.is_some()
    }

    /// Takes note of an answer; true where it closes the breaker.
    pub(super) fn answered(&self) -> bool {
        std::mem::take(&mut *self.state()).open.is_some()
    }

    /// Takes note of a failure; true where it opens the breaker.
    pub(super) fn failed(&self, now: Instant) -> bool {
        let mut state = self.state();
        match &mut state.open {
            Some(open) => {
                // What was asked before it opened may fail after.
                if std::mem::take(&mut open.tried) {
                    open.rest = (open.rest * 2).min(REST_MAX);
                    open.until = now + open.rest;
                }
                open.since = now;
                false
            }
            None => {
                state.failures_in_a_row += 1;
                let opens = state.failures_in_a_row >= FAILURES_MAX;
                state.open = opens.then(|| Open {
                    rest: REST,
                    since: now,
                    until: now + REST,
                    tried: false,
                });
                opens
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(start: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 1..FAILURES_MAX {
            assert!(!breaker.failed(start));
        }
        assert!(breaker.admit(start, None));
        assert!(breaker.failed(start));
        assert!(!breaker.admit(start, None));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_closes_it() {
        let start = Instant::now();
        let breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..FAILURES_MAX {
                breaker.failed(start);
            }
            breaker.answered();
        }
        assert!(!breaker.is_open());

        let breaker = opened(start);
        assert!(breaker.admit(start + REST, None));
        breaker.answered();
        assert!(!breaker.is_open());
        assert!(breaker.admit(start + REST, None));
    }

    #[test]
    fn one_read_at_a_time_tries_a_copy_that_has_rested() {
        let start = Instant::now();
        let breaker = opened(start);
        // Those that were under way when it opened change nothing.
        breaker.failed(start);
        breaker.failed(start + REST / 2);
        assert!(!breaker.admit(start + REST * 99 / 100, None));
        assert!(breaker.admit(start + REST, None));
        assert!(!breaker.admit(start + REST, None));
        // The reader has gone, and nobody hears how it went.
        assert!(breaker.admit(start + REST * 2, None));
    }

    #[test]
    fn it_rests_twice_as_long_after_each_failure_up_to_a_bound() {
        let start = Instant::now();
        let breaker = opened(start);
        let mut now = start + REST;
        for seconds in [2, 4, 4, 4] {
            assert!(breaker.admit(now, None));
            assert!(!breaker.failed(now));
            let rest = Duration::from_secs(seconds);
            assert!(!breaker.admit(now + rest - Duration::from_millis(1), None));
            now += rest;
        }
    }

    #[test]
    fn a_copy_that_answers_anybody_is_tried_at_once() {
        let start = Instant::now();
        let breaker = opened(start);
        let later = |ms| start + Duration::from_millis(ms);
        assert!(!breaker.admit(later(10), Some(start)));
        assert!(breaker.admit(later(10), Some(later(5))));
        // That answer has had its try.
        assert!(!breaker.admit(later(20), Some(later(5))));
        assert!(breaker.admit(later(20), Some(later(15))));
        breaker.failed(later(30));
        assert!(!breaker.admit(later(40), Some(later(25))));
    }
}
