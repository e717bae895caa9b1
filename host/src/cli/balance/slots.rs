//! `projectionist balance simulate slots`: placement policies side by side.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::json;

use super::policies::{self, Named};
use super::reads::exponent;
use crate::balance::placement::MOVE_BUDGET;
use crate::cli::Failure;
use crate::cli::output::{print_json, print_line};
use crate::kit::simulation::figures::{columns, peaks};
use crate::kit::simulation::load::{self, Second, SlotPlan};
use crate::kit::simulation::slots::{self, Result as Simulated};
use crate::plugin::{Kind, Placement};
use crate::policy::{PlacementPolicy, Source};

/// So that the plot fits a terminal.
const PLOT_COLUMNS: usize = 60;

#[derive(Debug, Args)]
pub(super) struct Slots {
    /// A policy, once for each: "built-in", the name of a shipped one or a .wasm file, and
    /// "=CONFIG" behind it for its configuration
    #[arg(long = "policy", value_name = "POLICY", value_parser = policies::parse,
          default_values = ["built-in", "least-loaded", "isolate-hot"])]
    policies: Vec<Named>,
    /// Where the shipped policies are; by default where this program was built
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<PathBuf>,
    /// Lanes that share the work
    #[arg(long, value_name = "COUNT", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=1_024))]
    lanes: u16,
    /// Most slots that one answer may move
    #[arg(long, value_name = "COUNT", default_value_t = MOVE_BUDGET)]
    move_budget: u32,
    /// Replay this log: a JSON object for each second, with microseconds of work by slot
    #[arg(long, value_name = "FILE", conflicts_with_all = ["busy", "seconds", "zipf", "shift"])]
    log: Option<PathBuf>,
    /// How many lanes all slots together would keep busy
    #[arg(long, value_name = "LANES", default_value_t = 2.0, value_parser = busy)]
    busy: f64,
    /// For how long work is made
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// How unlike slots are: 0 gives all as much work
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.8, value_parser = exponent)]
    zipf: f64,
    /// Other slots are the busy ones after so many seconds; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    shift: u32,
    /// Another one makes another load
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object a policy
    #[arg(long)]
    json: bool,
}

impl Slots {
    pub(super) fn run(self) -> Result<(), Failure> {
        let seconds = self.seconds()?;
        if seconds.is_empty() {
            return Err(anyhow!("there is no second to simulate; the log is empty").into());
        }
        let folder = self.plugins.as_deref();
        let policies =
            policies::load(&self.policies, folder, Kind::Placement, |policy, config| {
                let placement = Placement::new(policy, "simulation", config)?;
                Ok(Arc::new(placement) as Arc<dyn Source<dyn PlacementPolicy>>)
            })?;
        let lanes = usize::from(self.lanes);
        let results: Vec<(String, Simulated)> = policies
            .into_iter()
            .map(|(name, policy)| {
                let result = slots::run(&seconds, lanes, self.move_budget, policy);
                (name, result)
            })
            .collect();
        let lines = match self.json {
            true => results.iter().map(json).collect(),
            false => table(&results),
        };
        for line in lines {
            match self.json {
                true => print_json(&line)?,
                false => print_line(&line)?,
            }
        }
        Ok(())
    }

    fn seconds(&self) -> Result<Vec<Second>, Failure> {
        let Some(path) = &self.log else {
            let plan = SlotPlan {
                seed: self.seed,
                seconds: self.seconds as usize,
                lanes_busy: self.busy,
                zipf: self.zipf,
                shift_seconds: self.shift as usize,
            };
            return Ok(plan.seconds());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let seconds = load::seconds(&text);
        let seconds = seconds.with_context(|| format!("cannot use {}", path.display()))?;
        Ok(seconds)
    }
}

fn json((policy, simulated): &(String, Simulated)) -> String {
    let mut value = json!(simulated);
    value["policy"] = json!(policy);
    value.to_string()
}

fn table(results: &[(String, Simulated)]) -> Vec<String> {
    let width = results.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or(0).max("policy".len());
    let seconds = results.first();
    let seconds = seconds.map_or(0, |(_, result)| result.spread_by_second.len());
    let mut lines = vec![
        format!(
            "{seconds} seconds; spread is the busiest lane's work beside the mean, in the second half"
        ),
        String::new(),
        format!(
            "{:width$} {:>8} {:>8} {:>14}",
            "policy", "spread", "moves", "p99 wait (ms)"
        ),
    ];
    for (name, result) in results {
        lines.push(format!(
            "{name:width$} {:>8.3} {:>8} {:>14.1}",
            result.settled_spread, result.moves, result.p99_wait_ms
        ));
    }
    let excess = |result: &Simulated| -> Vec<f64> {
        let spreads = peaks(&result.spread_by_second, PLOT_COLUMNS);
        spreads.into_iter().map(|spread| spread - 1.0).collect()
    };
    let plots: Vec<Vec<f64>> = results.iter().map(|(_, result)| excess(result)).collect();
    let most = plots.iter().flatten().copied().fold(0.0, f64::max);
    lines.push(String::new());
    lines.push(format!("spread over time, from 1 to {:.2}", most + 1.0));
    for ((name, _), plot) in results.iter().zip(&plots) {
        lines.push(format!("{name:width$} │{}│", columns(plot, most)));
    }
    lines
}

fn busy(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(busy) if busy > 0.0 && busy <= 1_000.0 => Ok(busy),
        _ => Err("it is a number above 0, up to 1000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_and_a_plot_for_each_policy() {
        let result = |spreads: [f64; 2], moves| Simulated {
            spread_by_second: spreads.to_vec(),
            settled_spread: spreads[1],
            moves,
            p99_wait_ms: 12.0,
        };
        let results = [
            ("built-in".to_owned(), result([3.0, 3.0], 0)),
            ("mine".to_owned(), result([3.0, 1.0], 40)),
        ];
        let expected = [
            "2 seconds; spread is the busiest lane's work beside the mean, in the second half",
            "",
            "policy     spread    moves  p99 wait (ms)",
            "built-in    3.000        0           12.0",
            "mine        1.000       40           12.0",
            "",
            "spread over time, from 1 to 3.00",
            "built-in │██│",
            "mine     │█ │",
        ];
        assert_eq!(table(&results), expected);
    }
}
