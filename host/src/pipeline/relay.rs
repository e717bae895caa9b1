//! Sends the messages of one claimed partition, in the order of their events.
//!
//! Guarantees:
//! - An entry is removed from the outbox only after Kafka has acknowledged its message. A crash
//!   between leads to the same message again, with the same `event-id`.
//! - Messages are sent in the order of their ids, but for those that are stored behind later ones.
//! - What waits is bounded: the domain folds nothing while a relay [is full](Handle::is_full).
//!
//! Not here: what is in the outbox (`outbox`, `domain`), librdkafka (`kafka::producer`).
//! An outage of Kafka or the store is waited out. What no time helps against stops the partition,
//! with everything unsent still in the outbox.
//! On revoke: ends at once; the next owner sends what is left.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::outbox::{self, Outgoing, SendError, Sender};
use crate::record::TopicPartition;
use crate::store::{CheckpointId, Entry, Error, Store, Table};
use crate::telemetry::health::{Reachability, describe};

/// What a relay works with.
pub struct Setup {
    pub checkpoint: CheckpointId,
    pub store: Arc<dyn Store>,
    pub store_reachability: Reachability,
    pub sender: Arc<dyn Sender>,
    /// For messages only: that events arrive says nothing of whether messages leave.
    pub kafka_reachability: Reachability,
    /// Notified when the domain may fold again.
    pub room: Arc<Notify>,
    pub patience: Patience,
}

/// When waiting becomes news.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long Kafka may take to acknowledge before it counts as unreachable; 10 s by default.
    pub acknowledgement: Duration,
    /// How long a topic may be missing before the partition stops; 30 s by default. Brokers that
    /// start, or have just made a topic, say so too.
    pub topic: Duration,
}

pub struct Relay {
    setup: Setup,
    prefix: String,
    shared: Arc<Shared>,
    /// Everything up to here is sent and removed.
    after: Option<Arc<str>>,
    backoff: Backoff,
}

/// The domain's end of a relay.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Entries were stored.
    stored: Notify,
    /// Wakes the domain.
    room: Arc<Notify>,
    /// Shows what is unsent.
    waiting: metrics::Gauge,
}

struct State {
    /// Entries that this owner has stored and the relay has not removed. Below zero for a moment,
    /// where the relay is faster than the news of a commit.
    unsent: i64,
    /// True when what earlier owners have left is sent.
    caught_up: bool,
    full: bool,
    /// The greatest id that was stored, or that earlier owners have left.
    greatest: Option<Arc<str>>,
    /// Something was stored under a lesser id, as when events that were parked are folded after
    /// later ones: the relay has to look behind itself.
    behind: bool,
    /// What is stored from now on is the next owner's to tell.
    ended: bool,
}

/// How much of a partition may be stored and not sent, in entries.
pub const UNSENT_MAX: i64 = 10_000;

/// Entries that are sent and removed at a time.
const PAGE_ENTRIES: usize = 500;

impl Default for Patience {
    fn default() -> Self {
        Patience {
            acknowledgement: Duration::from_secs(10),
            topic: Duration::from_secs(30),
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Handle")
            .field(&self.0.state().unsent)
            .finish()
    }
}

impl Handle {
    /// True while the domain must not fold events, nor store messages in any other way: too much
    /// waits, or it is not known yet how much does. When that ends, `room` is notified.
    pub fn is_full(&self) -> bool {
        let state = self.0.state();
        state.full || !state.caught_up
    }

    /// A commit has stored messages under these ids.
    pub fn stored<'i>(&self, ids: impl IntoIterator<Item = &'i Arc<str>>) {
        let mut state = self.0.state();
        for id in ids {
            state.unsent += 1;
            match &state.greatest {
                Some(greatest) if id < greatest => state.behind = true,
                Some(_) | None => state.greatest = Some(Arc::clone(id)),
            }
        }
        state.full |= state.unsent >= UNSENT_MAX;
        self.0.show(&state);
        drop(state);
        self.0.stored.notify_one();
    }
}

