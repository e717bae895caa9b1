//! `projectionist plugin revisions`: what a projection runs and ran, and what its candidate came to.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::list::{parse, time};
use crate::cli::client::{HostAddress, segment};
use crate::cli::{Failure, print_line};
use crate::deployment::{Change, Revision};
use crate::pipeline::shadow::Report;

#[derive(Debug, Args)]
pub(super) struct Revisions {
    /// The projection, as the configuration names it
    projection: String,
    #[command(flatten)]
    host: HostAddress,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Revisions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let projection = segment("projection", &self.projection)?;
        let path = format!("/projections/{projection}/revisions");
        let mut body = self.host.client()?.get(&path)?;
        if self.json {
            print_line(body.to_string().as_bytes())?;
            return Ok(());
        }
        let revisions: Vec<Revision> = parse(body["revisions"].take())?;
        for revision in &revisions {
            print_line(to_line(revision).as_bytes())?;
        }
        let report: Option<Report> = parse(body["report"].take())?;
        if let Some(report) = report {
            print_line(tell(&report).as_bytes())?;
        }
        Ok(())
    }
}

/// Asks for a decision about a projection, such as "activate", and prints the revision that it has
/// made.
pub(super) fn decide(
    host: &HostAddress,
    projection: &str,
    decision: &str,
    body: &Value,
    json: bool,
) -> Result<(), Failure> {
    let projection = segment("projection", projection)?;
    let path = format!("/projections/{projection}/{decision}");
    let made = host.client()?.post(&path, body)?;
    let line = if json {
        made.to_string()
    } else {
        to_line(&parse(made)?)
    };
    print_line(line.as_bytes())?;
    Ok(())
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
    _ = write!(line, "\tby {}", revision.by);
    if !revision.reason.is_empty() {
        _ = write!(line, "\t{}", revision.reason);
    }
    line.replace('\n', " ")
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
        _ = write!(text, "\n  given up  {reason}");
    }
    if let Some(fault) = &report.last_fault {
        _ = write!(text, "\n  fault     {fault}");
    }
    for sample in &report.samples {
        let none = "(none)".to_owned();
        _ = write!(
            text,
            "\n  {} \"{}\" at {}/{}, offset {}\n    running    {}\n    candidate  {}",
            sample.view,
            sample.id,
            sample.topic,
            sample.partition,
            sample.offset,
            sample.active.as_ref().unwrap_or(&none),
            sample.candidate.as_ref().unwrap_or(&none)
        );
    }
    text
}
