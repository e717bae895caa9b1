//! What the host knows of one instance while it runs.
//!
//! Not here: what the instance may call (`imports`).

use std::sync::Arc;
use std::time::Duration;

use super::bindings::projectionist::plugin::host::Level;
use super::clock::{Clock, TimeLimit, thread_time};
use super::documents::{Reader, Waited};
use super::fault::clip;
use super::limits::{Limiter, Limits};
use super::logs::{LINE_BYTES_MAX, Logs};
use super::purse::Purse;
use super::wasi::{Lines, Stream};

/// The data of an instance's store.
pub(super) struct Guest {
    pub(super) limiter: Limiter,
    clock: Clock,
    /// There during a call of `project` only.
    pub(super) reader: Option<Reader>,
    pub(super) logs: Arc<Logs>,
    /// The last line logged as an error in the present call.
    last_error: Option<String>,
    printed: Lines,
    /// The most that it has handed over in one host call of the present call.
    pub(super) handed: usize,
}

impl Guest {
    pub(super) fn new(limits: &Limits, logs: Arc<Logs>, purse: Purse) -> Self {
        Guest {
            limiter: Limiter::new(limits, purse),
            clock: Clock::start(limits.call_max, thread_time()),
            reader: None,
            logs,
            last_error: None,
            printed: Lines::default(),
            handed: 0,
        }
    }

    /// A call begins, on this thread.
    pub(super) fn enter(&mut self, time_max: Duration, reader: Option<Reader>) {
        self.clock = Clock::start(time_max, thread_time());
        self.reader = reader;
        self.last_error = None;
        self.handed = 0;
    }

    /// The call is over. Gives what the guest logged last as an error.
    pub(super) fn leave(&mut self) -> Option<String> {
        let mut printed = std::mem::take(&mut self.printed);
        printed.end(|stream, line| self.log_printed(stream, line));
        self.last_error.take()
    }

    /// The guest prints.
    pub(super) fn print(&mut self, stream: Stream, bytes: &[u8]) {
        let mut printed = std::mem::take(&mut self.printed);
        printed.print(stream, bytes, |line| self.log_printed(stream, line));
        self.printed = printed;
    }

    fn log_printed(&mut self, stream: Stream, line: &str) {
        let level = match stream {
            Stream::Output => Level::Info,
            Stream::Error => Level::Error,
        };
        self.line(level, line);
    }

    /// The guest says something.
    pub(super) fn line(&mut self, level: Level, message: &str) {
        self.logs.line(level, message);
        if level == Level::Error {
            self.last_error = Some(clip(message, LINE_BYTES_MAX).to_owned());
        }
    }

    /// The host has read documents for it, which is not its doing.
    pub(super) fn leave_out(&mut self, before: Waited, after: Waited) {
        let waited = after.thread.saturating_sub(before.thread);
        self.clock.leave_out(waited);
    }

    /// The engine's clock has ticked while the guest ran.
    pub(super) fn tick(&mut self) -> Result<(), TimeLimit> {
        self.clock.tick(thread_time())
    }
}
