//! Claiming partitions: the epoch and the position come from the store, and the topic must still
//! hold what comes next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

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
use crate::record::{Epoch, Generation, Lineage, NextOffset, TopicId, TopicPartition};
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
    /// Which log that is a position of; the last event before it only where the topic still holds it.
    pub(super) lineage: Lineage,
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

/// A position that could not be fetched, and what was found.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) standing: Standing,
    /// Why it cannot be fetched; `None` where it should be possible.
    pub(super) gone: Option<StopReason>,
}

/// A partition, and the topic that it was claimed of.
#[derive(Debug)]
pub(super) struct TopicClaim {
    pub(super) partition: TopicPartition,
    pub(super) generation: Generation,
    pub(super) topic: TopicId,
}

/// How long to wait before a position is fetched again that should be there.
const IN_RANGE_PAUSE: Duration = Duration::from_secs(1);

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
        let claim = self.take_over(&checkpoint).await?;
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
        let lineage = self.lineage(&checkpoint, claim.next).await?;
        let bounds = self.bounds(partition).await?;
        check_position(&self.context.name, partition, claim.next, bounds)?;
        Ok(Claimed {
            epoch: claim.epoch,
            repairs: claim.repairs,
            sieve,
            next: claim.next,
            lineage: Lineage {
                last: lineage
                    .last
                    .filter(|last| !bounds.low.includes(last.offset)),
                ..lineage
            },
            shared_keys,
        })
    }

    /// The claim itself. A partition that nobody has claimed before starts where its topic does, and
    /// that is stored with the claim: from then on, it is a position like any other.
    async fn take_over(&self, checkpoint: &CheckpointId) -> Result<store::Claim, StopReason> {
        let partition = &checkpoint.partition;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let before = loop {
            let before = self.store.checkpoint(checkpoint).await;
            if let Some(before) = self.stored(before, &mut backoff).await? {
                break before;
            }
        };
        let start = match before {
            Some(claim) => claim.next,
            None => self.bounds(partition).await?.low,
        };
        let claim = loop {
            let claim = self.store.claim_from(checkpoint, &self.owner, start).await;
            if let Some(claim) = self.stored(claim, &mut backoff).await? {
                break claim;
            }
        };
        if before.is_none() && start > NextOffset::ZERO && claim.next == start {
            warn!(
                projection = %self.context.name, %partition,
                "is new, and the topic's first {start} offsets are gone (retention, or somebody has \
                 deleted them): begins at offset {start}"
            );
        }
        Ok(claim)
    }

    /// Which log the position is one of. It must be that of the topic as it is now.
    async fn lineage(
        &self,
        checkpoint: &CheckpointId,
        next: NextOffset,
    ) -> Result<Lineage, StopReason> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let stored = loop {
            let lineage = self.store.lineage(checkpoint).await;
            if let Some(lineage) = self.stored(lineage, &mut backoff).await? {
                break lineage;
            }
        };
        let topic = self.topic_id(&checkpoint.partition.topic).await?;
        let projection = &self.context.name;
        check_topic(projection, &checkpoint.partition, next, stored.topic, topic)?;
        Ok(Lineage {
            topic: topic.or(stored.topic),
            ..stored
        })
    }

    async fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, StopReason> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let answer = self.positions.topic_id(topic).await;
            if let Some(id) = self.answered(answer, &mut backoff).await? {
                return Ok(id);
            }
        }
    }

    /// Those partitions whose topic is another one by now, and why they cannot go on.
    pub(super) async fn replaced(self, claims: Vec<TopicClaim>) -> Vec<(TopicClaim, StopReason)> {
        let mut ids: BTreeMap<Arc<str>, Option<TopicId>> = BTreeMap::new();
        let mut replaced = Vec::new();
        for claim in claims {
            let name = &claim.partition.topic;
            let now = match ids.get(name) {
                Some(id) => *id,
                None => {
                    // What is not answered is asked for again with the next look.
                    let id = self.positions.topic_id(name).await.ok().flatten();
                    ids.insert(Arc::clone(name), id);
                    id
                }
            };
            if now.is_none_or(|now| now == claim.topic) {
                continue;
            }
            let checkpoint = checkpoint_id(&self.context, &claim.partition);
            let Ok(Some(stored)) = self.store.checkpoint(&checkpoint).await else {
                continue;
            };
            let (projection, folded) = (&self.context.name, Some(claim.topic));
            let checked = check_topic(projection, &claim.partition, stored.next, folded, now);
            if let Err(reason) = checked {
                replaced.push((claim, reason));
            }
        }
        replaced
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

    /// Looks at positions that their topics may not hold any more, and why they cannot go on.
    ///
    /// Only the position that could not be fetched is wrong; what was fetched before it is good,
    /// whatever the topic holds by now.
    pub(super) async fn out_of_range(self, standings: Vec<Standing>) -> Vec<Checked> {
        let mut looked = Vec::with_capacity(standings.len());
        let projection = &self.context.name;
        for standing in standings {
            let Standing {
                partition, next, ..
            } = &standing;
            let gone = match self.bounds(partition).await {
                Ok(bounds) => check_position(projection, partition, *next, bounds).err(),
                Err(reason) => Some(reason),
            };
            looked.push(Checked { standing, gone });
        }
        if looked.iter().any(|checked| checked.gone.is_none()) {
            // A replica that is behind the others, say. It is not asked all the time.
            tokio::time::sleep(IN_RANGE_PAUSE).await;
        }
        looked
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

/// Why going on would lose or repeat events, where it would.
fn check_position(
    projection: &Arc<str>,
    partition: &TopicPartition,
    next: NextOffset,
    bounds: Bounds,
) -> Result<(), StopReason> {
    let Bounds { low, high } = bounds;
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
    Ok(())
}

/// Whether a topic is still the one that was folded, as far as both are known.
fn check_topic(
    projection: &Arc<str>,
    partition: &TopicPartition,
    next: NextOffset,
    folded: Option<TopicId>,
    now: Option<TopicId>,
) -> Result<(), StopReason> {
    match (folded, now) {
        // Where nothing is folded, no log is another one.
        (Some(folded), Some(now)) if folded != now && next > NextOffset::ZERO => {
            Err(StopReason::TopicReplaced {
                projection: Arc::clone(projection),
                partition: partition.clone(),
                next,
                evidence: format!("the topic's id was {folded}, and is {now} now"),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_topic_of_the_name_is_noticed_once_something_is_folded() {
        let partition = TopicPartition::new("flights", 0);
        let id = |low| TopicId::from_halves(7, low);
        let cases = [
            ("the same", 3, id(1), id(1), Ok(())),
            ("another", 3, id(1), id(2), Err("topic-replaced")),
            ("another, and nothing folded", 0, id(1), id(2), Ok(())),
            ("a checkpoint of an earlier version", 3, None, id(2), Ok(())),
            ("brokers that do not tell", 3, id(1), None, Ok(())),
        ];
        for (name, next, folded, now, expected) in cases {
            let projection = "aircraft".into();
            let result = check_topic(&projection, &partition, NextOffset(next), folded, now);
            assert_eq!(result.map_err(|reason| reason.code()), expected, "{name}");
        }
    }

    #[test]
    fn fetching_starts_at_the_checkpoint_or_not_at_all() {
        let partition = TopicPartition::new("flights", 0);
        let bounds = |low, high| Bounds {
            low: NextOffset(low),
            high: NextOffset(high),
        };
        let cases = [
            ("at the start", 0, bounds(0, 9), Ok(())),
            ("claimed at the start", 0, bounds(5, 9), Err("offset-gone")),
            ("in the middle", 7, bounds(5, 9), Ok(())),
            ("caught up", 9, bounds(5, 9), Ok(())),
            ("all are gone", 9, bounds(9, 9), Ok(())),
            ("behind the retention", 3, bounds(5, 9), Err("offset-gone")),
            (
                "a topic made again",
                12,
                bounds(0, 4),
                Err("topic-replaced"),
            ),
        ];
        for (name, next, bounds, expected) in cases {
            let result = check_position(&"aircraft".into(), &partition, NextOffset(next), bounds);
            assert_eq!(result.map_err(|reason| reason.code()), expected, "{name}");
        }
    }
}
