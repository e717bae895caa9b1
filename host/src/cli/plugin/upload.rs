//! `projectionist plugin upload`: a plugin file to a running host, and so to all of its cluster.

use std::path::PathBuf;

use clap::Args;
use ureq::http::StatusCode;

use super::check::unread;
use super::list::{parse, to_line};
use crate::cli::Failure;
use crate::cli::client::HostAddress;
use crate::cli::output::{print_json, print_line, say};
use crate::plugin;
use crate::registry::Uploaded;

#[derive(Debug, Args)]
pub(super) struct Upload {
    /// The plugin: a .wasm file
    file: PathBuf,
    #[command(flatten)]
    host: HostAddress,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Upload {
    pub(super) fn run(self) -> Result<(), Failure> {
        let bytes = plugin::read_file(&self.file).map_err(unread)?;
        let (status, body) = self.host.client()?.put("/plugins", &bytes)?;
        if self.json {
            return Ok(print_json(&body.to_string())?);
        }
        let plugin: Uploaded = parse(body)?;
        print_line(&to_line(&plugin))?;
        if status != StatusCode::CREATED {
            say("it was there already");
        }
        Ok(())
    }
}
