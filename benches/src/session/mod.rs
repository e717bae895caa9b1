//! All cases, all rounds, all contenders: what is run in which order, and what is kept of it.
//!
//! Contenders alternate within a round, and each round begins with another one, so that whatever
//! changes on the machine in the meantime meets all of them.

mod material;

use std::collections::HashMap;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use mongodb::Client;

use material::{Material, Materials};

use crate::contender::{Contender, Setup, Task};
use crate::report::{Case, Mode};
use crate::run::{Figures, Outcome, Stage};
use crate::topic::Topic;
use crate::workload::{Plan, Workload, calibrated_rounds};

/// Events of a rehearsal, for a contender that is as fast as the others.
const REHEARSAL_EVENTS: u64 = 50_000;

/// The same, where the rehearsal tells how many events a run gets.
const TRIAL_EVENTS: u64 = 400_000;

const SEED: u64 = 20_130_101;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Options {
    pub contenders: Vec<Contender>,
    pub workloads: Vec<Workload>,
    pub value_bytes: Vec<usize>,
    pub partitions: Vec<u32>,
    pub rounds: u32,
    pub load: Load,
}

/// How many events there are.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// A full topic with so many events.
    Events(u64),
    /// A full topic that takes each contender about so many seconds, going by its rehearsal.
    Seconds(u64),
    /// So many events a second, for so many seconds.
    Steady { rate: f64, seconds: u64 },
}

/// Measures the cases one after the other.
pub struct Session {
    pub setup: Setup,
    pub options: Options,
    client: Client,
    bar: ProgressBar,
    runs: u32,
}

impl Session {
    /// # Errors
    /// A connection string that is none.
    pub async fn new(setup: Setup, options: Options) -> anyhow::Result<Self> {
        let client = Client::with_uri_str(&setup.mongodb).await;
        let client = client.with_context(|| format!("MongoDB at {}", setup.mongodb))?;
        let bar = ProgressBar::new(1_000);
        let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {elapsed:>4} {msg}")?;
        Ok(Session {
            setup,
            options,
            client,
            bar: bar.with_style(style),
            runs: 0,
        })
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs everything; `done` is told each case when it is complete.
    ///
    /// # Errors
    /// Those that are not a contender's own.
    pub async fn run(&mut self, mut done: impl FnMut(&Case)) -> anyhow::Result<Vec<Case>> {
        let mut cases = Vec::new();
        for workload in self.options.workloads.clone() {
            for value_bytes in self.options.value_bytes.clone() {
                for partitions in self.options.partitions.clone() {
                    let plan = Plan {
                        workload,
                        events: 0,
                        partitions,
                        value_bytes,
                        seed: SEED,
                        work_rounds: if workload.computes() {
                            calibrated_rounds()
                        } else {
                            0
                        },
                    };
                    let case = self.case(&plan).await?;
                    done(&case);
                    cases.push(case);
                }
            }
        }
        self.bar.finish_and_clear();
        Ok(cases)
    }

    async fn case(&mut self, plan: &Plan) -> anyhow::Result<Case> {
        let mut contenders = Vec::new();
        let mut left_out = Vec::new();
        for &contender in &self.options.contenders {
            match contender.takes(plan.workload) {
                Ok(()) => contenders.push(contender),
                Err(reason) => left_out.push((contender, reason.to_owned())),
            }
        }
        let outcomes = match self.options.load {
            Load::Events(events) => {
                let events = |contender: Contender| Ok((events / contender.fraction()).max(1));
                self.rehearse(plan, &contenders, REHEARSAL_EVENTS).await?;
                self.floods(plan, &contenders, events).await?
            }
            Load::Seconds(seconds) => {
                let rates = self.rehearse(plan, &contenders, TRIAL_EVENTS).await?;
                let events = |contender: Contender| {
                    let rate = rates.get(&contender).copied();
                    let rate = rate.with_context(|| {
                        format!("{} has no rate from its rehearsal", contender.name())
                    })?;
                    // Two digits, so that contenders of about the same pace share a topic.
                    Ok(rounded(rate * seconds as f64))
                };
                self.floods(plan, &contenders, events).await?
            }
            Load::Steady { rate, seconds } => {
                let plan = Plan {
                    events: (rate * seconds as f64) as u64,
                    ..plan.clone()
                };
                self.rehearse(&plan, &contenders, REHEARSAL_EVENTS).await?;
                self.steadies(&plan, &contenders, rate).await?
            }
        };
        let mode = match self.options.load {
            Load::Events(_) | Load::Seconds(_) => Mode::Flood,
            Load::Steady { rate, .. } => Mode::Steady { rate },
        };
        Ok(Case::new(plan, mode, outcomes, left_out))
    }

    /// Lets each contender go through few events, so that it has once been started, and its
    /// plugin is compiled. Returns events per second.
    async fn rehearse(
        &mut self,
        plan: &Plan,
        contenders: &[Contender],
        events: u64,
    ) -> anyhow::Result<HashMap<Contender, f64>> {
        let mut materials = Materials::default();
        let mut rates = HashMap::new();
        for &contender in contenders {
            let events = events / contender.fraction();
            let material = self.material(&mut materials, plan, events).await?;
            let what = format!("{}, rehearsal", contender.name());
            let ended = self.flood(contender, material, &what).await?;
            match ended {
                Ok(figures) => {
                    let rate = figures.rates.map(|rates| rates.all);
                    // All at once: then the time from the start is all there is to go by.
                    let rate = rate.unwrap_or(events as f64 / figures.start_seconds);
                    rates.insert(contender, rate);
                }
                Err(wrong) => self.warn(contender, &wrong),
            }
        }
        materials.delete().await?;
        Ok(rates)
    }

    async fn floods(
        &mut self,
        plan: &Plan,
        contenders: &[Contender],
        events: impl Fn(Contender) -> anyhow::Result<u64>,
    ) -> anyhow::Result<Vec<Outcome>> {
        let mut materials = Materials::default();
        let mut outcomes = Vec::new();
        for round in 0..self.options.rounds {
            for contender in rotated(contenders, round) {
                let material = self
                    .material(&mut materials, plan, events(contender)?)
                    .await?;
                let what = format!("{}, round {}", contender.name(), round + 1);
                let ended = self.flood(contender, material, &what).await?;
                let events = material.filled.events;
                outcomes.push(self.outcome(contender, round, events, ended));
            }
        }
        materials.delete().await?;
        Ok(outcomes)
    }

    async fn steadies(
        &mut self,
        plan: &Plan,
        contenders: &[Contender],
        rate: f64,
    ) -> anyhow::Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for round in 0..self.options.rounds {
            for contender in rotated(contenders, round) {
                let task = self.task(plan, None);
                let what = format!("{}, {rate}/s, round {}", contender.name(), round + 1);
                self.show(plan, &what);
                let bar = self.bar.clone();
                let progress = |share: f64| bar.set_position((share * 1_000.0) as u64);
                let stage = self.stage(plan);
                let ended = stage.steady(contender, &task, rate, progress).await?;
                let (events, ended) = match ended {
                    Ok((events, figures)) => (events, Ok(figures)),
                    Err(wrong) => (plan.events, Err(wrong)),
                };
                outcomes.push(self.outcome(contender, round, events, ended));
            }
        }
        Ok(outcomes)
    }

