//! What an instance may call: `host` and `documents` of `wit/plugin.wit`.
//!
//! Guarantee: arguments are looked at where they lie, in the guest's memory, and how much they are
//! before what they are. Nothing is copied but what is kept.
//!
//! The generated bindings would copy each argument first, and however long it is.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, WasmList, WasmStr};

use super::bindings::Column;
use super::bindings::projectionist::plugin::host::Level;
use super::documents::no_text;
use super::fault::{Misuse, clip};
use super::guest::Guest;
use super::logs::{COUNTER_NAME_BYTES_MAX, LINE_BYTES_MAX};

type Store<'a> = StoreContextMut<'a, Guest>;

/// A column in the guest's memory.
#[derive(ComponentType, Lift)]
#[component(record)]
struct GuestColumn {
    bytes: WasmList<u8>,
    ends: WasmList<u32>,
    missing: WasmList<u32>,
}

/// What every plugin may call.
pub(super) fn add_host(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut host = linker.instance("projectionist:plugin/host@0.1.0")?;
    host.func_wrap("log", |store, (level, message)| log(store, level, &message))?;
    host.func_wrap("count", |store, (metric, delta)| {
        count(store, &metric, delta)
    })?;
    // These have types only.
    linker.instance("projectionist:plugin/balancing@0.1.0")?;
    Ok(())
}

/// What projections may call besides.
pub(super) fn add_documents(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance("projectionist:plugin/columns@0.1.0")?;
    let mut documents = linker.instance("projectionist:plugin/documents@0.1.0")?;
    documents.func_wrap("get-many", |store, (view, ids)| {
        get_many(store, view, &ids).map(|found| (found,))
    })
}

fn log(mut store: Store<'_>, level: Level, message: &WasmStr) -> wasmtime::Result<()> {
    // What is dropped is not looked at; but an error may be the guest's last words.
    if level != Level::Error && store.data().logs.drops_line() {
        return Ok(());
    }
    let message = message.to_str(&store)?;
    let (bytes, line) = (message.len(), clip(&message, LINE_BYTES_MAX).to_owned());
    let guest = store.data_mut();
    guest.handed = guest.handed.max(bytes);
    guest.line(level, &line);
    Ok(())
}

fn count(mut store: Store<'_>, metric: &WasmStr, delta: u64) -> wasmtime::Result<()> {
    let metric = metric.to_str(&store)?;
    let bytes = metric.len();
    if bytes > COUNTER_NAME_BYTES_MAX {
        store.data().logs.drop_count();
    } else {
        store.data().logs.count(&metric, delta);
    }
    let guest = store.data_mut();
    guest.handed = guest.handed.max(bytes);
    Ok(())
}

fn get_many(mut store: Store<'_>, view: u32, ids: &GuestColumn) -> wasmtime::Result<Column> {
    let guest = store.data_mut();
    let mut reader = guest.reader.take().ok_or_else(|| {
        Misuse("get-many: documents can be read during \"project\" only".to_owned())
    })?;
    let mut purse = guest.limiter.purse.take_out();
    let bytes = ids.bytes.len() + size_of::<u32>() * (ids.ends.len() + ids.missing.len());
    guest.handed = guest.handed.max(bytes);
    let before = reader.waited;

    let mut answer = || {
        reader.ask(view, ids.ends.len(), ids.bytes.len(), &mut purse)?;
        if ids.missing.len() > 0 {
            return Err(no_text());
        }
        let ends = ids.ends.as_le_slice(&store);
        let ends: Vec<u32> = ends.iter().map(|&end| u32::from_le(end)).collect();
        reader.get_many(view, ids.bytes.as_le_slice(&store), &ends, &mut purse)
    };
    let answer = answer();

    let guest = store.data_mut();
    guest.leave_out(before, reader.waited);
    guest.limiter.purse = purse;
    guest.reader = Some(reader);
    answer
}
