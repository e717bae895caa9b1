//! Reserved tables and their entries: what the host keeps in a store beside the views.
//!
//! Not here: what is in an entry. That is whose table it is.

use std::fmt;
use std::sync::Arc;

use bson::raw::RawDocumentBuf;

use super::{Error, Store};
use crate::document::{DOCUMENT_BYTES_MAX, ENVELOPE_BYTES_MAX};

/// Bytes of an entry's body: what MongoDB takes, less room for the id and for the command around
/// it.
pub const ENTRY_BYTES_MAX: usize = DOCUMENT_BYTES_MAX - ENVELOPE_BYTES_MAX;

/// Entries that are read at once where all are wanted.
const PAGE: usize = 1_000;

/// A reserved table: what a store keeps beside the views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Hashes of the ids of events that were seen, a segment per batch.
    Seen,
    /// The same, an entry per id, where ids may arrive in several partitions.
    SeenIds,
    /// Events that wait because their projection could not take them, or one before them.
    Parked,
    /// One entry per key of which events are parked.
    ParkedKeys,
    /// What users want done about a parked key.
    ParkedRequests,
    /// Parked events that users gave up, with the reason.
    Skipped,
    /// Messages for Kafka that are not yet sent.
    Outbox,
    /// Plugins: the bytes of each in pieces, and what is known of it.
    Plugins,
    /// Which plugin a projection runs, a revision per change.
    Deployments,
    /// Who asked for which change, and what came of it.
    Changes,
    /// Keys that all hosts of a configuration share.
    Secrets,
}

/// A small document of the host's own. Only the owner of a partition writes the entries whose ids
/// start with its checkpoint's.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub table: Table,
    /// At most 1 KiB.
    pub id: Arc<str>,
    /// Without `_id`; at most [`ENTRY_BYTES_MAX`].
    pub body: RawDocumentBuf,
}

/// What happens to an entry. As with documents, the writer knows whether it exists.
#[derive(Clone, Debug)]
pub enum EntryChange {
    Insert(Entry),
    Replace(Entry),
    Remove { table: Table, id: Arc<str> },
}

/// No store takes an entry of this size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry \"{id}\" of {table} has {bytes} bytes, and one has at most {ENTRY_BYTES_MAX}")]
pub struct EntryTooLarge {
    table: Table,
    id: Arc<str>,
    bytes: usize,
}

/// Where the ids lie that have a prefix and come after another id. Ids are in the order of their
/// bytes, which is that of their characters' numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IdRange<'a> {
    pub(super) start: Start<'a>,
    /// Not in the range, nor is any id behind it; `None` where the range has no end.
    pub(super) end: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start<'a> {
    At(&'a str),
    After(&'a str),
}

/// Reads, page by page, all entries of a table whose ids start with `prefix` and are greater than
/// `after`, in the order of their ids.
pub async fn all_entries(
    store: &dyn Store,
    table: Table,
    prefix: &str,
    after: Option<&str>,
) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let last = entries.last().map(|entry| Arc::clone(&entry.id));
        let after = last.as_deref().or(after);
        let page = store.entries(table, prefix, after, PAGE).await?;
        if page.is_empty() {
            return Ok(entries);
        }
        entries.extend(page);
    }
}

impl Table {
    pub const ALL: [Table; 11] = [
        Table::Seen,
        Table::SeenIds,
        Table::Parked,
        Table::ParkedKeys,
        Table::ParkedRequests,
        Table::Skipped,
        Table::Outbox,
        Table::Plugins,
        Table::Deployments,
        Table::Changes,
        Table::Secrets,
    ];

    /// The name of the collection or table.
    pub fn name(self) -> &'static str {
        match self {
            Table::Seen => "_seen",
            Table::SeenIds => "_seen_ids",
            Table::Parked => "_parked",
            Table::ParkedKeys => "_parked_keys",
            Table::ParkedRequests => "_parked_requests",
            Table::Skipped => "_skipped",
            Table::Outbox => "_outbox",
            Table::Plugins => "_plugins",
            Table::Deployments => "_deployments",
            Table::Changes => "_changes",
            Table::Secrets => "_secrets",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Entry {
    /// Bytes of the body.
    pub fn bytes(&self) -> usize {
        self.body.as_bytes().len()
    }

    pub(super) fn check_size(&self) -> Result<(), EntryTooLarge> {
        let bytes = self.bytes();
        if bytes <= ENTRY_BYTES_MAX {
            return Ok(());
        }
        Err(EntryTooLarge {
            table: self.table,
            id: Arc::clone(&self.id),
            bytes,
        })
    }
}

impl EntryChange {
    pub fn table(&self) -> Table {
        match self {
            EntryChange::Insert(entry) | EntryChange::Replace(entry) => entry.table,
            EntryChange::Remove { table, .. } => *table,
        }
    }

    pub fn id(&self) -> &Arc<str> {
        match self {
            EntryChange::Insert(entry) | EntryChange::Replace(entry) => &entry.id,
            EntryChange::Remove { id, .. } => id,
        }
    }

    /// The entry as it will be; `None` where it is removed.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            EntryChange::Insert(entry) | EntryChange::Replace(entry) => Some(entry),
            EntryChange::Remove { .. } => None,
        }
    }

    /// Bytes of the body, 0 where it is removed.
    pub fn bytes(&self) -> usize {
        self.entry().map_or(0, Entry::bytes)
    }
}

impl<'a> IdRange<'a> {
    pub(super) fn new(prefix: &'a str, after: Option<&'a str>) -> Self {
        let start = match after {
            Some(after) if after >= prefix => Start::After(after),
            Some(_) | None => Start::At(prefix),
        };
        IdRange {
            start,
            end: end_of(prefix),
        }
    }
}

/// The first string behind all that start with `prefix`: its last character that has a next one,
/// counted up.
fn end_of(prefix: &str) -> Option<String> {
    let mut rest = prefix.chars();
    loop {
        let last = rest.next_back()?;
        // A range of characters leaves out the surrogates, which are none.
        if let Some(next) = (last..=char::MAX).nth(1) {
            let mut end = rest.as_str().to_owned();
            end.push(next);
            return Some(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_string_that_lacks_it() {
        let cases = [
            ("a/1/", Some("a/10")),
            ("a", Some("b")),
            ("", None),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
        ];
        for (prefix, end) in cases {
            assert_eq!(end_of(prefix).as_deref(), end, "{prefix:?}");
        }
    }

    fn id() -> impl Strategy<Value = String> {
        let character = prop_oneof![
            Just('a'),
            Just('b'),
            Just('\0'),
            Just('\u{d7ff}'),
            Just('\u{e000}'),
            Just(char::MAX),
        ];
        prop::collection::vec(character, 0..4).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn a_range_holds_what_has_the_prefix_and_comes_after(
            prefix in id(), after in prop::option::of(id()), id in id()
        ) {
            let range = IdRange::new(&prefix, after.as_deref());
            let behind = match range.start {
                Start::At(start) => *id >= *start,
                Start::After(start) => *id > *start,
            };
            let before = range.end.is_none_or(|end| id < end);
            let wanted = id.starts_with(&prefix) && after.is_none_or(|after| id > after);
            prop_assert_eq!(behind && before, wanted);
        }
    }
}
