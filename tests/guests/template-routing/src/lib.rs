//! What `plugin new --kind routing` writes, built and tested as it is written: its name alone is not
//! filled in.

#[path = "../../../../host/templates/rust-routing/src/lib.rs"]
mod template;
