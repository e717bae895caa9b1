//! What MongoDB and a machine can do at best: batches in transactions with their checkpoints, in
//! native code.
//!
//! It writes as the host does: it reads which documents exist, inserts those that are new, updates
//! those that exist, and moves the checkpoints of all partitions of the batch, in one transaction,
//! with majority writes; each document says where it comes from, in as many bytes as the host's. It
//! keeps documents in memory, folds the next batch while the last one is being stored, and has two
//! transactions in flight, each for one half of the partitions.
//!
//! What it leaves out is what costs the host time: Wasm, dedupe, fences, checks of what came out
//! of a plugin, parking, groups. It starts at the beginning of the topic each time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::Receiver;

use anyhow::Context as _;
use bson::raw::{RawArrayBuf, RawDocumentBuf};
use bson::{doc, rawdoc};
use futures_util::TryStreamExt as _;
use mongodb::options::ReadConcern;
use mongodb::{ClientSession, Database};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::cache::Cache;
use super::input::{Chunk, read};
use super::stamp::Stamp;
use super::{Batch, Options, connect, transaction};
use crate::fold::Fold;
use crate::workload::Shape;

/// Holds the next offset of each partition.
const CHECKPOINTS: &str = "_checkpoints";

/// Ids in one request.
const LOAD_IDS_MAX: usize = 5_000;

/// Two transactions in flight keep two cores of a server busy.
const WORKERS: u32 = 2;

/// Runs until an error.
///
/// # Errors
/// Kafka's and MongoDB's that cannot be tried again.
pub fn limit<F: Fold>(options: &Options, make: impl Fn() -> F) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let database = runtime.block_on(connect(options))?;
    runtime.block_on(prepare(&database, options))?;
    // Partitions whose events meet in the same documents cannot be stored by two.
    let shared = options.workload.shape() == Shape::Pairs;
    let workers = if shared {
        1
    } else {
        WORKERS.min(options.partitions)
    };
    let (ended, ends) = std::sync::mpsc::channel();
    for input in read(options, workers as usize)? {
        let session = runtime.block_on(async { database.client().start_session().await })?;
        let worker = Worker {
            fold: make(),
            view: options.workload.shape().view(),
            topic: options.topic.clone(),
            stamp: Stamp::new(&options.topic),
            database: database.clone(),
            cache: Cache::new(),
            input,
            waiting: VecDeque::new(),
            position: 0,
            limits: options.batch,
            storing: Storing::Idle(Box::new(session)),
            runtime: runtime.handle().clone(),
        };
        let ended = ended.clone();
        // Nobody takes the second end: the first one ends the program.
        std::thread::spawn(move || drop(ended.send(worker.run())));
    }
    drop(ended);
    ends.recv().context("a worker has panicked")?
}

/// Makes the collections and the checkpoints, so that no transaction has to.
async fn prepare(database: &Database, options: &Options) -> anyhow::Result<()> {
    let view = options.workload.shape().view();
    database.create_collection(view).await?;
    let checkpoints = (0..options.partitions)
        .map(|partition| doc! { "_id": checkpoint(&options.topic, partition), "next": 0_i64 });
    let collection = database.collection(CHECKPOINTS);
    collection.insert_many(checkpoints).await?;
    Ok(())
}

fn checkpoint(topic: &str, partition: impl std::fmt::Display) -> String {
    format!("{topic}/{partition}")
}

/// Folds some of the partitions.
struct Worker<F: Fold> {
    fold: F,
    view: &'static str,
    topic: String,
    stamp: Stamp,
    database: Database,
    cache: Cache<F::Document>,
    input: Receiver<Chunk>,
    /// Read, and not yet folded from `position` in the first one on.
    waiting: VecDeque<Chunk>,
    position: usize,
    limits: Batch,
    storing: Storing,
    runtime: Handle,
}

/// The one transaction that a worker has in flight.
enum Storing {
    Idle(Box<ClientSession>),
    Busy(JoinHandle<anyhow::Result<Box<ClientSession>>>),
    /// An error has ended it.
    Failed,
}

/// An event of a batch.
struct Parsed<E> {
    event: E,
    partition: i32,
    offset: i64,
    /// Places in the cache of the documents that it changes.
    places: (usize, Option<usize>),
}

impl<F: Fold> Worker<F> {
    fn run(mut self) -> anyhow::Result<()> {
        loop {
            self.gather()?;
            let commands = self.batch()?;
            self.store(commands)?;
        }
    }

    /// Waits for events, and takes what has come in, up to a batch.
    fn gather(&mut self) -> anyhow::Result<()> {
        if self.waiting.is_empty() {
            let chunk = self.input.recv().context("the consumer has ended")?;
            self.waiting.push_back(chunk);
        }
        let read: usize = self.waiting.iter().map(Chunk::len).sum();
        let mut events = read - self.position;
        while events < self.limits.events {
            let Ok(chunk) = self.input.try_recv() else {
                break;
            };
            events += chunk.len();
            self.waiting.push_back(chunk);
        }
        Ok(())
    }

