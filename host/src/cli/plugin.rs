//! `projectionist plugin`: what concerns plugins themselves. Each file is one command.

use clap::{Args, Subcommand};

use super::Failure;

mod check;
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
    /// Fold events from files and compare the documents with what is expected
    Test(test::Test),
}

impl Plugin {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Check(check) => check.run(),
            Command::New(new) => new.run(),
            Command::Test(test) => test.run(),
        }
    }
}
