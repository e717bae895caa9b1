//! `projectionist plugin revisions`: what a projection runs and ran, and what its candidate came to.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::list::{parse, time};
use crate::cli::Failure;
use crate::cli::client::{HostAddress, subject};
use crate::cli::output::{print_json, print_line, print_lines};
use crate::deployment::{Change, Revision};
use crate::pipeline::shadow::Report;
use crate::printable::Printable;

#[derive(Debug, Args)]
pub(super) struct Revisions {
    /// The projection, as the configuration names it, or a policy: STORE.routing or
    /// PROJECTION.placement
    projection: String,
    #[command(flatten)]
    host: HostAddress,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Revisions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let projection = subject(&self.projection)?;
        let path = format!("/projections/{projection}/revisions");
        let mut body = self.host.client()?.get(&path)?;
        if self.json {
            return Ok(print_json(&body.to_string())?);
        }
        let revisions: Vec<Revision> = parse(body["revisions"].take())?;
        for revision in &revisions {
            print_line(&to_line(revision))?;
        }
        let report: Option<Report> = parse(body["report"].take())?;
        if let Some(report) = report {
            print_lines(&tell(&report))?;
        }
        Ok(())
    }
}

/// Asks for a decision about a projection, such as "activate", and prints the revision that it has
/// made. Answers with it.
pub(super) fn decide(
    host: &HostAddress,
    projection: &str,
    decision: &str,
    body: &Value,
    json: bool,
) -> Result<Revision, Failure> {
    let projection = subject(projection)?;
    let path = format!("/projections/{projection}/{decision}");
    let made = host.client()?.post(&path, body)?;
    if json {
        print_json(&made.to_string())?;
    }
    let made: Revision = parse(made)?;
    if !json {
        print_line(&to_line(&made))?;
    }
    Ok(made)
}

fn to_line(revision: &Revision) -> String {
    let change = match revision.change {
        Change::Configured => "configured",
        Change::Activated => "activated",
        Change::RolledBack => "rolled back",
        Change::Shadowed => "shadowed",
    };
    let mut line = format!(
        "{}\t{}\t{change}\truns {}",
        revision.number,
        time(revision.at_ms),
        revision.active
    );
    // Writing to a string does not fail.
    if let Some(candidate) = &revision.candidate {
        _ = write!(line, "\tbeside it {candidate}");
    }
    if let Some(withdrawn) = &revision.withdrawn {
        _ = write!(line, "\tinstead of {withdrawn}");
    }
    _ = write!(line, "\tby {}", Printable(&revision.by));
    if !revision.reason.is_empty() {
        _ = write!(line, "\t{}", Printable(&revision.reason));
    }
    line
}

fn tell(report: &Report) -> String {
    let mut text = format!(
        "the candidate folded {} events: of {} documents, {} differ; it failed at {} batches",
        report.events, report.documents, report.differing, report.faults
    );
    if report.batches_with_other_messages > 0 {
        let batches = report.batches_with_other_messages;
        _ = write!(text, "; it sends other messages in {batches} batches");
    }
    if report.events > 0 {
        let per_event = |seconds: f64| seconds * 1e6 / report.events as f64;
        _ = write!(
            text,
            "\n  time      {:.2} µs an event, the running plugin {:.2}",
            per_event(report.candidate_s),
            per_event(report.active_s)
        );
    }
    if let Some(reason) = &report.given_up {
        _ = write!(text, "\n  given up  {}", Printable(reason));
    }
    if let Some(fault) = &report.last_fault {
        _ = write!(text, "\n  fault     {}", Printable(fault));
    }
    for sample in &report.samples {
        let none = "(none)".to_owned();
        _ = write!(
            text,
            "\n  {} \"{}\" at {}/{}, offset {}\n    running    {}\n    candidate  {}",
            sample.view,
            Printable(&sample.id),
            sample.topic,
            sample.partition,
            sample.offset,
            Printable(sample.active.as_ref().unwrap_or(&none)),
            Printable(sample.candidate.as_ref().unwrap_or(&none))
        );
    }
    text
}
