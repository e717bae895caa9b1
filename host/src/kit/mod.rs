//! Runs a plugin on its author's desk: no Kafka, no store, the same engine.
//!
//! - [`events`] reads JSON lines as the events of one partition.
//! - [`Desk`] folds them into documents in memory, and parks what the plugin cannot take as a host
//!   does: the event and the later ones of its key.
//! - [`cuts`] finds a fold whose outcome depends on how its events are cut into batches.
//! - [`fixtures`] finds cases in a folder and compares what they come to with what they should.
//! - [`difference`] tells in what two outcomes differ, by document and field.
//! - [`project`] writes the project that a plugin starts from, and [`build`] builds it.
//! - [`bench`] tells what a plugin costs.
//! - [`simulation`] tries policies out on a load.
//!
//! Not here: commands and what they print (`cli::plugin`).

pub mod bench;
pub mod build;
pub mod cuts;
pub mod difference;
pub mod events;
pub mod fixtures;
pub mod project;
pub mod simulation;

mod desk;
mod memory;

pub use desk::{Desk, Outcome};
