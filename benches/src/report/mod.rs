//! What is told of a session.

mod machine;
mod plot;
mod table;

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::contender::Contender;
use crate::observe::markers::Rates;
use crate::run::{Figures, Outcome};
use crate::statistics::Spread;
use crate::workload::Plan;

pub use machine::Machine;
pub use plot::plot;
pub use table::table;

/// In a shorter run, a batch more or less at the first look is a large part of all.
const TELLING_SECONDS: f64 = 1.0;

/// One session.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    /// The command's arguments.
    pub arguments: Vec<String>,
    pub cases: Vec<Case>,
}

/// One workload with one size of values and one number of partitions.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    pub workload: &'static str,
    /// `None` where events have values of their own.
    pub value_bytes: Option<usize>,
    pub partitions: u32,
    pub mode: Mode,
    /// What a projection computes for each event, in rounds of SplitMix64.
    pub work_rounds: u64,
    pub summaries: Vec<Summary>,
    /// Contenders that cannot make these documents, with the reason.
    pub left_out: Vec<(Contender, String)>,
    pub outcomes: Vec<Outcome>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// All events are there before a contender starts.
    Flood,
    /// Events come while it runs, so many a second.
    Steady { rate: f64 },
}

/// One contender over all rounds. It has figures only if its documents were right in every round.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub contender: Contender,
    /// In each round.
    pub events: u64,
    /// What was wrong in how many rounds.
    pub wrong: Option<String>,
    pub events_per_second: Option<Spread>,
    pub first_quarter_events_per_second: Option<Spread>,
    pub last_quarter_events_per_second: Option<Spread>,
    pub p50_ms: Option<Spread>,
    pub p99_ms: Option<Spread>,
    pub p999_ms: Option<Spread>,
    pub cpu_seconds_per_million_events: Option<Spread>,
    pub peak_memory_bytes: Option<Spread>,
    pub operations_per_event: Option<Spread>,
    pub start_seconds: Option<Spread>,
}

impl Case {
    pub fn new(
        plan: &Plan,
        mode: Mode,
        outcomes: Vec<Outcome>,
        left_out: Vec<(Contender, String)>,
    ) -> Self {
        let mut contenders: Vec<Contender> = Vec::new();
        for outcome in &outcomes {
            if !contenders.contains(&outcome.contender) {
                contenders.push(outcome.contender);
            }
        }
        let summaries = contenders.iter().map(|&contender| {
            let own = outcomes
                .iter()
                .filter(|outcome| outcome.contender == contender);
            Summary::of(contender, &own.collect::<Vec<_>>())
        });
        Case {
            workload: plan.workload.name(),
            value_bytes: plan.workload.value_bytes(plan.value_bytes),
            partitions: plan.partitions,
            mode,
            work_rounds: plan.work_rounds,
            summaries: summaries.collect(),
            left_out,
            outcomes,
        }
    }

    /// For people.
    pub fn title(&self) -> String {
        let partitions = match self.partitions {
            1 => "1 partition".to_owned(),
            count => format!("{count} partitions"),
        };
        let value = self
            .value_bytes
            .map(|bytes| format!(", {bytes}-byte values"));
        let mode = match self.mode {
            Mode::Flood => String::new(),
            Mode::Steady { rate } => format!(", {rate} events/s"),
        };
        format!(
            "{}{}, {partitions}{mode}",
            self.workload,
            value.unwrap_or_default()
        )
    }

    pub fn is_right(&self) -> bool {
        self.summaries.iter().all(|summary| summary.wrong.is_none())
    }
}

impl Summary {
    fn of(contender: Contender, outcomes: &[&Outcome]) -> Self {
        let wrong: Vec<&str> = outcomes
            .iter()
            .filter_map(|outcome| outcome.wrong.as_deref())
            .collect();
        let figures: Vec<&Figures> = match wrong.is_empty() {
            true => outcomes
                .iter()
                .filter_map(|outcome| outcome.figures.as_ref())
                .collect(),
            false => Vec::new(),
        };
        let all = |figure: fn(&Figures) -> f64| Spread::of(figures.iter().map(|of| figure(of)));
        let some = |figure: fn(&Figures) -> Option<f64>| {
            Spread::of(figures.iter().filter_map(|of| figure(of)))
        };
        let rates = telling_rates(&figures);
        let rate = |of: fn(&Rates) -> f64| Spread::of(rates.iter().map(of));
        Summary {
            contender,
            events: outcomes.first().map_or(0, |outcome| outcome.events),
            wrong: wrong.first().map(|first| {
                format!(
                    "wrong in {} of {} rounds: {first}",
                    wrong.len(),
                    outcomes.len()
                )
            }),
            events_per_second: rate(|rates| rates.all),
            first_quarter_events_per_second: rate(|rates| rates.first_quarter),
            last_quarter_events_per_second: rate(|rates| rates.last_quarter),
            p50_ms: some(|of| of.latency_ms.map(|latency| latency.p50)),
            p99_ms: some(|of| of.latency_ms.map(|latency| latency.p99)),
            p999_ms: some(|of| of.latency_ms.map(|latency| latency.p999)),
            cpu_seconds_per_million_events: all(|of| of.cpu_seconds_per_million_events),
            peak_memory_bytes: all(|of| of.peak_memory_bytes as f64),
            operations_per_event: all(|of| of.operations_per_event),
            start_seconds: all(|of| of.start_seconds),
        }
    }
}

/// The rates of all rounds; none where any round was too short for one. Without its shortest
/// rounds, a contender would look slower than it is.
fn telling_rates(figures: &[&Figures]) -> Vec<Rates> {
    let telling = |of: &&Figures| of.rates.filter(|rates| rates.seconds >= TELLING_SECONDS);
    let rates: Option<Vec<Rates>> = figures.iter().map(telling).collect();
    rates.unwrap_or_default()
}

impl Report {
    /// # Errors
    /// A file that cannot be written.
    pub fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(path, json + "\n").with_context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests;
