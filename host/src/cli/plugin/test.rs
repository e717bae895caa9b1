//! `projectionist plugin test`: a plugin against the fixtures of its author.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::Value;

use super::{engine, refused};
use crate::cli::Failure;
use crate::cli::output::{print_line, print_lines, say};
use crate::kit::cuts::{self, Cut, Finding, NextInstance};
use crate::kit::events::{self, Event};
use crate::kit::fixtures::{self, Case, difference, difference_between};
use crate::kit::{Desk, Outcome};
use crate::plugin::{Engine, Limits, Program, Projection};
use crate::printable::Printable;

/// Of what a plugin logs in one fold, the last lines are shown.
const LOG_LINES_MAX: usize = 100;

/// A message names no more cuts than that.
const PLACES_MAX: usize = 5;

#[derive(Debug, Args)]
pub(super) struct Test {
    /// The plugin's .wasm file
    #[arg(value_name = "WASM")]
    file: PathBuf,
    /// A folder with NAME.events.jsonl, NAME.expected.json and, if need be, NAME.config.json
    #[arg(long, value_name = "DIR")]
    fixtures: PathBuf,
    /// Take what the events come to as what is expected from now on
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    given: Given,
}

/// What a host would know of the projection besides.
#[derive(Debug, Args)]
pub(super) struct Given {
    /// A topic that the plugin may send messages to; may be given more than once
    #[arg(long, value_name = "TOPIC")]
    sends_to: Vec<String>,
    /// The topic that the events are said to come from
    #[arg(long, default_value = "test")]
    topic: String,
}

impl Test {
    pub(super) fn run(self) -> Result<(), Failure> {
        let engine = engine()?;
        let program = load(&engine, &self.file)?;
        let cases = fixtures::cases(&self.fixtures).map_err(anyhow::Error::from)?;
        let (mut different, mut dependent) = (0, 0);
        for case in &cases {
            let prepared = self.given.prepare(&program, case)?;
            let outcome = prepared.fold()?;
            if !self.verify(case, &outcome.to_value())? {
                different += 1;
            }
            if let Some(text) = prepared.dependence(&outcome)? {
                dependent += 1;
                print_lines(&format!("{}: {}", case.name, text.trim_end()))?;
            }
        }
        verdict(cases.len(), different, dependent)
    }

    /// False where the outcome is not the expected one. Says how the case went.
    fn verify(&self, case: &Case, outcome: &Value) -> Result<bool, Failure> {
        let expected = case.expected().map_err(anyhow::Error::from)?;
        let name = &case.name;
        let difference = match &expected {
            Some(expected) => difference(expected, outcome),
            None => Some(format!("{} is not there\n", case.expected_path().display())),
        };
        match difference {
            None => print_line(&format!("{name}: ok"))?,
            Some(_) if self.update => {
                case.accept(outcome).map_err(anyhow::Error::from)?;
                print_line(&format!("{name}: updated"))?;
            }
            Some(difference) => {
                print_lines(&format!("{name}: differs\n{}", difference.trim_end()))?;
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// `different` and `dependent` of so many cases are not as they should be.
fn verdict(cases: usize, different: usize, dependent: usize) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    if different > 0 {
        wrong.push(format!(
            "{different} of {cases} cases differ; if what was folded is right, take it with --update"
        ));
    }
    if dependent > 0 {
        wrong.push(format!(
            "{dependent} of {cases} cases depend on how events are cut into batches, which a host \
             does by what has queued up; the fold has to be a pure function of its event and its \
             document"
        ));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::Other(anyhow!(wrong.join("\n")))),
    }
}

/// A case, ready to be folded any number of times.
pub(super) struct Prepared<'a> {
    given: &'a Given,
    program: &'a Arc<Program>,
    name: &'a str,
    config: Value,
    events: Vec<Event>,
}

impl Given {
    pub(super) fn prepare<'a>(
        &'a self,
        program: &'a Arc<Program>,
        case: &'a Case,
    ) -> Result<Prepared<'a>, Failure> {
        let config = case.config().map_err(anyhow::Error::from)?;
        let text = case.events().map_err(anyhow::Error::from)?;
        let events = events::read(&text)
            .with_context(|| format!("cannot use {}", case.events_path().display()))?;
        Ok(Prepared {
            given: self,
            program,
            name: &case.name,
            config,
            events,
        })
    }
}

impl Prepared<'_> {
    /// What the case comes to in one batch. What the plugin logs meanwhile goes to standard error.
    pub(super) fn fold(&self) -> Result<Outcome, Failure> {
        let tail = self.program.engine().tails().of(self.name);
        let before = tail.written();
        let outcome = self.fold_as(self.name, &[])?;
        let lines = tail.last(LOG_LINES_MAX, before);
        let left_out = tail.written() - before - lines.len() as u64;
        if left_out > 0 {
            say(&format!(
                "{}: {left_out} lines of its log are left out",
                self.name
            ));
        }
        for line in lines {
            let message = Printable(&line.message);
            say(&format!("{}: {}: {message}", self.name, line.level));
        }
        Ok(outcome)
    }

    /// Folds the case, under that name, in the batches that these cuts make of it.
    fn fold_as(&self, name: &str, cuts: &[Cut]) -> Result<Outcome, Failure> {
        let (program, limits) = (self.program.clone(), Limits::default());
        let projection = Projection::new(program, name, &self.config, limits).map_err(refused)?;
        let topics = self.given.sends_to.iter();
        let topics: Arc<[Arc<str>]> = topics.map(|topic| topic.as_str().into()).collect();
        let mut desk = Desk::new(projection.sending_to(topics), &self.given.topic);
        desk.fold_cut(&self.events, cuts, Projection::renew)
            .map_err(anyhow::Error::from)?;
        let outcome = desk.outcome().context("cannot write a document")?;
        Ok(outcome)
    }

    /// In words, where other cuts come to something else than `in_one_batch`.
    pub(super) fn dependence(&self, in_one_batch: &Outcome) -> Result<Option<String>, Failure> {
        // Another name, so that the log of these folds is not taken for the case's.
        let name = format!("{}, cut otherwise", self.name);
        let fold = |cuts: &[Cut]| self.fold_as(&name, cuts);
        let found = cuts::find(self.events.len(), in_one_batch, fold)?;
        Ok(found.map(|Finding { cuts, outcome }| {
            let name = format!("cut {}", self.places(&cuts));
            let (one, other) = (in_one_batch.to_value(), outcome.to_value());
            let difference = difference_between(("in one batch", &one), (&name, &other));
            // Two outcomes may be written alike: their numbers are not.
            let difference = difference.unwrap_or_default();
            format!(
                "depends on how its events are cut into batches\n{difference}\
                 what outlasts a batch is the document, as JSON; a variable, and in a document a \
                 Set, a Date object, NaN or undefined, do not\n"
            )
        }))
    }

    /// The lines before which the events are cut, and on which instances they go on.
    fn places(&self, cuts: &[Cut]) -> String {
        let place = |cut: &Cut| {
            let line = self.events[cut.before].line;
            match cut.next {
                NextInstance::Same => format!("before line {line}"),
                NextInstance::New => format!("before line {line} with a new instance"),
            }
        };
        let mut places: Vec<_> = cuts.iter().take(PLACES_MAX).map(place).collect();
        if cuts.len() > PLACES_MAX {
            places.push(format!("{} more", cuts.len() - PLACES_MAX));
        }
        places.join(", ")
    }
}

pub(super) fn load(engine: &Arc<Engine>, file: &Path) -> Result<Arc<Program>, Failure> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Program::load(engine, &file.display().to_string(), &bytes).map_err(refused)
}
