//! Where instances of plugins live: places in memory that are mapped once and used again.
//!
//! A new instance finds its place as the module's first memory is, copied where it is written to;
//! what the one before wrote is put back when that ends, page by page. So it costs neither a
//! mapping of 4 GiB nor its end, which every other thread of the host would wait for.
//!
//! Guarantee: a plugin that passes the checks of `admission` fits in here, whatever its limits
//! (`limits`) are: the pool has none of its own but the number of instances.
//! Not here: how much of it an instance may use.
//!
//! When all places are taken, no instance starts ([`Full`]): the host's matter, not the plugin's.

use wasmtime::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::limits::{MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};

/// Most memories at a time. A plugin has one, as a rule, and 4 GiB of addresses belong to it,
/// however little it uses: 16 of the 128 TiB that a process has.
const MEMORIES: u32 = 4_000;

/// A plugin has three at most, as a rule: its own, and those of what was put around it.
const TABLES: u32 = 3 * MEMORIES;

/// What is left free and may still be resident: that of so many instances, each with as much.
const WARM_PLACES: u32 = 32;
const WARM_BYTES: usize = 1 << 20;

/// Far more than there can be; the pool counts them, and they take what they need.
const INSTANCES: u32 = 1_000_000;
const INSTANCE_BYTES: usize = 1 << 30;

/// No place for another instance.
#[derive(Debug, thiserror::Error)]
#[error(
    "this host runs as many instances of plugins as it can; give it fewer lanes, or spread the \
     partitions over more hosts"
)]
pub(super) struct Full(#[source] pub(super) wasmtime::Error);

pub(super) fn strategy() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(MEMORIES)
        .total_tables(TABLES)
        .total_core_instances(INSTANCES)
        .total_component_instances(INSTANCES)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_memories_per_module(u32::try_from(MEMORIES_MAX).expect("a few"))
        .max_tables_per_module(u32::try_from(TABLES_MAX).expect("a few"))
        .table_elements(TABLE_ELEMENTS_MAX)
        // What an instance wrote to is found by asking the system, where it can tell (Linux 6.7).
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(WARM_PLACES)
        .linear_memory_keep_resident(WARM_BYTES)
        .table_keep_resident(WARM_BYTES);
    InstanceAllocationStrategy::Pooling(pool)
}

#[cfg(test)]
mod tests {
    use wasmtime::{Config, Engine, Instance, Module, Store};

    use super::*;
    use crate::plugin::fault::ended;
    use crate::projection::{Error, HostError};

    /// A module with one memory of one page, and nothing else.
    const MODULE: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01";

    #[test]
    fn a_full_pool_is_not_the_plugins_fault() {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_memories(1);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).expect("a pool of one memory");
        let module = Module::new(&engine, MODULE).expect("a module");
        let mut first = Store::new(&engine, ());
        Instance::new(&mut first, &module, &[]).expect("there is one place");

        let mut second = Store::new(&engine, ());
        let error = Instance::new(&mut second, &module, &[]).expect_err("no place is left");
        let Error::Host(HostError::Engine(error)) = ended(error, None) else {
            panic!("blamed on the plugin");
        };
        assert!(error.to_string().contains("fewer lanes"), "{error}");

        drop(first);
        Instance::new(&mut second, &module, &[]).expect("there is a place again");
    }

    #[test]
    fn the_pool_is_one_that_the_engine_takes() {
        let mut config = Config::new();
        config.allocation_strategy(strategy());
        assert!(Engine::new(&config).is_ok());
    }
}
