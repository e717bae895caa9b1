//! What is wrong ends in one clear message that names the thing, the place and the way out, and
//! nothing stored is lost or changed.

#[path = "bad_input/settings.rs"]
mod settings;

#[path = "bad_input/dead_letters.rs"]
mod dead_letters;
#[path = "bad_input/duplicates.rs"]
mod duplicates;
#[path = "bad_input/exact.rs"]
mod exact;
#[path = "bad_input/later.rs"]
mod later;
#[path = "bad_input/log.rs"]
mod log;
#[path = "bad_input/metrics.rs"]
mod metrics;
#[path = "bad_input/parked.rs"]
mod parked;
#[path = "bad_input/poison.rs"]
mod poison;
#[path = "bad_input/refusals.rs"]
mod refusals;
#[path = "bad_input/secrets.rs"]
mod secrets;
#[path = "bad_input/shapes.rs"]
mod shapes;
#[path = "bad_input/start.rs"]
mod start;
#[path = "bad_input/weights.rs"]
mod weights;
