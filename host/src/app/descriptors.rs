//! Open files: whether the process may have as many as its configuration needs.
//!
//! Guarantee: a host that starts has enough for what it always holds open. Without, it would live
//! and answer nobody, not even to say so.
//!
//! Not here: the connections of readers, of which there may be as many as there is room for
//! (`gateway`).

use super::Error;
use crate::config::{Config, Location};

/// The runtime, the log, the port of health and a few who ask there, a compiler's pipes.
const BASE: u64 = 40;

/// A consumer's connections to brokers and the pipes of its threads.
const CONSUMER: u64 = 12;

/// A store's connections: monitors, sessions, reads.
const MONGODB: u64 = 24;
const EMBEDDED: u64 = 12;

/// The producer's and the metadata client's, where messages are sent, and the gateway's port.
const MORE: u64 = 16;

/// How many files the host needs to have open at the same time, at least.
fn needed(config: &Config) -> u64 {
    let store = |location: &Location| match location {
        Location::MongoDb { .. } => MONGODB,
        Location::Embedded { .. } => EMBEDDED,
    };
    let copies = config.stores.values().flat_map(|store| &store.copies);
    let stores: u64 = copies.map(|copy| store(&copy.location)).sum();
    let consumers = config.projections.values();
    let consumers = consumers.map(|projection| config.stores[&projection.store].copies.len());
    let consumers = u64::try_from(consumers.sum::<usize>()).unwrap_or(u64::MAX);
    BASE + MORE + stores + consumers.saturating_mul(CONSUMER)
}

/// Raises the process's limit where it may, and makes sure that it is enough.
///
/// # Errors
/// How many are needed, and how many it may have.
pub(super) fn ensure(config: &Config) -> Result<(), Error> {
    let needed = needed(config);
    // Where the limit cannot be read, nothing is known to be wrong.
    let allowed = rlimit::increase_nofile_limit(needed).unwrap_or(u64::MAX);
    if allowed < needed {
        return Err(Error::OpenFiles { allowed, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_store_and_each_consumer_needs_its_own() {
        let text = |more: &str| {
            let text = format!(
                "[kafka]\nbrokers = \"k:1\"\n[stores.main]\nkind = \"embedded\"\npath = \"m.db\"\n\
                 [projections.one]\nplugin = \"p.wasm\"\ntopics = [\"t\"]\nstore = \"main\"\n{more}"
            );
            let config = crate::config::parse(&text, Path::new("/p.toml"), [], "host");
            needed(&config.expect("it is right"))
        };
        let one = text("");
        let two =
            text("[projections.two]\nplugin = \"p.wasm\"\ntopics = [\"t\"]\nstore = \"main\"\n");
        assert_eq!(two, one + CONSUMER);
        let copies = text("[stores.main.copies.east]\npath = \"e.db\"\n");
        assert_eq!(copies, one + CONSUMER + EMBEDDED);
    }
}
