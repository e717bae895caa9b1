//! Balancing: where keys are folded, and which copy of a store answers a read.
//!
//! A policy expresses a preference; the host keeps the promises. Whatever a policy answers, the
//! events of a key stay in order, and documents stay exact.
//!
//! - [`slots`]: what a placement policy moves between lanes.
//! - [`placement`]: asks a placement policy about once a second, and moves what it may move.
//! - [`Balancer`]: asks a routing policy for each read, and picks a copy that is in [`health`].
//! - [`routing`]: the built-in routing policy, which stands in where another one fails.
//!
//! Both runners hold a policy to the same rules: an answer is checked before it is used, and a
//! policy at fault is started anew after a back-off.
//!
//! Not here: running a policy's Wasm (`plugin`), folding (`pipeline`), reading.

mod balancer;
pub mod health;
mod meters;
pub mod placement;
mod probation;
pub mod routing;
mod seat;
pub mod slots;

#[cfg(test)]
mod tests;

pub use balancer::{Balancer, Outcome, Pick, Picks};
