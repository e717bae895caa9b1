//! The contract in Rust, generated from `wit/plugin.wit`.

#![allow(
    unreachable_pub,
    reason = "generated code says `pub` and is as visible as this module"
)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "projection-plugin",
    imports: { default: trappable },
});

pub use self::exports::projectionist::plugin::projection as raw;
pub use self::projectionist::plugin::columns::Column;
