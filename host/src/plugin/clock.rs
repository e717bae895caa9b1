//! Measures the time that a guest takes for itself.
//!
//! What counts is the time that its thread has run on a processor, from the begin of the call: a
//! thread that waits for its turn, or a process that stands still, is not charged. Nor is what the
//! host takes to read documents ([`Clock::leave_out`]). Everything else is, however long a single
//! step: what the host does with a guest's arguments is of the guest's making.
//!
//! The engine interrupts a running guest at every tick, and then the clock is looked at.
//!
//! Pure but for [`thread_time`]: times come in as arguments.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Clock {
    limit: Duration,
    /// Of the thread, when the call began; later by what is left out.
    start: Duration,
}

/// The guest has used up its time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it ran for more than {limit:?} without an answer")]
pub(super) struct TimeLimit {
    limit: Duration,
}

/// Where Linux tells it, in nanoseconds, as the first of three numbers.
const SCHEDULER_STATISTICS: &str = "/proc/thread-self/schedstat";

/// Longer than three numbers are.
const STATISTICS_BYTES_MAX: usize = 96;

thread_local! {
    /// Of this thread, for as long as it is open. `None` where the system does not tell.
    static STATISTICS: Option<File> = File::open(SCHEDULER_STATISTICS).ok();
}

/// For how long this thread has run on a processor. Where the system does not tell, what counts is
/// all time that passes.
pub(super) fn thread_time() -> Duration {
    STATISTICS
        .with(|statistics| time_of(statistics.as_ref()?))
        .unwrap_or_else(|| START.elapsed())
}

/// Of the process, about.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn time_of(statistics: &File) -> Option<Duration> {
    let mut bytes = [0; STATISTICS_BYTES_MAX];
    let read = statistics.read_at(&mut bytes, 0).ok()?;
    let text = str::from_utf8(&bytes[..read]).ok()?;
    let nanos = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

impl Clock {
    pub(super) fn start(limit: Duration, now: Duration) -> Self {
        Clock { limit, start: now }
    }

    /// Looks at the clock while the guest runs.
    pub(super) fn tick(&self, now: Duration) -> Result<(), TimeLimit> {
        if now.saturating_sub(self.start) > self.limit {
            return Err(TimeLimit { limit: self.limit });
        }
        Ok(())
    }

    /// So much was not for the guest.
    pub(super) fn leave_out(&mut self, time: Duration) {
        self.start += time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_guest_is_stopped_at_the_first_look_past_its_limit() {
        let start = Duration::from_secs(7);
        let clock = Clock::start(LIMIT, start);
        assert_eq!(clock.tick(start + LIMIT), Ok(()));
        let stopped = clock.tick(start + LIMIT + MS);
        assert_eq!(stopped, Err(TimeLimit { limit: LIMIT }));
    }

    #[test]
    fn one_long_step_counts_in_full() {
        let clock = Clock::start(LIMIT, Duration::ZERO);
        assert!(clock.tick(Duration::from_secs(3600)).is_err());
    }

    #[test]
    fn reading_documents_is_not_the_guests() {
        let mut clock = Clock::start(LIMIT, Duration::ZERO);
        clock.leave_out(Duration::from_secs(60));
        assert_eq!(clock.tick(Duration::from_secs(60) + LIMIT), Ok(()));
        assert!(clock.tick(Duration::from_secs(60) + LIMIT + MS).is_err());
    }

    #[test]
    fn a_thread_that_works_takes_time() {
        let start = thread_time();
        while thread_time() < start + MS {
            std::hint::spin_loop();
        }
    }
}
