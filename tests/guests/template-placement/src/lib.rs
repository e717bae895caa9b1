//! What `plugin new --kind placement` writes, built and tested as it is written: its name alone is not
//! filled in.

#[path = "../../../../host/templates/rust-placement/src/lib.rs"]
mod template;
