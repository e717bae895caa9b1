//! `projectionist plugin check`: every check of the host, without one that runs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use bytesize::ByteSize;
use clap::Args;

use super::{engine, read_config, refused};
use crate::cli::Failure;
use crate::cli::output::{print_json, print_lines};
use crate::plugin::{
    self, About, Engine, Kind, Limits, Placement, Policy, Program, Projection, Routing, Unread,
};
use crate::projection::Ownership;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The plugin: a .wasm file
    file: PathBuf,
    /// Also let the plugin take this configuration, a JSON file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Without a configuration, told for people.
    pub(super) fn of(file: PathBuf) -> Self {
        Check {
            file,
            config: None,
            json: false,
        }
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        let bytes = plugin::read_file(&self.file).map_err(unread)?;
        let name = self.file.file_name().unwrap_or(self.file.as_os_str());
        let name = name.to_string_lossy();
        let config = self.config.as_deref().map(read_config).transpose()?;
        let engine = engine()?;
        let about = match config {
            None => plugin::examine(&engine, &name, &bytes).map_err(refused)?,
            Some(config) => configured(&engine, &name, &bytes, &config).map_err(refused)?,
        };
        if self.json {
            let text = serde_json::to_string(&about).context("cannot print what the plugin is")?;
            print_json(&text)?;
        } else {
            print_lines(&tell(&about))?;
        }
        Ok(())
    }
}

/// Has the plugin take a configuration, whatever it is.
fn configured(
    engine: &Arc<Engine>,
    name: &str,
    bytes: &[u8],
    config: &serde_json::Value,
) -> Result<About, plugin::Error> {
    let about = plugin::examine(engine, name, bytes)?;
    match about.kind {
        Kind::Projection => {
            let program = Program::load(engine, name, bytes)?;
            Projection::new(program, &about.name, config, Limits::default())?;
        }
        Kind::Placement => {
            let policy = Policy::load(engine, name, bytes, Kind::Placement)?;
            Placement::new(policy, &about.name, config)?;
        }
        Kind::Routing => {
            let policy = Policy::load(engine, name, bytes, Kind::Routing)?;
            Routing::new(policy, &about.name, config)?;
        }
    }
    Ok(about)
}

/// What a plugin is, in a few lines for people.
pub(super) fn tell(about: &About) -> String {
    let mut lines = vec![format!("{} {}: {}", about.name, about.version, about.kind)];
    lines.extend(about.description.lines().map(|line| format!("  {line}")));
    let language = about.language.as_deref().unwrap_or("unknown");
    lines.push(format!("  language  {language}"));
    lines.push(format!("  size      {}", ByteSize::b(about.size_bytes)));
    lines.push(format!("  sha256    {}", about.sha256));
    if let Some(projection) = &about.projection {
        for view in &projection.views {
            let ownership = match view.ownership {
                Ownership::ByKey => "one document for each key",
                Ownership::Shared => "any event may touch any document",
            };
            lines.push(format!("  view      \"{}\": {ownership}", view.name));
        }
        for header in &projection.headers {
            lines.push(format!("  header    \"{header}\""));
        }
    }
    let schema = about.config_schema.as_ref();
    let schema = schema.map_or_else(|| "none".to_owned(), ToString::to_string);
    lines.push(format!("  schema    {schema}"));
    lines.join("\n")
}

pub(super) fn unread(error: Unread) -> Failure {
    match error {
        Unread::Io { .. } => Failure::Other(error.into()),
        Unread::Refused(error) => refused(error),
    }
}
