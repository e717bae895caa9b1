//! Claiming partitions: the epoch and the position come from the store, and the topic must still
//! hold what comes next.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::backoff::Backoff;
use super::super::dedupe::{Window, stored};
use super::super::domain::checkpoint_id;
use super::super::failure::{Failure, Outlook};
use super::super::intake::{Bounds, Positions, PositionsError, Standing};
use super::super::parking::Parking;
use super::super::sieve::Sieve;
use super::super::stop::StopReason;
use super::super::version::Versions;
use super::super::{Context, DomainLayout};
use crate::parked::{self, KeyEntry};
use crate::record::{Epoch, Generation, NextOffset, TopicPartition};
use crate::store::{self, CheckpointId, Entry, Store, Table};
use crate::telemetry::health::{Reachability, describe};

/// Entries that are read at once.
const ENTRIES_PAGE: usize = 10_000;

/// Claims partitions for one projection on one copy.
#[derive(Clone)]
pub(super) struct Claimant {
    pub(super) context: Context,
    pub(super) store: Arc<dyn Store>,
    pub(super) store_reachability: Reachability,
    pub(super) positions: Arc<dyn Positions>,
    pub(super) kafka_reachability: Reachability,
    /// This host's name, for people who look at the checkpoints.
    pub(super) owner: Arc<str>,
    pub(super) versions: Arc<dyn Versions>,
}

/// What became of one claim.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) partition: TopicPartition,
    pub(super) generation: Generation,
    /// `None` where it was given up; else the error says why the partition cannot go on.
    pub(super) result: Option<Result<Claimed, StopReason>>,
}

#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) epoch: Epoch,
    /// As [`crate::store::Claim::repairs`].
    pub(super) repairs: i64,
    /// What was seen and what is parked.
    pub(super) sieve: Sieve,
    /// The checkpoint.
    pub(super) next: NextOffset,
    /// Where to start fetching: the checkpoint, or the first event of a topic that was never read.
    pub(super) fetch_from: NextOffset,
    /// Documents of this partition may have other writers, although its views are `by-key`.
    pub(super) shared_keys: bool,
}

/// What comes before a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    Pause(Duration),
    /// The same, of a partition that stands still meanwhile.
    Again(Duration),
    /// Another partition has written a document of this one: say so, to everybody.
    ShareKeys,
}

/// How often a topic must be missing to count as deleted, and the pause after each look.
const DELETED_LOOKS: u32 = 6;
const DELETED_PAUSE: Duration = Duration::from_secs(2);

impl Claimant {
    /// Claims a partition, waiting for the store and for Kafka as long as it takes.
    ///
    /// A claim fences whoever has the partition, so one that is not wanted any more must not go
    /// on: `given_up` ends it at any point.
    pub(super) async fn claim(
        self,
        partition: TopicPartition,
        generation: Generation,
        before: Before,
        given_up: CancellationToken,
    ) -> Claim {
        let claiming = async {
            match before {
                Before::Nothing => {}
                Before::Pause(pause) | Before::Again(pause) => tokio::time::sleep(pause).await,
                Before::ShareKeys => self.share_keys().await?,
            }
            self.claim_now(&partition).await
        };
        let result = given_up.run_until_cancelled(claiming).await;
        Claim {
            partition,
            generation,
            result,
        }
    }

    async fn claim_now(&self, partition: &TopicPartition) -> Result<Claimed, StopReason> {
        let checkpoint = checkpoint_id(&self.context, partition);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let claim = loop {
            let claim = self.store.claim(&checkpoint, &self.owner).await;
            if let Some(claim) = self.stored(claim, &mut backoff).await? {
                break claim;
            }
        };
        let shared_keys = match self.context.layout {
            DomainLayout::PerPartition => self.keys_are_shared().await?,
            // It has many writers anyway.
            DomainLayout::Joined => false,
        };
        // After the claim, all of it: until then, the owner before may park and see more, change
        // over to another version, and move the checkpoint past this end.
        let sieve = self.load_sieve(&checkpoint).await?;
        let caught_up = self.versions.catch_up().await;
        caught_up.map_err(StopReason::StoreRefused)?;
        let bounds = self.bounds(partition).await?;
        let fetch_from = fetch_from(&self.context.name, partition, claim.next, bounds)?;
        Ok(Claimed {
            epoch: claim.epoch,
            repairs: claim.repairs,
            sieve,
            next: claim.next,
            fetch_from,
            shared_keys,
        })
    }

