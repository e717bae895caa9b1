//! A topic, a store, and hosts between them. Defaults are small, so that a test shows what it is
//! about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use projectionist::parked::Action;
use projectionist::parked::desk::{self, Desk, ParkedKey, Place};
use projectionist::pipeline::budget::Budget;
use projectionist::pipeline::committer::Options as CommitterOptions;
use projectionist::pipeline::dedupe::IdSource;
use projectionist::pipeline::lanes::Placement;
use projectionist::pipeline::partition::BatchLimits;
use projectionist::pipeline::queue::Limits;
use projectionist::pipeline::runner::{Failed, Runner, Setup};
use projectionist::pipeline::sieve::{DedupeOptions, Scope, WithoutId, WithoutKey};
use projectionist::pipeline::{
    Context, DomainLayout, OnFault, ParkingOptions, parking, target_views,
};
use projectionist::projection::Ownership;
use projectionist::registry::Registry;
use projectionist::store::embedded::EmbeddedStore;
use projectionist::store::{CheckpointId, Claim, Store, StoredDocument, ViewId};
use projectionist::telemetry::health::{Health, ProjectionState};
use projectionist_tests::wait;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::faulty::FaultyStore;
use crate::journal::Journal;
use crate::ledger::{Account, Expected, Logic, NEXT, PLUGIN, Troubles, fold};
use crate::releases::Releases;
use crate::source::{self, Group};
use crate::topic::{ID_HEADER, Topic, partition_id};

pub(crate) struct Scene {
    pub(crate) topic: Arc<Topic>,
    pub(crate) logic: Logic,
    /// The way to the store that nothing disturbs.
    pub(crate) store: Arc<dyn Store>,
    pub(crate) troubles: Troubles,
    /// Events were parked and folded later: in a shared view they came out of order.
    pub(crate) drained: bool,
    _folder: TempDir,
}

/// A runner and what is around it.
pub(crate) struct Host {
    pub(crate) group: Group,
    pub(crate) journal: Journal,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) health: Health,
    /// What it runs.
    pub(crate) releases: Arc<Releases>,
    pub(crate) stop: CancellationToken,
    task: JoinHandle<Result<(), Failed>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) batch_events_max: usize,
    pub(crate) queue: Limits,
    pub(crate) cache_bytes: usize,
    pub(crate) lanes: usize,
    pub(crate) commits_in_flight_max: usize,
    pub(crate) drain_timeout: Duration,
    pub(crate) dedupe: Option<DedupeOptions>,
    pub(crate) parking: ParkingOptions,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            batch_events_max: 10,
            queue: Limits {
                events_max: 1000,
                bytes_max: usize::MAX,
            },
            // Little, so that documents are read again.
            cache_bytes: 2048,
            lanes: 1,
            commits_in_flight_max: 2,
            drain_timeout: wait::DEADLINE,
            dedupe: None,
            parking: ParkingOptions {
                on_fault: OnFault::Stop,
                limits: parking::Limits {
                    keys_max: 100,
                    events_per_key_max: 1000,
                    bytes_max: u64::MAX,
                },
                dead_letter_topic: None,
            },
        }
    }
}

impl Options {
    /// Parks what cannot be folded, and drops what has come before.
    pub(crate) fn parking(self) -> Self {
        let dedupe = DedupeOptions {
            source: IdSource::Header(ID_HEADER.to_owned()),
            window: 100_000,
            scope: Scope::Partition,
            without_id: WithoutId::Fold,
        };
        Options {
            dedupe: Some(dedupe),
            parking: ParkingOptions {
                on_fault: OnFault::Park,
                ..self.parking
            },
            ..self
        }
    }
}

impl Scene {
    pub(crate) async fn new(logic: Logic, partitions: i32) -> Self {
        let folder = tempfile::tempdir().expect("the test needs a temporary folder");
        let path = folder.path().join("views.db");
        let store = tokio::task::spawn_blocking(move || EmbeddedStore::open(&path)).await;
        let store = store.expect("opening does not panic");
        let store = store.expect("a file in an empty folder can be opened");
        let scene = Scene {
            topic: Arc::new(Topic::new(partitions)),
            logic,
            store: Arc::new(store),
            troubles: Troubles::default(),
            drained: false,
            _folder: folder,
        };
        let views: Vec<ViewId> = scene.views().into_iter().map(|(view, _)| view).collect();
        let prepared = scene.store.prepare(&views).await;
        prepared.expect("an empty store takes any view");
        scene
    }

