//! Topics that hold the events of a plan.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::workload::{Event, Events, Plan, at_us};

/// Names the header with an event's id, by which duplicates are found.
pub const ID_HEADER: &str = "event-id";

const TIMEOUT: Duration = Duration::from_secs(60);

/// Events between two reports of progress.
const PROGRESS_EVENTS: u64 = 10_000;

#[derive(Clone)]
pub struct Topic {
    pub name: String,
    brokers: String,
}

/// What a topic holds.
#[derive(Clone, Debug)]
pub struct Filled {
    /// The markers included.
    pub events: u64,
    /// How many markers each partition has.
    pub markers: Vec<u32>,
}

/// How the producer goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Many events in a request.
    Bulk,
    /// Each event at most some milliseconds after it is there.
    Prompt,
}

/// Produces the events of a plan one by one.
pub struct Feed {
    plan: Plan,
    events: Events,
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    value: Vec<u8>,
}

impl Topic {
    /// Makes an empty topic.
    ///
    /// # Errors
    /// The broker's.
    pub async fn create(brokers: &str, name: &str, partitions: u32) -> anyhow::Result<Self> {
        let topic = Topic {
            name: name.to_owned(),
            brokers: brokers.to_owned(),
        };
        let partitions = i32::try_from(partitions)?;
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let results = topic.admin()?.create_topics([&new], &admin_options()).await;
        for result in results.with_context(|| format!("Kafka at {brokers}"))? {
            result.map_err(|(topic, code)| anyhow::anyhow!("cannot make topic {topic}: {code}"))?;
        }
        Ok(topic)
    }

    /// Produces all events of a plan, as fast as the broker takes them.
    ///
    /// # Errors
    /// The broker's.
    pub fn fill(&self, plan: &Plan, progress: impl Fn(u64)) -> anyhow::Result<Filled> {
        let mut feed = self.feed_at(plan, Pace::Bulk)?;
        let mut count = 0;
        while let Some(event) = feed.next_event() {
            feed.send(&event, at_us(event.n))?;
            count += 1;
            if count % PROGRESS_EVENTS == 0 {
                progress(count);
            }
        }
        feed.finish(count)
    }

    /// Produces the events of a plan when they are due.
    ///
    /// # Errors
    /// A setting that the producer does not take.
    pub fn feed(&self, plan: &Plan) -> anyhow::Result<Feed> {
        self.feed_at(plan, Pace::Prompt)
    }

    fn feed_at(&self, plan: &Plan, pace: Pace) -> anyhow::Result<Feed> {
        let mut config = self.config();
        match pace {
            Pace::Bulk => config.set("linger.ms", "20").set("batch.size", "262144"),
            // The default of Kafka's own producer since 4.0.
            Pace::Prompt => config.set("linger.ms", "5"),
        };
        config.set("enable.idempotence", "true");
        Ok(Feed {
            plan: plan.clone(),
            events: plan.events(),
            producer: config.create()?,
            topic: self.name.clone(),
            value: Vec::new(),
        })
    }

    /// Deletes it, with its events.
    ///
    /// # Errors
    /// The broker's.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let admin = self.admin()?;
        for result in admin.delete_topics(&[&self.name], &admin_options()).await? {
            result.map_err(|(topic, code)| anyhow::anyhow!("cannot delete {topic}: {code}"))?;
        }
        Ok(())
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(self.config().create()?)
    }
}

impl Feed {
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.next()
    }

    /// Hands an event to the producer.
    ///
    /// # Errors
    /// The producer's; a full queue is waited for.
    pub fn send(&mut self, event: &Event, at_us: u64) -> anyhow::Result<()> {
        let Feed {
            plan,
            producer,
            topic,
            value,
            ..
        } = self;
        plan.value_into(event, at_us, value);
        let id = event.n.to_string();
        let mut record = BaseRecord::to(topic)
            .key(&event.key)
            .payload(&**value)
            .partition(event.partition.cast_signed())
            .headers(OwnedHeaders::new().insert(Header {
                key: ID_HEADER,
                value: Some(&id),
            }));
        let started = Instant::now();
        while let Err((error, refused)) = producer.send(record) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            anyhow::ensure!(
                full && started.elapsed() < TIMEOUT,
                "cannot produce: {error}"
            );
            // It has room once the broker has acknowledged some.
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
        Ok(())
    }

    /// Waits until the broker has everything.
    ///
    /// # Errors
    /// The broker's.
    pub fn finish(self, events: u64) -> anyhow::Result<Filled> {
        self.producer.flush(TIMEOUT)?;
        Ok(Filled {
            events,
            markers: self.events.markers(),
        })
    }
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| {
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    })
}

fn admin_options() -> AdminOptions {
    // Without it, the broker answers before the change is made.
    AdminOptions::new().operation_timeout(Some(TIMEOUT))
}
