//! What is seen of a contender from outside. Nothing here knows which contender it looks at.

pub mod check;
pub mod latency;
pub mod markers;
pub mod process;
pub mod server;
