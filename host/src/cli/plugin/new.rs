//! `projectionist plugin new`: a project to start from.

use std::path::Path;

use clap::Args;

use crate::cli::Failure;
use crate::kit::project::{self, Language};

#[derive(Debug, Args)]
pub(super) struct New {
    /// The plugin's name, and that of its folder and its view
    name: String,
    /// What it is to be written in
    #[arg(long, value_name = "LANGUAGE", value_enum)]
    lang: Language,
}

impl New {
    pub(super) fn run(self) -> Result<(), Failure> {
        let root =
            project::create(Path::new(""), &self.name, self.lang).map_err(anyhow::Error::from)?;
        println!(
            "{} is ready; {} says how to build and test it",
            root.display(),
            root.join("README.md").display()
        );
        Ok(())
    }
}
