//! `projectionist plugin show`: all that is known of an uploaded plugin.

use clap::Args;

use super::check::tell;
use super::list::{parse, time};
use crate::cli::Failure;
use crate::cli::client::{HostAddress, segment};
use crate::cli::output::{print_json, print_lines};
use crate::registry::Uploaded;

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The hash of its file, or the start of it where that names one plugin
    hash: String,
    #[command(flatten)]
    host: HostAddress,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> Result<(), Failure> {
        let hash = segment("plugin's hash", &self.hash)?;
        let body = self.host.client()?.get(&format!("/plugins/{hash}"))?;
        if self.json {
            return Ok(print_json(&body.to_string())?);
        }
        let plugin: Uploaded = parse(body)?;
        print_lines(&format!(
            "{}\n  uploaded  by {} at {}",
            tell(&plugin.about),
            plugin.uploaded_by,
            time(plugin.uploaded_at_ms)
        ))?;
        Ok(())
    }
}
