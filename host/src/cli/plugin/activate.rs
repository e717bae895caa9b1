//! `projectionist plugin activate`: let a projection run another plugin, on every host.

use clap::Args;
use serde_json::json;

use super::revisions::decide;
use crate::cli::Failure;
use crate::cli::client::HostAddress;

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
        let body = json!({ "plugin": self.hash, "reason": self.reason });
        decide(&self.host, &self.projection, "activate", &body, self.json)
    }
}
