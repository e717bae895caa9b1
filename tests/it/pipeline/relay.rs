//! The relay of one partition, between a real store and a broker that does as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bson::{RawDocumentBuf, doc};
use bytes::Bytes;
use projectionist::pipeline::outbox::{Origin, Outgoing, SendError, Sender};
use projectionist::pipeline::relay::{Handle, Patience, Relay, Setup, UNSENT_MAX};
use projectionist::record::{Lineage, Offset};
use projectionist::store::embedded::EmbeddedStore;
use projectionist::store::{
    Advance, CheckpointId, Commit, Entry, EntryChange, Repairs, Store, Table,
};
use projectionist::telemetry::health::Health;
use projectionist_tests::wait;
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::faulty::{FaultyStore, Mode};
use crate::journal::Journal;
use crate::topic::partition_id;

/// Short, so that a test has none.
const PATIENCE: Patience = Patience {
    acknowledgement: Duration::from_millis(200),
    topic: Duration::from_millis(500),
};

/// Takes messages, unless told otherwise.
struct Broker {
    taken: Mutex<Vec<Outgoing>>,
    /// What becomes of the next calls; after the last one, all goes well.
    errors: Mutex<VecDeque<SendError>>,
    /// How many messages have been given to it in all.
    given: watch::Sender<usize>,
    /// False while nothing is acknowledged.
    acknowledges: watch::Sender<bool>,
}

/// A store, a broker, and what is between them.
struct Scene {
    store: Arc<dyn Store>,
    faulty: Arc<FaultyStore>,
    broker: Arc<Broker>,
    health: Health,
    room: Arc<Notify>,
    _folder: TempDir,
}

/// A relay that runs.
struct Running {
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<Result<(), String>>,
}

#[async_trait]
impl Sender for Broker {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), SendError> {
        self.given.send_modify(|given| *given += messages.len());
        let mut acknowledges = self.acknowledges.subscribe();
        let waited = acknowledges.wait_for(|acknowledges| *acknowledges).await;
        waited.expect("the broker outlives its callers");
        let error = self.errors.lock().expect("nobody panics here").pop_front();
        match error {
            Some(error) => Err(error),
            None => {
                let mut taken = self.taken.lock().expect("nobody panics here");
                taken.extend_from_slice(messages);
                Ok(())
            }
        }
    }
}

impl Broker {
    fn fail_next(&self, errors: impl IntoIterator<Item = SendError>) {
        let mut queue = self.errors.lock().expect("nobody panics here");
        queue.extend(errors);
    }

    fn taken(&self) -> Vec<Outgoing> {
        self.taken.lock().expect("nobody panics here").clone()
    }

    /// The values of what was taken, which [`message`] makes of offsets.
    fn offsets(&self) -> Vec<String> {
        let text = |message: Outgoing| {
            let value = message.value.expect("a value");
            String::from_utf8(value.to_vec()).expect("a number")
        };
        self.taken().into_iter().map(text).collect()
    }

    async fn until_offsets(&self, expected: &[i64]) {
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        wait::until("messages to be taken", async || {
            let offsets = self.offsets();
            if offsets == expected {
                Ok(())
            } else {
                Err(offsets)
            }
        })
        .await;
    }

    async fn until_given(&self, count: usize) {
        let mut given = self.given.subscribe();
        let waited = given.wait_for(|given| *given >= count);
        let waited = tokio::time::timeout(wait::DEADLINE, waited).await;
        drop(waited.expect("messages are given").expect("by a relay"));
    }
}

fn checkpoint(partition: i32) -> CheckpointId {
    CheckpointId {
        projection: "ledger".into(),
        version: 1,
        copy: "main".into(),
        partition: partition_id(partition),
    }
}

/// The first message of an event; its value is the offset.
fn message(partition: i32, offset: i64) -> Entry {
    let checkpoint = checkpoint(partition);
    let origin = Origin {
        checkpoint: &checkpoint,
        offset: Offset(offset),
        index: 0,
    };
    let outgoing = Outgoing {
        topic: "payments".into(),
        key: None,
        value: Some(Bytes::from(offset.to_string())),
        headers: vec![origin.event_id_header()],
    };
    outgoing.into_entry(origin)
}

