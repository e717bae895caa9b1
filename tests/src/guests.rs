//! Finds the plugins that the tests run.

use std::path::PathBuf;

/// Where the build leaves the module of a guest crate of this workspace.
pub fn path(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join(format!("target/wasm32-unknown-unknown/release/{name}.wasm"))
}

/// The module of a guest crate.
///
/// Panics where it has not been built: a test that needs it must not pass without.
pub fn guest(name: &str) -> Vec<u8> {
    let path = path(name);
    match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => panic!(
            "cannot read guest \"{name}\" at {}: {error}; run `make guests`",
            path.display()
        ),
    }
}
