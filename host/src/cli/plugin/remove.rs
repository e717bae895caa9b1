//! `projectionist plugin remove`: a plugin that nothing runs, out of the store.

use clap::Args;

use super::list::{parse, to_line};
use crate::cli::Failure;
use crate::cli::client::{HostAddress, segment};
use crate::cli::output::{print_json, print_line};
use crate::registry::Uploaded;

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// The hash of its file, or the start of it where that names one plugin
    hash: String,
    #[command(flatten)]
    host: HostAddress,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Remove {
    pub(super) fn run(self) -> Result<(), Failure> {
        let hash = segment("plugin's hash", &self.hash)?;
        let body = self.host.client()?.delete(&format!("/plugins/{hash}"))?;
        if self.json {
            return Ok(print_json(&body.to_string())?);
        }
        let plugin: Uploaded = parse(body)?;
        print_line(&to_line(&plugin))?;
        Ok(())
    }
}
