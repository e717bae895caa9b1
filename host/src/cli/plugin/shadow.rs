//! `projectionist plugin shadow`: let a plugin fold beside the one that runs, and store nothing.

use clap::Args;
use serde_json::json;

use super::revisions::decide;
use crate::cli::Failure;
use crate::cli::client::HostAddress;

#[derive(Debug, Args)]
pub(super) struct Shadow {
    /// The projection, as the configuration names it, or a policy: STORE.routing or
    /// PROJECTION.placement
    projection: String,
    /// The hash of an uploaded plugin, or the start of it where that names one plugin
    #[arg(required_unless_present = "stop")]
    hash: Option<String>,
    /// No plugin folds beside it any more
    #[arg(long, conflicts_with = "hash")]
    stop: bool,
    /// Kept with the decision
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    host: HostAddress,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Shadow {
    pub(super) fn run(self) -> Result<(), Failure> {
        let body = json!({ "plugin": self.hash, "reason": self.reason });
        decide(&self.host, &self.projection, "shadow", &body, self.json)?;
        Ok(())
    }
}
