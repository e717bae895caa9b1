//! What plugins say of themselves: log lines and counters.
//!
//! Both are bounded, and what is dropped is counted. A batch that is folded again logs and
//! counts again: neither is part of the documents' exactly-once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use metrics::Counter;

use super::bindings::projectionist::plugin::host::Level;
use super::fault::clip;
use super::tail::Tail;

pub(super) const LINE_BYTES_MAX: usize = 4 * 1024;
const LINES_PER_SECOND: u32 = 100;
/// Metrics live as long as the process, and a plugin could make a name of each key.
const COUNTERS_MAX: usize = 64;
pub(super) const COUNTER_NAME_BYTES_MAX: usize = 128;

/// The log and the counters of one projection. Outlives its instances, so that one that fails
/// over and over keeps to the same bounds.
pub(super) struct Logs {
    projection: Arc<str>,
    /// For those who ask the host for the last lines.
    tail: Option<Arc<Tail>>,
    state: Mutex<State>,
}

struct State {
    throttle: Throttle,
    counters: HashMap<String, Counter>,
    lines_dropped: Counter,
    counts_dropped: Counter,
}

/// Lets so many lines pass in each second.
#[derive(Debug, Default)]
struct Throttle {
    second: Option<Instant>,
    passed: u32,
    dropped: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The line passes; so many were dropped since the last one that did.
    Pass {
        dropped: u64,
    },
    Drop,
}

impl Logs {
    pub(super) fn new(projection: &str) -> Self {
        let counter = |name| metrics::counter!(name, "projection" => projection.to_owned());
        Logs {
            projection: projection.into(),
            tail: None,
            state: Mutex::new(State {
                throttle: Throttle::default(),
                counters: HashMap::new(),
                lines_dropped: counter("projectionist_plugin_log_dropped_total"),
                counts_dropped: counter("projectionist_plugin_count_dropped_total"),
            }),
        }
    }

    /// Keeps the last lines here, too, whatever the host logs of them.
    pub(super) fn kept_in(mut self, tail: Arc<Tail>) -> Self {
        self.tail = Some(tail);
        self
    }

    pub(super) fn line(&self, level: Level, message: &str) {
        let verdict = {
            let mut state = self.state();
            let verdict = state.throttle.admit(Instant::now());
            if verdict == Verdict::Drop {
                state.lines_dropped.increment(1);
            }
            verdict
        };
        let Verdict::Pass { dropped } = verdict else {
            return;
        };
        let projection = &*self.projection;
        if dropped > 0 {
            tracing::warn!(
                projection,
                "dropped {dropped} lines of the plugin's log: more than {LINES_PER_SECOND} a second"
            );
        }
        let message = clip(message, LINE_BYTES_MAX);
        if let Some(tail) = &self.tail {
            tail.push(word(level), message);
        }
        match level {
            Level::Trace => tracing::trace!(target: "plugin", projection, "{message}"),
            Level::Debug => tracing::debug!(target: "plugin", projection, "{message}"),
            Level::Info => tracing::info!(target: "plugin", projection, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", projection, "{message}"),
            Level::Error => tracing::error!(target: "plugin", projection, "{message}"),
        }
    }

    /// Whether a line would be dropped now, and then it is.
    pub(super) fn drops_line(&self) -> bool {
        let mut state = self.state();
        let drops = state.throttle.is_full(Instant::now());
        if drops {
            state.throttle.dropped += 1;
            state.lines_dropped.increment(1);
        }
        drops
    }

    /// A count whose name is too long.
    pub(super) fn drop_count(&self) {
        self.state().counts_dropped.increment(1);
    }

    pub(super) fn count(&self, metric: &str, delta: u64) {
        let mut state = self.state();
        if let Some(counter) = state.counters.get(metric) {
            counter.increment(delta);
        } else if state.counters.len() < COUNTERS_MAX && metric.len() <= COUNTER_NAME_BYTES_MAX {
            let counter = metrics::counter!(
                "projectionist_plugin_count_total",
                "projection" => self.projection.to_string(),
                "metric" => metric.to_owned()
            );
            counter.increment(delta);
            state.counters.insert(metric.to_owned(), counter);
        } else {
            state.counts_dropped.increment(1);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

/// A level as it is written.
fn word(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

impl Throttle {
    fn is_full(&self, now: Instant) -> bool {
        self.passed == LINES_PER_SECOND && self.is_same_second(now)
    }

    fn is_same_second(&self, now: Instant) -> bool {
        self.second
            .is_some_and(|start| now.saturating_duration_since(start) < Duration::from_secs(1))
    }

    fn admit(&mut self, now: Instant) -> Verdict {
        if !self.is_same_second(now) {
            self.second = Some(now);
            self.passed = 0;
        }
        if self.passed == LINES_PER_SECOND {
            self.dropped += 1;
            return Verdict::Drop;
        }
        self.passed += 1;
        Verdict::Pass {
            dropped: std::mem::take(&mut self.dropped),
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        let passed = (0..1_000)
            .filter(|_| throttle.admit(start) != Verdict::Drop)
            .count();
        assert_eq!(passed, 100);

        let later = start + Duration::from_secs(1);
        assert_eq!(throttle.admit(later), Verdict::Pass { dropped: 900 });
        assert_eq!(throttle.admit(later), Verdict::Pass { dropped: 0 });
    }

    #[test]
    fn counters_carry_their_projection_and_are_bounded_in_number() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let logs = Logs::new("orders");
            for _ in 0..2 {
                for number in 0..COUNTERS_MAX + 5 {
                    logs.count(&format!("m{number}"), 3);
                }
            }
        });
        let page = recorder.handle().render();
        let counted = |line: &str| page.lines().any(|l| l == line);
        assert!(
            counted(r#"projectionist_plugin_count_total{projection="orders",metric="m0"} 6"#),
            "{page}"
        );
        assert_eq!(page.matches(r#"metric=""#).count(), COUNTERS_MAX);
        assert!(
            counted(r#"projectionist_plugin_count_dropped_total{projection="orders"} 10"#),
            "{page}"
        );
    }
}
