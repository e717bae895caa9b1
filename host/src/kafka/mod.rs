//! Kafka. The only user of rdkafka.
//!
//! - [`consumer`]: one thread that follows a consumer group and feeds the pipeline.
//! - [`producer`]: sends messages, for all projections of a host.
//! - [`metadata`]: which topics exist, and what their partitions hold.
//! - [`mock`]: librdkafka's in-process broker, for the demo and for trying out.
//! - `native`: what rdkafka does not offer, from librdkafka itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use tracing::{debug, error, info, warn};

use codes::{CREDENTIALS, Meaning};

use crate::telemetry::recurring;

pub use mistake::Mistake;

mod codes;
pub mod consumer;
pub mod metadata;
mod mistake;
pub mod mock;
mod native;
pub mod producer;

/// How to reach a cluster.
#[derive(Clone)]
pub struct Connection {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// What brokers call this client in their logs and quotas.
    pub client_id: String,
    /// Handed to librdkafka as they are.
    pub properties: BTreeMap<String, String>,
    /// Those of them whose values are to be shown to nobody.
    pub hidden: BTreeSet<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("librdkafka does not take what the configuration has under [kafka.properties]")]
    Config(#[source] Mistake),
    #[error(
        "Kafka at {brokers} does not answer; check kafka.brokers, and that the brokers advertise \
         addresses that this host can reach"
    )]
    Unreachable {
        brokers: String,
        #[source]
        source: Box<KafkaError>,
    },
    #[error(
        "Kafka at {brokers} accepts connections and answers nothing; a broker is stopped or \
         overloaded, something else has its port, or it wants another security.protocol"
    )]
    Silent {
        brokers: String,
        #[source]
        source: Box<KafkaError>,
    },
    #[error("Kafka at {brokers} does not let this host in; {CREDENTIALS}")]
    NotAuthenticated {
        brokers: String,
        #[source]
        source: Box<KafkaError>,
    },
    #[error(
        "topic \"{topic}\" does not exist at {brokers}; create it, for example with \
         kafka-topics.sh --create --topic {topic} --partitions 8, or correct the projection's topics or messages.topics"
    )]
    NoTopic { topic: String, brokers: String },
    #[error("topic \"{topic}\" cannot be read at {brokers}{}", way_out(.source))]
    Topic {
        topic: String,
        brokers: String,
        #[source]
        source: Box<KafkaError>,
    },
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// What a consumer reads ahead of the pipeline, of all partitions together: each has an equal part,
/// within these bounds. With less than the upper one, one partition by itself waits for the broker
/// between two fetches; with less than the lower one, each of many does.
const READ_AHEAD_BYTES: usize = 8 << 20;
const READ_AHEAD_BYTES_PER_PARTITION: RangeInclusive<usize> = 128 << 10..=512 << 10;

/// What librdkafka warns of, and nobody need act upon: that the group's offset was not reported in
/// a rebalance. Nothing depends on it, and it is reported again.
const EXPECTED: [&str; 1] = ["COMMITFAIL"];

/// Properties that say nothing to a producer, which would warn about each.
const CONSUMER_ONLY: [&str; 29] = [
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "offset.store.method",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

impl Error {
    /// True where trying again later may help. A password that is wrong may be one: a broker that
    /// goes down while a client logs in looks the same.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Silent { .. } | Error::NotAuthenticated { .. } => {
                true
            }
            Error::Config(_) | Error::NoTopic { .. } | Error::Topic { .. } | Error::Thread(_) => {
                false
            }
        }
    }
}

