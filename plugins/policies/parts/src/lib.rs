//! What the shipped policies share.
//!
//! - [`Turns`]: smooth weighted round robin, which also breaks the ties of others.
//! - [`Known`]: all targets ever seen, so that a hash does not depend on who is eligible now.
//! - [`Generator`]: numbers that look random, without a random source.
//! - [`Loads`] and [`level`]: what slots cost, and moves that make lanes even.

mod generator;
mod known;
mod levelling;
mod loads;
mod turns;

pub use generator::Generator;
pub use known::Known;
pub use levelling::{Levelling, level};
pub use loads::Loads;
pub use turns::Turns;
