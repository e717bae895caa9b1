//! The producer: sends messages in order, each until all in-sync replicas have it.
//!
//! Guarantees:
//! - Messages that one caller sends, one call after the other, stand in their partitions in that
//!   order, each once: librdkafka repeats a request under the same sequence number for as long as
//!   it takes.
//! - What waits for Kafka is bounded in bytes; a caller waits for room.
//! - A caller that stops waiting takes nothing back: its messages may still be sent.
//!
//! Not here: when messages are sent again (`pipeline::relay`).
//! On its end: what is not acknowledged is dropped, for it is still in the outbox.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{debug, error, warn};

use super::{Connection, Error};
use crate::pipeline::outbox::{Outgoing, SendError, Sender};

/// A producer that all projections of a host share.
pub struct Producer {
    config: ClientConfig,
    /// Replaced after a fatal error, which ends a client for good.
    client: Mutex<Arc<Client>>,
    /// Bytes that may wait for Kafka.
    room: Arc<Semaphore>,
}

/// librdkafka's part. Closing it may wait for the broker, so that happens on a thread of its own.
struct Client(Option<ThreadedProducer<Deliveries>>);

struct Deliveries;

/// Travels with a message, and comes back with what became of it.
struct Delivery {
    result: oneshot::Sender<Result<(), KafkaError>>,
    /// Room that is given back now.
    _room: OwnedSemaphorePermit,
}

/// What waits for Kafka, of all projections together.
const ROOM_BYTES: usize = 64 << 20;

/// What a message counts for beside its key, value and headers.
const OVERHEAD_BYTES: usize = 1024;

/// How long to wait where librdkafka's own queue is full, which a property may have made small.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(10);

impl Producer {
    /// Makes the client. Nothing is sent yet.
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        let mut config = connection.producer_config();
        config
            // Repeats of a request are recognised by the broker.
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // For ever: a message that expired would be overtaken by the next one.
            .set("message.timeout.ms", "0")
            // Where Java's clients put a key.
            .set("partitioner", "murmur2_random");
        let client = Client::new(&config).map_err(|error| connection.refused(&error))?;
        Ok(Producer {
            config,
            client: Mutex::new(Arc::new(client)),
            room: Arc::new(Semaphore::new(ROOM_BYTES)),
        })
    }

    fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client.lock().expect("nothing panics under this lock"))
    }

    /// Puts a message into librdkafka's queue.
    async fn enqueue(
        &self,
        client: &Client,
        message: &Outgoing,
    ) -> Result<oneshot::Receiver<Result<(), KafkaError>>, KafkaError> {
        let bytes = (message.size_bytes() + OVERHEAD_BYTES).min(ROOM_BYTES);
        let permits = u32::try_from(bytes).expect("the room is less than 4 GiB");
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
        let room = room.expect("the semaphore is never closed");
        let (sender, result) = oneshot::channel();
        let delivery = Delivery {
            result: sender,
            _room: room,
        };
        let mut record = record(message, Box::new(delivery));
        while let Err((error, refused)) = client.get().send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error);
            }
            record = refused;
            tokio::time::sleep(QUEUE_FULL_PAUSE).await;
        }
        Ok(result)
    }

    /// What an error means to the sender of a message.
    fn explain(&self, client: &Arc<Client>, topic: &Arc<str>, error: KafkaError) -> SendError {
        let topic = Arc::clone(topic);
        if let Some((code, reason)) = client.get().client().fatal_error() {
            self.replace(client, &reason);
            if code == RDKafkaErrorCode::ClusterAuthorizationFailed {
                let reason = "this host may not send with idempotence; grant it IDEMPOTENT_WRITE \
                              on the cluster"
                    .to_owned();
                return SendError::Refused { topic, reason };
            }
        }
        let source = Box::new(error);
        let Some(code) = source.rdkafka_error_code() else {
            return SendError::Unavailable { topic, source };
        };
        match code {
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicOrPartition => SendError::NoTopic { topic },
            code => match refusal(code) {
                Some(way_out) => SendError::Refused {
                    topic,
                    reason: format!("{code}; {way_out}"),
                },
                None => SendError::Unavailable { topic, source },
            },
        }
    }

    /// Starts anew after a fatal error, unless another caller has done so.
    fn replace(&self, broken: &Arc<Client>, reason: &str) {
        let mut client = self.client.lock().expect("nothing panics under this lock");
        if !Arc::ptr_eq(&client, broken) {
            return;
        }
        match Client::new(&self.config) {
            Ok(new) => {
                warn!("the producer starts anew after a fatal error: {reason}");
                *client = Arc::new(new);
            }
            // It worked at the start. The next attempt to send comes here again.
            Err(error) => error!(%error, "cannot start the producer anew"),
        }
    }
}

#[async_trait]
impl Sender for Producer {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), SendError> {
        let client = self.client();
        let mut waiting = Vec::with_capacity(messages.len());
        for message in messages {
            let enqueued = self.enqueue(&client, message).await;
            let result = enqueued.map_err(|error| self.explain(&client, &message.topic, error))?;
            waiting.push((&message.topic, result));
        }
        for (topic, result) in waiting {
            // Without an answer, the client was closed over it.
            let result = result.await.unwrap_or(Err(KafkaError::Canceled));
            result.map_err(|error| self.explain(&client, topic, error))?;
        }
        Ok(())
    }
}

/// Why trying again cannot help, and the way out.
fn refusal(code: RDKafkaErrorCode) -> Option<&'static str> {
    Some(match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            "grant this host WRITE and DESCRIBE on the topic"
        }
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize => {
            "raise the topic's max.message.bytes, or lower \"batch.size\" in kafka.properties if \
             only several messages together are too large"
        }
        RDKafkaErrorCode::InvalidRecord => {
            "a topic that is compacted takes no message without a key"
        }
        RDKafkaErrorCode::InvalidTopic | RDKafkaErrorCode::PolicyViolation => {
            "correct the projection's messages.topics, or the brokers' policy"
        }
        _ => return None,
    })
}

fn record<'m>(
    message: &'m Outgoing,
    delivery: Box<Delivery>,
) -> BaseRecord<'m, [u8], [u8], Box<Delivery>> {
    let mut headers = OwnedHeaders::new_with_capacity(message.headers.len());
    for header in &message.headers {
        headers = headers.insert(Header {
            key: &header.name,
            value: header.value.as_deref(),
        });
    }
    let mut record = BaseRecord::with_opaque_to(&message.topic, delivery).headers(headers);
    if let Some(key) = &message.key {
        record = record.key(&key[..]);
    }
    if let Some(value) = &message.value {
        record = record.payload(&value[..]);
    }
    record
}

impl Client {
    fn new(config: &ClientConfig) -> Result<Self, KafkaError> {
        Ok(Client(Some(config.create_with_context(Deliveries)?)))
    }

    fn get(&self) -> &ThreadedProducer<Deliveries> {
        self.0.as_ref().expect("it is taken by drop alone")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let producer = self.0.take();
        let closing = std::thread::Builder::new()
            .name("close producer".to_owned())
            .spawn(move || drop(producer));
        if let Err(error) = closing {
            warn!(%error, "the producer was closed where it could hold others up");
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.clone()),
        };
        if delivery.result.send(result).is_err() {
            debug!("nobody waits for this message any more");
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(target: "librdkafka", %error, "{reason}");
    }
}
