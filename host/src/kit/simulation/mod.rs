//! Tries policies out on a load, without Kafka, a store, or a wait: how a user chooses one.
//!
//! - [`reads`]: requests over copies, which have a latency, so many workers and a queue.
//! - [`slots`]: the work of slots over lanes, second by second.
//! - [`load`]: what is replayed, from a file or made by a seed.
//! - [`figures`]: what comes of it.
//!
//! The policies run as they do on a host, in the same runners (`balance`); only time is made up. So
//! the same load and the same policy give the same figures each time, on every machine, but for a
//! policy that stalls.

pub mod figures;
pub mod load;
pub mod reads;
pub mod slots;
