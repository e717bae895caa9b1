//! How far a contender has come: which markers are visible.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bson::raw::RawDocumentBuf;
use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::Collection;
use mongodb::options::ReadConcern;

use serde::Serialize;

use crate::workload::marker_id;

const POLL: Duration = Duration::from_millis(20);

/// A contender that has stored nothing for so long will not.
const STALLED: Duration = Duration::from_secs(120);

/// Looks for markers in a collection, as a majority of the servers have it.
pub struct Watch {
    collection: Collection<RawDocumentBuf>,
    unseen: BTreeSet<String>,
    total: usize,
    /// How many questions were asked.
    pub queries: u64,
    /// When how many of all markers were visible; each entry is more than the one before.
    pub sightings: Vec<(Instant, usize)>,
}

impl Watch {
    /// For so many markers in each partition.
    pub fn new(collection: Collection<RawDocumentBuf>, markers: &[u32]) -> Self {
        let unseen: BTreeSet<String> = (0..)
            .zip(markers)
            .flat_map(|(partition, &count)| {
                (0..count).map(move |index| marker_id(partition, index))
            })
            .collect();
        Watch {
            collection,
            total: unseen.len(),
            unseen,
            queries: 0,
            sightings: Vec::new(),
        }
    }

    pub fn is_complete(&self) -> bool {
        self.unseen.is_empty()
    }

    /// Of all markers, from 0 to 1.
    pub fn share(&self) -> f64 {
        1.0 - self.unseen.len() as f64 / self.total as f64
    }

    /// How many of all events were not visible yet at the first sighting, from 0 to 1.
    pub fn share_since_first(&self) -> f64 {
        let first = self.sightings.first().map_or(0, |(_, seen)| *seen);
        1.0 - first as f64 / self.total as f64
    }

    /// Waits for the first marker, or for all of them. `alive` is asked at each look.
    ///
    /// # Errors
    /// MongoDB's, `alive`'s, or that no marker has come for two minutes.
    pub async fn wait(
        &mut self,
        until: Until,
        mut alive: impl FnMut(f64) -> anyhow::Result<()>,
    ) -> anyhow::Result<Instant> {
        let mut last = Instant::now();
        loop {
            if self.look().await? {
                last = Instant::now();
                let enough = match until {
                    Until::First => true,
                    Until::All => false,
                };
                if enough || self.is_complete() {
                    return Ok(last);
                }
            }
            alive(self.share())?;
            anyhow::ensure!(
                last.elapsed() < STALLED,
                "it has stored nothing for {} s; {} of {} markers are missing, such as {:?}",
                STALLED.as_secs(),
                self.unseen.len(),
                self.total,
                self.unseen.first()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether there are more than before.
    async fn look(&mut self) -> anyhow::Result<bool> {
        let ids: Vec<&str> = self.unseen.iter().map(String::as_str).collect();
        let find = self
            .collection
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "_id": 1 })
            .read_concern(ReadConcern::majority())
            .batch_size(u32::try_from(self.unseen.len())? + 1);
        let found: Vec<Document> = find.await?.with_type().try_collect().await?;
        self.queries += 1;
        for document in &found {
            self.unseen.remove(document.get_str("_id")?);
        }
        if !found.is_empty() {
            let seen = self.total - self.unseen.len();
            self.sightings.push((Instant::now(), seen));
        }
        Ok(!found.is_empty())
    }

    /// Events per second from the first sighting on, and in the first and the last quarter of that
    /// time, when all markers together stand for so many events.
    pub fn rates(&self, events: u64) -> Option<Rates> {
        let (first, _) = *self.sightings.first()?;
        let points: Vec<(f64, f64)> = self
            .sightings
            .iter()
            .map(|(at, seen)| {
                let share = *seen as f64 / self.total as f64;
                ((*at - first).as_secs_f64(), share * events as f64)
            })
            .collect();
        Rates::of(&points)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    First,
    All,
}

/// Events per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rates {
    pub seconds: f64,
    pub all: f64,
    pub first_quarter: f64,
    pub last_quarter: f64,
}

impl Rates {
    /// From points of (seconds, events so far), of which the first is at 0 seconds. `None` where
    /// they span no time.
    fn of(points: &[(f64, f64)]) -> Option<Self> {
        let (&(start, before), &(seconds, events)) = (points.first()?, points.last()?);
        if seconds <= start {
            return None;
        }
        let rate =
            |from: f64, to: f64| (events_at(points, to) - events_at(points, from)) / (to - from);
        Some(Rates {
            seconds,
            all: (events - before) / seconds,
            first_quarter: rate(0.0, seconds / 4.0),
            last_quarter: rate(seconds * 0.75, seconds),
        })
    }
}

/// Between two points, on the line from one to the other.
fn events_at(points: &[(f64, f64)], second: f64) -> f64 {
    let mut before = points[0];
    for &point in points {
        if point.0 >= second {
            let span = point.0 - before.0;
            let part = if span > 0.0 {
                (second - before.0) / span
            } else {
                1.0
            };
            return before.1 + (point.1 - before.1) * part;
        }
        before = point;
    }
    before.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_told_from_the_first_sighting_on() {
        // 100 events were there at the first look; then 20 a second, and 60 a second at the end.
        let points = [(0.0, 100.0), (2.0, 140.0), (6.0, 220.0), (8.0, 340.0)];
        let rates = Rates::of(&points).expect("they span 8 seconds");
        assert_eq!(rates.seconds, 8.0);
        assert_eq!(rates.all, 30.0);
        assert_eq!(rates.first_quarter, 20.0);
        assert_eq!(rates.last_quarter, 60.0);
    }

    #[test]
    fn what_comes_all_at_once_has_no_rate() {
        assert_eq!(Rates::of(&[]), None);
        assert_eq!(Rates::of(&[(0.0, 7.0)]), None);
    }
}
