//! The contract, straight from `wit/plugin.wit`: no SDK between it and the tests.

#![allow(
    unsafe_code,
    unreachable_pub,
    reason = "generated code calls the host through its C interface"
)]

use super::Misbehaving;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "projection-plugin",
});

pub use exports::projectionist::plugin::projection as contract;
pub use projectionist::plugin::columns::Column;
pub use projectionist::plugin::{documents, host};

export!(Misbehaving);
