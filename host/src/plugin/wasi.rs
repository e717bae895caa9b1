//! WASI for core modules whose runtime imports it, as C's and Go's do: there, and empty.
//!
//! Guarantee: a plugin that imports `wasi_snapshot_preview1` reaches no more than one that does
//! not. The clock stands still, random bytes are always the same, no file, argument or variable
//! exists, and what is printed goes to the plugin's log, line by line: standard output as "info",
//! standard error as "error". Exiting ends the instance.
//!
//! Not here: components that import `wasi:*`; they are refused (`contract`).
//!
//! What a module prints while the host hands it arguments (an allocator that gives up) ends the
//! instance as well, with "cannot leave component instance" for a reason.

mod lines;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use super::guest::Guest;

pub(super) use lines::{Lines, Stream};

/// What core modules name it; `wasi_unstable`, its predecessor, has other shapes.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";

/// Made from `wasi/adapter.wat`.
pub(super) const ADAPTER: &[u8] = include_bytes!("wasi/adapter.wasm");

/// What the adapter imports, as `wasi/stdio.wit` has it.
pub(super) const STDIO: &str = "projectionist:wasi/stdio";

/// Of one write, more is left out: it is more than the log takes in a second.
const WRITE_BYTES_MAX: usize = 512 * 1024;

/// Lets a linker offer what the adapter imports.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(STDIO)?.func_wrap(
        "write",
        |mut store: StoreContextMut<'_, Guest>, (fd, bytes): (u32, WasmList<u8>)| {
            let Some(stream) = Stream::of_descriptor(fd) else {
                return Ok(());
            };
            // A view of the guest's memory; only what is kept is copied.
            let bytes = bytes.as_le_slice(&store);
            let kept = bytes[..bytes.len().min(WRITE_BYTES_MAX)].to_vec();
            store.data_mut().print(stream, &kept);
            Ok(())
        },
    )
}
