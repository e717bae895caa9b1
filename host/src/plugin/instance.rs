//! One running plugin: a store of its own and the functions to call in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Store, UpdateDeadline};

use crate::projection::{Batch, Descriptor, Documents, Error, FaultKind};

use super::bindings::{ProjectionPlugin, ProjectionPluginPre, raw};
use super::columns;
use super::documents::Reader;
use super::fault::{ended, fault};
use super::guest::Guest;
use super::limits::Limits;
use super::logs::Logs;

/// After so many batches an instance is replaced, for some runtimes leak.
const BATCHES_MAX: u32 = 100_000;

/// After a failed call it must be dropped: the engine lets nobody enter it again.
pub(super) struct Instance {
    store: Store<Guest>,
    bindings: ProjectionPlugin,
    limits: Limits,
    batches: u32,
    /// Of the last call that came back.
    plugin_time: Duration,
}

/// What a call has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastCall {
    /// From its begin to its end, without the wait for documents.
    pub plugin_time: Duration,
    /// Of all memories of the instance.
    pub memory_bytes: usize,
}

impl Instance {
    pub(super) fn start(
        plugin: &ProjectionPluginPre<Guest>,
        limits: Limits,
        logs: Arc<Logs>,
    ) -> Result<Self, Error> {
        let mut store = store(plugin.engine(), &limits, logs);
        let started = plugin.instantiate(&mut store);
        let last_error = store.data_mut().leave();
        let bindings = started.map_err(|error| ended(error, last_error))?;
        Ok(Instance {
            store,
            bindings,
            limits,
            batches: 0,
            plugin_time: Duration::ZERO,
        })
    }

    pub(super) fn describe(&mut self) -> Result<raw::Descriptor, Error> {
        self.call(self.limits.call_max, None, |plugin, store| {
            plugin.call_describe(store)
        })
    }

    /// The inner error is the plugin's own answer.
    pub(super) fn configure(&mut self, config: &str) -> Result<Result<(), String>, Error> {
        self.call(self.limits.call_max, None, |plugin, store| {
            plugin.call_configure(store, config)
        })
    }

    pub(super) fn project(
        &mut self,
        batch: Batch<'_>,
        descriptor: &Descriptor,
        documents: Box<dyn Documents>,
    ) -> Result<raw::Output, Error> {
        let events = batch.events.len();
        let question = question(batch, &descriptor.headers);
        let reader = Reader::new(documents, descriptor, &self.limits, events);
        self.batches += 1;
        self.call(self.limits.call(events), Some(reader), |plugin, store| {
            plugin.call_project(store, &question)
        })?
        .map_err(|text| fault(FaultKind::Failed, text, None).into())
    }

    pub(super) fn last_call(&self) -> LastCall {
        LastCall {
            plugin_time: self.plugin_time,
            memory_bytes: self.store.data().limiter.memory_bytes(),
        }
    }

    /// True where it is time for a new instance, although this one works.
    pub(super) fn is_worn(&self) -> bool {
        self.batches >= BATCHES_MAX || self.store.data().limiter.nearly_full()
    }

    fn call<T>(
        &mut self,
        time_max: Duration,
        reader: Option<Reader>,
        call: impl FnOnce(&raw::Guest, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, Error> {
        self.store.data_mut().enter(time_max, reader);
        self.store.set_epoch_deadline(1);
        let plugin = self.bindings.projectionist_plugin_projection();
        let start = Instant::now();
        let result = call(plugin, &mut self.store);
        let elapsed = start.elapsed();
        self.plugin_time = elapsed.saturating_sub(self.store.data().waited());
        let last_error = self.store.data_mut().leave();
        result.map_err(|error| ended(error, last_error))
    }
}

/// A store in which a guest of any kind is held to its limits.
pub(super) fn store(engine: &wasmtime::Engine, limits: &Limits, logs: Arc<Logs>) -> Store<Guest> {
    let mut store = Store::new(engine, Guest::new(limits, logs));
    store.limiter(|guest| &mut guest.limiter);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        store.data_mut().tick()?;
        Ok(UpdateDeadline::Continue(1))
    });
    // What a guest hands over in one call lies in its memory; more would be the same bytes
    // many times over.
    store.set_hostcall_fuel(limits.memory_bytes_max);
    store
}

/// The batch in the contract's columns.
fn question(batch: Batch<'_>, headers: &[String]) -> raw::Batch {
    let Batch { partition, events } = batch;
    raw::Batch {
        topic: partition.topic.to_string(),
        partition: u32::try_from(partition.partition).expect("Kafka counts partitions from 0"),
        offsets: events
            .iter()
            .map(|event| u64::try_from(event.offset.0).expect("Kafka counts offsets from 0"))
            .collect(),
        timestamps_ms: events.iter().map(|event| event.timestamp_ms).collect(),
        keys: columns::join(events.iter().map(|event| event.key())),
        values: columns::join(events.iter().map(|event| event.value())),
        headers: headers
            .iter()
            .map(|name| columns::join(events.iter().map(|event| event.header(name))))
            .collect(),
    }
}
