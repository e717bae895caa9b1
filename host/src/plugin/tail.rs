//! The last lines that plugins have logged, for those who ask a running host.
//!
//! Bounded in lines and bytes for each projection; of those that fall out at the old end, the
//! host's own log may still tell.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use dashmap::DashMap;
use serde::Serialize;

use crate::unix_time::now_ms;

/// Lines that are kept of a projection.
pub const LINES_MAX: usize = 1_000;

/// Bytes of these lines.
const BYTES_MAX: usize = 1 << 20;

/// The tails of all projections. Cloning it shares it.
#[derive(Clone, Debug, Default)]
pub struct Tails(Arc<DashMap<Arc<str>, Arc<Tail>>>);

/// The last lines of one projection, whichever of its instances wrote them.
#[derive(Debug, Default)]
pub struct Tail(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<Line>,
    bytes: usize,
    /// Lines so far, those that have fallen out too.
    written: u64,
}

/// A line of a plugin's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Counts from 1 when the host starts.
    pub number: u64,
    /// Unix time.
    pub at_ms: i64,
    /// As in "warn".
    pub level: &'static str,
    pub message: String,
}

impl Tails {
    /// The tail of a projection, which begins when somebody first asks for it.
    pub fn of(&self, projection: &str) -> Arc<Tail> {
        Arc::clone(&self.0.entry(projection.into()).or_default())
    }
}

impl Tail {
    pub(super) fn push(&self, level: &'static str, message: &str) {
        let mut lines = self.lines();
        lines.written += 1;
        lines.bytes += message.len();
        let line = Line {
            number: lines.written,
            at_ms: now_ms(),
            level,
            message: message.to_owned(),
        };
        lines.kept.push_back(line);
        while lines.kept.len() > LINES_MAX || lines.bytes > BYTES_MAX {
            let Some(oldest) = lines.kept.pop_front() else {
                break;
            };
            lines.bytes -= oldest.message.len();
        }
    }

    /// The last lines, at most `limit`, in their order; of those with numbers above `after`.
    pub fn last(&self, limit: usize, after: u64) -> Vec<Line> {
        let lines = self.lines();
        let newest = lines.kept.iter().rev().take(limit);
        let mut found: Vec<Line> = newest
            .take_while(|line| line.number > after)
            .cloned()
            .collect();
        found.reverse();
        found
    }

    /// How many lines were written since the start of the host.
    pub fn written(&self) -> u64 {
        self.lines().written
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(tail: &Tail, limit: usize, after: u64) -> Vec<String> {
        let lines = tail.last(limit, after);
        lines.iter().map(|line| line.message.clone()).collect()
    }

    #[test]
    fn the_last_lines_are_kept_in_their_order() {
        let tails = Tails::default();
        let tail = tails.of("orders");
        assert_eq!(tail.last(10, 0), []);
        for number in 1..=LINES_MAX + 5 {
            tail.push("info", &number.to_string());
        }
        tails.of("payments").push("warn", "another");
        let same = tails.of("orders");
        assert_eq!(same.written(), LINES_MAX as u64 + 5);
        assert_eq!(messages(&same, 2, 0), ["1004", "1005"]);
        assert_eq!(messages(&same, 10, 1_003), ["1004", "1005"]);
        assert_eq!(messages(&same, 10, 1_005), [] as [&str; 0]);
        let all = same.last(usize::MAX, 0);
        assert_eq!((all.len(), all[0].number), (LINES_MAX, 6));
    }

    #[test]
    fn long_lines_push_out_more_than_one() {
        let tails = Tails::default();
        let tail = tails.of("orders");
        tail.push("info", "a");
        tail.push("info", "b");
        tail.push("info", &"c".repeat(BYTES_MAX - 1));
        assert_eq!(tail.last(10, 0)[0].number, 2);
        tail.push("info", "dd");
        assert_eq!(messages(&tail, 10, 0), ["dd"]);
    }
}
