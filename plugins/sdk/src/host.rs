//! What a plugin may ask of the host besides documents: lines in its log, and counters.
//!
//! Outside of Wasm, in an author's own tests, lines go to standard error and counts nowhere.

use std::fmt;

pub use crate::bindings::projectionist::plugin::host::Level;

/// Writes one line to the plugin's log. The host caps length and rate, and counts what it drops.
pub fn log(level: Level, message: impl fmt::Display) {
    #[cfg(target_family = "wasm")]
    crate::bindings::projectionist::plugin::host::log(level, &message.to_string());
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?}: {message}");
}

pub fn debug(message: impl fmt::Display) {
    log(Level::Debug, message);
}

pub fn info(message: impl fmt::Display) {
    log(Level::Info, message);
}

pub fn warn(message: impl fmt::Display) {
    log(Level::Warn, message);
}

pub fn error(message: impl fmt::Display) {
    log(Level::Error, message);
}

/// Adds to a counter of the plugin's own, which the host exports with its metrics.
///
/// It counts calls, not events: an event that is folded again after a crash counts again.
pub fn count(metric: &str, delta: u64) {
    #[cfg(target_family = "wasm")]
    crate::bindings::projectionist::plugin::host::count(metric, delta);
    #[cfg(not(target_family = "wasm"))]
    {
        let _counted_nowhere = (metric, delta);
    }
}
