//! One running plugin: a store of its own and the functions to call in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Store, UpdateDeadline};

use crate::projection::{self, Batch, Descriptor, Documents, FaultKind, Held};
use crate::record::Event;

use super::account::{Charge, Short};
use super::bindings::{ProjectionPlugin, ProjectionPluginPre, raw};
use super::columns;
use super::descriptor::HEADERS_MAX;
use super::documents::Reader;
use super::fault::{ended, fault, is_too_much};
use super::guest::Guest;
use super::limits::{Limits, SpaceLimit};
use super::logs::Logs;
use super::purse::Purse;

/// After so many batches an instance is replaced, for some runtimes leak.
const BATCHES_MAX: u32 = 100_000;

/// What a call may hand over at once that has no batch: a few texts.
pub(super) const TEXT_ROOM: usize = 1 << 20;

/// What is given of each event besides its bytes, for each list that has an item of it.
const ITEM_BYTES: usize = 8;

/// Of these lists: offsets, times, keys and values.
const LISTS: usize = 4;

/// After a failed call it must be dropped: the engine lets nobody enter it again.
pub(super) struct Instance {
    store: Store<Guest>,
    bindings: ProjectionPlugin,
    limits: Limits,
    batches: u32,
    /// Of the last call that came back.
    plugin_time: Duration,
    /// What the last call has needed of a store.
    read_max: usize,
}

/// A batch, and what the plugin may do about it.
pub(super) struct Question<'a> {
    pub(super) batch: Batch<'a>,
    pub(super) descriptor: &'a Descriptor,
    /// What it may hand over at once, an answer or the arguments of a host call.
    pub(super) room: usize,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The account of all plugins had no room for it.
    #[error(transparent)]
    Short(#[from] Short),
    /// It hands over more at once than it was let.
    #[error("it hands over more than it may")]
    TooMuch,
    #[error(transparent)]
    Ended(#[from] projection::Error),
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
    /// `charge` is what it takes from the account before anything else.
    pub(super) fn start(
        plugin: &ProjectionPluginPre<Guest>,
        limits: Limits,
        logs: Arc<Logs>,
        charge: Charge,
    ) -> Result<Self, Unanswered> {
        let mut purse = Purse::with(charge);
        purse.keep_instance()?;
        let mut store = store(plugin.engine(), &limits, logs, purse);
        let started = plugin.instantiate(&mut store);
        let bindings = heard(&mut store, started)?;
        Ok(Instance {
            store,
            bindings,
            limits,
            batches: 0,
            plugin_time: Duration::ZERO,
            read_max: 0,
        })
    }

    pub(super) fn describe(&mut self) -> Result<raw::Descriptor, Unanswered> {
        charge(&mut self.store, 0, TEXT_ROOM)?;
        self.call(self.limits.call_max, None, |plugin, store| {
            plugin.call_describe(store)
        })
    }

    /// The inner error is the plugin's own answer. What the call takes is charged until
    /// [`Instance::settle`], for a batch may come next: what was granted is for that.
    pub(super) fn configure(&mut self, config: &str) -> Result<Result<(), String>, Unanswered> {
        charge(&mut self.store, config.len(), TEXT_ROOM)?;
        self.call(self.limits.call_max, None, |plugin, store| {
            plugin.call_configure(store, config)
        })
    }

    /// `documents` is there again when the call is over, whatever became of it. What the answer
    /// takes is charged until [`Instance::settle`].
    pub(super) fn project(
        &mut self,
        question: &Question<'_>,
        documents: &mut Option<Box<dyn Documents>>,
    ) -> Result<raw::Output, Unanswered> {
        let Question {
            batch,
            descriptor,
            room,
        } = *question;
        let events = batch.events.len();
        let given = given_bytes(batch.events, descriptor.headers.len());
        charge(&mut self.store, given, room)?;
        let question = in_columns(batch, &descriptor.headers);
        let taken = documents.take().expect("every attempt gives them back");
        let reader = Reader::new(taken, descriptor, &self.limits, events, self.read_max);
        self.batches += 1;
        let answer = self.call(self.limits.call(events), Some(reader), |plugin, store| {
            plugin.call_project(store, &question)
        });
        let guest = self.store.data_mut();
        if let Some(reader) = guest.reader.take() {
            self.plugin_time = self.plugin_time.saturating_sub(reader.waited.wall);
            self.read_max = reader.read_max();
            *documents = Some(reader.end(&mut guest.limiter.purse));
        }
        answer?.map_err(|text| {
            let fault = fault(FaultKind::Failed, text, None);
            Unanswered::Ended(fault.into())
        })
    }

    /// Adds to what it takes from the account before anything else.
    pub(super) fn fund(&mut self, charge: Charge) {
        self.store.data_mut().limiter.purse.fund(charge);
    }

    /// Takes out of the last call's charge what outlives it.
    pub(super) fn hold(&mut self, bytes: usize) -> Held {
        Held::new(self.store.data_mut().limiter.purse.split(bytes))
    }

    /// The answer of the last call is dealt with.
    pub(super) fn settle(&mut self) {
        self.store.data_mut().limiter.purse.end();
    }

    /// The most that the last call has handed over before its answer.
    pub(super) fn handed(&self) -> usize {
        self.store.data().handed
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
    ) -> Result<T, Unanswered> {
        let plugin = self.bindings.projectionist_plugin_projection();
        enter(&mut self.store, time_max, reader);
        let start = Instant::now();
        let result = call(plugin, &mut self.store);
        self.plugin_time = start.elapsed();
        heard(&mut self.store, result)
    }
}

impl Unanswered {
    /// As it ends where nothing is tried again.
    pub(super) fn end(self, room: usize) -> projection::Error {
        match self {
            Unanswered::Short(short) => projection::HostError::NoRoom(short.into()).into(),
            Unanswered::TooMuch => too_much(room).into(),
            Unanswered::Ended(error) => error,
        }
    }
}

/// More was handed over than anybody may.
pub(super) fn too_much(room: usize) -> projection::Fault {
    fault(
        FaultKind::Memory,
        SpaceLimit::Answer(room).to_string(),
        None,
    )
}

/// A store in which a guest of any kind is held to its limits.
pub(super) fn store(
    engine: &wasmtime::Engine,
    limits: &Limits,
    logs: Arc<Logs>,
    purse: Purse,
) -> Store<Guest> {
    let mut store = Store::new(engine, Guest::new(limits, logs, purse));
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(TEXT_ROOM);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        store.data_mut().tick()?;
        Ok(UpdateDeadline::Continue(1))
    });
    store
}

