//! Balancing: where keys are folded, and which copy of a store answers a read.
//!
//! A policy expresses a preference; the host keeps the promises. Whatever a policy answers, the
//! events of a key stay in order, and documents stay exact.
//!
//! - [`slots`]: what a placement policy moves between lanes.
//!
//! Not here: folding (`pipeline`), reading.

pub mod slots;
