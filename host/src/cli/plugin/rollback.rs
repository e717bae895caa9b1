//! `projectionist plugin rollback`: go back to the plugin before the one that runs.

use clap::Args;
use serde_json::json;

use super::revisions::print_made;
use crate::cli::Failure;
use crate::cli::client::{HostAddress, segment};

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The projection, as the configuration names it
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
        let projection = segment("projection", &self.projection)?;
        let path = format!("/projections/{projection}/rollback");
        let body = json!({ "reason": self.reason });
        let made = self.host.client()?.post(&path, &body)?;
        print_made(made, self.json)
    }
}
