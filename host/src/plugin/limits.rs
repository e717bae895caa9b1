//! What a plugin may take of the host.

use std::time::Duration;

use bytesize::ByteSize;
use wasmtime::ResourceLimiter;

use super::documents::ASKED_BYTES_MAX;
use super::purse::{ANSWER_TIMES, INSTANCE_BYTES, Purse};

/// Of one instance. Modules are small in number: a limit keeps address space from running out.
pub(super) const MEMORIES_MAX: usize = 16;

/// Of one instance. A table takes its place in the pool, however few elements it has.
pub(super) const TABLES_MAX: usize = 100;

/// What the engine keeps of each element of a table.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// Of all tables of an instance together: the most that a projection's limit can be.
pub const TABLE_ELEMENTS_MAX: usize = 1_000_000;

/// Of what a call hands over at once, its answer or the arguments of a host call, and of documents
/// that it is given at once. One transaction takes as much.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Of documents that a call reads from a store.
pub(super) const READ_BYTES_MAX: usize = 32 << 20;

/// Bounds for one projection. Time is the plugin's own: it stands still while the host reads
/// documents for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all memories of an instance together.
    pub memory_bytes_max: usize,
    /// Of all tables of an instance together.
    pub table_elements_max: usize,
    /// What every call may take, however small the batch.
    pub call_base: Duration,
    /// What each event of a batch adds.
    pub call_per_event: Duration,
    /// The most that a call may take, however large the batch; also what `configure` may take.
    pub call_max: Duration,
    /// Documents that a batch may write, and documents that it may read, for each of its events.
    pub writes_per_event: usize,
    /// Messages that a batch may send for each of its events.
    pub messages_per_event: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // JavaScript's engine alone settles at 75 MiB.
            memory_bytes_max: 128 << 20,
            table_elements_max: 100_000,
            call_base: Duration::from_millis(50),
            call_per_event: Duration::from_millis(1),
            call_max: Duration::from_secs(3),
            writes_per_event: 10,
            messages_per_event: 10,
        }
    }
}

impl Limits {
    /// How long a call may take with so many events.
    pub(super) fn call(&self, events: usize) -> Duration {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let wanted = self
            .call_per_event
            .saturating_mul(events)
            .saturating_add(self.call_base);
        wanted.min(self.call_max)
    }

    /// How many documents a batch of so many events may read or write.
    pub(super) fn documents(&self, events: usize) -> usize {
        self.writes_per_event.saturating_mul(events)
    }

    /// The most that an instance and one call of it can cause of memory, where the batch takes so
    /// many bytes as the plugin is given it.
    pub fn cost_max(&self, given: usize) -> usize {
        let answer = ANSWER_BYTES_MAX * ANSWER_TIMES;
        let tables = self.table_elements_max.saturating_mul(ELEMENT_BYTES);
        let call = answer + READ_BYTES_MAX + ASKED_BYTES_MAX;
        [tables, given, call, INSTANCE_BYTES]
            .into_iter()
            .fold(self.memory_bytes_max, usize::saturating_add)
    }

    /// How many messages a batch of so many events may send.
    pub(super) fn messages(&self, events: usize) -> usize {
        self.messages_per_event.saturating_mul(events)
    }
}

/// A plugin asked for more than it may have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SpaceLimit {
    #[error("it asked for {} of memory, and may have {}", ByteSize::b(*.wanted as u64), ByteSize::b(*.limit as u64))]
    Memory { wanted: usize, limit: usize },
    #[error("it asked for {wanted} table elements, and may have {limit}")]
    Table { wanted: usize, limit: usize },
    #[error("it asked for {} of documents, and may have {}; they are too large for as many at a time", ByteSize::b(*.wanted as u64), ByteSize::b(*.limit as u64))]
    Documents { wanted: usize, limit: usize },
    #[error("it wants {} for itself and one call, and there are {} at most (plugins.memory-budget)", ByteSize::b(*.wanted as u64), ByteSize::b(*.limit as u64))]
    Budget { wanted: usize, limit: usize },
    #[error("it handed over more than {} at once", ByteSize::b(*.0 as u64))]
    Answer(usize),
}

