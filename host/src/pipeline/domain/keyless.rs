//! Tells of events without a key, one line a minute, however many there are.
//!
//! Pure: takes the time, and says when it is to be told and of how many.
//! Not here: what becomes of them (`sieve`, or the plugin), and the metric that counts each.

use std::time::Duration;

use tokio::time::Instant;

/// Between two lines.
const PAUSE: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Keyless {
    told_at: Option<Instant>,
    untold: usize,
}

impl Keyless {
    /// Notes events. Answers how many there were since the last line, where one is due.
    pub(super) fn note(&mut self, events: usize, now: Instant) -> Option<usize> {
        self.untold += events;
        let is_due = self.told_at.is_none_or(|at| now >= at + PAUSE);
        if self.untold == 0 || !is_due {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_events_are_told_once_a_minute_with_their_number() {
        let mut keyless = Keyless::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(keyless.note(0, at(0)), None);
        assert_eq!(keyless.note(1, at(0)), Some(1));
        for second in 1..60 {
            assert_eq!(keyless.note(5, at(second)), None);
        }
        assert_eq!(keyless.note(5, at(60)), Some(300));
        assert_eq!(keyless.note(0, at(200)), None);
        assert_eq!(keyless.note(2, at(200)), Some(2));
    }
}
