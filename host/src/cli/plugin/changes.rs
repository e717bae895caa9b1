//! `projectionist plugin changes`: who has changed what, the newest first.

use clap::Args;
use serde_json::Value;

use super::list::{parse, time};
use crate::changes::{Change, Outcome};
use crate::cli::Failure;
use crate::cli::client::HostAddress;
use crate::cli::output::{print_json, print_line};
use crate::printable::Printable;

#[derive(Debug, Args)]
pub(super) struct Changes {
    /// How many to print at most, up to 1000
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    host: HostAddress,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Changes {
    pub(super) fn run(self) -> Result<(), Failure> {
        let path = format!("/changes?limit={}", self.limit);
        let mut body = self.host.client()?.get(&path)?;
        let changes: Vec<Value> = parse(body["changes"].take())?;
        for change in changes {
            if self.json {
                print_json(&change.to_string())?;
            } else {
                print_line(&to_line(&parse(change)?))?;
            }
        }
        Ok(())
    }
}

fn to_line(change: &Change) -> String {
    let deed = &change.deed;
    let outcome = match &change.outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Refused { reason } => format!("refused: {reason}"),
        Outcome::Failed { reason } => format!("failed: {reason}"),
    };
    format!(
        "{}\t{} from {}\t{}\t{}\t{}\t{}",
        time(change.at_ms),
        Printable(&deed.by),
        Printable(&deed.from),
        Printable(&deed.action),
        Printable(&deed.subject),
        Printable(&deed.detail),
        Printable(outcome)
    )
}
