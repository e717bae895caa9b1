//! `projectionist balance simulate reads`: routing policies side by side.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::json;

use super::policies::{self, Named};
use crate::cli::Failure;
use crate::cli::output::{print_json, print_line};
use crate::kit::simulation::figures::{columns, peaks};
use crate::kit::simulation::load::{self, Read, ReadPlan};
use crate::kit::simulation::reads::{self, Copy, Result as Simulated};
use crate::plugin::{Kind, Routing};
use crate::policy::{RoutingPolicy, Source};

/// So that the plot fits a terminal.
const PLOT_COLUMNS: usize = 60;

#[derive(Debug, Args)]
pub(super) struct Reads {
    /// A policy, once for each: "built-in", the name of a shipped one or a .wasm file, and
    /// "=CONFIG" behind it for its configuration
    #[arg(long = "policy", value_name = "POLICY", value_parser = policies::parse,
          default_values = ["built-in", "least-connections", "least-time", "random-two", "peak-ewma"])]
    policies: Vec<Named>,
    /// Where the shipped policies are; by default where this program was built
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<PathBuf>,
    /// A copy, once for each: its name, its weight if it is not 1, and what an answer takes in the
    /// mean
    #[arg(long = "copy", value_name = "NAME[:WEIGHT]=TIME", value_parser = copy,
          default_values = ["a=1ms", "b=1ms", "c=10ms"])]
    copies: Vec<Copy>,
    /// Reads that a copy answers at once; others wait
    #[arg(long, value_name = "COUNT", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    workers: u16,
    /// Replay this log: one JSON object a line, with "at-ms", "key" and "client"
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rate", "seconds", "keys", "clients", "zipf"])]
    log: Option<PathBuf>,
    /// Reads a second
    #[arg(long, value_name = "COUNT", default_value_t = 2_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// For how long reads are made
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Different keys
    #[arg(long, value_name = "COUNT", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    keys: u32,
    /// Different clients
    #[arg(long, value_name = "COUNT", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    clients: u32,
    /// How unlike keys are: 0 reads all alike
    #[arg(long, value_name = "EXPONENT", default_value_t = 1.0, value_parser = exponent)]
    zipf: f64,
    /// Another one makes another load
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object a policy
    #[arg(long)]
    json: bool,
}

impl Reads {
    pub(super) fn run(self) -> Result<(), Failure> {
        let reads = self.reads()?;
        if reads.is_empty() {
            return Err(anyhow!("there are no reads to simulate; make them longer or more").into());
        }
        let workers = usize::from(self.workers);
        let copies: Vec<Copy> = self
            .copies
            .iter()
            .map(|copy| Copy {
                workers,
                ..copy.clone()
            })
            .collect();
        let folder = self.plugins.as_deref();
        let policies = policies::load(&self.policies, folder, Kind::Routing, |policy, config| {
            let routing = Routing::new(policy, "simulation", config)?;
            Ok(Arc::new(routing) as Arc<dyn Source<dyn RoutingPolicy>>)
        })?;
        let results: Vec<(String, Simulated)> = policies
            .into_iter()
            .map(|(name, policy)| (name, reads::run(&reads, &copies, policy, self.seed)))
            .collect();
        let lines = match self.json {
            true => results.iter().map(json).collect(),
            false => table(&results, &copies),
        };
        for line in lines {
            match self.json {
                true => print_json(&line)?,
                false => print_line(&line)?,
            }
        }
        Ok(())
    }

