//! What runs found, as a line of text for each and a line of JSON for all.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::compare::Differences;
use super::history::Verdict;
use super::recovery::Recovery;
use super::schedule::Kind;

/// What one run found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub seed: u64,
    pub events: usize,
    /// Events that are expected to be parked, over both projections.
    pub parked: usize,
    pub faults: BTreeMap<Kind, usize>,
    pub differences: Differences,
    pub verdict: Verdict,
    pub recovery: Recovery,
    /// Hosts that ended when they should not have, or otherwise than they should.
    pub failures: Vec<String>,
    pub took: Duration,
}

/// What several runs found.
#[derive(Debug, Default)]
pub struct Summary {
    reports: Vec<Report>,
    /// Seeds whose runs came to no result, with the reason.
    broken: Vec<(u64, String)>,
}

impl Report {
    /// True where every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.problems().is_empty()
    }

    /// All that went wrong, in words.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.differences.notes.clone();
        problems.extend(
            self.verdict
                .notes
                .iter()
                .map(|note| format!("zombie: {note}")),
        );
        problems.extend(self.recovery.stuck.clone());
        problems.extend(self.failures.clone());
        problems
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            seed,
            events,
            differences,
            verdict,
            ..
        } = self;
        let faults: usize = self.faults.values().sum();
        let recovery = match self.recovery.longest() {
            Some((kind, took)) => format!("{:.1} s ({kind})", took.as_secs_f64()),
            None => "none".to_owned(),
        };
        let took = self.took.as_secs();
        let result = if self.is_clean() { "ok" } else { "FAILED" };
        write!(
            f,
            "seed {seed}: {result}, {faults} faults, {events} events, {} parked, lost {}, \
             duplicated {}, reordered {}, differing {}, zombie commits {}, {} claims, {} \
             transactions, longest recovery {recovery}, {took} s",
            self.parked,
            differences.lost,
            differences.duplicated,
            differences.reordered,
            differences.documents,
            verdict.zombie_commits,
            verdict.claims,
            verdict.transactions,
        )
    }
}

impl Summary {
    /// Adds a run, or the reason why it came to no result.
    pub fn add(&mut self, seed: u64, run: anyhow::Result<Report>) {
        match run {
            Ok(report) => self.reports.push(report),
            Err(error) => self.broken.push((seed, format!("{error:#}"))),
        }
    }

    /// True where every promise was kept in every run.
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty() && self.reports.iter().all(Report::is_clean)
    }

    /// One object.
    pub fn json(&self) -> Value {
        let mut faults: BTreeMap<String, usize> = BTreeMap::new();
        for report in &self.reports {
            for (kind, count) in &report.faults {
                *faults.entry(kind.to_string()).or_default() += count;
            }
        }
        let sum = |of: fn(&Report) -> u64| self.reports.iter().map(of).sum::<u64>();
        let events: usize = self.reports.iter().map(|report| report.events).sum();
        let parked: usize = self.reports.iter().map(|report| report.parked).sum();
        let recoveries = self.reports.iter().flat_map(|report| &report.recovery.each);
        let longest = recoveries.map(|(_, took)| took.as_secs_f64());
        let longest = longest.fold(0.0, f64::max);
        let failed = self.reports.iter().filter(|report| !report.is_clean());
        let broken = self.broken.iter().map(|(seed, _)| *seed);
        let failed: Vec<u64> = failed.map(|report| report.seed).chain(broken).collect();
        json!({
            "runs": self.reports.len() + self.broken.len(),
            "faults_total": faults.values().sum::<usize>(),
            "faults": faults,
            "events": events,
            "parked": parked,
            "lost": sum(|report| report.differences.lost),
            "duplicated": sum(|report| report.differences.duplicated),
            "reordered": sum(|report| report.differences.reordered),
            "differing_documents": sum(|report| report.differences.documents),
            "zombie_commits": sum(|report| report.verdict.zombie_commits),
            "longest_recovery_seconds": (longest * 10.0).round() / 10.0,
            "failed_seeds": failed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_adds_its_runs_up() {
        let mut summary = Summary::default();
        let report = |seed, lost| Report {
            seed,
            events: 10,
            faults: BTreeMap::from([(Kind::HostKilled, 2)]),
            differences: Differences {
                lost,
                notes: vec!["lost".to_owned(); usize::try_from(lost).expect("few")],
                ..Differences::default()
            },
            ..Report::default()
        };
        summary.add(1, Ok(report(1, 0)));
        assert!(summary.is_clean());
        summary.add(2, Ok(report(2, 3)));
        summary.add(3, Err(anyhow::anyhow!("no broker")));
        assert!(!summary.is_clean());
        let json = summary.json();
        assert_eq!((&json["runs"], &json["lost"]), (&json!(3), &json!(3)));
        assert_eq!(json["faults"], json!({ "host_killed": 4 }));
        assert_eq!(json["failed_seeds"], json!([2, 3]));
    }
}
