//! Projectionist: Kafka events in, MongoDB read models out, the logic in between is a Wasm plugin.

// These macros panic where nobody reads: `cli::output` and `telemetry::logging` do not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod admin;
pub mod app;
pub mod balance;
pub mod changes;
pub mod cli;
pub mod config;
pub mod deployment;
pub mod document;
mod fast_hash;
pub mod gateway;
mod http;
pub mod kafka;
pub mod kit;
pub mod parked;
pub mod pipeline;
pub mod plugin;
pub mod policy;
mod printable;
pub mod projection;
pub mod record;
pub mod registry;
pub mod secrets;
pub mod store;
pub mod telemetry;
pub mod unix_time;