    /// Folds a batch, and builds the commands that store it.
    fn batch(&mut self) -> anyhow::Result<Vec<RawDocumentBuf>> {
        if self.cache.begin() {
            self.settle()?;
        }
        let chunks = std::mem::take(&mut self.waiting);
        let mut cut = (chunks.len(), 0);
        let mut events = Vec::new();
        let mut touched = Vec::new();
        let mut next = BTreeMap::new();
        let mut bytes = 0;
        'cut: for (number, chunk) in chunks.iter().enumerate() {
            let start = if number == 0 { self.position } else { 0 };
            for index in start..chunk.len() {
                let full = events.len() >= self.limits.events
                    || touched.len() >= self.limits.documents
                    || bytes >= self.limits.bytes;
                if full {
                    cut = (number, index);
                    break 'cut;
                }
                let record = chunk.record(index)?;
                let event: F::Event<'_> = serde_json::from_slice(record.value)?;
                let (one, other) = F::ids(record.key, &event);
                let mut touch = |id: &str| {
                    let (place, first) = self.cache.touch(id);
                    if first {
                        touched.push(place);
                    }
                    place
                };
                let places = (touch(one), other.map(touch));
                events.push(Parsed {
                    event,
                    partition: record.partition,
                    offset: record.offset,
                    places,
                });
                next.insert(record.partition, record.offset + 1);
                bytes += record.value.len();
            }
        }

        self.load(&touched)?;
        for parsed in &events {
            for place in std::iter::once(parsed.places.0).chain(parsed.places.1) {
                let slot = self.cache.slot(place);
                self.fold.fold(&parsed.event, &slot.id, &mut slot.document);
                slot.origin.partition = parsed.partition;
                slot.origin.offset = parsed.offset;
            }
        }
        drop(events);
        let (number, position) = cut;
        self.waiting = chunks.into_iter().skip(number).collect();
        self.position = position;
        self.commands(&touched, &next)
    }

    /// Reads those of the documents that are not in memory.
    fn load(&mut self, touched: &[usize]) -> anyhow::Result<()> {
        let mut unknown = Vec::new();
        for &place in touched {
            let slot = self.cache.slot(place);
            if !std::mem::replace(&mut slot.known, true) {
                unknown.push(slot.id.to_string());
            }
        }
        let collection = self.database.collection::<RawDocumentBuf>(self.view);
        for ids in unknown.chunks(LOAD_IDS_MAX) {
            let find = collection
                .find(doc! { "_id": { "$in": ids } })
                .read_concern(ReadConcern::majority())
                // One more than can be found, so that the first answer is the last.
                .batch_size(LOAD_IDS_MAX as u32 + 1);
            let found: Vec<RawDocumentBuf> = self
                .runtime
                .block_on(async { find.await?.try_collect().await })?;
            for document in found {
                let id = document.get_str("_id")?;
                let slot = self.cache.find(id).context("an id that nobody asked for")?;
                slot.document = bson::deserialize_from_slice(document.as_bytes())?;
                slot.stored = true;
                slot.origin.revision = document.get_document("_m")?.get_i64("rev")?;
                self.cache.grow(document.as_bytes().len());
            }
        }
        Ok(())
    }

    fn commands(
        &mut self,
        touched: &[usize],
        next: &BTreeMap<i32, i64>,
    ) -> anyhow::Result<Vec<RawDocumentBuf>> {
        let (mut inserts, mut updates) = (RawArrayBuf::new(), RawArrayBuf::new());
        for &place in touched {
            let slot = self.cache.slot(place);
            let fields = bson::serialize_to_raw_document_buf(&slot.document)?;
            slot.origin.revision += 1;
            let stamp = self.stamp.element(slot.origin);
            let document = transaction::with_id(&slot.id, &fields, stamp)?;
            if std::mem::replace(&mut slot.stored, true) {
                updates.push(transaction::replacement(&slot.id, document));
            } else {
                let bytes = document.as_bytes().len();
                inserts.push(document);
                self.cache.grow(bytes);
            }
        }
        let mut checkpoints = RawArrayBuf::new();
        for (partition, next) in next {
            let id = checkpoint(&self.topic, partition);
            checkpoints.push(rawdoc! { "q": { "_id": id }, "u": { "$set": { "next": *next } } });
        }

        let mut commands = Vec::with_capacity(3);
        if !updates.is_empty() {
            commands.push(transaction::update(self.view, updates));
        }
        if !inserts.is_empty() {
            commands.push(transaction::insert(self.view, inserts));
        }
        commands.push(transaction::update(CHECKPOINTS, checkpoints));
        Ok(commands)
    }

    /// Waits until the last batch is stored, and starts to store this one.
    fn store(&mut self, commands: Vec<RawDocumentBuf>) -> anyhow::Result<()> {
        let mut session = self.idle()?;
        let database = self.database.clone();
        self.storing = Storing::Busy(self.runtime.spawn(async move {
            transaction::run(&database, &mut session, &commands).await?;
            Ok(session)
        }));
        Ok(())
    }

    /// Waits until the last batch is stored.
    fn settle(&mut self) -> anyhow::Result<()> {
        self.storing = Storing::Idle(self.idle()?);
        Ok(())
    }

    /// The session, once nothing is in flight.
    fn idle(&mut self) -> anyhow::Result<Box<ClientSession>> {
        match std::mem::replace(&mut self.storing, Storing::Failed) {
            Storing::Idle(session) => Ok(session),
            Storing::Busy(task) => self.runtime.block_on(task)?,
            Storing::Failed => anyhow::bail!("the batch before was not stored"),
        }
    }
}
