//! What waits to be stored, and when it goes.
//!
//! Pure: the time is given.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::{Options, Submission};

/// Batches that are not under way, oldest first.
#[derive(Debug)]
pub(super) struct Waiting {
    submissions: VecDeque<Submission>,
    /// Since when anything waits.
    since: Instant,
}

/// What is less than this part of a transaction's limits is little.
const LITTLE: usize = 8;

/// How long little waits for what is being stored: longer than a small transaction takes.
const PATIENCE: Duration = Duration::from_millis(10);

impl Waiting {
    pub(super) fn new(now: Instant) -> Self {
        Waiting {
            submissions: VecDeque::new(),
            since: now,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.submissions.is_empty()
    }

    pub(super) fn push(&mut self, submission: Submission, now: Instant) {
        if self.submissions.is_empty() {
            self.since = now;
        }
        self.submissions.push_back(submission);
    }

    /// When the next transaction is to start while so many are under way; `None` where one has to
    /// end, or a batch to come, before that is known.
    pub(super) fn go_at(&self, in_flight: usize, options: &Options) -> Option<Instant> {
        if self.submissions.is_empty() || in_flight >= options.in_flight_max {
            return None;
        }
        let waits = in_flight > 0 && self.is_little(options);
        let patience = if waits { PATIENCE } else { Duration::ZERO };
        Some(self.since + patience)
    }

    fn is_little(&self, options: &Options) -> bool {
        let (documents, bytes) =
            self.submissions
                .iter()
                .fold((0, 0), |(documents, bytes), submission| {
                    (documents + submission.documents(), bytes + submission.bytes)
                });
        documents < options.documents_max / LITTLE && bytes < options.bytes_max / LITTLE
    }

    /// Takes the oldest out, as far as they fit one transaction; a single one always does.
    pub(super) fn take_group(&mut self, options: &Options) -> Vec<Submission> {
        let mut group: Vec<Submission> = Vec::with_capacity(self.submissions.len());
        let (mut documents, mut bytes) = (0, 0);
        while let Some(next) = self.submissions.pop_front_if(|next| {
            documents += next.documents();
            bytes += next.bytes;
            let full = documents > options.documents_max || bytes > options.bytes_max;
            // A partition that was abandoned and came back: its two batches are of two epochs.
            let twice = group.iter().any(|earlier| earlier.shares_partition(next));
            group.is_empty() || !(full || twice)
        }) {
            group.push(next);
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::projection::Held;
    use crate::record::{Epoch, Lineage, NextOffset, TopicPartition};
    use crate::store::{Advance, CheckpointId, EntryChange, Repairs, Table};

    const OPTIONS: Options = Options {
        in_flight_max: 2,
        documents_max: 80,
        bytes_max: 8_000,
    };

    /// A batch of one partition.
    fn submission(partition: i32, documents: usize, bytes: usize) -> Submission {
        let removed = |n: usize| EntryChange::Remove {
            table: Table::Seen,
            id: n.to_string().into(),
        };
        let checkpoint = CheckpointId {
            projection: "accounts".into(),
            version: 1,
            copy: "main".into(),
            partition: TopicPartition::new("transfers", partition),
        };
        Submission {
            writes: Vec::new(),
            entries: (0..documents).map(removed).collect(),
            advances: vec![Advance {
                checkpoint,
                epoch: Epoch(1),
                from: NextOffset(0),
                to: NextOffset(1),
                lineage: Lineage::default(),
                repairs: Repairs { from: 0, to: 0 },
            }],
            bytes,
            held: Held::default(),
            reply: oneshot::channel().0,
        }
    }

    fn waiting(start: Instant, submissions: Vec<Submission>) -> Waiting {
        let mut waiting = Waiting::new(start);
        for submission in submissions {
            waiting.push(submission, start);
        }
        waiting
    }

    #[test]
    fn little_waits_for_what_is_under_way_and_not_for_long() {
        let start = Instant::now();
        let patient = Some(start + PATIENCE);
        let cases = [
            ("nothing", vec![], [None, None, None]),
            (
                "little",
                vec![submission(0, 4, 400), submission(1, 5, 500)],
                [Some(start), patient, None],
            ),
            (
                "many documents",
                vec![submission(0, 5, 0), submission(1, 5, 0)],
                [Some(start), Some(start), None],
            ),
            (
                "many bytes",
                vec![submission(0, 1, 1_000)],
                [Some(start), Some(start), None],
            ),
        ];
        for (name, submissions, expected) in cases {
            let waiting = waiting(start, submissions);
            let go_at = [0, 1, 2].map(|in_flight| waiting.go_at(in_flight, &OPTIONS));
            assert_eq!(go_at, expected, "{name}");
        }
    }

    #[test]
    fn the_first_that_waits_sets_the_time() {
        let start = Instant::now();
        let later = start + Duration::from_millis(3);
        let mut waiting = waiting(start, vec![submission(0, 1, 1)]);
        waiting.push(submission(1, 1, 1), later);
        assert_eq!(waiting.go_at(1, &OPTIONS), Some(start + PATIENCE));
        waiting.take_group(&OPTIONS);
        waiting.push(submission(0, 1, 1), later);
        assert_eq!(waiting.go_at(1, &OPTIONS), Some(later + PATIENCE));
    }

    #[test]
    fn a_group_is_what_fits_one_transaction() {
        let cases = [
            ("all fit", vec![(0, 40, 0), (1, 40, 0)], vec![2]),
            (
                "too many documents",
                vec![(0, 40, 0), (1, 41, 0), (2, 1, 0)],
                vec![1, 2],
            ),
            (
                "too many bytes",
                vec![(0, 1, 4_000), (1, 1, 4_001)],
                vec![1, 1],
            ),
            (
                "one too large",
                vec![(0, 100, 9_000), (1, 1, 1)],
                vec![1, 1],
            ),
            (
                "one partition twice",
                vec![(0, 1, 1), (1, 1, 1), (0, 1, 1)],
                vec![2, 1],
            ),
        ];
        for (name, submissions, expected) in cases {
            let submissions = submissions.into_iter();
            let submissions = submissions
                .map(|(partition, documents, bytes)| submission(partition, documents, bytes));
            let mut waiting = waiting(Instant::now(), submissions.collect());
            let mut sizes = Vec::new();
            while !waiting.is_empty() {
                sizes.push(waiting.take_group(&OPTIONS).len());
            }
            assert_eq!(sizes, expected, "{name}");
        }
    }
}
