//! What is folded and not yet handed to the committer: one write per document, however many
//! events and batches shaped it.
//!
//! Pure. Guarantee: each write's change says truly what the store holds before it (`base`), as
//! far as this domain knows, so that no store ever has to upsert.

use std::sync::Arc;

use crate::fast_hash::FastMap;
use crate::projection::{DocumentKey, Held, Ownership};
use crate::store::{Change, EntryChange, Guard, Provenance, StoredDocument, ViewId, Write};

/// A view as one projection version writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetView {
    pub id: ViewId,
    /// How its documents are guarded. `ByKey` only where each document has one writer: the view
    /// is declared so, and its projection has one topic.
    pub ownership: Ownership,
}

#[derive(Debug)]
pub struct Pending {
    views: Arc<[TargetView]>,
    writes: FastMap<DocumentKey, PendingWrite>,
    entries: Vec<EntryChange>,
    /// Of the bodies of both.
    bytes: usize,
    held: Held,
}

#[derive(Debug)]
struct PendingWrite {
    /// The document in the store when this write comes, `None` where there is none.
    base: Option<Provenance>,
    /// The document after this write, `None` where there is none.
    document: Option<StoredDocument>,
}

impl Pending {
    pub fn new(views: Arc<[TargetView]>) -> Self {
        Pending {
            views,
            writes: FastMap::default(),
            entries: Vec::new(),
            bytes: 0,
            held: Held::default(),
        }
    }

    /// Documents and entries that the next commit changes.
    pub fn documents(&self) -> usize {
        self.writes.len() + self.entries.len()
    }

    /// Bytes of their bodies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The revision that a document gets when it is changed now, on top of `current`.
    ///
    /// A revision counts stored versions: all changes of one commit are one.
    pub fn next_revision(&self, key: &DocumentKey, current: Option<&Provenance>) -> i64 {
        let base = match self.writes.get(key) {
            Some(write) => write.base.as_ref(),
            None => current,
        };
        base.map_or(0, |provenance| provenance.revision) + 1
    }

    /// Puts a change over what is pending for the document. `current` is the document's state
    /// before the change, which is what the store holds if nothing is pending yet.
    pub fn put(
        &mut self,
        key: DocumentKey,
        current: Option<Provenance>,
        document: Option<StoredDocument>,
    ) {
        let added = body_bytes(document.as_ref());
        let write = self.writes.entry(key).or_insert(PendingWrite {
            base: current,
            document: None,
        });
        self.bytes -= body_bytes(write.document.as_ref());
        self.bytes += added;
        write.document = document;
    }

    /// Adds a change of an entry that nothing pending changes.
    pub fn put_entry(&mut self, change: EntryChange) {
        self.bytes += change.bytes();
        self.entries.push(change);
    }

    /// Keeps this for as long as what is pending is not stored, nor given up.
    pub fn hold(&mut self, held: Held) {
        self.held.join(held);
    }

    /// Takes everything as the writes and entries of one commit.
    pub fn take(&mut self) -> (Vec<Write>, Vec<EntryChange>) {
        self.bytes = 0;
        (self.take_writes(), std::mem::take(&mut self.entries))
    }

    /// Takes what is kept for what is pending, to be kept with the commit.
    pub fn take_held(&mut self) -> Held {
        std::mem::take(&mut self.held)
    }

    fn take_writes(&mut self) -> Vec<Write> {
        let views = Arc::clone(&self.views);
        self.writes
            .drain()
            .filter_map(|(key, write)| {
                let view = &views[key.view.0 as usize];
                let change = write.change(view.ownership)?;
                Some(Write {
                    view: view.id.clone(),
                    id: key.id,
                    change,
                })
            })
            .collect()
    }

    pub fn clear(&mut self) {
        self.writes.clear();
        self.entries.clear();
        self.bytes = 0;
        self.held = Held::default();
    }
}

