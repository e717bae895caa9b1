//! What rdkafka does not offer, from librdkafka itself.
//!
//! - [`queue`]: a partition's records as bytes, and where in the partition an end or an error is.
//!   rdkafka takes every header's name for text and panics where it is none, and it keeps the
//!   offset of what it reports to itself.
//! - [`topics`]: the ids of topics.
//!
//! Guarantee: nothing that a record holds can make these panic.
//! Not here: what becomes of what they read (`consumer`, `metadata`).
//!
//! # Safety
//!
//! The only code of the host that calls librdkafka directly, and so `unsafe`. Its contract:
//! - Every pointer comes from librdkafka, is tested for null, and has one owner here, which
//!   destroys it once, when it is dropped.
//! - Whatever belongs to a client holds the client, and is dropped before it.
//! - What lies in an event (a record, its headers, a text) is borrowed from the event's owner, so
//!   it cannot outlive it.
//! - librdkafka's functions that are called here may be called from any thread.
#![expect(
    unsafe_code,
    reason = "librdkafka is a library of C, and rdkafka does not wrap these parts of it"
)]

mod message;
pub(super) mod queue;
pub(super) mod topics;

use std::ffi::{CStr, c_char};

/// A text of librdkafka's; empty where there is none.
///
/// # Safety
///
/// `text` is null, or ends with a zero byte and is not freed during the call.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: it is not null, and the caller vouches for the rest.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}
