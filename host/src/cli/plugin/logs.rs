//! `projectionist plugin logs`: what a projection's plugin has logged on a running host.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::list::{parse, time};
use crate::cli::client::{HostAddress, segment};
use crate::cli::output::{print_json, print_line};
use crate::cli::{Failure, runtime};
use crate::plugin::LINES_MAX;
use crate::printable::Printable;

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The projection's name
    projection: String,
    /// How many of the last lines to print, up to 1000
    #[arg(long, default_value_t = 100)]
    tail: usize,
    /// Go on with what it logs from now on, until Ctrl-C
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    host: HostAddress,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// How often to look for new lines.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

impl Logs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let projection = segment("projection's name", &self.projection)?;
        let runtime = runtime()?;
        let client = self.host.client()?;
        let mut after = 0;
        let mut tail = self.tail;
        loop {
            let path = format!("/projections/{projection}/logs?tail={tail}&after={after}");
            let mut body = client.get(&path)?;
            if body["written"]
                .as_u64()
                .is_some_and(|written| written < after)
            {
                // The host was started again, and counts from 1.
                after = 0;
                continue;
            }
            let lines: Vec<Value> = parse(body["lines"].take())?;
            for line in &lines {
                self.print(line)?;
                after = line["number"].as_u64().unwrap_or(after);
            }
            if !self.follow {
                return Ok(());
            }
            tail = LINES_MAX;
            runtime.block_on(async { tokio::time::sleep(LOOK_INTERVAL).await });
        }
    }

    fn print(&self, line: &Value) -> Result<(), Failure> {
        if self.json {
            return Ok(print_json(&line.to_string())?);
        }
        let at = time(line["at_ms"].as_i64().unwrap_or(0));
        let level = line["level"].as_str().unwrap_or("");
        let message = line["message"].as_str().unwrap_or("");
        let line = format!("{at}\t{}\t{}", Printable(level), Printable(message));
        Ok(print_line(&line)?)
    }
}
