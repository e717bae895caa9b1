//! `projectionist plugin bench`: what a plugin costs for each event.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bytesize::ByteSize;
use clap::Args;
use serde_json::json;

use super::{engine, read_config, refused};
use crate::cli::Failure;
use crate::cli::output::{print_json, print_lines};
use crate::kit::bench::{self, Cost, Plan};
use crate::kit::events;
use crate::plugin::{self, Limits, Program, Projection};

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// The plugin's .wasm file
    #[arg(value_name = "WASM")]
    file: PathBuf,
    /// The events: one JSON object a line, as in a fixture
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
    /// The projection's configuration, a JSON file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Events that the plugin gets in one call
    #[arg(long, value_name = "COUNT", default_value_t = 1_000,
          value_parser = clap::value_parser!(u32).range(1..=20_000))]
    batch: u32,
    /// For how long to measure
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Far beyond what a host allows: among millions of small calls a busy machine holds some up for
/// longer than the 50 ms of a host, and what takes long is told by the numbers.
const CALL_MAX: Duration = Duration::from_secs(10);

/// How long it takes until a plugin can be called.
struct StartUp {
    compile: Duration,
    first_instance: Duration,
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        let bytes = std::fs::read(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        let text = std::fs::read_to_string(&self.events)
            .with_context(|| format!("cannot read {}", self.events.display()))?;
        let events =
            events::read(&text).with_context(|| format!("cannot use {}", self.events.display()))?;
        if events.is_empty() {
            return Err(anyhow!("{} has no events", self.events.display()).into());
        }
        let config = self.config.as_deref().map(read_config).transpose()?;
        let config = config.unwrap_or_else(|| json!({}));

        let engine = engine()?;
        let name = self.file.display().to_string();
        let begin = Instant::now();
        let program = Program::load(&engine, &name, &bytes).map_err(refused)?;
        let compile = begin.elapsed();
        let begin = Instant::now();
        let limits = Limits {
            call_base: CALL_MAX,
            call_max: CALL_MAX,
            ..Limits::default()
        };
        let mut projection =
            Projection::new(program.clone(), &name, &config, limits).map_err(refused)?;
        let first_instance = begin.elapsed();

        let plan = Plan {
            batch_events: self.batch as usize,
            time: Duration::from_secs(self.seconds),
        };
        let cost = bench::run(&mut projection, &events, plan).with_context(|| {
            format!(
                "the plugin does not fold all of {}; leave out what it rejects",
                self.events.display()
            )
        })?;
        let start_up = StartUp {
            compile,
            first_instance,
        };
        match self.json {
            true => print_json(&json(&cost, &start_up).to_string())?,
            false => print_lines(&tell(program.about(), &cost, &start_up))?,
        }
        Ok(())
    }
}

fn json(cost: &Cost, start_up: &StartUp) -> serde_json::Value {
    let mut value = json!(cost);
    value["compile-ms"] = json!(milliseconds(start_up.compile));
    value["first-instance-ms"] = json!(milliseconds(start_up.first_instance));
    value
}

fn tell(about: &plugin::About, cost: &Cost, start_up: &StartUp) -> String {
    let share = cost.host_ns_per_event / (cost.host_ns_per_event + cost.plugin_ns_per_event);
    [
        format!("{} {}, {} batches", about.name, about.version, cost.batches),
        format!(
            "  plugin          {:.0} ns/event (fastest batch {:.0})",
            cost.plugin_ns_per_event, cost.fastest_plugin_ns_per_event
        ),
        format!(
            "  host            {:.0} ns/event, {:.0}% of both, without Kafka and the store",
            cost.host_ns_per_event,
            100.0 * share
        ),
        format!(
            "  memory          {}",
            ByteSize::b(cost.memory_bytes as u64)
        ),
        format!("  checks, compile {:.0} ms", milliseconds(start_up.compile)),
        format!(
            "  first instance  {:.1} ms",
            milliseconds(start_up.first_instance)
        ),
    ]
    .join("\n")
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
