//! Structured logs on standard error, as text for people or JSON for machines.
//!
//! Guarantees: whoever logs never waits and never fails ([`outlet`]); a line of the log is one
//! line, whatever its message and fields hold ([`one_line`]); a panic is a line of the log.
//!
//! On failure: where the log's reader is away, stalled, or its disk is full, lines are lost and
//! counted, and the host works on.

use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::{error, warn};
use tracing_subscriber::EnvFilter;

use one_line::OneLine;
use outlet::Outlet;

mod one_line;
mod outlet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "host.log: \"{filter}\" is no log filter, such as \"info\" or \"info,librdkafka=debug\""
    )]
    Filter {
        filter: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("the process logs already")]
    Installed(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot start to log")]
    Outlet(#[source] std::io::Error),
}

/// Of this process, once it logs.
static OUTLET: OnceLock<Outlet> = OnceLock::new();

/// What is logged last may take so long to be read.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts logging for the whole process.
pub fn init(filter: &str, format: Format) -> Result<(), Error> {
    let parsed = EnvFilter::try_new(filter).map_err(|source| Error::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    // A descriptor of its own: the standard library's handle is locked while a write waits, and
    // whoever else prints would wait with it.
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    let file = std::fs::File::from(stderr.map_err(Error::Outlet)?);
    let outlet = Outlet::start(file, tell_dropped).map_err(Error::Outlet)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .log_internal_errors(false);
    let installed = match format {
        Format::Text => builder
            .fmt_fields(OneLine)
            .with_writer(outlet.clone())
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        Format::Json => builder
            .with_writer(outlet.clone().json())
            .json()
            .flatten_event(true)
            .try_init(),
    };
    installed.map_err(Error::Installed)?;
    // Only one call comes to here: the second one finds a subscriber.
    drop(OUTLET.set(outlet));
    log_panics();
    Ok(())
}

/// Says something to whoever reads standard error, after all that was logged, and never waits.
/// Answers false where this process does not log.
pub fn say(text: &str) -> bool {
    let outlet = OUTLET.get();
    outlet.is_some_and(|outlet| {
        outlet.put(format!("{text}\n").as_bytes());
        true
    })
}

/// Waits until what was logged is written, for a bounded time: before the process ends.
pub fn flush() {
    if let Some(outlet) = OUTLET.get() {
        outlet.flush(FLUSH_TIMEOUT);
    }
}

/// Lines of the log that were lost so far.
pub fn lines_dropped() -> u64 {
    OUTLET.get().map_or(0, Outlet::dropped)
}

fn tell_dropped(lines: u64) {
    warn!(
        lines,
        "{lines} lines were dropped: the reader of this log was away or too slow, or its disk was \
         full"
    );
}

/// The standard hook writes to standard error itself, and would wait for its reader.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string);
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => backtrace.to_string(),
            _ => String::new(),
        };
        error!(
            thread = thread.name().unwrap_or_default(),
            place,
            backtrace,
            "a panic, which is a mistake of the host: {}",
            panic.payload_as_str().unwrap_or("without a text")
        );
    }));
}
