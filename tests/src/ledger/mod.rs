//! The ledger: proves that what is stored is exactly what was produced, whatever fails meanwhile.
//!
//! A run produces transfers between accounts while several hosts fold them into two views:
//! `accounts` (two documents for each transfer, written by all hosts) and `statements` (one
//! document for each payer, written by its partition's owner). Each document has a balance, a
//! count and a hash chain that depends on the order of events. Meanwhile hosts, the broker and the
//! members of the replica set are killed, stopped, stepped down and started again. In the end
//! - the store must equal an independent fold of the topic, byte by byte (`fold`, `compare`),
//! - no change in the store's whole history may be a zombie's (`history`),
//! - every host must have outlived what was not aimed at it (`fleet`), and all must be caught up
//!   with (`recovery`).
//!
//! Events and faults follow from the seed alone (`events`, `schedule`), so a seed replays. What
//! is not in it is the machine's timing: where in a transaction a host is killed.
//!
//! All processes are a run's own and end with its handles, also after a panic.

pub mod compare;
pub mod disturb;
pub mod events;
pub mod fleet;
pub mod fold;
pub mod history;
pub mod keep;
pub mod observe;
pub mod producer;
pub mod random;
pub mod recovery;
pub mod report;
mod run;
pub mod schedule;

pub use run::{Keep, Options, Services, run};
