//! `projectionist plugin new`: a project to start from.

use std::path::Path;

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use crate::cli::Failure;
use crate::cli::output::print_line;
use crate::kit::project::{self, Language, PolicyKind};

#[derive(Debug, Args)]
pub(super) struct New {
    /// The plugin's name, and that of its folder and its view
    name: String,
    /// What it is to be written in
    #[arg(long, value_name = "LANGUAGE", value_enum)]
    lang: Language,
    /// What it is to be
    #[arg(long, value_name = "KIND", value_enum, default_value = "projection")]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Folds events into documents
    Projection,
    /// Says who answers a read; in Rust
    Routing,
    /// Says where keys live; in Rust
    Placement,
}

impl New {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (parent, name) = (Path::new(""), self.name.as_str());
        let created = match (self.kind, self.lang) {
            (Kind::Projection, language) => project::create(parent, name, language),
            (Kind::Routing, Language::Rust) => {
                project::create_policy(parent, name, PolicyKind::Routing)
            }
            (Kind::Placement, Language::Rust) => {
                project::create_policy(parent, name, PolicyKind::Placement)
            }
            (Kind::Routing | Kind::Placement, _) => {
                return Err(anyhow!(
                    "there is a template of a policy for Rust alone; say --lang rust, or write it \
                     from wit/plugin.wit, which comes with every template"
                )
                .into());
            }
        };
        let root = created.map_err(anyhow::Error::from)?;
        print_line(&format!(
            "{} is ready; {} says how to build and test it",
            root.display(),
            root.join("README.md").display()
        ))?;
        Ok(())
    }
}