    async fn flood(
        &mut self,
        contender: Contender,
        material: &Material,
        what: &str,
    ) -> anyhow::Result<Result<Figures, String>> {
        let task = self.task(&material.plan, Some(&material.topic));
        self.show(&material.plan, what);
        let bar = self.bar.clone();
        let progress = |share: f64| bar.set_position((share * 1_000.0) as u64);
        let stage = self.stage(&material.plan);
        let (filled, expected) = (&material.filled, &*material.expected);
        stage
            .flood(contender, &task, filled, expected, progress)
            .await
    }

    fn stage<'s>(&'s self, plan: &'s Plan) -> Stage<'s> {
        Stage {
            setup: &self.setup,
            client: &self.client,
            plan,
        }
    }

    fn outcome(
        &self,
        contender: Contender,
        round: u32,
        events: u64,
        ended: Result<Figures, String>,
    ) -> Outcome {
        let (wrong, figures) = match ended {
            Ok(figures) => (None, Some(figures)),
            Err(wrong) => {
                self.warn(contender, &wrong);
                (Some(wrong), None)
            }
        };
        Outcome {
            contender,
            round,
            events,
            wrong,
            figures,
        }
    }

    fn task(&mut self, plan: &Plan, topic: Option<&Topic>) -> Task {
        let name = self.name();
        Task {
            topic: topic.map_or_else(|| name.clone(), |topic| topic.name.clone()),
            name,
            partitions: plan.partitions,
            workload: plan.workload,
            work_rounds: plan.work_rounds,
        }
    }

    /// A name that is not taken.
    fn name(&mut self) -> String {
        self.runs += 1;
        format!("bench-{}-{}", std::process::id(), self.runs)
    }

    fn show(&self, plan: &Plan, what: &str) {
        self.bar.set_position(0);
        let workload = plan.workload.name();
        self.bar.set_message(format!("{workload}: {what}"));
    }

    fn warn(&self, contender: Contender, wrong: &str) {
        let name = contender.name();
        self.bar
            .suspend(|| eprintln!("bench: {name} is wrong: {wrong}"));
    }
}

fn rotated(contenders: &[Contender], round: u32) -> Vec<Contender> {
    let mut rotated = contenders.to_vec();
    if !rotated.is_empty() {
        rotated.rotate_left(round as usize % contenders.len());
    }
    rotated
}

/// To two digits.
fn rounded(count: f64) -> u64 {
    let unit = 10_f64.powf((count.max(10.0).log10().floor()) - 1.0);
    ((count / unit).round() * unit).max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another_contender() {
        let all = [
            Contender::Projectionist,
            Contender::Limit,
            Contender::OneByOne,
        ];
        assert_eq!(rotated(&all, 0), all);
        let expected = [
            Contender::Limit,
            Contender::OneByOne,
            Contender::Projectionist,
        ];
        assert_eq!(rotated(&all, 1), expected);
        assert_eq!(rotated(&all, 3), all);
        assert_eq!(rotated(&[], 1), []);
    }

    #[test]
    fn counts_are_rounded_to_two_digits() {
        for (count, expected) in [
            (0.0, 1),
            (7.4, 7),
            (94.0, 94),
            (4_449.0, 4_400),
            (996_000.0, 1_000_000),
        ] {
            assert_eq!(rounded(count), expected, "{count}");
        }
    }
}