impl Relay {
    pub fn new(setup: Setup) -> (Self, Handle) {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                unsent: 0,
                caught_up: false,
                full: false,
                greatest: None,
                behind: false,
                ended: false,
            }),
            stored: Notify::new(),
            room: Arc::clone(&setup.room),
            waiting: waiting(&setup.checkpoint),
        });
        let relay = Relay {
            prefix: outbox::prefix(&setup.checkpoint),
            setup,
            shared: Arc::clone(&shared),
            after: None,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
        };
        (relay, Handle(shared))
    }

    /// Runs until `stop` is cancelled, or until no time helps; then the answer says why, and the
    /// partition has to stop.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), String> {
        let ended = stop.run_until_cancelled(self.send_all()).await;
        self.shared.state().ended = true;
        if ended.is_none() {
            // What is left is the next owner's to tell.
            self.shared.waiting.set(f64::NAN);
        }
        match ended {
            None => Ok(()),
            Some(Err(reason)) => Err(reason),
        }
    }

    async fn send_all(&mut self) -> Result<Infallible, String> {
        loop {
            if self.shared.take_behind() {
                self.after = None;
            }
            let page = self.next_page().await?;
            if page.is_empty() {
                self.shared.catch_up(self.after.as_ref());
                self.shared.stored.notified().await;
                continue;
            }
            let messages = page
                .iter()
                .map(Outgoing::from_entry)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| {
                    self.stopped(&format!("{error}; repair the entry, or remove it"))
                })?;
            self.send(&messages).await?;
            self.remove(page).await?;
        }
    }

    async fn next_page(&mut self) -> Result<Vec<Entry>, String> {
        loop {
            let after = self.after.as_deref();
            let store = &self.setup.store;
            match store
                .entries(Table::Outbox, &self.prefix, after, PAGE_ENTRIES)
                .await
            {
                Ok(page) => {
                    self.store_answered();
                    return Ok(page);
                }
                Err(error) => self.store_failed(&error).await?,
            }
        }
    }

    /// Removes what is sent, and nothing else.
    async fn remove(&mut self, page: Vec<Entry>) -> Result<(), String> {
        let ids: Vec<Arc<str>> = page.into_iter().map(|entry| entry.id).collect();
        while let Err(error) = self.setup.store.remove_entries(Table::Outbox, &ids).await {
            self.store_failed(&error).await?;
        }
        self.store_answered();
        self.shared.sent(ids.len());
        self.after = ids.into_iter().next_back();
        Ok(())
    }

    fn store_answered(&mut self) {
        self.setup.store_reachability.reached();
        self.backoff.reset();
    }

    async fn store_failed(&mut self, error: &Error) -> Result<(), String> {
        if !error.is_transient() {
            return Err(self.stopped(&describe(error)));
        }
        self.setup.store_reachability.lost(error);
        tokio::time::sleep(self.backoff.next_delay()).await;
        Ok(())
    }

    /// Sends messages until all are acknowledged.
    async fn send(&mut self, messages: &[Outgoing]) -> Result<(), String> {
        let mut missing_since: Option<Instant> = None;
        loop {
            let error = match self.attempt(messages).await {
                Ok(()) => {
                    self.setup.kafka_reachability.reached();
                    self.backoff.reset();
                    self.count(messages.len());
                    return Ok(());
                }
                Err(error) => error,
            };
            match &error {
                SendError::Unavailable { .. } => missing_since = None,
                SendError::NoTopic { topic } => {
                    let since = *missing_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.setup.patience.topic {
                        let projection = &self.setup.checkpoint.projection;
                        return Err(self.stopped(&format!(
                            "{error}; create it, for example with kafka-topics.sh --create \
                             --topic {topic} --partitions 8, or correct \
                             projections.{projection}.messages.topics"
                        )));
                    }
                }
                SendError::Refused { .. } => return Err(self.stopped(&error.to_string())),
            }
            self.setup.kafka_reachability.lost(&error);
            tokio::time::sleep(self.backoff.next_delay()).await;
        }
    }

    /// Sends messages once, and tells where Kafka takes long.
    async fn attempt(&self, messages: &[Outgoing]) -> Result<(), SendError> {
        let mut sending = self.setup.sender.send(messages);
        let patience = self.setup.patience.acknowledgement;
        match tokio::time::timeout(patience, &mut sending).await {
            Ok(result) => result,
            Err(_) => {
                self.setup.kafka_reachability.silent(format!(
                    "it has not acknowledged messages of {} for {}",
                    self.setup.checkpoint,
                    humantime::format_duration(patience)
                ));
                sending.await
            }
        }
    }

    fn stopped(&self, problem: &str) -> String {
        let CheckpointId {
            projection,
            partition,
            ..
        } = &self.setup.checkpoint;
        format!(
            "projection \"{projection}\" cannot send the messages of {partition}: {problem}; \
             nothing is lost: they are kept in {}, and after a restart they are sent from there",
            Table::Outbox
        )
    }

    fn count(&self, messages: usize) {
        let projection = self.setup.checkpoint.projection.to_string();
        metrics::counter!("projectionist_messages_sent_total", "projection" => projection)
            .increment(messages as u64);
    }
}

fn waiting(checkpoint: &CheckpointId) -> metrics::Gauge {
    let TopicPartition { topic, partition } = &checkpoint.partition;
    metrics::gauge!(
        "projectionist_messages_waiting",
        "projection" => checkpoint.projection.to_string(),
        "topic" => topic.to_string(),
        "partition" => partition.to_string(),
    )
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    fn take_behind(&self) -> bool {
        std::mem::take(&mut self.state().behind)
    }

    /// Nothing is left after this entry.
    fn catch_up(&self, last: Option<&Arc<str>>) {
        let mut state = self.state();
        if !state.caught_up {
            // Until now nothing of this owner's was stored; what was removed was others'.
            state.unsent = 0;
            state.caught_up = true;
            state.greatest = last.cloned();
            drop(state);
            self.room.notify_one();
        }
    }

    /// Entries were removed.
    fn sent(&self, entries: usize) {
        let mut state = self.state();
        state.unsent -= i64::try_from(entries).expect("a page is small");
        self.show(&state);
        if state.full && state.unsent < UNSENT_MAX / 2 {
            state.full = false;
            drop(state);
            self.room.notify_one();
        }
    }

    fn show(&self, state: &State) {
        if !state.ended {
            self.waiting.set(state.unsent.max(0) as f64);
        }
    }
}