    fn reads(&self) -> Result<Vec<Read>, Failure> {
        let Some(path) = &self.log else {
            let plan = ReadPlan {
                seed: self.seed,
                reads_per_second: f64::from(self.rate),
                seconds: f64::from(self.seconds),
                keys: self.keys as usize,
                clients: self.clients as usize,
                zipf: self.zipf,
            };
            return Ok(plan.reads());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let reads = load::reads(&text);
        let reads = reads.with_context(|| format!("cannot use {}", path.display()))?;
        Ok(reads)
    }
}

fn json((policy, simulated): &(String, Simulated)) -> String {
    let mut value = json!(simulated);
    value["policy"] = json!(policy);
    value.to_string()
}

fn table(results: &[(String, Simulated)], copies: &[Copy]) -> Vec<String> {
    let width = results.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or(0).max("policy".len());
    let reads = results.first().map_or(0, |(_, result)| result.reads);
    let names: String = copies
        .iter()
        .map(|copy| format!(" {:>8}", copy.name))
        .collect();
    let mut lines = vec![
        format!("{reads} reads; the part of each copy, and milliseconds from asking to the answer"),
        String::new(),
        format!(
            "{:width$}{names} {:>9} {:>9} {:>9} {:>9}  stood in",
            "policy", "mean", "p50", "p99", "max"
        ),
    ];
    for (name, result) in results {
        let shares: String = result
            .shares
            .iter()
            .map(|share| format!(" {:>7.1}%", share * 100.0))
            .collect();
        lines.push(format!(
            "{name:width$}{shares} {:>9.2} {:>9.2} {:>9.2} {:>9.2}  {:>8}",
            result.mean_ms, result.p50_ms, result.p99_ms, result.max_ms, result.stood_in
        ));
    }
    let plots: Vec<Vec<f64>> = results
        .iter()
        .map(|(_, result)| peaks(&result.p99_ms_by_second, PLOT_COLUMNS))
        .collect();
    let most = plots.iter().flatten().copied().fold(0.0, f64::max);
    lines.push(String::new());
    lines.push(format!("p99 over time, up to {most:.1} ms"));
    for ((name, _), plot) in results.iter().zip(&plots) {
        lines.push(format!("{name:width$} │{}│", columns(plot, most)));
    }
    lines
}

/// Reads `NAME=TIME` or `NAME:WEIGHT=TIME`.
fn copy(text: &str) -> Result<Copy, String> {
    let (name, answer) = text
        .split_once('=')
        .ok_or("a copy is NAME=TIME or NAME:WEIGHT=TIME, as in a:2=1ms")?;
    let (name, weight) = match name.split_once(':') {
        None => (name, 1),
        Some((name, weight)) => (
            name,
            weight
                .parse()
                .map_err(|error| format!("the weight of \"{name}\" is none: {error}"))?,
        ),
    };
    let answer: Duration = humantime::parse_duration(answer).map_err(|error| {
        format!("what \"{name}\" takes is no time, as 500us and 2ms are: {error}")
    })?;
    Ok(Copy {
        name: name.to_owned(),
        weight,
        answer_us: answer.as_secs_f64() * 1e6,
        workers: 1,
    })
}

/// Of a Zipf distribution.
pub(super) fn exponent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(exponent) if (0.0..=10.0).contains(&exponent) => Ok(exponent),
        _ => Err("an exponent is a number from 0 to 10".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_a_name_a_time_and_maybe_a_weight() {
        let expected = Copy {
            name: "a".to_owned(),
            weight: 3,
            answer_us: 1_500.0,
            workers: 1,
        };
        assert_eq!(copy("a:3=1500us"), Ok(expected.clone()));
        let light = Copy {
            weight: 1,
            ..expected
        };
        assert_eq!(copy("a=1500us"), Ok(light));
        for (text, reason) in [
            ("a", "a copy is NAME=TIME"),
            ("a:x=1ms", "the weight of \"a\" is none"),
            ("a=soon", "what \"a\" takes is no time"),
        ] {
            let error = copy(text).expect_err(text);
            assert!(error.starts_with(reason), "{error}");
        }
    }

    #[test]
    fn a_table_has_a_line_and_a_plot_for_each_policy() {
        let result = Simulated {
            reads: 10,
            shares: vec![0.25, 0.75],
            mean_ms: 1.0,
            p50_ms: 0.5,
            p99_ms: 4.0,
            max_ms: 5.0,
            stood_in: 2,
            p99_ms_by_second: vec![2.0, 4.0],
        };
        let copies = ["a=1ms", "b=1ms"].map(|text| copy(text).expect("a copy"));
        let lines = table(&[("mine".to_owned(), result)], &copies);
        let expected = [
            "10 reads; the part of each copy, and milliseconds from asking to the answer",
            "",
            "policy        a        b      mean       p50       p99       max  stood in",
            "mine      25.0%    75.0%      1.00      0.50      4.00      5.00         2",
            "",
            "p99 over time, up to 4.0 ms",
            "mine   │▄█│",
        ];
        assert_eq!(lines, expected);
    }
}
