//! Measures how long it takes to recover from a fault, and waits for the end of a run.
//!
//! A fault's recovery lasts from its end (the process runs again, the step-down is answered) until
//! all partitions of all projections have stored what the broker had acknowledged by then, and each
//! projection at least as many events as were handed to the producer by then: those that the broker
//! could not take yet have no partition to look at. So it includes what the service itself needs to
//! come back, elections and rebalances, and the way through what had piled up; faults that meet one
//! another lengthen each other's.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};

use super::schedule::Kind;
use crate::mongo::Database;

/// Something that must be caught up with.
#[derive(Debug)]
pub struct Mark {
    /// `None` for the end of the input.
    pub fault: Option<Kind>,
    pub since: Instant,
    /// By partition: the position that every projection must reach.
    pub ends: Vec<i64>,
    /// How many events every projection must have stored, over all partitions.
    pub events: i64,
}

/// How long recoveries took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// In the order in which they ended.
    pub each: Vec<(Kind, Duration)>,
    /// What was not caught up with in time.
    pub stuck: Vec<String>,
}

const TICK: Duration = Duration::from_millis(100);

/// How long to wait for a read of the checkpoints; the primary may be away.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// How long after the last mark all must be caught up with.
const PATIENCE: Duration = Duration::from_secs(180);

/// Follows the checkpoints until every mark is reached and no more can come, or until there is no
/// hope for it.
pub async fn follow(
    database: &Database,
    projections: &[&str],
    mut marks: mpsc::Receiver<Mark>,
) -> Recovery {
    let mut recovery = Recovery::default();
    let mut pending: Vec<Mark> = Vec::new();
    let mut ticks = interval(TICK);
    let mut closed_at = None;
    loop {
        ticks.tick().await;
        loop {
            match marks.try_recv() {
                Ok(mark) => pending.push(mark),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    closed_at.get_or_insert_with(Instant::now);
                    break;
                }
            }
        }
        if !pending.is_empty() {
            let positions = timeout(READ_TIMEOUT, positions(database, projections)).await;
            if let Ok(Ok(positions)) = positions {
                pending.retain(|mark| {
                    let reached = mark.is_reached(&positions);
                    if let (true, Some(kind)) = (reached, mark.fault) {
                        recovery.each.push((kind, mark.since.elapsed()));
                    }
                    !reached
                });
            }
        }
        let Some(closed_at) = closed_at else {
            continue;
        };
        if pending.is_empty() {
            return recovery;
        }
        if closed_at.elapsed() > PATIENCE {
            let positions = positions(database, projections).await;
            for mark in &pending {
                let stuck =
                    format!("not caught up with {mark:?} after {PATIENCE:?}: {positions:?}");
                recovery.stuck.push(stuck);
            }
            return recovery;
        }
    }
}

impl Mark {
    /// `positions` has the next offset of each partition, for each projection.
    fn is_reached(&self, positions: &[Vec<i64>]) -> bool {
        positions.iter().all(|projection| {
            let mut ends = self.ends.iter().enumerate();
            projection.iter().sum::<i64>() >= self.events
                && ends.all(|(partition, end)| projection.get(partition).unwrap_or(&0) >= end)
        })
    }
}

impl Recovery {
    /// The longest one.
    pub fn longest(&self) -> Option<(Kind, Duration)> {
        self.each.iter().copied().max_by_key(|&(_, took)| took)
    }
}

async fn positions(database: &Database, projections: &[&str]) -> anyhow::Result<Vec<Vec<i64>>> {
    let mut positions = Vec::with_capacity(projections.len());
    for projection in projections {
        let checkpoints = database.checkpoints(projection).await?;
        let mut nexts = Vec::new();
        for (partition, checkpoint) in checkpoints {
            let partition = usize::try_from(partition)?;
            if nexts.len() <= partition {
                nexts.resize(partition + 1, 0);
            }
            nexts[partition] = checkpoint.next;
        }
        positions.push(nexts);
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_reached_when_every_partition_of_every_projection_is_there() {
        let mark = Mark {
            fault: Some(Kind::HostKilled),
            since: Instant::now(),
            ends: vec![3, 0, 5],
            events: 9,
        };
        let cases = [
            ("all are there", vec![vec![3, 0, 6], vec![4, 1, 5]], true),
            ("one is behind", vec![vec![3, 9, 5], vec![3, 9, 4]], false),
            ("one was never claimed", vec![vec![3, 9, 5], vec![9]], false),
            ("nothing to reach", vec![vec![3, 1, 5], vec![4, 0, 5]], true),
            (
                "events were not taken yet",
                vec![vec![3, 0, 5], vec![3, 0, 5]],
                false,
            ),
        ];
        for (name, positions, reached) in cases {
            assert_eq!(mark.is_reached(&positions), reached, "{name}");
        }
    }
}
