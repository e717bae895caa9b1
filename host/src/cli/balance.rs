//! `projectionist balance`: trying policies out before they are used.

use clap::{Args, Subcommand};

use super::Failure;

mod policies;
mod reads;
mod slots;

#[derive(Debug, Args)]
pub(super) struct Balance {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try policies out on a load that is replayed or made up, side by side
    Simulate(Simulate),
}

#[derive(Debug, Args)]
struct Simulate {
    #[command(subcommand)]
    load: Load,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// Reads over copies of a store: routing policies
    Reads(reads::Reads),
    /// The work of slots over lanes: placement policies
    Slots(slots::Slots),
}

impl Balance {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Simulate(simulate) => match simulate.load {
                Load::Reads(reads) => reads.run(),
                Load::Slots(slots) => slots.run(),
            },
        }
    }
}
