//! What `wit/plugin.wit` says, as Rust: generated, not written.

#![allow(
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    unsafe_code,
    reason = "generated code; the foreign calls of the contract live here and nowhere else"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "projection-plugin",
    default_bindings_module: "projectionist_sdk::bindings",
    export_macro_name: "export_projection",
    pub_export_macro: true,
});

/// Where keys live.
pub mod placement {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "placement-policy",
        default_bindings_module: "projectionist_sdk::bindings::placement",
        export_macro_name: "export_placement_policy",
        pub_export_macro: true,
        with: { "projectionist:plugin/host@0.1.0": super::projectionist::plugin::host },
    });
}

/// Who answers a read.
pub mod routing {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "routing-policy",
        default_bindings_module: "projectionist_sdk::bindings::routing",
        export_macro_name: "export_routing_policy",
        pub_export_macro: true,
        with: {
            "projectionist:plugin/host@0.1.0": super::projectionist::plugin::host,
            "projectionist:plugin/balancing@0.1.0": super::placement::projectionist::plugin::balancing,
        },
    });
}
