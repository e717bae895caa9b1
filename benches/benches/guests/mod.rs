//! The plugins that are timed, as `make guests` builds them.

use std::path::PathBuf;

/// The file of a guest.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(format!("target/wasm32-unknown-unknown/release/{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make guests`", path.display()))
}
