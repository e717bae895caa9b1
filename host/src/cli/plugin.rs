//! `projectionist plugin`: what concerns plugins themselves. Each file is one command.

use std::sync::Arc;

use clap::{Args, Subcommand};

use super::{Failure, environment};
use crate::app;
use crate::config::Plugins;
use crate::plugin::{self, Engine};

mod check;
mod compile_child;
mod new;
mod test;

#[derive(Debug, Args)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take a plugin file through all checks of the host, and tell what it is
    Check(check::Check),
    /// Write a project to start from: a fold that works, its tests and fixtures
    New(new::New),
    #[command(hide = true)]
    CompileChild(compile_child::CompileChild),
    /// Fold events from files and compare the documents with what is expected
    Test(test::Test),
}

/// The engine of a command that has no configuration.
fn engine() -> Result<Arc<Engine>, Failure> {
    app::engine(&Plugins::defaults(environment())).map_err(refused)
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
            Command::Check(check) => check.run(),
            Command::New(new) => new.run(),
            Command::CompileChild(child) => child.run(),
            Command::Test(test) => test.run(),
        }
    }
}
