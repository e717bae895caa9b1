//! Records that nobody would send on purpose, and what has to become of each.
//!
//! - [`generator`]: makes them, from a seed.
//! - [`model`]: says which documents and which parked events they come to, by rules of its own: it
//!   shares no code with the host.

pub mod generator;
pub mod model;
