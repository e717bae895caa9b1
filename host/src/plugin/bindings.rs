//! The contract in Rust, generated from `wit/plugin.wit`: a world for each kind of plugin.

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

/// Where keys live.
pub mod placement {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "placement-policy",
        imports: { default: trappable },
        with: { "projectionist:plugin/host": super::projectionist::plugin::host },
    });

    pub use self::projectionist::plugin::balancing;
}

/// Who answers a read.
pub mod routing {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "routing-policy",
        imports: { default: trappable },
        with: {
            "projectionist:plugin/host": super::projectionist::plugin::host,
            "projectionist:plugin/balancing": super::placement::balancing,
        },
    });
}
