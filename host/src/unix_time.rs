//! The time of day, as it is stored and shown.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds of Unix time; 0 where the clock stands before it.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}
