//! What recurs is one line a minute with its count: for lines of the log that events, readers or
//! an outage can cause any number of times.
//!
//! Guarantee: of one reason, at most one line comes in [`WINDOW`], the first at once; what was
//! kept back is told by count. Memory is bounded: of each kind and owner, [`REASONS_MAX`] reasons
//! are told apart, and further ones count as one.
//!
//! Not here: lines that come at most once for each thing that an operator does.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use tracing::warn;

/// How long a reason is one line.
const WINDOW: Duration = Duration::from_secs(60);

/// A plugin may put a value of the event into each of its reasons.
const REASONS_MAX: usize = 10;

/// Enough to tell reasons apart.
const REASON_BYTES_MAX: usize = 256;

static RECURRING: LazyLock<Mutex<Recurring>> = LazyLock::new(Mutex::default);

/// True where a line is to be logged now. `kind` is what happened, `whose` is the name of who it
/// happened to: both are few. Digits in the reason do not tell reasons apart, so that an offset or
/// a time in it does no harm.
pub fn admit(kind: &'static str, whose: &str, reason: &str) -> bool {
    recurring().admit(kind, whose, reason, Instant::now())
}

/// Logs what was kept back, where its time has come: to be called every few seconds.
pub fn tell() {
    let told = recurring().take_due(Instant::now());
    for repeats in told {
        let Repeats {
            kind,
            whose,
            reason,
            count,
        } = repeats;
        warn!(
            kind,
            whose, count, "{count} times more within a minute: {reason}"
        );
    }
}

fn recurring() -> std::sync::MutexGuard<'static, Recurring> {
    RECURRING.lock().expect("nothing panics under this lock")
}

#[derive(Default)]
struct Recurring {
    /// By kind and owner, then by reason.
    seen: HashMap<(&'static str, String), HashMap<String, Seen>>,
}

struct Seen {
    /// The reason as it was met first in this window.
    reason: String,
    since: Instant,
    kept_back: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Repeats {
    kind: &'static str,
    whose: String,
    reason: String,
    count: u64,
}

impl Recurring {
    fn admit(&mut self, kind: &'static str, whose: &str, reason: &str, now: Instant) -> bool {
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
        let mut identity = identity(reason);
        let reasons = self.seen.entry((kind, whose.to_owned())).or_default();
        let mut shown = reason;
        if reasons.len() >= REASONS_MAX && !reasons.contains_key(&identity) {
            // No reason is empty.
            identity = String::new();
            shown = "for other reasons";
        }
        let known = reasons.get_mut(&identity);
        if let Some(seen) = known {
            seen.kept_back += 1;
            return false;
        }
        let seen = Seen {
            reason: shown.to_owned(),
            since: now,
            kept_back: 0,
        };
        reasons.insert(identity, seen);
        true
    }

    /// What was kept back in windows that are over. Where there was something, the line that tells
    /// so is the next window's.
    fn take_due(&mut self, now: Instant) -> Vec<Repeats> {
        let mut due = Vec::new();
        for ((kind, whose), reasons) in &mut self.seen {
            reasons.retain(|_, seen| {
                if now.saturating_duration_since(seen.since) < WINDOW {
                    return true;
                }
                let count = std::mem::take(&mut seen.kept_back);
                if count > 0 {
                    seen.since = now;
                    due.push(Repeats {
                        kind,
                        whose: whose.clone(),
                        reason: seen.reason.clone(),
                        count,
                    });
                }
                count > 0
            });
        }
        self.seen.retain(|_, reasons| !reasons.is_empty());
        due
    }
}

/// A reason without its numbers.
fn identity(reason: &str) -> String {
    let mut identity = String::with_capacity(reason.len() + 1);
    let mut in_number = false;
    for c in reason.chars() {
        let is_digit = c.is_ascii_digit();
        match (is_digit, in_number) {
            (true, true) => {}
            (true, false) => identity.push('#'),
            (false, _) => identity.push(c),
        }
        in_number = is_digit;
    }
    identity.push('.');
    identity
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_reason_that_recurs_is_one_line_a_minute_with_its_count() {
        let start = Instant::now();
        let mut recurring = Recurring::default();
        let mut lines = 0;
        let mut told = Vec::new();
        for second in 0..180 {
            let now = start + second * SECOND;
            for event in 0..10 {
                let reason = format!("rejected: {event} is negative");
                lines += u32::from(recurring.admit("parked", "tally", &reason, now));
            }
            told.extend(recurring.take_due(now));
        }
        assert_eq!(lines, 1);
        let counts: Vec<u64> = told.iter().map(|repeats| repeats.count).collect();
        assert_eq!(counts, [609, 600]);
        assert_eq!(told[0].reason, "rejected: 0 is negative");
        assert_eq!((told[0].kind, &*told[0].whose), ("parked", "tally"));
    }

    #[test]
    fn a_reason_that_is_back_after_a_quiet_minute_is_a_line_at_once() {
        let start = Instant::now();
        let mut recurring = Recurring::default();
        assert!(recurring.admit("parked", "tally", "no", start));
        assert_eq!(recurring.take_due(start + WINDOW), []);
        assert!(recurring.admit("parked", "tally", "no", start + WINDOW));
    }

    #[test]
    fn reasons_owners_and_kinds_are_told_apart() {
        let now = Instant::now();
        let mut recurring = Recurring::default();
        let admitted = [
            ("parked", "tally", "rejected"),
            ("parked", "tally", "trapped"),
            ("parked", "orders", "rejected"),
            ("retried", "tally", "rejected"),
        ]
        .map(|(kind, whose, reason)| recurring.admit(kind, whose, reason, now));
        assert_eq!(admitted, [true; 4]);
    }

    #[test]
    fn a_plugin_that_invents_reasons_fills_neither_the_log_nor_memory() {
        let start = Instant::now();
        let mut recurring = Recurring::default();
        let mut lines = 0;
        for n in 0..10_000_u32 {
            let letters: String = n.to_string().bytes().map(|b| char::from(b + 49)).collect();
            lines += usize::from(recurring.admit("parked", "tally", &letters, start));
        }
        assert_eq!(lines, REASONS_MAX + 1);
        let told = recurring.take_due(start + WINDOW);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].count, 10_000 - lines as u64);
        assert_eq!(told[0].reason, "for other reasons");
    }
}
