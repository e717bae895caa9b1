//! Logs, metrics and health.

pub mod health;
