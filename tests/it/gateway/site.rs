//! A gateway in front of a store, and a projection that writes to it.

use std::future::Future;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use bson::raw::RawDocumentBuf;
use bson::rawdoc;
use projectionist::gateway::copies::{Copies, Copy, Opened};
use projectionist::gateway::positions::Positions;
use projectionist::gateway::{Gateway, Limits, Setup, View};
use projectionist::parked::{KeyEntry, Reason};
use projectionist::projection::Ownership;
use projectionist::record::{Epoch, Lineage, NextOffset, Offset, TopicPartition};
use projectionist::store::embedded::EmbeddedStore;
use projectionist::store::list::Index;
use projectionist::store::mongo::MongoStore;
use projectionist::store::{
    Advance, Change, CheckpointId, Commit, CommitError, EntryChange, Guard, Provenance, Readable,
    Repairs, StoredDocument, ViewId, Write,
};
use projectionist::telemetry::health::Health;
use projectionist_tests::mongo;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Connection};

/// Which store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Embedded,
    Mongo,
}

pub(crate) struct Site {
    pub(crate) store: Arc<dyn Readable>,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    /// The gateway, and what keeps its positions current.
    tasks: JoinSet<()>,
    /// Of the embedded store.
    _folder: TempDir,
    /// Of MongoDB.
    database: Option<String>,
}

/// A projection that owns a partition.
pub(crate) struct Writer {
    store: Arc<dyn Readable>,
    checkpoint: CheckpointId,
    epoch: Epoch,
    next: i64,
}

/// Time-outs that nobody runs into on a busy machine.
pub(crate) fn limits() -> Limits {
    Limits {
        connections_max: 100,
        connections_per_address_max: 100,
        streams_max: 3,
        streams_per_client_max: 3,
        stream_lifetime: Duration::from_hours(1),
        stream_keep_alive: Duration::from_secs(15),
        request_timeout: Duration::from_secs(30),
        wait_max: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(30),
        access_log: false,
    }
}

/// The declared indexes of the view `aircraft`.
pub(crate) fn indexes() -> Vec<Index> {
    let index = |fields: &[&str]| Index::new(fields.iter().copied()).expect("fields");
    vec![
        index(&["carrier", "legs"]),
        index(&["legs"]),
        index(&["last.on"]),
        index(&["active"]),
    ]
}

pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(20);

impl Site {
    /// A gateway with the views `aircraft` (by-key) and `airports` (shared) of topic `flights`.
    pub(crate) async fn new(kind: Kind) -> Self {
        Site::with_limits(kind, limits()).await
    }

    pub(crate) async fn with_limits(kind: Kind, limits: Limits) -> Self {
        Site::with(kind, limits, Setup::default()).await
    }

    pub(crate) async fn with(kind: Kind, limits: Limits, setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("the test needs a temporary folder");
        let (store, database): (Arc<dyn Readable>, _) = match kind {
            Kind::Embedded => {
                let path = folder.path().join("views.db");
                let store = tokio::task::spawn_blocking(move || EmbeddedStore::open(&path)).await;
                let store = store.expect("opening does not panic");
                (Arc::new(store.expect("a file in an empty folder")), None)
            }
            Kind::Mongo => {
                let database = projectionist_tests::unique("gateway");
                let store = MongoStore::connect(&mongo::uri(), &database).await;
                let store = store.expect("MongoDB must be reachable, and a replica set");
                (Arc::new(store), Some(database))
            }
        };
        let views = ["aircraft", "airports"].map(|name| ViewId::new(name, 1));
        store.prepare(&views).await.expect("views can be prepared");
        let prepared = store.prepare_indexes(&views[0], &indexes()).await;
        prepared.expect("indexes can be prepared");
        let mut site = Site::over(store, limits, setup, READ_TIMEOUT).await;
        site.database = database;
        site._folder = folder;
        site
    }

    /// A gateway in front of this store.
    pub(crate) async fn over(
        store: Arc<dyn Readable>,
        limits: Limits,
        setup: Setup,
        read_timeout: Duration,
    ) -> Self {
        let writer = CheckpointId::writer("flights", 1, "main");
        let positions = Positions::new(Arc::clone(&store) as _, writer, read_timeout);
        let positions = Arc::new(positions);
        let copy = Copy::new("main", &"flights".into(), read_timeout);
        copy.open(Opened {
            store: Arc::clone(&store) as _,
            reader: Arc::clone(&store) as _,
            positions: Arc::clone(&positions),
        });
        let copies = Copies::one(Arc::new(copy));
        let view = |name: &str, ownership| View {
            id: ViewId::new(name, 1),
            projection: "flights".into(),
            topics: vec!["flights".into()],
            ownership,
            indexes: match ownership {
                Ownership::ByKey => indexes(),
                Ownership::Shared => Vec::new(),
            },
            copies: copies.clone(),
        };
        let views = vec![
            view("aircraft", Ownership::ByKey),
            view("airports", Ownership::Shared),
        ];
        let gateway = Gateway::bind(([127, 0, 0, 1], 0).into(), limits).await;
        let gateway = gateway.expect("a port is free");
        let address = gateway.address();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let served = stop.clone();
        tasks.spawn(async move { gateway.serve(views, setup, served).await });
        tasks.spawn(async move {
            positions
                .follow((Health::default(), "flights".into()))
                .await
        });
        Site {
            store,
            address,
            stop,
            tasks,
            _folder: tempfile::tempdir().expect("the test needs a temporary folder"),
            database: None,
        }
    }

