//! An order saga: three projections that talk through topics.
//!
//! [`contract`] is what they say to one another, [`scenario`] a day of orders, and [`expected`]
//! what the projections must have made of it in the end, by another way than theirs.
//!
//! Not here: the projections themselves (`orders`, `stock`, `payments`).

pub mod contract;
pub mod expected;
pub mod scenario;
