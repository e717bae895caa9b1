//! How long it takes from an event's production until its effect is visible.
//!
//! The clock starts when the event is handed to the producer. It ends when a change stream on the
//! contender's view, which shows only what a majority of the servers has stored, brings the first
//! state of the event's document that contains the event: a document that jumps over three events
//! makes all three visible. So Kafka's way and the stream's own are part of it, for every
//! contender alike.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bson::doc;
use bson::raw::RawDocumentBuf;
use mongodb::Collection;
use mongodb::change_stream::ChangeStream;
use serde::Deserialize;
use tokio::sync::mpsc::Receiver;

use crate::topic::now_us;

/// How long the last event may take to become visible.
const PATIENCE: Duration = Duration::from_secs(60);

/// An event that was produced.
#[derive(Clone, Debug)]
pub struct Produced {
    pub key: String,
    pub n: u64,
    pub at_us: u64,
}

/// Follows the documents of the shape `Latest`.
pub struct Latencies {
    changes: ChangeStream<Change>,
    pending: Pending,
}

/// One state of a document.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    document_key: Key,
    full_document: Option<State>,
}

#[derive(Debug, Deserialize)]
struct Key {
    #[serde(rename = "_id")]
    id: String,
}

#[derive(Debug, Deserialize)]
struct State {
    n: i64,
}

/// Events that are not visible yet, in their order.
#[derive(Default)]
struct Pending {
    by_key: HashMap<String, VecDeque<(u64, u64)>>,
    count: usize,
    latencies_us: Vec<u64>,
}

impl Latencies {
    /// Opens the stream; what is stored from now on is seen.
    ///
    /// # Errors
    /// MongoDB's.
    pub async fn open(collection: &Collection<RawDocumentBuf>) -> anyhow::Result<Self> {
        let slim = doc! { "$project": {
            "operationType": 1, "ns": 1, "documentKey": 1, "fullDocument.n": 1,
        } };
        let changes = collection.watch().pipeline([slim]).await?;
        Ok(Latencies {
            changes: changes.with_type(),
            pending: Pending::default(),
        })
    }

    /// Follows until everything that comes through `produced` is visible and its sender is gone.
    /// Returns microseconds, one for each event; `progress` is told how many are visible.
    ///
    /// # Errors
    /// MongoDB's; an event that is not visible after a minute.
    pub async fn follow(
        mut self,
        mut produced: Receiver<Produced>,
        progress: impl Fn(usize),
    ) -> anyhow::Result<Vec<u64>> {
        let mut more = true;
        let mut last = Instant::now();
        while more || self.pending.count > 0 {
            anyhow::ensure!(
                self.pending.count == 0 || last.elapsed() < PATIENCE,
                "{} events are not visible, and none has become so for {} s",
                self.pending.count,
                PATIENCE.as_secs()
            );
            // Both are cancel-safe: a change stream keeps its place, a channel its messages.
            tokio::select! {
                event = produced.recv(), if more => match event {
                    Some(event) => self.pending.add(event),
                    None => more = false,
                },
                // Comes back empty after a second.
                change = self.changes.next_if_any() => {
                    let now_us = now_us();
                    let Some(change) = change? else {
                        continue;
                    };
                    // What was produced is noted before a document is looked at that contains it.
                    while let Ok(event) = produced.try_recv() {
                        self.pending.add(event);
                    }
                    let state = change.full_document.context(
                        "a change without the whole document: the contender updates in place"
                    )?;
                    let n = state.n.cast_unsigned();
                    if self.pending.see(&change.document_key.id, n, now_us) {
                        last = Instant::now();
                        progress(self.pending.latencies_us.len());
                    }
                }
            }
            if self.pending.count == 0 {
                last = Instant::now();
            }
        }
        Ok(self.pending.latencies_us)
    }
}

impl Pending {
    fn add(&mut self, event: Produced) {
        let waiting = self.by_key.entry(event.key).or_default();
        waiting.push_back((event.n, event.at_us));
        self.count += 1;
    }

    /// A document has been seen in a state that contains all its events up to `n`. Says whether
    /// any was waited for.
    fn see(&mut self, id: &str, n: u64, now_us: u64) -> bool {
        let before = self.count;
        let Some(waiting) = self.by_key.get_mut(id) else {
            return false;
        };
        while let Some((_, at_us)) = waiting.pop_front_if(|(event, _)| *event <= n) {
            self.count -= 1;
            self.latencies_us.push(now_us.saturating_sub(at_us));
        }
        if waiting.is_empty() {
            self.by_key.remove(id);
        }
        self.count < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_makes_all_events_visible_that_it_contains() {
        let mut pending = Pending::default();
        for (key, n, at_us) in [("a", 1, 100), ("b", 2, 110), ("a", 3, 120), ("a", 4, 130)] {
            let key = key.to_owned();
            pending.add(Produced { key, n, at_us });
        }
        assert!(pending.see("a", 3, 200));
        assert_eq!(pending.latencies_us, [100, 80]);
        assert_eq!(pending.count, 2);
        assert!(!pending.see("unknown", 9, 210));
        assert!(!pending.see("a", 3, 220));
        assert_eq!(pending.count, 2);
        assert!(pending.see("b", 2, 230));
        assert!(pending.see("a", 4, 240));
        assert_eq!(pending.latencies_us, [100, 80, 120, 110]);
        assert_eq!(pending.count, 0);
    }
}
