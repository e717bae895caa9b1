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

/// What core modules name it; `wasi_unstable`, its predecessor, has other shapes.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";

/// Made from `wasi/adapter.wat`.
pub(super) const ADAPTER: &[u8] = include_bytes!("wasi/adapter.wasm");
