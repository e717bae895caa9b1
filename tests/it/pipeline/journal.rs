//! What happened around one host's pipeline, in order: told by its source, its projection and its
//! store, read by the tests.

use std::sync::{Arc, Mutex};

use projectionist::store::Commit;
use projectionist_tests::wait;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The source may go on after an assignment.
    Acknowledged,
    /// The source fetches a partition from this position.
    Fetched(i32, i64),
    /// The same for a partition that it fetched already.
    Restarted(i32, i64),
    Released(Vec<i32>),
    Left,
    /// An event was taken by its queue.
    Sent(i32, i64),
    Full(i32),
    Resumed(i32),
    /// The projection has folded the events of a partition from the first to the last offset.
    Folded(i32, i64, i64),
    /// The store was asked for these documents.
    Read(Vec<String>),
    /// The store gave documents of so many bytes at once.
    Loaded(usize),
    /// The projection did not take a batch.
    Faulted(i32),
    /// A commit has reached the store.
    Attempted(Vec<Moved>),
    /// The store does not take what a commit would store.
    Refused,
    /// A commit has happened.
    Stored(Vec<Moved>),
}

/// How a commit moves one checkpoint, and how many documents it writes in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) partition: i32,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) writes: usize,
}

/// Cloning it shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<Entry>>>);

impl Journal {
    pub(crate) fn note(&self, entry: Entry) {
        self.0.lock().expect("nobody panics here").push(entry);
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.lock().expect("nobody panics here").clone()
    }

    /// Waits until the entries so far give an answer.
    pub(crate) async fn until<T>(&self, what: &str, find: impl Fn(&[Entry]) -> Option<T>) -> T {
        wait::until(what, async || {
            let entries = self.entries();
            find(&entries).ok_or_else(|| Tail::of(entries))
        })
        .await
    }

    /// Waits for one entry.
    pub(crate) async fn until_any(&self, what: &str, is: impl Fn(&Entry) -> bool) {
        self.until(what, |entries| entries.iter().any(&is).then_some(()))
            .await;
    }

    /// Waits until the partition is folded up to and with this offset.
    pub(crate) async fn until_folded(&self, partition: i32, offset: i64) {
        let what = format!("event {offset} of partition {partition} to be folded");
        self.until_any(&what, |entry| {
            matches!(entry, Entry::Folded(p, _, last) if *p == partition && *last >= offset)
        })
        .await;
    }

    pub(crate) async fn until_released(&self, partition: i32) {
        let what = format!("partition {partition} to be released");
        self.until_any(
            &what,
            |entry| matches!(entry, Entry::Released(partitions) if partitions.contains(&partition)),
        )
        .await;
    }
}

/// The last entries, for a test that waits in vain.
struct Tail(Vec<Entry>);

impl Tail {
    fn of(mut entries: Vec<Entry>) -> Self {
        Tail(entries.split_off(entries.len().saturating_sub(20)))
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at this journal's end: {:#?}", self.0)
    }
}

pub(crate) fn moves(commit: &Commit) -> Vec<Moved> {
    let moved = commit.advances.iter().map(|advance| Moved {
        partition: advance.checkpoint.partition.partition,
        from: advance.from.0,
        to: advance.to.0,
        writes: commit.writes.len(),
    });
    moved.collect()
}
