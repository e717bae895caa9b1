//! Which topics exist, and what their partitions hold.
//!
//! Calls to Kafka block inside librdkafka, so they run on the runtime's blocking threads, never on
//! the consumer's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use tokio::net::TcpStream;

use super::codes::{self, Meaning};
use super::{Connection, Error, LogContext, native};
use crate::pipeline::intake::{Bounds, Positions, PositionsError};
use crate::record::{NextOffset, TopicId, TopicPartition};

/// Asks a cluster about its topics. It belongs to no consumer group.
#[derive(Clone)]
pub struct Metadata {
    client: Arc<BaseConsumer<LogContext>>,
    brokers: String,
    /// Set where the client reported that it cannot log in, until a request is answered. It tells
    /// so once, and whichever of several requests hears it, all of them failed for it.
    locked_out: Arc<AtomicBool>,
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a broker may take to accept a connection, where it has not answered.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Kafka's own.
const PORT: u16 = 9092;

/// Logs are among the reports, and a look that does not wait ends at the first one.
const REPORTS_TIMEOUT: Duration = Duration::from_millis(20);

impl ConsumerContext for LogContext {}

impl Metadata {
    /// Makes the client. Nothing is sent yet.
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        // It reads no records, so how many partitions there are does not matter.
        let config: ClientConfig = connection.consumer_config(1);
        let client = config
            .create_with_context(LogContext)
            .map_err(|error| connection.refused(&error))?;
        Ok(Metadata {
            client: Arc::new(client),
            brokers: connection.brokers.clone(),
            locked_out: Arc::default(),
        })
    }

    /// The number of partitions of a topic.
    pub async fn partitions(&self, topic: &str) -> Result<usize, Error> {
        let client = Arc::clone(&self.client);
        let name = topic.to_owned();
        let locked_out = Arc::clone(&self.locked_out);
        let asked = blocking(move || {
            let answer = client.fetch_metadata(Some(&name), REQUEST_TIMEOUT);
            match answer {
                Ok(_) => locked_out.store(false, Ordering::Relaxed),
                Err(_) => heed_reports(&client, &locked_out),
            }
            answer
        });
        let metadata = match asked.await {
            Ok(metadata) => metadata,
            Err(error) => return Err(self.unanswered(error).await),
        };
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.map(|found| (found.error(), found.partitions().len())) {
            None
            | Some(
                (Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), _) | (None, 0),
            ) => Err(Error::NoTopic {
                topic: topic.to_owned(),
                brokers: self.brokers.clone(),
            }),
            Some((Some(error), _)) => Err(Error::Topic {
                topic: topic.to_owned(),
                brokers: self.brokers.clone(),
                source: Box::new(KafkaError::MetadataFetch(RDKafkaErrorCode::from(error))),
            }),
            Some((None, partitions)) => Ok(partitions),
        }
    }
}

impl Metadata {
    /// Why a request was not answered.
    async fn unanswered(&self, error: KafkaError) -> Error {
        let (brokers, source) = (self.brokers.clone(), Box::new(error));
        if self.locked_out.load(Ordering::Relaxed) {
            return Error::NotAuthenticated { brokers, source };
        }
        match accepts(&self.brokers).await {
            true => Error::Silent { brokers, source },
            false => Error::Unreachable { brokers, source },
        }
    }
}

/// Whether one of these brokers takes a connection.
async fn accepts(brokers: &str) -> bool {
    for broker in brokers.split(',') {
        let address = broker
            .split_once("://")
            .map_or(broker, |(_, address)| address);
        let address = match address.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => address.to_owned(),
            Some(_) | None => format!("{address}:{PORT}"),
        };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
        if matches!(connected.await, Ok(Ok(_))) {
            return true;
        }
    }
    false
}

/// Looks for why a client has no answer. A request has only timed out or lost its connection; what
/// the client itself reports says more.
fn heed_reports(client: &BaseConsumer<LogContext>, locked_out: &AtomicBool) {
    while let Some(event) = client.poll(REPORTS_TIMEOUT) {
        let code = event.err().and_then(|error| error.rdkafka_error_code());
        if code.map(codes::meaning) == Some(Meaning::NotAuthenticated) {
            locked_out.store(true, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl Positions for Metadata {
    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, PositionsError> {
        let client = Arc::clone(&self.client);
        let asked = partition.clone();
        blocking(move || client.fetch_watermarks(&asked.topic, asked.partition, REQUEST_TIMEOUT))
            .await
            .map(|(low, high)| Bounds {
                low: NextOffset(low),
                high: NextOffset(high),
            })
            .map_err(|error| positions_error(partition.to_string(), error))
    }

    async fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, PositionsError> {
        let client = Arc::clone(&self.client);
        let asked = topic.to_owned();
        blocking(move || native::topics::id(client.client(), &asked, REQUEST_TIMEOUT))
            .await
            .map_err(|error| positions_error(format!("topic \"{topic}\""), error))
    }

    async fn exists(&self, topic: &str) -> Result<bool, PositionsError> {
        match self.partitions(topic).await {
            Ok(_) => Ok(true),
            Err(Error::NoTopic { .. }) => Ok(false),
            Err(
                Error::Topic { source, .. }
                | Error::Unreachable { source, .. }
                | Error::Silent { source, .. }
                | Error::NotAuthenticated { source, .. },
            ) => Err(positions_error(format!("topic \"{topic}\""), *source)),
            Err(error @ (Error::Config(_) | Error::Thread(_))) => {
                Err(PositionsError::Unavailable {
                    what: format!("topic \"{topic}\""),
                    source: Box::new(error),
                })
            }
        }
    }
}

fn positions_error(what: String, error: KafkaError) -> PositionsError {
    match error.rdkafka_error_code().map(codes::meaning) {
        Some(Meaning::Refused(way_out) | Meaning::Never(way_out)) => PositionsError::Refused {
            what,
            message: format!("{error}; {way_out}"),
        },
        _ => PositionsError::Unavailable {
            what,
            source: Box::new(error),
        },
    }
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        // The runtime is shutting down, or librdkafka's bindings panicked.
        Err(_) => Err(KafkaError::Canceled),
    }
}