fn unavailable() -> SendError {
    SendError::Unavailable {
        topic: "payments".into(),
        source: "the leader is away".into(),
    }
}

fn missing() -> SendError {
    SendError::NoTopic {
        topic: "payments".into(),
    }
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("the test needs a temporary folder");
        let path = folder.path().join("views.db");
        let store = tokio::task::spawn_blocking(move || EmbeddedStore::open(&path)).await;
        let store = store.expect("opening does not panic");
        let store: Arc<dyn Store> = Arc::new(store.expect("a file in an empty folder"));
        store.prepare(&[]).await.expect("an empty store");
        let faulty = FaultyStore::new(Arc::clone(&store), Journal::default());
        Scene {
            store,
            faulty: Arc::new(faulty),
            broker: Arc::new(Broker {
                taken: Mutex::default(),
                errors: Mutex::default(),
                given: watch::Sender::new(0),
                acknowledges: watch::Sender::new(true),
            }),
            health: Health::default(),
            room: Arc::new(Notify::new()),
            _folder: folder,
        }
    }

    fn relay(&self, partition: i32) -> Running {
        let (relay, handle) = Relay::new(Setup {
            checkpoint: checkpoint(partition),
            store: Arc::clone(&self.faulty) as Arc<dyn Store>,
            store_reachability: self.health.reachability("the store"),
            sender: Arc::clone(&self.broker) as Arc<dyn Sender>,
            kafka_reachability: self.health.reachability("Kafka"),
            room: Arc::clone(&self.room),
            patience: PATIENCE,
        });
        let stop = CancellationToken::new();
        Running {
            handle,
            task: tokio::spawn(relay.run(stop.clone())),
            stop,
        }
    }

    /// Stores messages in one commit, and does not tell.
    async fn store(&self, partition: i32, offsets: impl IntoIterator<Item = i64>) -> Vec<Arc<str>> {
        let checkpoint = checkpoint(partition);
        let claim = self.store.claim(&checkpoint, "test").await;
        let claim = claim.expect("nobody else is there");
        let entries: Vec<Entry> = offsets
            .into_iter()
            .map(|offset| message(partition, offset))
            .collect();
        let ids = entries.iter().map(|entry| Arc::clone(&entry.id)).collect();
        let commit = Commit {
            writes: Vec::new(),
            entries: entries.into_iter().map(EntryChange::Insert).collect(),
            advances: vec![Advance {
                checkpoint,
                epoch: claim.epoch,
                from: claim.next,
                to: Offset(claim.next.0).next(),
                lineage: Lineage::default(),
                repairs: Repairs {
                    from: claim.repairs,
                    to: claim.repairs,
                },
            }],
        };
        self.store.commit(&commit).await.expect("it is stored");
        ids
    }

    /// The ids in the outbox, of all partitions.
    async fn left(&self) -> Vec<Arc<str>> {
        let entries = self.store.entries(Table::Outbox, "", None, usize::MAX);
        let entries = entries.await.expect("the outbox can be read");
        entries.into_iter().map(|entry| entry.id).collect()
    }

    async fn until_left(&self, expected: &[Arc<str>]) {
        wait::until("messages to be removed", async || {
            let left = self.left().await;
            if left == expected { Ok(()) } else { Err(left) }
        })
        .await;
    }

    async fn until_reason(&self, part: &str) {
        wait::until(part, async || {
            let reasons = self.health.readiness().reasons;
            let found = reasons.iter().any(|reason| reason.contains(part));
            if found { Ok(()) } else { Err(reasons) }
        })
        .await;
    }
}

impl Running {
    async fn until_room(&self) {
        wait::until("room", async || {
            if self.handle.is_full() {
                Err("full")
            } else {
                Ok(())
            }
        })
        .await;
    }

    async fn ended(self) -> Result<(), String> {
        let ended = tokio::time::timeout(wait::DEADLINE, self.task).await;
        ended.expect("the relay ends").expect("without a panic")
    }

