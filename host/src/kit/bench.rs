//! Times a plugin on its author's desk: its own work apart from the host's.
//!
//! The same events are folded again and again, each time from no documents on, in batches, as a
//! host does. What counts is the median batch: a machine has other things to do now and then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plugin::Projection;
use crate::projection::{Batch, Error, Projector as _};
use crate::record::{self, TopicPartition};

use super::events::Event;
use super::memory::Memory;

/// Nanoseconds for each event, all told, and the part that is the plugin's own.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    total_ns: f64,
    plugin_ns: f64,
}

/// What a plugin costs.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cost {
    pub batches: usize,
    /// Of the median batch: calling the plugin, with the copies into and out of its memory.
    pub plugin_ns_per_event: f64,
    /// The same of the fastest batch.
    pub fastest_plugin_ns_per_event: f64,
    /// Of the median batch: columns, documents, checks and the conversion to BSON. Kafka and the
    /// store come on top.
    pub host_ns_per_event: f64,
    /// Of the plugin's instance at the end.
    pub memory_bytes: usize,
}

/// How to time.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub batch_events: usize,
    /// Ends with the first pass over all events that goes beyond.
    pub time: Duration,
}

/// Times a projection on these events, of which there must be some.
///
/// # Errors
/// What the plugin cannot fold, or the engine's own failure: a bench of faults would tell nothing.
pub fn run(projection: &mut Projection, events: &[Event], plan: Plan) -> Result<Cost, Error> {
    let partition = TopicPartition::new("bench", 0);
    let records: Vec<Arc<record::Event>> = events.iter().map(|e| e.record.clone()).collect();
    let mut samples = Vec::new();
    let start = Instant::now();
    // The first pass warms up: memory that an instance has grown to is there afterwards.
    let mut is_warm = false;
    while samples.is_empty() || start.elapsed() < plan.time {
        let documents = Memory::default();
        for events in records.chunks(plan.batch_events) {
            let batch = Batch {
                partition: &partition,
                events,
            };
            let reader = Box::new(documents.clone());
            let begin = Instant::now();
            let output = projection.project(batch, reader)?;
            let total = begin.elapsed();
            documents.put(output.writes);
            if is_warm {
                let per_event = |time: Duration| time.as_nanos() as f64 / events.len() as f64;
                samples.push(Sample {
                    total_ns: per_event(total),
                    plugin_ns: per_event(projection.last_call().plugin_time),
                });
            }
        }
        is_warm = true;
    }
    Ok(cost(&mut samples, projection.last_call().memory_bytes))
}

fn cost(samples: &mut [Sample], memory_bytes: usize) -> Cost {
    samples.sort_by(|one, other| one.total_ns.total_cmp(&other.total_ns));
    let median = samples[samples.len() / 2];
    let plugin_ns = samples.iter().map(|sample| sample.plugin_ns);
    Cost {
        batches: samples.len(),
        plugin_ns_per_event: median.plugin_ns,
        fastest_plugin_ns_per_event: plugin_ns.fold(f64::INFINITY, f64::min),
        host_ns_per_event: median.total_ns - median.plugin_ns,
        memory_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_batch_counts_and_one_that_was_disturbed_does_not() {
        let sample = |total_ns, plugin_ns| Sample {
            total_ns,
            plugin_ns,
        };
        let mut samples = [
            sample(9000.0, 8000.0),
            sample(30.0, 20.0),
            sample(40.0, 21.0),
        ];
        let cost = cost(&mut samples, 7);
        assert_eq!((cost.batches, cost.memory_bytes), (3, 7));
        assert_eq!(cost.plugin_ns_per_event, 21.0);
        assert_eq!(cost.fastest_plugin_ns_per_event, 20.0);
        assert_eq!(cost.host_ns_per_event, 19.0);
    }
}
