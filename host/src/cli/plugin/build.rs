//! `projectionist plugin build`: the ordinary tools of a project's language, in one command.

use std::path::PathBuf;

use clap::Args;

use super::check::Check;
use crate::cli::Failure;
use crate::cli::output::print_line;
use crate::kit::build;

#[derive(Debug, Args)]
pub(super) struct Build {
    /// The project: what `plugin new` has written
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

impl Build {
    pub(super) fn run(self) -> Result<(), Failure> {
        let file = build::build(&self.folder).map_err(anyhow::Error::from)?;
        print_line(&file.display().to_string())?;
        Check::of(file).run()
    }
}
