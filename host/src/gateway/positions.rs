//! How far a copy of a projection's views is stored, and waiting until it is far enough.
//!
//! Guarantee: what [`Positions::current`] answers is stored. A document that is read after that
//! holds the effects of all events before that position, and perhaps of later ones: an answer
//! never claims too much.
//!
//! This host's own commits are heard of at once (`telemetry::health`). Of other hosts' partitions
//! the checkpoints tell: they are read once a second, and more often while somebody waits.
//!
//! Positions only grow. A store that was emptied under a running host shows the old ones until the
//! host is started again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tracing::debug;

use super::copies::within;
use super::token::Token;
use crate::record::{NextOffset, TopicPartition};
use crate::store::{Error, Reader};
use crate::telemetry::health::{Health, describe};

/// How often the checkpoints are read where nobody waits.
const IDLE_POLL: Duration = Duration::from_secs(1);

/// How often they are read for those who wait.
const WAITING_POLL: Duration = Duration::from_millis(20);

/// Of one projection in one copy.
pub struct Positions {
    reader: Arc<dyn Reader>,
    /// A [`CheckpointId::writer`](crate::store::CheckpointId::writer).
    writer: String,
    read_timeout: Duration,
    current: watch::Sender<Arc<Position>>,
    /// When the read began that the last known checkpoints are from. Held while one is under way,
    /// so that a hundred who wait read once.
    read_at: Mutex<Option<Instant>>,
}

/// A position that is stored.
#[derive(Debug, Default)]
pub struct Position {
    next: BTreeMap<TopicPartition, NextOffset>,
    /// The same as a token; `None` before the first event.
    token: Option<HeaderValue>,
}

/// What came of waiting.
#[derive(Debug)]
pub enum Waited {
    /// The position includes the token.
    Reached(Arc<Position>),
    /// The time is up.
    Behind(Arc<Position>),
}

impl Position {
    #[cfg(test)]
    pub(super) fn of(next: impl IntoIterator<Item = (TopicPartition, NextOffset)>) -> Self {
        let mut position = Position::default();
        position.merge(next);
        position
    }

    /// What some of these include, all of it.
    pub(super) fn furthest(positions: &[Arc<Position>]) -> Self {
        let mut next: BTreeMap<TopicPartition, NextOffset> = BTreeMap::new();
        for (partition, reached) in positions.iter().flat_map(|position| &position.next) {
            let known = next.entry(partition.clone()).or_insert(NextOffset::ZERO);
            *known = (*known).max(*reached);
        }
        Position { next, token: None }
    }

    /// Whether it is `older` and what these partitions have moved to since, at most.
    pub(super) fn adds_only(
        &self,
        own: &BTreeMap<TopicPartition, NextOffset>,
        older: &Position,
    ) -> bool {
        self.next.iter().all(|(partition, next)| {
            let is_heard_of = |of: &BTreeMap<TopicPartition, NextOffset>| {
                of.get(partition).is_some_and(|known| known >= next)
            };
            is_heard_of(&older.next) || is_heard_of(own)
        })
    }

    /// Whether it is before the first event.
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// Whether it is one of these partitions, and no others.
    pub(super) fn is_within(&self, own: &BTreeMap<TopicPartition, NextOffset>) -> bool {
        self.next
            .keys()
            .all(|partition| own.contains_key(partition))
    }

    /// What it takes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        64 * self.next.len() + self.token.as_ref().map_or(0, HeaderValue::len)
    }

    /// How many offsets this one lacks of the other.
    pub(super) fn behind(&self, other: &Position) -> i64 {
        self.lacks(
            other
                .next
                .iter()
                .map(|(partition, next)| (partition, *next)),
        )
    }

    fn lacks<'a>(&self, wanted: impl Iterator<Item = (&'a TopicPartition, NextOffset)>) -> i64 {
        let lags = wanted.map(|(partition, wanted)| {
            let known = self.next.get(partition).map_or(0, |next| next.0);
            (wanted.0 - known).max(0)
        });
        lags.fold(0, i64::saturating_add)
    }

    pub fn token(&self) -> Option<&HeaderValue> {
        self.token.as_ref()
    }

    /// True where everything that the token names is stored.
    pub fn includes(&self, token: &Token) -> bool {
        self.lag(token) == 0
    }

    /// How many offsets of the token's partitions are not stored yet.
    pub fn lag(&self, token: &Token) -> i64 {
        self.lacks(token.partitions())
    }

    /// Moves forward, never back; `false` where nothing is new.
    fn merge(&mut self, news: impl IntoIterator<Item = (TopicPartition, NextOffset)>) -> bool {
        let mut moved = false;
        for (partition, next) in news {
            let known = self.next.entry(partition).or_insert(NextOffset::ZERO);
            if next > *known {
                *known = next;
                moved = true;
            }
        }
        if moved {
            let positions = self.next.iter();
            let positions = positions.map(|(partition, next)| (partition.clone(), *next));
            let token = Token::of_positions(positions).map(|token| token.to_string());
            self.token = token.and_then(|token| HeaderValue::from_str(&token).ok());
        }
        moved
    }
}

