//! What the integration tests share: the real services, hosts as processes, and what to expect.
//!
//! A test that needs a service fails without it; none is skipped. Each test has topics, groups and
//! a database of its own.

pub mod acl;
pub mod broker;
pub mod guests;
pub mod host;
pub mod hostile;
pub mod kafka;
pub mod ledger;
pub mod mongo;
pub mod mongod;
pub mod nginx;
pub mod raw;
pub mod replica_set;
pub mod signal;
pub mod tally;
pub mod wait;

use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other test has, in this run or an earlier one.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let micros = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_micros());
    format!(
        "{what}-{}-{micros}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// An endpoint of a real service.
///
/// # Panics
///
/// Where the variable is not set.
fn endpoint(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set: run the tests by `make test`, or start the services with \
             `make services` and take over what it prints"
        )
    })
}