impl PendingWrite {
    /// `None` where the document was made and removed again before it was stored.
    fn change(self, ownership: Ownership) -> Option<Change> {
        let guard = |base| match ownership {
            Ownership::ByKey => Guard::SoleWriter,
            Ownership::Shared => Guard::Unchanged(base),
        };
        match (self.base, self.document) {
            (None, None) => None,
            (None, Some(document)) => Some(Change::Insert(document)),
            (Some(base), Some(document)) => Some(Change::Update {
                document,
                guard: guard(base),
            }),
            (Some(base), None) => Some(Change::Delete { guard: guard(base) }),
        }
    }
}

fn body_bytes(document: Option<&StoredDocument>) -> usize {
    document.map_or(0, |document| document.body.as_bytes().len())
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;
    use crate::projection::ViewIndex;
    use crate::record::{Offset, TopicPartition};

    fn provenance(revision: i64, offset: i64) -> Provenance {
        Provenance {
            revision,
            partition: TopicPartition::new("flights", 0),
            offset: Offset(offset),
            plugin: "hash".into(),
        }
    }

    fn document(revision: i64, offset: i64) -> StoredDocument {
        StoredDocument {
            body: rawdoc! { "offset": offset },
            provenance: provenance(revision, offset),
        }
    }

    fn key(id: &str) -> DocumentKey {
        DocumentKey {
            view: ViewIndex(0),
            id: id.into(),
        }
    }

    fn pending(ownership: Ownership) -> Pending {
        let view = TargetView {
            id: ViewId::new("aircraft", 1),
            ownership,
        };
        Pending::new([view].into())
    }

    #[test]
    fn the_change_follows_from_what_was_and_what_is() {
        let stored = Some(provenance(4, 10));
        let cases = [
            ("made", None, vec![Some(document(1, 11))], "insert"),
            (
                "changed",
                stored.clone(),
                vec![Some(document(5, 11))],
                "update",
            ),
            ("removed", stored.clone(), vec![None], "delete"),
            (
                "made and removed",
                None,
                vec![Some(document(1, 11)), None],
                "nothing",
            ),
            (
                "removed and made",
                stored,
                vec![None, Some(document(5, 12))],
                "update",
            ),
        ];
        for (name, base, changes, expected) in cases {
            let mut pending = pending(Ownership::ByKey);
            for change in changes {
                pending.put(key("a"), base.clone(), change);
            }
            let writes = pending.take().0;
            let change = match writes.first().map(|write| &write.change) {
                None => "nothing",
                Some(Change::Insert(_)) => "insert",
                Some(Change::Update { .. }) => "update",
                Some(Change::Delete { .. }) => "delete",
            };
            assert_eq!(change, expected, "{name}");
        }
    }

    #[test]
    fn several_changes_are_one_write_over_the_first_base() {
        let mut pending = pending(Ownership::Shared);
        let base = provenance(4, 10);
        pending.put(key("a"), Some(base.clone()), Some(document(5, 11)));
        assert_eq!(
            pending.next_revision(&key("a"), Some(&provenance(5, 11))),
            5
        );
        pending.put(key("a"), Some(provenance(5, 11)), Some(document(5, 12)));

        let writes = pending.take().0;
        assert_eq!(writes.len(), 1);
        let Change::Update { document, guard } = &writes[0].change else {
            panic!("expected an update, not {:?}", writes[0].change);
        };
        assert_eq!(document.provenance, provenance(5, 12));
        assert_eq!(guard, &Guard::Unchanged(base));
        assert_eq!((pending.documents(), pending.bytes()), (0, 0));
    }

    #[test]
    fn bytes_count_the_latest_bodies_only() {
        let mut pending = pending(Ownership::ByKey);
        pending.put(key("a"), None, Some(document(1, 1)));
        let once = pending.bytes();
        assert!(once > 0);
        pending.put(key("a"), None, Some(document(1, 2)));
        assert_eq!(pending.bytes(), once);
        pending.put(key("a"), None, None);
        assert_eq!(pending.bytes(), 0);
    }
}