/// Charges a call of a guest of any kind: it is given so many bytes, and may hand over `room` of
/// them at once, in an answer or in the arguments of a host call.
pub(super) fn charge(store: &mut Store<Guest>, given: usize, room: usize) -> Result<(), Short> {
    store.data_mut().limiter.purse.begin(given, room)?;
    // The engine counts what it copies out of the guest against it, before it does.
    store.set_hostcall_fuel(room);
    Ok(())
}

/// A call of a guest of any kind begins, on this thread.
pub(super) fn enter(store: &mut Store<Guest>, time_max: Duration, reader: Option<Reader>) {
    store.data_mut().enter(time_max, reader);
    store.set_epoch_deadline(1);
}

/// What a call of a guest of any kind came to.
pub(super) fn heard<T>(
    store: &mut Store<Guest>,
    result: wasmtime::Result<T>,
) -> Result<T, Unanswered> {
    let last_error = store.data_mut().leave();
    result.map_err(|error| {
        if let Some(short) = error.downcast_ref::<Short>() {
            Unanswered::Short(*short)
        } else if is_too_much(&error) {
            Unanswered::TooMuch
        } else {
            Unanswered::Ended(ended(error, last_error))
        }
    })
}

/// The same for any batch of so many events, whose size is counted as in queues.
pub fn given_bytes_max(events: usize, bytes: usize) -> usize {
    let items = events.saturating_mul(ITEM_BYTES * (LISTS + HEADERS_MAX));
    bytes.saturating_add(items)
}

/// What a batch takes in the contract's columns.
pub(super) fn given_bytes(events: &[Arc<Event>], headers: usize) -> usize {
    let bytes: usize = events.iter().map(|event| event.size_bytes()).sum();
    bytes + events.len() * ITEM_BYTES * (LISTS + headers)
}

/// The batch in the contract's columns.
fn in_columns(batch: Batch<'_>, headers: &[String]) -> raw::Batch {
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