/// The operating system had no more memory to give.
#[derive(Debug, thiserror::Error)]
#[error("the host has no memory left for the plugin")]
pub(super) struct HostMemory(#[source] pub(super) wasmtime::Error);

/// Counts what an instance has been given, and charges it to the account of all.
///
/// A refusal is an error and not wasm's own answer of -1, so that it is told apart from any
/// other trap and has the numbers in it.
#[derive(Debug)]
pub(super) struct Limiter {
    memory: Count,
    table: Count,
    pub(super) purse: Purse,
}

#[derive(Debug)]
struct Count {
    used: usize,
    limit: usize,
    /// What was granted last: taken back if it could not be had.
    last: usize,
}

impl Limiter {
    pub(super) fn new(limits: &Limits, purse: Purse) -> Self {
        Limiter {
            memory: Count::new(limits.memory_bytes_max),
            table: Count::new(limits.table_elements_max),
            purse,
        }
    }

    /// Bytes of all memories.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory.used
    }

    /// True from three quarters of the memory on: better a new instance than a fault.
    pub(super) fn nearly_full(&self) -> bool {
        self.memory.used >= self.memory.limit / 4 * 3
    }
}

impl Count {
    fn new(limit: usize) -> Self {
        Count {
            used: 0,
            limit,
            last: 0,
        }
    }

    /// Grants the growth, or says how much it would have been in all.
    fn grow(&mut self, current: usize, desired: usize) -> Result<(), usize> {
        let growth = desired.saturating_sub(current);
        let wanted = self.used.saturating_add(growth);
        if wanted > self.limit {
            return Err(wanted);
        }
        self.used = wanted;
        self.last = growth;
        Ok(())
    }

    /// Says how much it was.
    fn take_back(&mut self) -> usize {
        let last = std::mem::take(&mut self.last);
        self.used -= last;
        last
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.memory.limit;
        self.memory
            .grow(current, desired)
            .map_err(|wanted| SpaceLimit::Memory { wanted, limit })?;
        self.purse.keep(self.memory.last)?;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        let bytes = self.memory.take_back();
        self.purse.unkeep(bytes);
        if error.is::<std::io::Error>() {
            return Err(HostMemory(error).into());
        }
        // Past the maximum that the module itself declares: its own affair.
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.table.limit;
        self.table
            .grow(current, desired)
            .map_err(|wanted| SpaceLimit::Table { wanted, limit })?;
        self.purse
            .keep(self.table.last.saturating_mul(ELEMENT_BYTES))?;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let elements = self.table.take_back();
        self.purse.unkeep(elements.saturating_mul(ELEMENT_BYTES));
        Ok(())
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::account::Account;

    #[test]
    fn a_call_may_take_longer_the_more_events_it_has_up_to_a_limit() {
        let limits = Limits::default();
        assert_eq!(limits.call(1), Duration::from_millis(51));
        assert_eq!(limits.call(1_000), Duration::from_millis(1_050));
        assert_eq!(limits.call(usize::MAX), Duration::from_secs(3));
    }

    fn limiter(memory_bytes_max: usize) -> Limiter {
        let limits = Limits {
            memory_bytes_max,
            ..Limits::default()
        };
        Limiter::new(&limits, Purse::new(&Account::new(1 << 30)))
    }

    #[test]
    fn all_memories_count_together() {
        let mut limiter = limiter(100);
        assert!(limiter.memory_growing(0, 60, None).expect("within"));
        let refused = limiter
            .memory_growing(0, 60, None)
            .expect_err("a second memory of this size is too much");
        assert_eq!(
            refused.downcast_ref(),
            Some(&SpaceLimit::Memory {
                wanted: 120,
                limit: 100
            })
        );
        assert!(limiter.memory_growing(60, 100, None).expect("within"));
    }

    #[test]
    fn what_could_not_be_had_does_not_count() {
        let mut limiter = limiter(100);
        assert!(limiter.memory_growing(0, 80, None).expect("within"));
        assert!(limiter.nearly_full());
        limiter
            .memory_grow_failed(wasmtime::Error::msg("beyond the module's own maximum"))
            .expect("the guest may go on");
        assert!(!limiter.nearly_full());
        assert!(limiter.memory_growing(0, 100, None).expect("within"));
    }

    #[test]
    fn a_refusal_names_the_numbers() {
        let error = SpaceLimit::Memory {
            wanted: 136 << 20,
            limit: 128 << 20,
        };
        assert_eq!(
            error.to_string(),
            "it asked for 136.0 MiB of memory, and may have 128.0 MiB"
        );
    }
}
