//! The admin API of a running host: as those who may use it find it, and those who may not.
//!
//! Each test has a host of its own, with an embedded store and a topic at the broker that
//! `PROJECTIONIST_TEST_KAFKA` names.

#[path = "admin/access.rs"]
mod access;
#[path = "admin/changes.rs"]
mod changes;
#[path = "admin/commands.rs"]
mod commands;
#[path = "admin/deployments.rs"]
mod deployments;
#[path = "admin/openapi.rs"]
mod openapi;
#[path = "admin/projections.rs"]
mod projections;
#[path = "admin/site.rs"]
mod site;
#[path = "admin/uploads.rs"]
mod uploads;
