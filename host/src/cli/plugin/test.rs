//! `projectionist plugin test`: a plugin against the fixtures of its author.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::Value;

use super::{engine, refused};
use crate::cli::Failure;
use crate::kit::fixtures::{self, Case, difference};
use crate::kit::{Desk, events};
use crate::plugin::{Engine, Limits, Program, Projection};

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
        let mut different = 0;
        for case in &cases {
            let outcome = self.given.fold(&program, case)?;
            if !self.verify(case, &outcome)? {
                different += 1;
            }
        }
        match different {
            0 => Ok(()),
            _ => Err(Failure::Other(anyhow!(
                "{different} of {} cases differ; if what was folded is right, take it with --update",
                cases.len()
            ))),
        }
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
            None => println!("{name}: ok"),
            Some(_) if self.update => {
                case.accept(outcome).map_err(anyhow::Error::from)?;
                println!("{name}: updated");
            }
            Some(difference) => {
                print!("{name}: differs\n{difference}");
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Given {
    /// What a case comes to.
    pub(super) fn fold(&self, program: &Arc<Program>, case: &Case) -> Result<Value, Failure> {
        let config = case.config().map_err(anyhow::Error::from)?;
        let projection = Projection::new(program.clone(), &case.name, &config, Limits::default())
            .map_err(refused)?;
        let topics: Arc<[Arc<str>]> = self.sends_to.iter().map(|t| t.as_str().into()).collect();
        let text = case.events().map_err(anyhow::Error::from)?;
        let events = events::read(&text)
            .with_context(|| format!("cannot use {}", case.events_path().display()))?;
        let mut desk = Desk::new(projection.sending_to(topics), &self.topic);
        desk.fold(&events).map_err(anyhow::Error::from)?;
        let outcome = desk.outcome().context("cannot write a document")?;
        Ok(outcome.to_value())
    }
}

pub(super) fn load(engine: &Arc<Engine>, file: &Path) -> Result<Arc<Program>, Failure> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Program::load(engine, &file.display().to_string(), &bytes).map_err(refused)
}