impl Positions {
    pub fn new(reader: Arc<dyn Reader>, writer: String, read_timeout: Duration) -> Self {
        Positions {
            reader,
            writer,
            read_timeout,
            current: watch::Sender::default(),
            read_at: Mutex::new(None),
        }
    }

    /// The newest known position.
    pub fn current(&self) -> Arc<Position> {
        Arc::clone(&self.current.borrow())
    }

    /// Changes whenever the position does.
    pub fn changes(&self) -> watch::Receiver<Arc<Position>> {
        self.current.subscribe()
    }

    /// Waits until everything is stored that the token names, `wait` at most.
    pub async fn wait(&self, token: &Token, wait: Duration) -> Result<Waited, Error> {
        let asked = Instant::now();
        let mut changes = self.current.subscribe();
        // A checkpoint that was read before this request began may be an old one.
        let mut since = asked;
        loop {
            let position = Arc::clone(&changes.borrow_and_update());
            if position.includes(token) {
                return Ok(Waited::Reached(position));
            }
            self.read(since).await?;
            let position = Arc::clone(&changes.borrow_and_update());
            if position.includes(token) {
                return Ok(Waited::Reached(position));
            }
            let left = wait.saturating_sub(asked.elapsed());
            if left.is_zero() {
                return Ok(Waited::Behind(position));
            }
            tokio::select! {
                // Both may be dropped: the newest position is looked at above.
                _ = changes.changed() => {}
                () = tokio::time::sleep(left.min(WAITING_POLL)) => {}
            }
            since = Instant::now()
                .checked_sub(WAITING_POLL)
                .map_or(asked, |since| since.max(asked));
        }
    }

    /// Reads the checkpoints now.
    pub(super) async fn refresh(&self) -> Result<(), Error> {
        self.read(Instant::now()).await
    }

    /// Reads the checkpoints, unless somebody has begun to do so after `since`.
    async fn read(&self, since: Instant) -> Result<(), Error> {
        let mut read_at = self.read_at.lock().await;
        if read_at.is_some_and(|read_at| read_at >= since) {
            return Ok(());
        }
        let now = Instant::now();
        let read = self.reader.positions(&self.writer);
        let found = within(self.reader.address(), self.read_timeout, read).await?;
        *read_at = Some(now);
        self.publish(found);
        Ok(())
    }

    fn publish(&self, news: impl IntoIterator<Item = (TopicPartition, NextOffset)>) {
        self.current.send_if_modified(|current| {
            let mut position = Position {
                next: current.next.clone(),
                token: current.token.clone(),
            };
            let moved = position.merge(news);
            if moved {
                *current = Arc::new(position);
            }
            moved
        });
    }

    /// Keeps the position current until the future is dropped. `own` is this host's board and the
    /// projection's name on it.
    pub async fn follow(&self, own: (Health, Arc<str>)) {
        let (health, projection) = own;
        let mut moves = health.moves();
        let mut next_read = Instant::now();
        loop {
            moves.borrow_and_update();
            self.publish(health.positions(&projection));
            if Instant::now() >= next_read {
                if let Err(error) = self.read(next_read).await {
                    // Whoever reads a document is told; here the next read will tell more.
                    debug!(writer = self.writer, "no positions: {}", describe(&error));
                }
                next_read = Instant::now() + IDLE_POLL;
            }
            tokio::select! {
                // Both may be dropped: what has moved is looked at above.
                moved = moves.changed() => {
                    // The board is gone with its host.
                    if moved.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep_until(next_read) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(of: &[(i32, i64)]) -> Position {
        let mut position = Position::default();
        let news = of
            .iter()
            .map(|(partition, next)| (TopicPartition::new("t", *partition), NextOffset(*next)));
        position.merge(news);
        position
    }

    #[test]
    fn a_position_includes_what_lies_before_it() {
        let cases = [
            ("t:0@4", 0),
            ("t:0@5", 1),
            ("t:0@9,1@0", 5),
            ("t:2@0", 1),
            ("u:0@0", 1),
            ("t:0@4;u:7@9", 10),
        ];
        let position = position(&[(0, 5), (1, 1)]);
        for (token, lag) in cases {
            let token: Token = token.parse().expect("a token");
            assert_eq!(position.lag(&token), lag, "{token}");
            assert_eq!(position.includes(&token), lag == 0, "{token}");
        }
    }

    #[test]
    fn a_position_never_goes_back() {
        let mut position = position(&[(0, 5), (1, 1)]);
        let older = [(TopicPartition::new("t", 0), NextOffset(3))];
        assert!(!position.merge(older));
        let text = position.token().expect("there are events");
        assert_eq!(text, "t:0@4,1@0");
    }
}
