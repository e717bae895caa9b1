//! Produces a run's events, in their order and at a steady rate.
//!
//! Guarantee: the producer is idempotent, so a crash of the broker makes neither gaps nor
//! repetitions that the run did not want. Each partition's events keep their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::ClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use tokio::sync::watch;
use tokio::time::{Instant, interval};

use super::events::{Event, ID_HEADER};
use crate::kafka::Topic;

/// How far the input is; cheap to clone.
#[derive(Clone)]
pub struct Progress {
    handed: watch::Receiver<usize>,
    delivered: Arc<Delivered>,
}

/// Produces events.
pub struct Producer {
    inner: ThreadedProducer<Deliveries>,
    topic: String,
    handed: watch::Sender<usize>,
    delivered: Arc<Delivered>,
}

struct Deliveries(Arc<Delivered>);

struct Delivered {
    /// By partition: behind the newest event that the broker has acknowledged.
    ends: Vec<AtomicI64>,
    failed: AtomicU64,
}

const TICK: Duration = Duration::from_millis(20);

/// Longer than any outage of a run.
const DELIVERY_TIMEOUT_MS: &str = "180000";
const FLUSH_TIMEOUT: Duration = Duration::from_secs(200);

impl Producer {
    pub fn new(topic: &Topic) -> anyhow::Result<Self> {
        let ends = (0..topic.partitions).map(|_| AtomicI64::new(0)).collect();
        let delivered = Arc::new(Delivered {
            ends,
            failed: AtomicU64::new(0),
        });
        let inner = topic
            .client_config()
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", DELIVERY_TIMEOUT_MS)
            .set("linger.ms", "5")
            .create_with_context(Deliveries(Arc::clone(&delivered)))?;
        Ok(Producer {
            inner,
            topic: topic.name.clone(),
            handed: watch::Sender::new(0),
            delivered,
        })
    }

    /// Tells others how far it is.
    pub fn progress(&self) -> Progress {
        Progress {
            handed: self.handed.subscribe(),
            delivered: Arc::clone(&self.delivered),
        }
    }

    /// Produces all events within this time, or later where the broker takes them later. Returns
    /// once all of them are acknowledged.
    pub async fn produce(self, events: &[Event], within: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut ticks = interval(TICK);
        let mut handed = 0;
        while handed < events.len() {
            ticks.tick().await;
            let share = started.elapsed().as_secs_f64() / within.as_secs_f64();
            while handed < events.len() && (handed as f64) < share * events.len() as f64 {
                if !self.send(&events[handed])? {
                    break;
                }
                handed += 1;
            }
            self.handed.send_replace(handed);
        }
        let Producer {
            inner, delivered, ..
        } = self;
        let flushed = tokio::task::spawn_blocking(move || inner.flush(FLUSH_TIMEOUT)).await?;
        flushed.context("the broker does not take the last events")?;
        let failed = delivered.failed.load(Ordering::Relaxed);
        anyhow::ensure!(failed == 0, "the broker has not taken {failed} events");
        Ok(())
    }

    /// False where there is no room at the moment.
    fn send(&self, event: &Event) -> anyhow::Result<bool> {
        let id = Header {
            key: ID_HEADER,
            value: Some(&event.id),
        };
        let record = BaseRecord::to(&self.topic)
            .key(&event.key)
            .payload(&event.value)
            .headers(OwnedHeaders::new().insert(id));
        match self.inner.send(record) {
            Ok(()) => Ok(true),
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                Ok(false)
            }
            Err((error, _)) => Err(error).context("the producer has failed"),
        }
    }
}

impl Progress {
    /// Waits until so many events are handed to the producer, or all of them are delivered.
    pub async fn wait_for(&mut self, events: usize) {
        // An error means that the producer has gone, after its last event.
        drop(self.handed.wait_for(|&handed| handed >= events).await);
    }

    /// By partition: behind the newest event that the broker has acknowledged.
    pub fn ends(&self) -> Vec<i64> {
        let ends = self.delivered.ends.iter();
        ends.map(|end| end.load(Ordering::Relaxed)).collect()
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let place = result.as_ref().ok().and_then(|message| {
            let partition = usize::try_from(message.partition()).ok()?;
            Some((self.0.ends.get(partition)?, message.offset()))
        });
        match place {
            Some((end, offset)) => {
                end.fetch_max(offset + 1, Ordering::Relaxed);
            }
            None => {
                self.0.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
