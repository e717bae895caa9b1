//! `projectionist plugin`: what concerns plugins themselves. Each file is one command.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Args, Subcommand};

use super::{Failure, environment};
use crate::app;
use crate::config::Plugins;
use crate::plugin::{self, Engine};

mod activate;
mod bench;
mod build;
mod changes;
mod check;
mod compile_child;
mod dev;
mod list;
mod logs;
mod new;
mod remove;
mod revisions;
mod rollback;
mod shadow;
mod show;
mod test;
mod upload;

#[derive(Debug, Args)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell what a plugin costs for each event, apart from the host's own work
    Bench(bench::Bench),
    /// Build a project with the tools of its language, and check the plugin
    Build(build::Build),
    /// Take a plugin file through all checks of the host, and tell what it is
    Check(check::Check),
    /// Build a project and fold its fixtures again whenever a file changes
    Dev(dev::Dev),
    /// Write a project to start from: a fold that works, its tests and fixtures
    New(new::New),
    #[command(hide = true)]
    CompileChild(compile_child::CompileChild),
    /// Fold events from files and compare the documents with what is expected
    Test(test::Test),
    /// Upload a plugin file to a running host
    Upload(upload::Upload),
    /// List the plugins that are uploaded, one a line
    List(list::List),
    /// Print what is known of an uploaded plugin
    Show(show::Show),
    /// Remove an uploaded plugin that nothing runs, tries or would return to
    Remove(remove::Remove),
    /// Let a projection run another plugin, on every host and without a restart
    Activate(activate::Activate),
    /// Let a plugin fold beside the one that runs, store nothing, and see in what they differ
    Shadow(shadow::Shadow),
    /// Go back to the plugin before the one that a projection runs
    Rollback(rollback::Rollback),
    /// Print what a projection runs and ran, and what its candidate came to
    Revisions(revisions::Revisions),
    /// Print who has changed what, the newest first
    Changes(changes::Changes),
    /// Print the last lines that a projection's plugin has logged on a running host
    Logs(logs::Logs),
}

/// The engine of a command that has no configuration.
fn engine() -> Result<Arc<Engine>, Failure> {
    app::engine(&Plugins::defaults(environment())).map_err(refused)
}

/// Reads a projection's configuration from a file.
fn read_config(path: &Path) -> Result<serde_json::Value, Failure> {
    let text = std::fs::read(path)
        .map_err(|error| Failure::Other(anyhow!("cannot read {}: {error}", path.display())))?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::Wrong(anyhow!("{} is not JSON: {error}", path.display())))
}

/// A file or a configuration that is wrong is for its author to change; the engine's own failure
/// is not.
fn refused(error: plugin::Error) -> Failure {
    match error {
        plugin::Error::Refused { .. } | plugin::Error::Configuration { .. } => {
            Failure::Wrong(error.into())
        }
        plugin::Error::Engine(_) => Failure::Other(error.into()),
    }
}

impl Plugin {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Bench(bench) => bench.run(),
            Command::Build(build) => build.run(),
            Command::Check(check) => check.run(),
            Command::Dev(dev) => dev.run(),
            Command::New(new) => new.run(),
            Command::CompileChild(child) => child.run(),
            Command::Test(test) => test.run(),
            Command::Upload(upload) => upload.run(),
            Command::List(list) => list.run(),
            Command::Show(show) => show.run(),
            Command::Remove(remove) => remove.run(),
            Command::Activate(activate) => activate.run(),
            Command::Shadow(shadow) => shadow.run(),
            Command::Rollback(rollback) => rollback.run(),
            Command::Revisions(revisions) => revisions.run(),
            Command::Changes(changes) => changes.run(),
            Command::Logs(logs) => logs.run(),
        }
    }
}