    async fn load_sieve(&self, checkpoint: &CheckpointId) -> Result<Sieve, StopReason> {
        let keys = self
            .load_entries(Table::ParkedKeys, &parked::keys_prefix(checkpoint))
            .await?;
        let keys: Result<Vec<KeyEntry>, _> = keys.iter().map(KeyEntry::from_entry).collect();
        let keys = keys.map_err(|error| describe(&error))?;
        let parking = Parking::new(self.context.parking.limits, keys);
        let Some(dedupe) = &self.context.dedupe else {
            return Ok(Sieve::new(None, parking).with_keyless(self.context.without_key));
        };
        let segments = self
            .load_entries(Table::Seen, &stored::segments_prefix(checkpoint))
            .await?;
        let segments: Result<Vec<_>, _> = segments.iter().map(stored::segment_from_entry).collect();
        let segments = segments.map_err(|error| describe(&error))?;
        let window = Window::new(dedupe.window, segments).map_err(|error| {
            format!(
                "the ids that were seen in {} are not whole in the store: {error}; somebody else has \
                 changed {}",
                checkpoint.partition,
                Table::Seen
            )
        })?;
        let sieve = Sieve::new(Some((dedupe.clone(), window)), parking);
        Ok(sieve.with_keyless(self.context.without_key))
    }

    /// Reads all entries of a partition, waiting for the store as long as it takes.
    async fn load_entries(&self, table: Table, prefix: &str) -> Result<Vec<Entry>, StopReason> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map(|entry| Arc::clone(&entry.id));
            let page = self
                .store
                .entries(table, prefix, after.as_deref(), ENTRIES_PAGE);
            if let Some(page) = self.stored(page.await, &mut backoff).await? {
                if page.is_empty() {
                    return Ok(entries);
                }
                entries.extend(page);
            }
        }
    }

    /// After the claim: whoever shares keys later fences it.
    async fn keys_are_shared(&self) -> Result<bool, StopReason> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let shared = self.store.keys_are_shared(&self.context.writer()).await;
            if let Some(shared) = self.stored(shared, &mut backoff).await? {
                return Ok(shared);
            }
        }
    }

    async fn share_keys(&self) -> Result<(), StopReason> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let shared = self.store.share_keys(&self.context.writer()).await;
            if self.stored(shared, &mut backoff).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// What the store answered; `None` where it did not, after a pause. An error says why there
    /// is no use in asking again.
    async fn stored<T>(
        &self,
        answer: Result<T, store::Error>,
        backoff: &mut Backoff,
    ) -> Result<Option<T>, StopReason> {
        match answer {
            Ok(answer) => {
                self.store_reachability.reached();
                Ok(Some(answer))
            }
            Err(error) if error.is_transient() => {
                self.store_reachability.lost(&error);
                tokio::time::sleep(backoff.next_delay()).await;
                Ok(None)
            }
            Err(error) => Err(StopReason::StoreRefused(describe(&error))),
        }
    }

    /// Those of the positions that their topics do not hold any more, and why they cannot go on.
    ///
    /// Only the position that could not be fetched is wrong; what was fetched before it is good,
    /// whatever the topic holds by now.
    pub(super) async fn out_of_range(
        self,
        standings: Vec<Standing>,
    ) -> Vec<(Standing, StopReason)> {
        let mut gone = Vec::new();
        let projection = &self.context.name;
        for standing in standings {
            let Standing {
                partition, next, ..
            } = &standing;
            let checked = match self.bounds(partition).await {
                Ok(bounds) => fetch_from(projection, partition, *next, bounds),
                Err(reason) => Err(reason),
            };
            if let Err(reason) = checked {
                gone.push((standing, reason));
            }
        }
        gone
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, StopReason> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let answer = self.positions.bounds(partition).await;
            if let Some(bounds) = self.answered(answer, &mut backoff).await? {
                return Ok(bounds);
            }
        }
    }

    /// The first of the topics that is gone for good, and what to do about it.
    pub(super) async fn deleted(self, topics: Vec<String>) -> Option<Failure> {
        for topic in topics {
            match self.is_deleted(&topic).await {
                Ok(false) => {}
                Ok(true) => {
                    let reason = format!(
                        "topic \"{topic}\" was deleted; make it again and give the projection \
                         another database or file, for the events that made its documents are \
                         gone, or take the topic out of its topics, and start the host again"
                    );
                    return Some(Failure {
                        code: "topic-deleted",
                        reason,
                        outlook: Outlook::Deleted { topic },
                    });
                }
                Err(reason) => {
                    return Some(Failure {
                        code: reason.code(),
                        reason: reason.to_string(),
                        outlook: Outlook::MayPass,
                    });
                }
            }
        }
        None
    }

    /// Looks several times: a broker that has just started does not know its topics yet.
    async fn is_deleted(&self, topic: &str) -> Result<bool, StopReason> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut missed = 0;
        while missed < DELETED_LOOKS {
            let answer = self.positions.exists(topic).await;
            match self.answered(answer, &mut backoff).await? {
                Some(true) => return Ok(false),
                Some(false) => {
                    missed += 1;
                    tokio::time::sleep(DELETED_PAUSE).await;
                }
                None => {}
            }
        }
        Ok(true)
    }

    /// What Kafka answered; `None` where it did not, after a pause. An error says why there is no
    /// use in asking again.
    async fn answered<T>(
        &self,
        answer: Result<T, PositionsError>,
        backoff: &mut Backoff,
    ) -> Result<Option<T>, StopReason> {
        match answer {
            Ok(answer) => {
                self.kafka_reachability.reached();
                Ok(Some(answer))
            }
            Err(error @ PositionsError::Refused { .. }) => {
                Err(StopReason::KafkaRefused(describe(&error)))
            }
            Err(error @ PositionsError::Unavailable { .. }) => {
                self.kafka_reachability.lost(&error);
                tokio::time::sleep(backoff.next_delay()).await;
                Ok(None)
            }
        }
    }
}