    pub(crate) async fn writer(&self, partition: i32) -> Writer {
        Writer::claim(&self.store, "main", partition).await
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// Asks over a new connection.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        get(self.address, path, headers).await
    }

    async fn clean_up(&mut self) {
        self.tasks.shutdown().await;
        self.store.close().await;
        if let Some(name) = self.database.take() {
            let database = mongo::Database::named(&name).await;
            let dropped = database.expect("it was reachable before").drop().await;
            dropped.expect("a test may drop its own database");
        }
    }
}

/// Asks a gateway over a new connection.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let path = path.to_owned();
    let headers = headers.iter();
    let headers: Vec<(String, String)> = headers
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let asked = tokio::task::spawn_blocking(move || {
        let headers = headers.iter();
        let headers: Vec<(&str, &str)> = headers
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        Connection::open(address).get(&path, &headers)
    });
    asked.await.expect("an answer")
}

impl Writer {
    /// Owns a partition in a copy.
    pub(crate) async fn claim(store: &Arc<dyn Readable>, copy: &str, partition: i32) -> Self {
        let checkpoint = CheckpointId {
            projection: "flights".into(),
            version: 1,
            copy: copy.into(),
            partition: TopicPartition::new("flights", partition),
        };
        let claim = store.claim(&checkpoint, "test").await;
        let claim = claim.expect("a partition can be claimed");
        Writer {
            store: Arc::clone(store),
            checkpoint,
            epoch: claim.epoch,
            next: claim.next.0,
        }
    }

    /// Stores a document as the next event's effect, and answers the event's offset.
    pub(crate) async fn put(&mut self, view: &str, id: &str, body: RawDocumentBuf) -> i64 {
        let view = ViewId::new(view, 1);
        let found = self.store.load(&view, &[id.into()]).await;
        let found = found.expect("documents can be loaded").remove(0);
        let revision = found.as_ref().map_or(0, |found| found.provenance.revision);
        let document = StoredDocument {
            body,
            provenance: Provenance {
                revision: revision + 1,
                partition: self.checkpoint.partition.clone(),
                offset: Offset(self.next),
                plugin: "5eed0123456789abcdef".into(),
            },
        };
        let change = match found {
            None => Change::Insert(document),
            Some(_) => Change::Update {
                document,
                guard: Guard::SoleWriter,
            },
        };
        let id = id.into();
        self.commit(vec![Write { view, id, change }], Vec::new())
            .await
    }

    pub(crate) async fn delete(&mut self, view: &str, id: &str) -> i64 {
        let write = Write {
            view: ViewId::new(view, 1),
            id: id.into(),
            change: Change::Delete {
                guard: Guard::SoleWriter,
            },
        };
        self.commit(vec![write], Vec::new()).await
    }

    /// Stores an aircraft with so many legs.
    pub(crate) async fn aircraft(&mut self, id: &str, legs: i64) -> i64 {
        let body = rawdoc! { "legs": legs, "last": { "airport": "JFK", "delay": 1.5 } };
        self.put("aircraft", id, body).await
    }

    /// Parks the next event, and answers its offset.
    pub(crate) async fn park(&mut self, key: &str) -> i64 {
        let parked = KeyEntry {
            first: Offset(self.next),
            key: Some(key.as_bytes().into()),
            events: 1,
            bytes: 1,
            reason: Reason {
                kind: "the plugin rejected the event".to_owned(),
                detail: "no".to_owned(),
                plugin: "5eed".to_owned(),
                at_ms: 0,
            },
        };
        let event = projectionist::record::Event::new(
            Offset(self.next),
            0,
            Some(key.as_bytes()),
            Some(b"no"),
            Vec::new(),
        );
        let event = projectionist::parked::event_entry(&self.checkpoint, parked.first, &event);
        let key = parked.to_entry(&self.checkpoint);
        let entries = vec![EntryChange::Insert(key), EntryChange::Insert(event)];
        self.commit(Vec::new(), entries).await
    }

    async fn commit(&mut self, writes: Vec<Write>, entries: Vec<EntryChange>) -> i64 {
        let offset = self.next;
        let commit = Commit {
            writes,
            entries,
            advances: vec![Advance {
                checkpoint: self.checkpoint.clone(),
                epoch: self.epoch,
                from: NextOffset(offset),
                to: NextOffset(offset + 1),
                lineage: Lineage::default(),
                repairs: Repairs { from: 0, to: 0 },
            }],
        };
        for _ in 0..1_000 {
            match self.store.commit(&commit).await {
                Ok(()) => {
                    self.next += 1;
                    return offset;
                }
                Err(CommitError::Store(error)) if error.is_transient() => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("the owner may commit: {error}"),
            }
        }
        panic!("the store stays unavailable");
    }
}

/// Runs a test and cleans up after it, also where it panics.
pub(crate) fn run<F>(kind: Kind, test: impl FnOnce(Arc<Site>) -> F)
where
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the test needs a runtime");
    let site = Arc::new(runtime.block_on(Site::new(kind)));
    let tested = AssertUnwindSafe(|| runtime.block_on(test(Arc::clone(&site))));
    let outcome = panic::catch_unwind(tested);
    // A test that has failed may have left others behind.
    if let Some(mut site) = Arc::into_inner(site) {
        runtime.block_on(site.clean_up());
    }
    if let Err(failed) = outcome {
        panic::resume_unwind(failed);
    }
}
