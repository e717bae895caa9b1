//! Readiness for those who may not look: states and counts.
//!
//! A reason may repeat what a plugin says of an event, or what a store says of a document. Here
//! each is told by what it concerns alone: projections, partitions and stores are the
//! configuration's names.

use super::{PartitionState, ProjectionState, Readiness};

/// Stands in the place of what is not told.
const UNTOLD: &str = "told to tokens of role read";

/// Where something is in the way of which this file knows nothing.
const SOMETHING: &str = "this host is not ready";

impl Readiness {
    /// The same, without what events, plugins or stores may have put into it.
    #[must_use]
    pub fn without_details(mut self) -> Readiness {
        let mut sentences = Vec::new();
        for (what, outage) in &mut self.unreachable {
            let since = humantime::format_rfc3339_seconds(outage.since);
            sentences.push(format!("{what} does not answer since {since}"));
            outage.reason = UNTOLD.to_owned();
        }
        for (name, projection) in &mut self.projections {
            let state = match &mut projection.state {
                ProjectionState::Joining => Some("has not joined its group yet"),
                ProjectionState::Running => None,
                ProjectionState::Waiting { reason, .. } => {
                    *reason = UNTOLD.to_owned();
                    Some("has failed")
                }
                ProjectionState::Failed { reason, .. } => {
                    *reason = UNTOLD.to_owned();
                    Some("has failed")
                }
                ProjectionState::Ended => Some("has ended"),
            };
            sentences.extend(state.map(|state| format!("projection \"{name}\" {state}")));
            for (partition, health) in &mut projection.partitions {
                let state = match &mut health.state {
                    PartitionState::Claiming => Some("is not claimed yet"),
                    PartitionState::Running | PartitionState::Draining => None,
                    // Its code stays: it is one of a few words.
                    PartitionState::Stopped { reason, .. } => {
                        *reason = UNTOLD.to_owned();
                        Some("stands still")
                    }
                };
                sentences.extend(
                    state.map(|state| {
                        format!("projection \"{name}\": partition {partition} {state}")
                    }),
                );
            }
        }
        // Where the whole sentence stands, its beginning stands as well.
        let of = |told: &[String]| {
            let known = |sentence: &&String| told.iter().any(|told| told.starts_with(*sentence));
            let mut found: Vec<String> = sentences.iter().filter(known).cloned().collect();
            found.sort();
            if found.len() < told.len() {
                found.push(SOMETHING.to_owned());
            }
            found
        };
        self.reasons = of(&self.reasons);
        self.degraded = of(&self.degraded);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::record::TopicPartition;
    use crate::telemetry::health::{Health, PartitionState, ProjectionState};

    #[test]
    fn what_an_event_has_brought_is_not_told_and_all_else_is() {
        let health = Health::default();
        let secret = || "card 4111".to_owned();
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        health.set_projection(&one, ProjectionState::Running);
        let stopped = PartitionState::Stopped {
            code: "event-refused",
            reason: secret(),
        };
        health.set_partition(&one, &TopicPartition::new("flights", 3), stopped);
        health.set_projection(
            &other,
            ProjectionState::Failed {
                code: "pipeline-ended",
                reason: secret(),
            },
        );
        health.set_spare("other");
        health.reachability("store \"main\"").silent(secret());
        let whole = health.readiness();
        let told = health.readiness().without_details();
        let text = serde_json::to_string(&told).expect("plain data serializes");
        assert!(!text.contains("4111"), "{text}");
        assert_eq!(told.reasons.len(), whole.reasons.len());
        assert_eq!(
            told.reasons[0],
            "projection \"one\": partition flights/3 stands still"
        );
        assert!(told.reasons[1].starts_with("store \"main\" does not answer since 20"));
        assert_eq!(told.degraded, ["projection \"other\" has failed"]);
        assert!(!told.ready);
    }
}
