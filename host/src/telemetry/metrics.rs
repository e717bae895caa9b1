//! Metrics, in Prometheus' text format.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::logging;

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
        self.handle.render()
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
    describe_gauge!(
        "projectionist_build_info",
        "1, with the host's version as a label"
    );
    describe_counter!(
        "projectionist_events_folded_total",
        "Events folded, those included that were folded again"
    );
    describe_counter!(
        "projectionist_events_stored_total",
        "Events whose effects are stored"
    );
    describe_counter!("projectionist_commits_total", "Transactions stored");
    describe_counter!(
        "projectionist_commit_conflicts_total",
        "Transactions that came to nothing because another host had changed a document"
    );
    describe_counter!(
        "projectionist_documents_written_total",
        "Documents inserted, updated or deleted"
    );
    describe_histogram!(
        "projectionist_commit_seconds",
        Unit::Seconds,
        "Time of a stored transaction"
    );
    describe_histogram!(
        "projectionist_fold_seconds",
        Unit::Seconds,
        "Time to fold one batch"
    );
    describe_counter!(
        "projectionist_events_parked_total",
        "Events that their projection could not take, and those behind them"
    );
    describe_gauge!("projectionist_parked_keys", "Keys that are parked");
    describe_gauge!("projectionist_parked_events", "Events that are parked");
    describe_counter!(
        "projectionist_duplicates_dropped_total",
        "Events that were dropped because their id was known"
    );
    describe_counter!(
        "projectionist_events_without_id_total",
        "Events without an id, where duplicates are to be dropped"
    );
    describe_counter!(
        "projectionist_events_without_key_total",
        "Events without a key, whatever becomes of them"
    );
    describe_gauge!("projectionist_dedupe_ids", "Ids that are remembered");
    describe_gauge!(
        "projectionist_dedupe_bytes",
        Unit::Bytes,
        "Memory of the ids that are remembered"
    );
    describe_gauge!(
        "projectionist_messages_waiting",
        "Messages that are stored and not sent yet"
    );
    describe_counter!(
        "projectionist_messages_sent_total",
        "Messages that Kafka has acknowledged, those included that were sent again"
    );
    describe_gauge!(
        "projectionist_lag_events",
        "Offsets between a partition's checkpoint and its end; 0 where this host does not own it"
    );
    describe_gauge!(
        "projectionist_unreachable",
        "1 while Kafka or a store does not answer"
    );
    describe_gauge!(
        "projectionist_unreachable_since_timestamp_seconds",
        Unit::Seconds,
        "Unix time since when Kafka or a store does not answer; 0 while it does"
    );
    describe_counter!(
        "projectionist_unreachable_total",
        "Calls to Kafka or a store that were not answered"
    );
    describe_counter!(
        "projectionist_log_lines_dropped_total",
        "Lines of this host's log that were lost because nobody read them or its disk was full"
    );
    describe_policies();
    describe_gateway();
    describe_counter!(
        "projectionist_plugin_count_total",
        "What plugins count themselves"
    );
}

fn describe_policies() {
    describe_gauge!(
        "projectionist_policy_working",
        "1 while a policy is asked, 0 while the built-in one stands in for it"
    );
    describe_counter!(
        "projectionist_policy_faults_total",
        "Answers of policies that were none, by what was wrong"
    );
    describe_counter!(
        "projectionist_picks_total",
        "Reads that a target was picked for, by whom"
    );
    describe_counter!(
        "projectionist_target_reads_total",
        "Reads of each target, by how they went"
    );
    describe_counter!(
        "projectionist_target_ejections_total",
        "Times that a target was ejected because it failed"
    );
    describe_gauge!(
        "projectionist_target_in_flight",
        "Reads that a target has not answered yet"
    );
    describe_histogram!(
        "projectionist_target_read_seconds",
        Unit::Seconds,
        "Time of an answered read, from the pick on"
    );
    describe_counter!(
        "projectionist_slot_moves_total",
        "Slots that were moved between lanes"
    );
    describe_gauge!(
        "projectionist_lane_load_ratio",
        "Share of a second that a lane has folded, of the last second"
    );
}

fn describe_gateway() {
    describe_gauge!(
        "projectionist_gateway_connections",
        "Open connections of the gateway"
    );
    describe_counter!(
        "projectionist_gateway_connections_refused_total",
        "Connections that were turned away because there were too many"
    );
    describe_gauge!("projectionist_gateway_streams", "Open streams of events");
    describe_gauge!(
        "projectionist_gateway_requests_in_flight",
        "Requests to the gateway that are not answered yet"
    );
    describe_counter!(
        "projectionist_gateway_requests_total",
        "Requests to the gateway, by route and outcome: answered, refused (4xx), failed (5xx)"
    );
    describe_histogram!(
        "projectionist_gateway_request_seconds",
        Unit::Seconds,
        "Time to the head of an answer of the gateway"
    );
    describe_counter!(
        "projectionist_gateway_reads_failed_total",
        "Reads of the gateway that a store has not answered"
    );
}
