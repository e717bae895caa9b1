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
use tokio::time::interval;

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

/// A busy machine may miss ticks; more than so much is not made up for.
const CREDIT_MAX: Duration = Duration::from_millis(200);

/// How many events may wait for the broker.
const UNDER_WAY_MAX: &str = "500";

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
            .set("queue.buffering.max.messages", UNDER_WAY_MAX)
            // Events must flow again as soon as the broker does, and not up to 10 s later.
            .set("reconnect.backoff.max.ms", "500")
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

    /// Produces all events, within this time where the broker is always there. While it is away,
    /// hardly anything is handed over, and nothing is made up for later: events are to be under way
    /// when faults happen. Returns once all are acknowledged.
    pub async fn produce(self, events: &[Event], within: Duration) -> anyhow::Result<()> {
        let rate = events.len() as f64 / within.as_secs_f64();
        let mut ticks = interval(TICK);
        let mut last = ticks.tick().await;
        let mut credit = 0.0;
        let mut handed = 0;
        while handed < events.len() {
            let now = ticks.tick().await;
            credit += rate * (now - last).min(CREDIT_MAX).as_secs_f64();
            last = now;
            while credit >= 1.0 && handed < events.len() {
                if !self.send(&events[handed])? {
                    credit = 0.0;
                    break;
                }
                credit -= 1.0;
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

    /// How many events are handed to the producer.
    pub fn handed(&self) -> usize {
        *self.handed.borrow()
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
