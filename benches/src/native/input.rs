//! Reads a topic from its beginning, on a thread of its own.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Options;

/// Most records of a chunk, so that the first of many do not wait for the last.
const CHUNK_RECORDS: usize = 1_000;

/// Chunks that wait for a reader. The consumer waits when they are too many: it has no group that
/// would miss it.
const CHUNKS_MAX: usize = 64;

const POLL: Duration = Duration::from_millis(100);

/// Records in the order in which they were read, in one piece of memory.
#[derive(Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    records: Vec<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    partition: i32,
    offset: i64,
    start: u32,
    key_end: u32,
    end: u32,
}

/// One record of a chunk.
#[derive(Clone, Copy)]
pub(super) struct Record<'c> {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: &'c str,
    pub(super) value: &'c [u8],
}

impl Chunk {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn record(&self, index: usize) -> anyhow::Result<Record<'_>> {
        let place = self.records[index];
        let key = &self.bytes[place.start as usize..place.key_end as usize];
        Ok(Record {
            partition: place.partition,
            offset: place.offset,
            key: str::from_utf8(key).context("a key is no text")?,
            value: &self.bytes[place.key_end as usize..place.end as usize],
        })
    }

    fn push(&mut self, partition: i32, offset: i64, key: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let at = |position| u32::try_from(position).expect("a chunk is below 4 GiB");
        self.records.push(Place {
            partition,
            offset,
            start: at(start),
            key_end: at(key_end),
            end: at(self.bytes.len()),
        });
    }
}

/// Starts reading. Each of the readers gets the partitions whose number it has modulo `readers`.
///
/// The thread ends with its readers, or with an error that it prints.
pub(super) fn read(options: &Options, readers: usize) -> anyhow::Result<Vec<Receiver<Chunk>>> {
    let consumer = consumer(options)?;
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..readers).map(|_| sync_channel(CHUNKS_MAX)).unzip();
    let thread = std::thread::Builder::new().name("poll".to_owned());
    thread.spawn(move || {
        if let Err(error) = poll(&consumer, &senders) {
            eprintln!("bench-native: reading ends: {error:#}");
        }
    })?;
    Ok(receivers)
}

fn consumer(options: &Options) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &options.kafka)
        .set("group.id", &options.database)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(options.partitions)? {
        list.add_partition_offset(&options.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

fn poll(consumer: &BaseConsumer, senders: &[SyncSender<Chunk>]) -> anyhow::Result<()> {
    let mut chunks: Vec<Chunk> = senders.iter().map(|_| Chunk::default()).collect();
    loop {
        let mut wait = POLL;
        while let Some(message) = consumer.poll(wait) {
            let message = message?;
            let reader = message.partition() as usize % senders.len();
            chunks[reader].push(
                message.partition(),
                message.offset(),
                message.key().unwrap_or_default(),
                message.payload().unwrap_or_default(),
            );
            if chunks[reader].len() == CHUNK_RECORDS {
                break;
            }
            // Only what is here already.
            wait = Duration::ZERO;
        }
        for (chunk, sender) in chunks.iter_mut().zip(senders) {
            if chunk.len() > 0 {
                sender.send(std::mem::take(chunk)).context("nobody reads")?;
            }
        }
    }
}
