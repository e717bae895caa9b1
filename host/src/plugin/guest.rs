//! What the host knows of one instance while it runs, and what the instance may call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bindings::Column;
use super::bindings::placement::balancing;
use super::bindings::projectionist::plugin::host::Level;
use super::bindings::projectionist::plugin::{columns, documents, host};
use super::clock::{Clock, TimeLimit};
use super::documents::Reader;
use super::fault::{Misuse, clip};
use super::limits::{Limiter, Limits};
use super::logs::{LINE_BYTES_MAX, Logs};
use super::wasi::{Lines, Stream};

/// The data of an instance's store.
pub(super) struct Guest {
    pub(super) limiter: Limiter,
    clock: Clock,
    /// There during a call of `project` only.
    reader: Option<Reader>,
    logs: Arc<Logs>,
    /// How long the present call has waited for documents.
    waited: Duration,
    /// The last line logged as an error in the present call.
    last_error: Option<String>,
    printed: Lines,
}

impl Guest {
    pub(super) fn new(limits: &Limits, logs: Arc<Logs>) -> Self {
        Guest {
            limiter: Limiter::new(limits),
            clock: Clock::start(limits.call_max, Instant::now()),
            reader: None,
            logs,
            waited: Duration::ZERO,
            last_error: None,
            printed: Lines::default(),
        }
    }

    /// A call begins.
    pub(super) fn enter(&mut self, time_max: Duration, reader: Option<Reader>) {
        self.clock = Clock::start(time_max, Instant::now());
        self.reader = reader;
        self.waited = Duration::ZERO;
        self.last_error = None;
    }

    /// The call is over. Gives what the guest logged last as an error.
    pub(super) fn leave(&mut self) -> Option<String> {
        self.reader = None;
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

    fn line(&mut self, level: Level, message: &str) {
        self.logs.line(level, message);
        if level == Level::Error {
            self.last_error = Some(clip(message, LINE_BYTES_MAX).to_owned());
        }
    }

    /// How long the last call has waited for documents.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// The engine's clock has ticked while the guest ran.
    pub(super) fn tick(&mut self) -> Result<(), TimeLimit> {
        self.clock.tick(Instant::now())
    }
}

impl host::Host for Guest {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.line(level, &message);
        Ok(())
    }

    fn count(&mut self, metric: String, delta: u64) -> wasmtime::Result<()> {
        self.logs.count(metric, delta);
        Ok(())
    }
}

impl documents::Host for Guest {
    fn get_many(&mut self, view: u32, ids: Column) -> wasmtime::Result<Column> {
        let reader = self.reader.as_mut().ok_or_else(|| {
            Misuse("get-many: documents can be read during \"project\" only".to_owned())
        })?;
        let paused = Instant::now();
        self.clock.pause(paused);
        let answer = reader.get_many(view, &ids);
        let resumed = Instant::now();
        self.clock.resume(resumed);
        self.waited += resumed - paused;
        answer
    }
}

impl columns::Host for Guest {}

impl balancing::Host for Guest {}
