//! What a balancer tells of its targets in the host's metrics.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Of a balancer.
pub(super) struct Meters {
    pub(super) picks_by_policy: Counter,
    pub(super) picks_by_built_in: Counter,
    pub(super) targets: Vec<TargetMeters>,
}

pub(super) struct TargetMeters {
    pub(super) answered: Counter,
    pub(super) failed: Counter,
    pub(super) ejections: Counter,
    pub(super) in_flight: Gauge,
    pub(super) seconds: Histogram,
}

impl Meters {
    pub(super) fn new<'a>(balanced: &str, targets: impl Iterator<Item = &'a str>) -> Self {
        let picks = |by| counter!("projectionist_picks_total", "balanced" => balanced.to_owned(), "by" => by);
        Meters {
            picks_by_policy: picks("policy"),
            picks_by_built_in: picks("built-in"),
            targets: targets
                .map(|name| TargetMeters::new(balanced, name))
                .collect(),
        }
    }
}

impl TargetMeters {
    fn new(balanced: &str, target: &str) -> Self {
        let labels = [
            ("balanced", balanced.to_owned()),
            ("target", target.to_owned()),
        ];
        let reads = |outcome: &'static str| {
            counter!(
                "projectionist_target_reads_total",
                "balanced" => balanced.to_owned(), "target" => target.to_owned(),
                "outcome" => outcome
            )
        };
        TargetMeters {
            answered: reads("answered"),
            failed: reads("failed"),
            ejections: counter!("projectionist_target_ejections_total", &labels),
            in_flight: gauge!("projectionist_target_in_flight", &labels),
            seconds: histogram!("projectionist_target_read_seconds", &labels),
        }
    }
}
