//! Topics on the real broker, or on one of a test's own.

use std::time::{Duration, Instant};

use flights::FlightEvent;
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const TIMEOUT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(100);

/// The bootstrap servers.
pub fn brokers() -> String {
    super::endpoint("PROJECTIONIST_TEST_KAFKA")
}

/// A topic of one test.
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    brokers: String,
}

/// A record to produce.
pub struct Record<'a> {
    pub key: Option<&'a str>,
    pub value: Option<&'a [u8]>,
    pub id: &'a str,
}

impl Topic {
    /// Makes a topic with a name of its own.
    pub async fn create(what: &str, partitions: i32) -> anyhow::Result<Self> {
        Topic::create_at(&brokers(), what, partitions).await
    }

    /// Makes a topic of one partition with a setting of its own.
    pub async fn create_with(
        what: &str,
        setting: (&'static str, &'static str),
    ) -> anyhow::Result<Self> {
        Topic::create_new(&brokers(), what, 1, &[setting]).await
    }

    /// Makes a topic with several settings of its own.
    pub async fn create_with_all(
        brokers: &str,
        what: &str,
        partitions: i32,
        settings: &[(&'static str, &'static str)],
    ) -> anyhow::Result<Self> {
        Topic::create_new(brokers, what, partitions, settings).await
    }

    /// Makes a topic at other brokers.
    pub async fn create_at(brokers: &str, what: &str, partitions: i32) -> anyhow::Result<Self> {
        Topic::create_new(brokers, what, partitions, &[]).await
    }

    async fn create_new(
        brokers: &str,
        what: &str,
        partitions: i32,
        settings: &[(&'static str, &'static str)],
    ) -> anyhow::Result<Self> {
        let topic = Topic::planned(brokers, what, partitions);
        topic.make_with(settings).await?;
        Ok(topic)
    }

    /// A topic with a name of its own that is not made yet.
    pub fn planned(brokers: &str, what: &str, partitions: i32) -> Self {
        Topic {
            name: super::unique(what),
            partitions,
            brokers: brokers.to_owned(),
        }
    }

    /// Makes it, also again after it was deleted.
    pub async fn make(&self) -> anyhow::Result<()> {
        self.make_with(&[]).await
    }

    async fn make_with(&self, settings: &[(&'static str, &'static str)]) -> anyhow::Result<()> {
        let mut new = NewTopic::new(&self.name, self.partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let admin = self.admin()?;
        outcome(admin.create_topics([&new], &admin_options()).await?)
    }

    /// Deletes the records of a partition that are before an offset.
    pub async fn delete_records(&self, partition: i32, before: i64) -> anyhow::Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(before))?;
        let admin = self.admin()?;
        let deleted = admin.delete_records(&list, &admin_options()).await?;
        for element in deleted.elements() {
            element.error()?;
        }
        Ok(())
    }

    /// Raises the number of its partitions.
    pub async fn grow(&mut self, partitions: usize) -> anyhow::Result<()> {
        let grown = NewPartitions::new(&self.name, partitions);
        let admin = self.admin()?;
        outcome(admin.create_partitions([&grown], &admin_options()).await?)?;
        self.partitions = i32::try_from(partitions)?;
        Ok(())
    }

    /// Deletes it, with its events.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let admin = self.admin()?;
        outcome(admin.delete_topics(&[&self.name], &admin_options()).await?)
    }

    /// To be kept until the answer has come: without its client, an answer is waited for in vain.
    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(self.client_config().create()?)
    }

    /// For clients of a test's own.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// Produces records in their order; a key decides on the partition, as with Kafka's own
    /// clients.
    pub fn produce<'r>(&self, records: impl Iterator<Item = Record<'r>>) -> anyhow::Result<()> {
        let mut config = self.client_config();
        config.set("partitioner", "murmur2_random");
        let producer = producer(config)?;
        for record in records {
            let headers = OwnedHeaders::new().insert(Header {
                key: FlightEvent::ID_HEADER,
                value: Some(record.id),
            });
            let mut message = BaseRecord::<str, [u8]>::to(&self.name).headers(headers);
            if let Some(key) = record.key {
                message = message.key(key);
            }
            if let Some(value) = record.value {
                message = message.payload(value);
            }
            while let Err((error, refused)) = producer.send(message) {
                let full = rdkafka::error::RDKafkaErrorCode::QueueFull;
                anyhow::ensure!(error.rdkafka_error_code() == Some(full), "{error}");
                producer.flush(TIMEOUT)?;
                message = refused;
            }
        }
        producer.flush(TIMEOUT)?;
        Ok(())
    }

    /// Produces flights.
    pub fn produce_flights(&self, events: &[FlightEvent]) -> anyhow::Result<()> {
        let values: Vec<Vec<u8>> = events.iter().map(FlightEvent::json).collect();
        self.produce(events.iter().zip(&values).map(|(event, value)| Record {
            key: event.key.as_deref(),
            value: Some(value),
            id: &event.id,
        }))
    }

    /// All records, partition by partition.
    pub fn read(&self) -> anyhow::Result<Vec<OwnedMessage>> {
        let consumer: BaseConsumer = self.client_config().set("group.id", &self.name).create()?;
        let mut records = Vec::new();
        for (partition, end) in (0..).zip(self.ends()?) {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&self.name, partition, Offset::Beginning)?;
            consumer.assign(&list)?;
            let (mut next, started) = (0, Instant::now());
            while next < end {
                anyhow::ensure!(
                    started.elapsed() < TIMEOUT,
                    "{}/{partition} came up to {next} of {end}",
                    self.name
                );
                // Nothing may also mean that something else has happened.
                if let Some(record) = consumer.poll(POLL) {
                    let record = record?.detach();
                    next = record.offset() + 1;
                    records.push(record);
                }
            }
        }
        Ok(records)
    }

    /// The end of each partition.
    pub fn ends(&self) -> anyhow::Result<Vec<i64>> {
        let consumer: BaseConsumer = self.client_config().create()?;
        (0..self.partitions)
            .map(|partition| Ok(consumer.fetch_watermarks(&self.name, partition, TIMEOUT)?.1))
            .collect()
    }

    /// What a group has committed at the broker, by partition.
    pub fn committed(&self, group: &str) -> anyhow::Result<Vec<Option<i64>>> {
        let consumer: BaseConsumer = self.client_config().set("group.id", group).create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.name, 0, self.partitions - 1);
        let committed = consumer.committed_offsets(list, TIMEOUT)?;
        let elements = committed.elements();
        let offsets = elements.iter().map(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        });
        Ok(offsets.collect())
    }
}

fn admin_options() -> AdminOptions {
    // Without it, the broker answers before the change is made.
    AdminOptions::new().operation_timeout(Some(TIMEOUT))
}

fn outcome(results: Vec<TopicResult>) -> anyhow::Result<()> {
    for result in results {
        result.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
    }
    Ok(())
}

/// A producer that waits a little for batches.
fn producer(
    mut config: ClientConfig,
) -> anyhow::Result<ThreadedProducer<rdkafka::producer::DefaultProducerContext>> {
    // The topic has the last word.
    config.set("message.max.bytes", "50000000");
    Ok(config.set("linger.ms", "5").create()?)
}
