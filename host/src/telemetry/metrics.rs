//! Metrics, in Prometheus' text format.
//!
//! All of them are in [`TABLE`]: what is not there has no help, and a test finds it. A gauge that is
//! not told any more is set to NaN, which the page leaves out.

mod page;
mod table;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::logging;
use crate::record::TopicPartition;
use table::PARTITION;
pub use table::{Kind, Metric, TABLE};

/// The process's metrics. Cloning it shares them.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot set up metrics: {0}")]
pub struct Error(String);

/// From a tenth of a millisecond, in steps of about three, to ten seconds.
const SECONDS_BUCKETS: [f64; 11] = [
    0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0,
];

/// Has names among its labels that plugins choose.
pub const PLUGIN_COUNTS: &str = "projectionist_plugin_count_total";

/// How often histograms are folded into their buckets; `run_upkeep` does it.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

impl Metrics {
    /// The process's metrics; installed at the first call.
    pub fn global() -> Result<Metrics, Error> {
        static INSTALLED: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
        let installed = INSTALLED.get_or_init(|| install().map_err(|error| error.to_string()));
        match installed {
            Ok(handle) => Ok(Metrics {
                handle: handle.clone(),
            }),
            Err(error) => Err(Error(error.clone())),
        }
    }

    pub fn render(&self) -> String {
        // Counted where nothing can be logged, nor metrics be asked for.
        counter!("projectionist_log_lines_dropped_total").absolute(logging::lines_dropped());
        page::in_order(&self.handle.render())
    }

    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn install() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .install_recorder()?;
    describe();
    gauge!("projectionist_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

fn describe() {
    for Metric {
        name, kind, help, ..
    } in TABLE
    {
        match kind {
            Kind::Counter => describe_counter!(*name, *help),
            Kind::Gauge => describe_gauge!(*name, *help),
            Kind::Histogram => describe_histogram!(*name, Unit::Seconds, *help),
        }
    }
}

/// Takes back what was told of a partition that this host does not own any more.
pub(super) fn forget_partition(projection: &str, partition: &TopicPartition) {
    let labels = partition_labels(projection, partition);
    let is_gauge = |metric: &&Metric| metric.kind == Kind::Gauge && metric.labels == PARTITION;
    for metric in TABLE.iter().filter(is_gauge) {
        gauge!(metric.name, &labels).set(f64::NAN);
    }
}

/// The labels of what is told of one partition.
pub fn partition_labels(
    projection: &str,
    partition: &TopicPartition,
) -> [(&'static str, String); 3] {
    [
        ("projection", projection.to_owned()),
        ("topic", partition.topic.to_string()),
        ("partition", partition.partition.to_string()),
    ]
}
