//! Which copies of a projection's views lag behind the others.
//!
//! A copy is stale where it lacks something that another copy had stored a while ago: it catches
//! up after an outage, or is built anew. Reads that name no position go to the others meanwhile.
//! Copies that are equally far are never stale, however far the topics are ahead.
//!
//! Times come in as arguments.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::positions::Position;

/// How far the copies were together, and when.
pub(super) struct Staleness {
    /// A copy may lag so far.
    after: Duration,
    /// The oldest one first; at least one that is older than `after`, once there is one.
    samples: VecDeque<(Instant, Arc<Position>)>,
}

/// What is told of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) is_stale: bool,
    /// Events that another copy has stored and this one has not, as offsets.
    pub(super) lag: i64,
}

impl Staleness {
    pub(super) fn new(after: Duration) -> Self {
        Staleness {
            after,
            samples: VecDeque::new(),
        }
    }

    /// Takes note of how far the copies are now, and tells how each one stands.
    pub(super) fn look(&mut self, now: Instant, copies: &[Arc<Position>]) -> Vec<Standing> {
        let front = Arc::new(Position::furthest(copies));
        // Nothing was known so far.
        if self
            .samples
            .front()
            .is_some_and(|(_, sample)| sample.is_empty())
        {
            self.samples.clear();
        }
        let is_news = |(_, last): &(Instant, Arc<Position>)| last.behind(&front) > 0;
        if self.samples.back().is_none_or(is_news) {
            self.samples.push_back((now, Arc::clone(&front)));
        }
        let is_old = |(at, _): &(Instant, Arc<Position>)| now.duration_since(*at) >= self.after;
        while self.samples.get(1).is_some_and(is_old) {
            self.samples.pop_front();
        }
        let (_, expected) = self.samples.front().expect("one was there, or put there");
        let standing = |copy: &Arc<Position>| Standing {
            is_stale: copy.behind(expected) > 0,
            lag: copy.behind(&front),
        };
        copies.iter().map(standing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{NextOffset, TopicPartition};

    const AFTER: Duration = Duration::from_secs(5);

    fn at(next: i64) -> Arc<Position> {
        let partition = TopicPartition::new("flights", 0);
        Arc::new(Position::of([(partition, NextOffset(next))]))
    }

    fn stale(standings: &[Standing]) -> Vec<bool> {
        standings.iter().map(|standing| standing.is_stale).collect()
    }

    #[test]
    fn a_copy_may_be_a_little_late() {
        let start = Instant::now();
        let mut staleness = Staleness::new(AFTER);
        let mut next = 0;
        for second in 0..60 {
            next += 1_000;
            // Two seconds behind.
            let late = (next - 2_000).max(0);
            let now = start + Duration::from_secs(second);
            let found = staleness.look(now, &[at(next), at(late)]);
            assert!(!found[0].is_stale);
            // At the start nobody knows for how long it has been so.
            assert_eq!(found[1].is_stale, second < 2, "second {second}");
            assert_eq!(found[1].lag, next - late);
        }
        assert!(staleness.samples.len() <= 7);
    }

    #[test]
    fn a_copy_that_stands_still_is_stale_after_a_while_and_until_it_has_caught_up() {
        let start = Instant::now();
        let mut staleness = Staleness::new(AFTER);
        assert_eq!(
            stale(&staleness.look(start, &[at(10), at(10)])),
            [false, false]
        );
        let moved = start + Duration::from_secs(1);
        assert_eq!(
            stale(&staleness.look(moved, &[at(20), at(10)])),
            [false, false]
        );
        let soon = moved + AFTER - Duration::from_millis(1);
        assert_eq!(
            stale(&staleness.look(soon, &[at(30), at(10)])),
            [false, false]
        );
        let late = moved + AFTER;
        assert_eq!(
            stale(&staleness.look(late, &[at(40), at(10)])),
            [false, true]
        );
        assert_eq!(
            stale(&staleness.look(late, &[at(40), at(20)])),
            [false, false]
        );
    }

    #[test]
    fn a_copy_of_which_nothing_is_known_is_stale_as_soon_as_another_one_is_known() {
        let start = Instant::now();
        let mut staleness = Staleness::new(AFTER);
        let unknown = || Arc::new(Position::default());
        let found = staleness.look(start, &[unknown(), unknown()]);
        assert_eq!(stale(&found), [false, false]);
        let soon = start + Duration::from_millis(500);
        let found = staleness.look(soon, &[at(1_000), unknown()]);
        assert_eq!(stale(&found), [false, true]);
        let found = staleness.look(soon, &[at(1_000), at(10)]);
        assert_eq!(stale(&found), [false, true]);
    }

    #[test]
    fn copies_that_wait_for_events_are_not_stale() {
        let start = Instant::now();
        let mut staleness = Staleness::new(AFTER);
        for minute in 0..10 {
            let now = start + Duration::from_mins(minute);
            let found = staleness.look(now, &[at(10), at(10), at(10)]);
            assert_eq!(stale(&found), [false, false, false]);
        }
        assert_eq!(staleness.samples.len(), 1);
    }
}