    pub(crate) fn host(&self, options: Options) -> Host {
        let journal = Journal::default();
        let health = Health::default();
        let store = FaultyStore::new(Arc::clone(&self.store), journal.clone());
        let store = Arc::new(store);
        let source = source::start(Arc::clone(&self.topic), journal.clone());
        let releases = Releases::new(self.logic, self.troubles.clone(), journal.clone());
        let releases = Arc::new(releases);
        let setup = Setup {
            context: self.context(&options, &health),
            store: Arc::clone(&store) as Arc<dyn Store>,
            store_reachability: health.reachability("store \"main\""),
            source: source.handle,
            notices: source.notices,
            positions: Arc::clone(&self.topic) as _,
            kafka_reachability: health.reachability("Kafka"),
            sender: None,
            producer_reachability: health.reachability("Kafka (messages)"),
            registry: Registry::new(Arc::clone(&self.store)),
            load_projector: Arc::new(|_| unreachable!("no story drains with another plugin")),
            versions: Arc::clone(&releases) as _,
            committer: CommitterOptions {
                in_flight_max: options.commits_in_flight_max,
                ..CommitterOptions::default()
            },
            owner: "test".into(),
            drain_timeout: options.drain_timeout,
        };
        let stop = CancellationToken::new();
        Host {
            group: source.group,
            journal,
            store,
            health,
            releases,
            task: tokio::spawn(Runner::new(setup).run(stop.clone())),
            stop,
        }
    }

    /// A host that the group has given every partition.
    pub(crate) async fn owner(&self, options: Options) -> Host {
        let host = self.host(options);
        host.group.assign(&self.topic.partitions()).await;
        host
    }

    fn context(&self, options: &Options, health: &Health) -> Context {
        let descriptor = self.logic.descriptor();
        Context {
            projection: "ledger".into(),
            name: "ledger".into(),
            version: 1,
            copy: "main".into(),
            is_mute: false,
            views: target_views(&descriptor, 1, 1),
            layout: DomainLayout::of(&descriptor, 1),
            placement: Placement::hash(options.lanes),
            batch: BatchLimits {
                events_max: options.batch_events_max,
                documents_max: 1000,
                bytes_max: 1024 * 1024,
            },
            queue: options.queue,
            queued: Budget::new(usize::MAX),
            cached: Budget::new(options.cache_bytes),
            dedupe: options.dedupe.clone(),
            without_key: WithoutKey::default(),
            parking: options.parking.clone(),
            health: health.clone(),
            commits: None,
        }
    }

    pub(crate) fn views(&self) -> Vec<(ViewId, Ownership)> {
        let views = self.logic.views().into_iter();
        views
            .map(|view| (ViewId::new(view.name, 1), view.ownership))
            .collect()
    }

    pub(crate) fn checkpoint_id(&self, partition: i32) -> CheckpointId {
        CheckpointId {
            projection: "ledger".into(),
            version: 1,
            copy: "main".into(),
            partition: partition_id(partition),
        }
    }

    pub(crate) async fn claimed(&self, partition: i32) -> Option<Claim> {
        let claim = self.store.checkpoint(&self.checkpoint_id(partition)).await;
        claim.expect("a checkpoint can be read")
    }

    /// The stored position.
    pub(crate) async fn next(&self, partition: i32) -> i64 {
        self.claimed(partition)
            .await
            .map_or(0, |claim| claim.next.0)
    }

    pub(crate) async fn until_next(&self, partition: i32, next: i64) {
        let what = format!("partition {partition} to be stored up to {next}");
        wait::until(&what, async || match self.next(partition).await {
            found if found == next => Ok(()),
            found => Err(found),
        })
        .await;
    }

    /// Waits until every partition is stored to its end, and compares all documents.
    pub(crate) async fn until_all_is_right(&self) {
        for partition in self.topic.partitions() {
            self.until_next(partition, self.topic.end(partition)).await;
        }
        self.assert_right().await;
    }

