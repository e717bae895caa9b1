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