/// Where to start fetching, or why going on would lose or repeat events.
fn fetch_from(
    projection: &Arc<str>,
    partition: &TopicPartition,
    next: NextOffset,
    bounds: Bounds,
) -> Result<NextOffset, StopReason> {
    let Bounds { low, high } = bounds;
    if next == NextOffset::ZERO {
        return Ok(low);
    }
    if next < low {
        return Err(StopReason::OffsetGone {
            projection: Arc::clone(projection),
            partition: partition.clone(),
            next,
            low,
        });
    }
    if next > high {
        return Err(StopReason::TopicReplaced {
            projection: Arc::clone(projection),
            partition: partition.clone(),
            next,
            evidence: format!("the topic ends at {high}"),
        });
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetching_starts_at_the_checkpoint_or_not_at_all() {
        let partition = TopicPartition::new("flights", 0);
        let bounds = |low, high| Bounds {
            low: NextOffset(low),
            high: NextOffset(high),
        };
        let cases = [
            ("a new projection", 0, bounds(0, 9), Ok(0)),
            ("a new projection on an old topic", 0, bounds(5, 9), Ok(5)),
            ("in the middle", 7, bounds(5, 9), Ok(7)),
            ("caught up", 9, bounds(5, 9), Ok(9)),
            ("behind the retention", 3, bounds(5, 9), Err("offset-gone")),
            (
                "a topic made again",
                12,
                bounds(0, 4),
                Err("topic-replaced"),
            ),
        ];
        for (name, next, bounds, expected) in cases {
            let result = fetch_from(&"aircraft".into(), &partition, NextOffset(next), bounds);
            match expected {
                Ok(from) => assert_eq!(result, Ok(NextOffset(from)), "{name}"),
                Err(code) => assert_eq!(result.expect_err(name).code(), code, "{name}"),
            }
        }
    }
}
