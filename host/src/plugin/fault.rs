//! Tells whose fault it was that a call ended without an answer, and says it readably.

use std::fmt::Write;

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::projection::{self, Fault, FaultKind, HostError};

use super::clock::TimeLimit;
use super::limits::{HostMemory, SpaceLimit};
use super::pool::Full;

/// Of any text that a plugin gives the host to pass on.
pub(super) const TEXT_BYTES_MAX: usize = 16 * 1024;

/// The plugin called the host in a way that the contract does not allow.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Misuse(pub(super) String);

/// Documents that the plugin asked for could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read documents")]
pub(super) struct ReadFailed(#[source] pub(super) HostError);

/// Whether a guest handed over more than it was let. The engine says so by a text alone.
pub(super) fn is_too_much(error: &wasmtime::Error) -> bool {
    let cause = error.root_cause().to_string();
    cause.contains("fuel allocated for hostcalls has been exhausted")
}

/// What is known of a plugin that did not come back from a call. `last_error` is the last line
/// that it logged as an error in this call: a panic's text, as a rule.
pub(super) fn ended(error: wasmtime::Error, last_error: Option<String>) -> projection::Error {
    let error = match error.downcast::<ReadFailed>() {
        Ok(ReadFailed(host)) => return host.into(),
        Err(error) => error,
    };
    if error.is::<HostMemory>() {
        return HostError::Engine(error.into_boxed_dyn_error()).into();
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return HostError::Engine(Full(error).into()).into();
    }
    let kind = if error.is::<TimeLimit>() {
        FaultKind::Timeout
    } else if error.is::<SpaceLimit>() {
        FaultKind::Memory
    } else if error.is::<Misuse>() {
        FaultKind::InvalidOutput
    } else if error.is::<Trap>() || error.is::<WasmBacktrace>() {
        FaultKind::Trap
    } else {
        // The engine refused to lift the answer: a string that is no UTF-8, a list beyond memory.
        FaultKind::InvalidOutput
    };

    let mut detail = last_error.map_or_else(String::new, |line| line + "\n");
    write!(detail, "{}", error.root_cause()).expect("strings take all text");
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        for frame in backtrace.frames() {
            let name = frame.func_name().unwrap_or("a function without a name");
            write!(detail, "\n    at {:#}", rustc_demangle::demangle(name))
                .expect("strings take all text");
        }
    }
    fault(kind, detail, None).into()
}

pub(super) fn fault(kind: FaultKind, detail: impl Into<String>, event: Option<usize>) -> Fault {
    let mut detail = detail.into();
    detail.truncate(clip(&detail, TEXT_BYTES_MAX).len());
    // A long text's room is kept no longer than itself.
    detail.shrink_to_fit();
    Fault {
        kind,
        detail,
        event,
        also: Vec::new(),
        rest: None,
    }
}

/// The start of a text, in whole characters.
pub(super) fn clip(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(clip("aüb", 2), "a");
        assert_eq!(clip("aüb", 3), "aü");
        assert_eq!(clip("aüb", 100), "aüb");
    }

    #[test]
    fn a_fault_keeps_the_start_of_a_long_text() {
        let fault = fault(FaultKind::Failed, "x".repeat(1 << 20), None);
        assert_eq!(fault.detail.len(), TEXT_BYTES_MAX);
    }
}