    /// Asserts that the documents are what the plain fold makes of the events before the stored
    /// positions.
    pub(crate) async fn assert_right(&self) {
        let mut next = BTreeMap::new();
        for partition in self.topic.partitions() {
            next.insert(partition, self.next(partition).await);
        }
        for (view, ownership) in self.views() {
            let expected = fold(&self.topic, ownership, |partition| next[&partition]);
            let documents = self.store.scan(&view, None, usize::MAX).await;
            let documents = documents.expect("a view can be scanned");
            let ids: Vec<&str> = documents.iter().map(|(id, _)| &**id).collect();
            let expected_ids: Vec<&String> = expected.keys().collect();
            assert_eq!(ids, expected_ids, "{view}");
            for ((id, document), expected) in documents.iter().zip(expected.values()) {
                let at = format!("{view}, {id}");
                if self.drained && ownership == Ownership::Shared {
                    let account = Account::read(document.body.as_bytes());
                    let found = (account.sum, account.count);
                    assert_eq!(
                        found,
                        (expected.account.sum, expected.account.count),
                        "{at}"
                    );
                    continue;
                }
                assert_document(&at, ownership, document, expected);
            }
        }
    }

    /// What is parked, as users ask about it.
    pub(crate) fn desk(&self) -> Desk {
        let place = Place {
            projection: "ledger".into(),
            store: Arc::clone(&self.store),
            copy: "main".into(),
            version: 1,
        };
        let desk = Desk::default();
        desk.open(&"ledger".into(), place);
        desk
    }

    pub(crate) async fn parked(&self) -> Vec<ParkedKey> {
        self.desk().list(None).await.expect("the store is in order")
    }

    pub(crate) async fn until_parked(&self, keys: usize) -> Vec<ParkedKey> {
        let what = format!("{keys} keys to be parked");
        wait::until(&what, async || match self.parked().await {
            parked if parked.len() == keys => Ok(parked),
            parked => Err(parked.len()),
        })
        .await
    }

    /// Asks for everything that is parked to be folded, until nothing is parked any more.
    pub(crate) async fn drain_all(&mut self) {
        self.drained = true;
        wait::until("everything to be drained", async || {
            let parked = self.parked().await;
            for key in &parked {
                if key.request.is_none() {
                    self.ask(key, Action::Drain { plugin: None }).await;
                }
            }
            if parked.is_empty() {
                Ok(())
            } else {
                Err(parked)
            }
        })
        .await;
    }

    /// Asks for something, unless it is parked no more.
    pub(crate) async fn ask(&self, key: &ParkedKey, action: Action) {
        match self.desk().ask(&key.id, action, "a test").await {
            Ok(()) | Err(desk::Error::NotParked(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// What is stored of one account.
    pub(crate) async fn account(&self, view: &str, id: &str) -> Option<(Account, StoredDocument)> {
        let documents = self.store.load(&ViewId::new(view, 1), &[id.into()]).await;
        let document = documents.expect("documents can be loaded").remove(0)?;
        Some((Account::read(document.body.as_bytes()), document))
    }
}

fn assert_document(at: &str, ownership: Ownership, found: &StoredDocument, expected: &Expected) {
    let account = Account::read(found.body.as_bytes());
    assert_eq!(account, expected.account, "{at}");
    assert_eq!(found.body, expected.account.body(), "{at}: to the byte");
    assert!([PLUGIN, NEXT].contains(&&*found.provenance.plugin), "{at}");
    assert!(found.provenance.revision >= 1, "{at}");
    if ownership == Ownership::ByKey {
        let provenance = &found.provenance;
        let last = (provenance.partition.partition, provenance.offset.0);
        assert_eq!(last, expected.last, "{at}");
    }
}

impl Host {
    /// Waits until the host is not ready for a reason that holds all these words.
    pub(crate) async fn until_reason(&self, words: &[&str]) -> String {
        let what = format!("a reason with {words:?}");
        wait::until(&what, async || {
            let reasons = self.health.readiness().reasons;
            let found = reasons
                .iter()
                .find(|reason| words.iter().all(|word| reason.contains(word)));
            found.cloned().ok_or(reasons)
        })
        .await
    }

    pub(crate) async fn until_ready(&self) {
        wait::until("the host to be ready", async || {
            let reasons = self.health.readiness().reasons;
            let running = self.health.projection("ledger") == Some(ProjectionState::Running);
            if running && reasons.is_empty() {
                Ok(())
            } else {
                Err(reasons)
            }
        })
        .await;
    }

    /// Waits for the end of the runner.
    pub(crate) async fn ended(self) -> Result<(), Failed> {
        let ended = tokio::time::timeout(wait::DEADLINE, self.task).await;
        ended.expect("the runner ends").expect("without a panic")
    }
}
