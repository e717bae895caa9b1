//! The end-to-end benchmark: the same events through several programs that make documents of
//! them, on one machine and in one run.
//!
//! A run of one contender: a topic that is filled already (or, in steady mode, is being filled), a
//! database of its own, a process of its own. The run is over when all events are visible in
//! MongoDB. Then the documents are compared with what they must be, and only if they are right,
//! figures are told.
//!
//! - [`workload`]: which events there are;
//! - [`expected`]: which documents they must become;
//! - [`contender`]: who makes them, and how each is started;
//! - [`native`]: the contenders that are programs of this crate;
//! - [`observe`]: what is seen of a contender from outside, the same way for all of them;
//! - [`session`]: all rounds of all contenders, and what comes out of them;
//! - [`report`]: the table, the JSON file and the plot.
//!
//! Not here: the micro-benchmarks (`benches/`), which time parts of the host.

pub mod contender;
pub mod expected;
pub mod fold;
pub mod native;
pub mod observe;
pub mod report;
pub mod run;
pub mod session;
pub mod statistics;
pub mod thread;
pub mod topic;
pub mod workload;
