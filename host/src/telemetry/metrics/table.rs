//! Every metric that a host exports: its name, its kind, its labels, and what it means.
//!
//! Guarantee: whatever is exported stands here, with its help, and the guide's table says the same
//! (`tests`). Labels are bounded: names of the configuration, partitions, words of the code, and at
//! most 64 names that plugins choose.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    /// Of seconds.
    Histogram,
}

#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// In one sentence, as the guide has it.
    pub help: &'static str,
}

const PROJECTION: &[&str] = &["projection"];
/// Such a gauge is told for the partitions of this host alone.
pub(super) const PARTITION: &[&str] = &["projection", "topic", "partition"];
const TARGET: &[&str] = &["balanced", "target"];

/// All metrics, in the guide's order.
pub const TABLE: &[Metric] = &[
    gauge(
        "projectionist_build_info",
        &["version"],
        "1, with the host's version as a label",
    ),
    counter(
        "projectionist_events_folded_total",
        PROJECTION,
        "events folded, those included that were folded again",
    ),
    counter(
        "projectionist_events_stored_total",
        PROJECTION,
        "events whose effects are stored",
    ),
    counter(
        "projectionist_documents_written_total",
        PROJECTION,
        "documents inserted, updated or deleted",
    ),
    counter(
        "projectionist_commits_total",
        PROJECTION,
        "transactions stored",
    ),
    counter(
        "projectionist_commit_conflicts_total",
        PROJECTION,
        "transactions that came to nothing because another host had changed a document",
    ),
    counter(
        "projectionist_commit_rejections_total",
        PROJECTION,
        "transactions that came to nothing because the store does not take one of their documents",
    ),
    histogram(
        "projectionist_commit_seconds",
        PROJECTION,
        "time of a stored transaction",
    ),
    histogram(
        "projectionist_fold_seconds",
        PROJECTION,
        "time to fold one batch, with the documents that the plugin reads",
    ),
    gauge(
        "projectionist_lag_events",
        PARTITION,
        "offsets between the checkpoint and the partition's end, as seen every five seconds; \
         absent until that is known, and where this host does not own the partition",
    ),
    gauge(
        "projectionist_parked_keys",
        PARTITION,
        "keys that are parked; an event without a key counts as one",
    ),
    gauge(
        "projectionist_parked_events",
        PARTITION,
        "events that are parked",
    ),
    counter(
        "projectionist_events_parked_total",
        PROJECTION,
        "events that were parked, those included whose transaction was made again",
    ),
    counter(
        "projectionist_duplicates_dropped_total",
        PROJECTION,
        "events that were dropped because their id was known, those included whose \
         transaction was made again",
    ),
    counter(
        "projectionist_events_without_id_total",
        PROJECTION,
        "events without an id, where duplicates are to be dropped, those included whose \
         transaction was made again",
    ),
    counter(
        "projectionist_events_without_key_total",
        PROJECTION,
        "events without a key, whatever becomes of them",
    ),
    gauge(
        "projectionist_dedupe_ids",
        PARTITION,
        "ids that are remembered",
    ),
    gauge(
        "projectionist_dedupe_bytes",
        PARTITION,
        "memory of the ids that are remembered",
    ),
    counter(
        "projectionist_messages_sent_total",
        PROJECTION,
        "messages that Kafka has acknowledged, those included that were sent again",
    ),
    gauge(
        "projectionist_messages_waiting",
        PARTITION,
        "messages of the partition's events that are stored and not sent yet; at 10,000 \
         nothing more is folded until half of them are sent",
    ),
    gauge(
        "projectionist_unreachable",
        &["what"],
        "1 while Kafka or store \"NAME\" does not answer; appears with the first outage",
    ),
    gauge(
        "projectionist_unreachable_since_timestamp_seconds",
        &["what"],
        "since when, in Unix time; 0 while it answers",
    ),
    counter(
        "projectionist_unreachable_total",
        &["what"],
        "calls to it that were not answered",
    ),
    counter(
        "projectionist_gateway_requests_total",
        &["route", "outcome"],
        "requests to the gateway: answered, refused (4xx), failed (5xx)",
    ),
    histogram(
        "projectionist_gateway_request_seconds",
        &["route"],
        "time to the head of an answer, waiting for a position included",
    ),
    gauge(
        "projectionist_gateway_requests_in_flight",
        &[],
        "requests that are not answered yet",
    ),
    gauge(
        "projectionist_gateway_connections",
        &[],
        "open connections of readers",
    ),
    counter(
        "projectionist_gateway_connections_refused_total",
        &[],
        "connections that were turned away because there were too many",
    ),
    gauge(
        "projectionist_admin_connections",
        &[],
        "the same, of the admin API",
    ),
    counter(
        "projectionist_admin_connections_refused_total",
        &[],
        "the same, of the admin API",
    ),
    gauge(
        "projectionist_gateway_streams",
        &[],
        "open streams of events",
    ),
    counter(
        "projectionist_gateway_reads_failed_total",
        &["copy"],
        "reads that a copy of a store has not answered",
    ),
    counter(
        "projectionist_gateway_cache_reads_total",
        &["projection", "outcome"],
        "reads by id with a cache, hit and miss",
    ),
    gauge(
        "projectionist_gateway_cache_bytes",
        &[],
        "what the cache holds",
    ),
    gauge(
        "projectionist_gateway_copy_open",
        &["copy"],
        "1 while reads leave a copy alone because they kept failing",
    ),
    gauge(
        "projectionist_copy_fresh",
        PROJECTION,
        "0 while a projection's copy lags behind the others",
    ),
    gauge(
        "projectionist_copy_lag_events",
        PROJECTION,
        "events that another copy has stored and this one has not",
    ),
    counter(
        "projectionist_plugin_count_total",
        &["projection", "metric"],
        "what plugins count themselves (host::count), at most 64 names a projection",
    ),
    counter(
        "projectionist_plugin_count_dropped_total",
        PROJECTION,
        "counts of plugins beyond 64 names",
    ),
    counter(
        "projectionist_plugin_log_dropped_total",
        PROJECTION,
        "lines of the plugin's log beyond 100 a second",
    ),
    counter(
        "projectionist_log_lines_dropped_total",
        &[],
        "lines of the host's log that were lost: nobody read them, or its disk was full",
    ),
    gauge(
        "projectionist_policy_working",
        &["balanced"],
        "1 while a policy is asked, 0 while what the host has built in stands in for it",
    ),
    counter(
        "projectionist_policy_faults_total",
        &["balanced", "kind"],
        "faults of policies, by kind: trap, timeout, memory, refused, nonsense, engine",
    ),
    counter(
        "projectionist_picks_total",
        &["balanced", "by"],
        "reads that a target was picked for, by the policy or by the built-in one",
    ),
    counter(
        "projectionist_target_reads_total",
        &["balanced", "target", "outcome"],
        "reads of each target, answered and failed",
    ),
    histogram(
        "projectionist_target_read_seconds",
        TARGET,
        "time of an answered read, from the pick on",
    ),
    gauge(
        "projectionist_target_in_flight",
        TARGET,
        "reads that a target has not answered yet",
    ),
    counter(
        "projectionist_target_ejections_total",
        TARGET,
        "times that a target was ejected because it failed",
    ),
    counter(
        "projectionist_slot_moves_total",
        PROJECTION,
        "slots that were moved between lanes",
    ),
    gauge(
        "projectionist_lane_load_ratio",
        &["projection", "lane"],
        "share of a second that a lane has folded, of the last second",
    ),
];

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        labels,
        help,
    }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram,
        labels,
        help,
    }
}

impl Kind {
    /// As Prometheus calls it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}
