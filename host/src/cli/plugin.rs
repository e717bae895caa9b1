//! `projectionist plugin`: what concerns plugins themselves. Each file is one command.

use clap::{Args, Subcommand};

use super::Failure;

mod check;

#[derive(Debug, Args)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take a plugin file through all checks of the host, and tell what it is
    Check(check::Check),
}

impl Plugin {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Check(check) => check.run(),
        }
    }
}
