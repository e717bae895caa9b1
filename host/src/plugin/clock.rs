//! Measures the time that a guest takes for itself.
//!
//! The engine interrupts a running guest at every tick, and each time the time since the last
//! look is charged to it. Two things are not the guest's doing and are left out: time inside
//! host calls that wait for documents ([`Clock::pause`]), and stretches in which the whole
//! process stood still (stopped by a debugger, a paused virtual machine): no single charge is
//! more than [`CHARGE_MAX`], and a process that stands still has no ticks. Nor is one more than half of
//! the limit: a guest whose thread was put off for a while is stopped only if it still runs two
//! ticks later.
//!
//! Pure: times come in as arguments.

use std::time::{Duration, Instant};

use super::engine::TICK;

/// The most that is charged between two looks. A guest that runs is looked at once a tick,
/// unless it is within one instruction that fills or copies a whole memory.
const CHARGE_MAX: Duration = TICK.saturating_mul(4);

#[derive(Debug)]
pub(super) struct Clock {
    limit: Duration,
    used: Duration,
    since: Instant,
}

/// The guest has used up its time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it ran for more than {limit:?} without an answer")]
pub(super) struct TimeLimit {
    limit: Duration,
}

impl Clock {
    pub(super) fn start(limit: Duration, now: Instant) -> Self {
        Clock {
            limit,
            used: Duration::ZERO,
            since: now,
        }
    }

    /// Looks at the clock while the guest runs.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), TimeLimit> {
        self.charge(now);
        if self.used > self.limit {
            return Err(TimeLimit { limit: self.limit });
        }
        Ok(())
    }

    /// The guest waits for the host from now on, until [`Clock::resume`].
    pub(super) fn pause(&mut self, now: Instant) {
        self.charge(now);
    }

    pub(super) fn resume(&mut self, now: Instant) {
        self.since = now;
    }

    fn charge(&mut self, now: Instant) {
        let charge = now.saturating_duration_since(self.since);
        self.used += charge.min(CHARGE_MAX).min(self.limit / 2);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    /// Looks once a tick, as the engine does, and says for how long the guest ran.
    fn run_until_stopped(clock: &mut Clock, start: Instant) -> Duration {
        let mut now = start;
        while clock.tick(now).is_ok() {
            now += TICK;
        }
        now - start
    }

    #[test]
    fn a_guest_that_never_ends_is_stopped_at_the_first_tick_past_its_limit() {
        let start = Instant::now();
        let mut clock = Clock::start(LIMIT, start);
        assert_eq!(run_until_stopped(&mut clock, start), LIMIT + TICK);
    }

    #[test]
    fn time_spent_waiting_for_the_host_is_not_the_guests() {
        let start = Instant::now();
        let mut clock = Clock::start(LIMIT, start);
        clock.pause(start + TICK);
        let resumed = start + Duration::from_secs(60);
        clock.resume(resumed);
        assert_eq!(run_until_stopped(&mut clock, resumed), LIMIT);
    }

    #[test]
    fn a_process_that_stood_still_does_not_cost_the_guest_its_limit() {
        let start = Instant::now();
        let mut clock = Clock::start(LIMIT, start);
        assert_eq!(clock.tick(start + Duration::from_secs(3600)), Ok(()));
    }

    #[test]
    fn a_short_limit_is_not_used_up_while_the_thread_waits_for_its_turn() {
        let start = Instant::now();
        let mut clock = Clock::start(TICK, start);
        assert_eq!(clock.tick(start + 4 * TICK), Ok(()));
        assert_eq!(clock.tick(start + 9 * TICK), Ok(()));
        assert!(clock.tick(start + 10 * TICK).is_err());
    }

    #[test]
    fn many_short_stretches_between_host_calls_add_up() {
        let mut now = Instant::now();
        let mut clock = Clock::start(LIMIT, now);
        let mut stretches = 0;
        while clock.tick(now).is_ok() {
            now += Duration::from_millis(1);
            clock.pause(now);
            now += Duration::from_secs(1);
            clock.resume(now);
            stretches += 1;
        }
        assert_eq!(stretches, 51);
    }
}
