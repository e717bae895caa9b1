//! Logs, metrics and health.

pub mod health;
pub mod logging;
pub mod metrics;
pub mod recurring;
