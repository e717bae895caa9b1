//! `projectionist plugin rollback`: go back to the plugin before the one that runs.

use clap::Args;
use serde_json::json;

use super::revisions::decide;
use crate::cli::Failure;
use crate::cli::client::HostAddress;

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The projection, as the configuration names it, or a policy: STORE.routing or
    /// PROJECTION.placement
    projection: String,
    /// Kept with the decision
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    host: HostAddress,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Rollback {
    pub(super) fn run(self) -> Result<(), Failure> {
        let body = json!({ "reason": self.reason });
        decide(&self.host, &self.projection, "rollback", &body, self.json)?;
        Ok(())
    }
}
