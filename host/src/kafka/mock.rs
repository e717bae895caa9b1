//! librdkafka's in-process broker: the real protocol without a server, for the demo and for
//! trying out. It keeps its topics in memory and is no substitute for a real broker in tests of
//! faults.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

/// A broker of this process. It ends when it is dropped.
pub struct MockBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

/// A record to produce.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
    /// Unix time; 0 where the broker is to note the time.
    pub timestamp_ms: i64,
}

const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

impl MockBroker {
    pub fn start(topic: &str, partitions: i32) -> Result<Self, KafkaError> {
        let cluster = MockCluster::new(1)?;
        cluster.create_topic(topic, partitions, 1)?;
        Ok(MockBroker { cluster })
    }

    /// For `kafka.brokers`.
    pub fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Produces records in their order; `on_record` is told of each.
    pub fn produce<'r>(
        &self,
        topic: &str,
        records: impl Iterator<Item = Record<'r>>,
        mut on_record: impl FnMut(),
    ) -> Result<(), KafkaError> {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", self.brokers())
            .set("linger.ms", "5")
            .create()?;
        for record in records {
            let mut headers = OwnedHeaders::new();
            for (key, value) in record.headers {
                headers = headers.insert(Header { key, value });
            }
            let mut message = BaseRecord::<[u8], [u8]>::to(topic).headers(headers);
            if let Some(key) = record.key {
                message = message.key(key);
            }
            if let Some(value) = record.value {
                message = message.payload(value);
            }
            if record.timestamp_ms > 0 {
                message = message.timestamp(record.timestamp_ms);
            }
            while let Err((error, refused)) = producer.send(message) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(error);
                }
                producer.flush(FLUSH_TIMEOUT)?;
                message = refused;
            }
            on_record();
        }
        producer.flush(FLUSH_TIMEOUT)
    }
}
