//! `projectionist plugin compile-child`: what the host starts to compile a plugin in. Not for
//! people.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::cli::Failure;
use crate::plugin;

#[derive(Debug, Args)]
pub(super) struct CompileChild {
    /// The file for the code
    #[arg(long, value_name = "FILE")]
    artefact: PathBuf,
    /// Bytes of memory that it may take
    #[arg(long)]
    memory: u64,
    /// How long its parent waits
    #[arg(long)]
    seconds: u64,
}

impl CompileChild {
    pub(super) fn run(self) -> Result<(), Failure> {
        plugin::compile_child(&self.artefact, self.memory, self.seconds)
            .context("cannot compile")?;
        Ok(())
    }
}
