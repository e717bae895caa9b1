//! `projectionist plugin activate`: let a projection run another plugin, on every host.

use clap::Args;
use serde_json::json;

use super::revisions::print_made;
use crate::cli::Failure;
use crate::cli::client::{HostAddress, segment};

#[derive(Debug, Args)]
pub(super) struct Activate {
    /// The projection, as the configuration names it
    projection: String,
    /// The hash of an uploaded plugin, or the start of it where that names one plugin
    hash: String,
    /// Kept with the decision
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    host: HostAddress,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Activate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let projection = segment("projection", &self.projection)?;
        let body = json!({ "plugin": self.hash, "reason": self.reason });
        let path = format!("/projections/{projection}/activate");
        let made = self.host.client()?.post(&path, &body)?;
        print_made(made, self.json)
    }
}