    /// Ends it as a revocation does.
    async fn stopped(self) {
        self.stop.cancel();
        assert_eq!(self.ended().await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_sent_in_order_and_removed() {
    let scene = Scene::new().await;
    let relay = scene.relay(0);
    relay.until_room().await;

    // More than a page, under offsets of several lengths.
    let first: Vec<i64> = (0..1_203).collect();
    relay.handle.stored(&scene.store(0, first.clone()).await);
    scene.broker.until_offsets(&first).await;
    relay.handle.stored(&scene.store(0, [20_000]).await);

    let all: Vec<i64> = first.into_iter().chain([20_000]).collect();
    scene.broker.until_offsets(&all).await;
    scene.until_left(&[]).await;
    relay.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_owner_has_left_is_sent_before_anything_is_folded() {
    let scene = Scene::new().await;
    scene.store(0, 0..3).await;
    let others = scene.store(1, [7]).await;
    let others_too = scene.store(10, [8]).await;
    scene.broker.acknowledges.send_replace(false);

    let relay = scene.relay(0);
    scene.broker.until_given(3).await;
    assert!(relay.handle.is_full(), "nobody knows how much is left");
    scene.broker.acknowledges.send_replace(true);

    let woken = tokio::time::timeout(wait::DEADLINE, scene.room.notified()).await;
    woken.expect("the domain is woken");
    assert!(!relay.handle.is_full());
    scene.broker.until_offsets(&[0, 1, 2]).await;
    // Other partitions' messages are theirs, also where a name begins alike.
    scene.until_left(&[others, others_too].concat()).await;
    relay.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_stays_until_it_is_acknowledged_and_comes_again_under_the_same_id() {
    let scene = Scene::new().await;
    let ids = scene.store(0, 0..2).await;
    scene.broker.acknowledges.send_replace(false);
    let relay = scene.relay(0);
    scene.broker.until_given(2).await;
    assert_eq!(scene.left().await, ids);

    // The host ends; whether its messages have arrived, nobody knows.
    relay.stopped().await;
    assert_eq!(scene.left().await, ids);
    scene.broker.acknowledges.send_replace(true);
    let next_owner = scene.relay(0);
    scene.until_left(&[]).await;

    let expected: Vec<Outgoing> = (0..2)
        .map(|offset| Outgoing::from_entry(&message(0, offset)).expect("a message"))
        .collect();
    assert_eq!(scene.broker.taken(), expected);
    next_owner.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_and_not_removed_comes_again() {
    let scene = Scene::new().await;
    let ids = scene.store(0, 0..2).await;
    scene.broker.acknowledges.send_replace(false);
    let relay = scene.relay(0);
    scene.broker.until_given(2).await;

    // The messages arrive, but the store is away when they are to be removed.
    scene.faulty.set_mode(Mode::Away);
    scene.broker.acknowledges.send_replace(true);
    scene.broker.until_offsets(&[0, 1]).await;
    scene.until_reason("the store does not answer").await;
    assert_eq!(scene.left().await, ids);
    relay.stopped().await;
    scene.faulty.set_mode(Mode::Up);

    let next_owner = scene.relay(0);
    scene.broker.until_offsets(&[0, 1, 0, 1]).await;
    let taken = scene.broker.taken();
    assert_eq!(taken[..2], taken[2..], "with the same ids");
    scene.until_left(&[]).await;
    next_owner.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_are_waited_out_and_told() {
    let scene = Scene::new().await;
    scene.faulty.set_mode(Mode::Away);
    let relay = scene.relay(0);
    scene.until_reason("the store does not answer").await;
    assert!(relay.handle.is_full());
    scene.faulty.set_mode(Mode::Up);
    relay.until_room().await;

    scene
        .broker
        .fail_next([unavailable(), missing(), unavailable()]);
    relay.handle.stored(&scene.store(0, 0..3).await);
    scene
        .until_reason(": cannot send to topic \"payments\": the leader is away")
        .await;
    scene.broker.until_offsets(&[0, 1, 2]).await;
    scene.until_left(&[]).await;
    assert_eq!(scene.health.readiness().reasons, [""; 0]);
    relay.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_time_helps_against_stops_the_partition_and_loses_nothing() {
    let scene = Scene::new().await;
    let ids = scene.store(0, 0..3).await;
    scene.broker.fail_next([SendError::Refused {
        topic: "payments".into(),
        reason: "not authorised; grant this host WRITE".to_owned(),
    }]);

    let reason = scene.relay(0).ended().await.expect_err("it is refused");

    let expected = "projection \"ledger\" cannot send the messages of transfers/0: topic \
                    \"payments\" does not take a message: not authorised; grant this host WRITE; \
                    nothing is lost: they are kept in _outbox, and after a restart they are sent \
                    from there";
    assert_eq!(reason, expected);
    assert_eq!(scene.left().await, ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_stays_away_stops_the_partition() {
    let scene = Scene::new().await;
    let ids = scene.store(0, 0..3).await;
    let enough = std::iter::repeat_with(missing).take(1000);
    scene.broker.fail_next(enough);

    let started = Instant::now();
    let reason = scene.relay(0).ended().await.expect_err("there is no topic");

    assert!(
        reason.contains(
            "topic \"payments\" does not exist; create it, for example with kafka-topics.sh \
             --create --topic payments --partitions 8, or correct \
             projections.ledger.messages.topics"
        ),
        "{reason}"
    );
    assert!(started.elapsed() >= PATIENCE.topic);
    assert_eq!(scene.left().await, ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_takes_long_to_acknowledge_is_told() {
    let scene = Scene::new().await;
    scene.store(0, 0..3).await;
    scene.broker.acknowledges.send_replace(false);
    let relay = scene.relay(0);

    scene
        .until_reason(
            ": it has not acknowledged messages of \
             ledger/v1/main/transfers/0 for 200ms",
        )
        .await;
    scene.broker.acknowledges.send_replace(true);

    // They were given once, and the answer to that is what counts.
    scene.broker.until_offsets(&[0, 1, 2]).await;
    scene.until_left(&[]).await;
    assert_eq!(*scene.broker.given.borrow(), 3);
    assert_eq!(scene.health.readiness().reasons, [""; 0]);
    relay.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_that_waits_holds_the_domain_up_until_half_of_it_is_sent() {
    let scene = Scene::new().await;
    let relay = scene.relay(0);
    relay.until_room().await;
    scene.room.notified().await;
    scene.broker.acknowledges.send_replace(false);

    relay
        .handle
        .stored(&scene.store(0, 0..UNSENT_MAX - 1).await);
    assert!(!relay.handle.is_full(), "one more is taken");
    relay.handle.stored(&scene.store(0, [UNSENT_MAX]).await);
    assert!(relay.handle.is_full());
    scene.broker.acknowledges.send_replace(true);

    let woken = tokio::time::timeout(wait::DEADLINE, scene.room.notified()).await;
    woken.expect("the domain is woken");
    assert!(!relay.handle.is_full());
    let left = scene.left().await.len();
    assert!(left < 5_000, "{left} are left");
    scene.until_left(&[]).await;
    relay.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_behind_later_messages_is_sent_too() {
    let scene = Scene::new().await;
    scene.store(0, [50]).await;
    let relay = scene.relay(0);
    relay.until_room().await;

    // Of an event that was parked before this owner came, and of one that it parked itself.
    relay.handle.stored(&scene.store(0, [40]).await);
    scene.broker.until_offsets(&[50, 40]).await;
    relay.handle.stored(&scene.store(0, [60]).await);
    scene.broker.until_offsets(&[50, 40, 60]).await;
    relay.handle.stored(&scene.store(0, [55]).await);

    scene.broker.until_offsets(&[50, 40, 60, 55]).await;
    scene.until_left(&[]).await;
    relay.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_no_message_stops_the_partition_and_is_named() {
    let scene = Scene::new().await;
    let Entry { table, id, .. } = message(0, 5);
    let body = RawDocumentBuf::try_from(&doc! {"topic": 1}).expect("BSON");
    let entry = Entry { table, id, body };
    scene.store.put_entry(&entry).await.expect("it is stored");

    let reason = scene.relay(0).ended().await.expect_err("it is no message");

    assert!(
        reason.contains(
            "entry \"ledger/v1/main/transfers/0/0000000000000000005/0000\" of _outbox is no \
             message: it has no list of headers; repair the entry, or remove it"
        ),
        "{reason}"
    );
    assert_eq!(scene.left().await, [entry.id]);
}