impl Connection {
    /// What every client has.
    fn base_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            // A broker that is back is found within a second; the default is up to ten.
            .set("reconnect.backoff.max.ms", "1000")
            .set("log_level", "5");
        config
    }

    /// No client could be made.
    fn refused(&self, error: &KafkaError) -> Error {
        Error::Config(Mistake::new(error, &self.properties, &self.hidden))
    }

    /// Of a client that reads topics of so many partitions.
    fn consumer_config(&self, partitions: usize) -> ClientConfig {
        let read_ahead_bytes = read_ahead_bytes(partitions);
        let mut config = self.base_config();
        config
            // How soon a queue that was full is looked at again; the default is a second. What fits
            // into it comes that often: half a megabyte every 10 ms was too little for one
            // partition with large values.
            .set("fetch.queue.backoff.ms", "2")
            // A partition that comes, or whose queue was full, waits for the fetch that is under
            // way on behalf of the others: at the default, half a second. What a broker has goes
            // out at once in any case.
            .set("fetch.wait.max.ms", "50")
            // Per partition: no more is fetched once so much waits to be read. What waits here comes
            // on top of the pipeline's own queues, and so does one fetch.
            .set(
                "queued.max.messages.kbytes",
                (read_ahead_bytes >> 10).to_string(),
            )
            .set("max.partition.fetch.bytes", read_ahead_bytes.to_string())
            // What a disk or a network has damaged is not to be taken for an event, nor for the end
            // of one.
            .set("check.crcs", "true")
            // How soon a topic's new partitions are noticed; the default is five minutes.
            .set("topic.metadata.refresh.interval.ms", "30000");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    fn producer_config(&self) -> ClientConfig {
        let mut config = self.base_config();
        config
            // Whether a message is too large is for the topic to say.
            .set("message.max.bytes", "16777216")
            // Requests that a topic with a small limit still takes.
            .set("batch.size", "131072");
        for (name, value) in &self.properties {
            if !CONSUMER_ONLY.contains(&name.as_str()) {
                config.set(name, value);
            }
        }
        config
    }
}

/// What is read ahead of each of so many partitions.
fn read_ahead_bytes(partitions: usize) -> usize {
    let (least, most) = READ_AHEAD_BYTES_PER_PARTITION.into_inner();
    (READ_AHEAD_BYTES / partitions.max(1)).clamp(least, most)
}

/// What to do about an error, as the end of a message, where that is known.
fn way_out(error: &KafkaError) -> String {
    match error.rdkafka_error_code().map(codes::meaning) {
        Some(Meaning::Refused(way_out) | Meaning::Never(way_out)) => format!("; {way_out}"),
        _ => String::new(),
    }
}

/// Logs what librdkafka says.
struct LogContext;

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(target: "librdkafka", %error, "{reason}");
    }

    /// The consumers' statistics are the ones to look at.
    fn stats(&self, _statistics: Statistics) {}
}

fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    if EXPECTED.contains(&facility) {
        debug!(target: "librdkafka", "{facility} {message}");
        return;
    }
    let is_grave = !matches!(
        level,
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug
    );
    if is_grave && !recurring::admit("librdkafka", facility, message) {
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => error!(target: "librdkafka", "{facility} {message}"),
        RDKafkaLogLevel::Warning => warn!(target: "librdkafka", "{facility} {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            info!(target: "librdkafka", "{facility} {message}");
        }
        RDKafkaLogLevel::Debug => debug!(target: "librdkafka", "{facility} {message}"),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::BaseConsumer;

    use super::*;

    fn connection_with(property: &str, value: &str) -> Connection {
        Connection {
            brokers: "localhost:9092".into(),
            client_id: "host".into(),
            properties: BTreeMap::from([(property.into(), value.into())]),
            hidden: BTreeSet::new(),
        }
    }

    #[test]
    fn many_partitions_share_what_is_read_ahead() {
        let read_ahead_kib = [0, 1, 4, 16, 32, 64, 1000].map(|n| read_ahead_bytes(n) >> 10);
        assert_eq!(read_ahead_kib, [512, 512, 512, 512, 256, 128, 128]);
    }

    #[test]
    fn what_the_configuration_says_comes_first() {
        let connection = connection_with("queued.max.messages.kbytes", "64");
        let config = connection.consumer_config(64);
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("64"));
        assert_eq!(config.get("max.partition.fetch.bytes"), Some("131072"));
    }

    #[test]
    fn what_large_messages_need_can_be_set() {
        let connection = connection_with("message.max.bytes", "67108864");
        let created: Result<BaseConsumer, _> = connection.consumer_config(1).create();
        assert_eq!(created.map(drop), Ok(()));
    }
}
