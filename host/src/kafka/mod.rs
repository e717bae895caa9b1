//! Kafka. The only user of rdkafka.
//!
//! - [`consumer`]: one thread that follows a consumer group and feeds the pipeline.
//! - [`metadata`]: which topics exist, and what their partitions hold.
//! - [`mock`]: librdkafka's in-process broker, for the demo and for trying out.

use std::collections::BTreeMap;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use tracing::{debug, error, info, warn};

pub mod consumer;
pub mod metadata;
pub mod mock;

/// How to reach a cluster.
#[derive(Clone)]
pub struct Connection {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// What brokers call this client in their logs and quotas.
    pub client_id: String,
    /// Handed to librdkafka as they are; they may hold secrets.
    pub properties: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("librdkafka does not take what the configuration has under [kafka.properties]")]
    Config(#[source] Box<KafkaError>),
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
        "topic \"{topic}\" does not exist at {brokers}; create it, for example with \
         kafka-topics.sh --create --topic {topic} --partitions 8, or correct the projection's topics"
    )]
    NoTopic { topic: String, brokers: String },
    #[error("topic \"{topic}\" cannot be read at {brokers}")]
    Topic {
        topic: String,
        brokers: String,
        #[source]
        source: Box<KafkaError>,
    },
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

impl Connection {
    fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            // The default of a second holds a fast consumer up whenever its queue was full.
            .set("fetch.queue.backoff.ms", "10")
            // Per consumer. What waits here comes on top of the pipeline's own queues.
            .set("queued.max.messages.kbytes", "16384")
            .set("log_level", "5");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
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
