//! `projectionist plugin activate`: let a projection run another plugin, on every host.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value, json};

use super::list::parse;
use super::revisions::decide;
use crate::cli::client::HostAddress;
use crate::cli::output::say;
use crate::cli::{Failure, runtime};
use crate::deployment::Revision;

#[derive(Debug, Args)]
pub(super) struct Activate {
    /// The projection, as the configuration names it, or a policy: STORE.routing or
    /// PROJECTION.placement
    projection: String,
    /// The hash of an uploaded plugin, or the start of it where that names one plugin
    hash: String,
    /// Kept with the decision
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    host: HostAddress,
    /// Wait until the host that is asked has changed over, at most so long [default: 60s]
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "60s",
          value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// How often to look.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

impl Activate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let body = json!({ "plugin": self.hash, "reason": self.reason });
        let made = decide(&self.host, &self.projection, "activate", &body, self.json)?;
        match self.wait {
            Some(limit) => changed_over(&self.host, &self.projection, &made, limit),
            None => Ok(()),
        }
    }
}

/// Waits until the host folds with the plugin of a revision. A host that has it rolled back by
/// then, or runs another one, says so by its name.
fn changed_over(
    host: &HostAddress,
    projection: &str,
    made: &Revision,
    limit: Duration,
) -> Result<(), Failure> {
    if projection.contains('.') {
        say("a policy is asked from its next pick on; there is nothing to wait for");
        return Ok(());
    }
    let (client, runtime) = (host.client()?, runtime()?);
    let deadline = Instant::now() + limit;
    loop {
        let mut body = client.get("/projections")?;
        let projections: Vec<Value> = parse(body["projections"].take())?;
        let found = projections.iter().find(|found| found["name"] == projection);
        let running = found.and_then(|found| found["plugin"].as_str());
        if running == Some(made.active.as_str()) {
            say("this host has changed over; others do within seconds");
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::Other(anyhow!(
                "projection \"{projection}\" has not changed over within {}: this host runs {}; \
                 \"projectionist plugin revisions {projection}\" tells whether it was rolled back",
                humantime::format_duration(limit),
                running.unwrap_or("no plugin yet"),
            )));
        }
        runtime.block_on(async { tokio::time::sleep(LOOK_INTERVAL).await });
    }
}
