//! The pipeline from a queue to a store, without Kafka and without MongoDB.
//!
//! The source is played by [`source`], the projection is native ([`ledger`]), and the store is the
//! embedded one behind [`faulty`], which fails, stalls and meddles as a test asks. Each test reads
//! the truth past all of them: documents and checkpoints as stored, compared with a plain fold of
//! the topic.

#[path = "pipeline/faulty.rs"]
mod faulty;
#[path = "pipeline/journal.rs"]
mod journal;
#[path = "pipeline/ledger.rs"]
mod ledger;
#[path = "pipeline/releases.rs"]
mod releases;
#[path = "pipeline/scene.rs"]
mod scene;
#[path = "pipeline/source.rs"]
mod source;
#[path = "pipeline/topic.rs"]
mod topic;

#[path = "pipeline/back_pressure.rs"]
mod back_pressure;
#[path = "pipeline/conflicts.rs"]
mod conflicts;
#[path = "pipeline/faults.rs"]
mod faults;
#[path = "pipeline/fencing.rs"]
mod fencing;
#[path = "pipeline/folding.rs"]
mod folding;
#[path = "pipeline/outages.rs"]
mod outages;
#[path = "pipeline/parking.rs"]
mod parking;
#[path = "pipeline/refusals.rs"]
mod refusals;
#[path = "pipeline/relay.rs"]
mod relay;
#[path = "pipeline/revocation.rs"]
mod revocation;
#[path = "pipeline/schedules.rs"]
mod schedules;
#[path = "pipeline/sizes.rs"]
mod sizes;
#[path = "pipeline/swaps.rs"]
mod swaps;
#[path = "pipeline/weights.rs"]
mod weights;
