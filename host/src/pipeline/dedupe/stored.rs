//! How a window is stored: a segment is an entry of `_seen`, and where ids may come in any
//! partition, each id is an entry of `_seen_ids`, too, which no two partitions can insert.

use std::sync::Arc;

use bson::raw::RawDocumentBuf;
use bson::rawdoc;
use bson::{Binary, spec::BinarySubtype};

use super::{IdHash, Segment, SegmentChanges};
use crate::store::{CheckpointId, Entry, EntryChange, Table};

const HASH_BYTES: usize = size_of::<IdHash>();

/// A stored segment is not one of this host's.
#[derive(Debug, thiserror::Error)]
#[error("entry \"{id}\" of {} is no segment of ids", Table::Seen)]
pub struct NoSegment {
    pub id: String,
}

/// The start of the ids of a partition's segments.
pub fn segments_prefix(checkpoint: &CheckpointId) -> String {
    format!("{checkpoint}/")
}

pub fn segment_to_entry(checkpoint: &CheckpointId, segment: &Segment) -> Entry {
    Entry {
        table: Table::Seen,
        id: segment_id(checkpoint, segment.first),
        body: segment_body(segment),
    }
}

pub fn segment_from_entry(entry: &Entry) -> Result<Segment, NoSegment> {
    read_segment(entry).ok_or_else(|| NoSegment {
        id: entry.id.to_string(),
    })
}

/// The changes of a partition's segments as changes of entries.
pub fn segment_changes(checkpoint: &CheckpointId, changes: &SegmentChanges) -> Vec<EntryChange> {
    let removed = changes.removed.iter().map(|segment| EntryChange::Remove {
        table: Table::Seen,
        id: segment_id(checkpoint, segment.first),
    });
    let put = changes.put.iter().map(|put| {
        let entry = segment_to_entry(checkpoint, &put.segment);
        match put.stored {
            0 => EntryChange::Insert(entry),
            _ => EntryChange::Replace(entry),
        }
    });
    removed.chain(put).collect()
}

/// The changes of the projection's ids that go with those of one of its partitions.
pub fn id_changes(
    checkpoint: &CheckpointId,
    writer: &str,
    changes: &SegmentChanges,
) -> Vec<EntryChange> {
    let gone = changes.removed.iter().flat_map(|segment| &segment.ids);
    let removed = gone.map(|id| EntryChange::Remove {
        table: Table::SeenIds,
        id: id_id(writer, id),
    });
    let new = changes
        .put
        .iter()
        .flat_map(|put| &put.segment.ids[put.stored..]);
    let inserted = new.map(|id| {
        EntryChange::Insert(Entry {
            table: Table::SeenIds,
            id: id_id(writer, id),
            body: rawdoc! { "by": checkpoint.to_string() },
        })
    });
    removed.chain(inserted).collect()
}

/// The id of the entry of an event's id. `writer` is a [`CheckpointId::writer`].
pub fn id_id(writer: &str, id: &IdHash) -> Arc<str> {
    format!("{writer}/{:032x}", u128::from_be_bytes(id.0)).into()
}

/// The event's id of which this is the entry; `None` where it is no such entry.
pub fn id_from(entry: &Entry) -> Option<IdHash> {
    let (_, hash) = entry.id.rsplit_once('/')?;
    let hash = u128::from_str_radix(hash, 16).ok()?;
    Some(IdHash(hash.to_be_bytes()))
}

fn segment_id(checkpoint: &CheckpointId, first: u64) -> Arc<str> {
    format!("{checkpoint}/{first:019}").into()
}

fn segment_body(segment: &Segment) -> RawDocumentBuf {
    let bytes = segment.ids.iter().flat_map(|id| id.0).collect();
    let ids = Binary {
        subtype: BinarySubtype::Generic,
        bytes,
    };
    rawdoc! { "ids": ids }
}

fn read_segment(entry: &Entry) -> Option<Segment> {
    let (_, first) = entry.id.rsplit_once('/')?;
    let bytes = entry.body.get_binary("ids").ok()?.bytes;
    let (ids, rest) = bytes.as_chunks::<HASH_BYTES>();
    rest.is_empty().then_some(())?;
    Some(Segment {
        first: first.parse().ok()?,
        ids: ids.iter().map(|id| IdHash(*id)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Put;
    use super::*;
    use crate::record::TopicPartition;

    fn checkpoint() -> CheckpointId {
        CheckpointId {
            projection: "orders".into(),
            version: 1,
            copy: "main".into(),
            partition: TopicPartition::new("orders.events", 3),
        }
    }

    #[test]
    fn a_segment_comes_back_as_it_was() {
        for count in [0u8, 1, 5] {
            let segment = Segment {
                first: 77,
                ids: (0..count).map(|id| IdHash::of(&[id])).collect(),
            };
            let entry = segment_to_entry(&checkpoint(), &segment);
            assert!(entry.id.starts_with(&segments_prefix(&checkpoint())));
            assert_eq!(segment_from_entry(&entry).expect("written here"), segment);
        }
    }

    #[test]
    fn what_is_no_segment_is_named() {
        let id = segment_id(&checkpoint(), 5);
        let odd = Binary {
            subtype: BinarySubtype::Generic,
            bytes: vec![0; 17],
        };
        for body in [rawdoc! {}, rawdoc! { "ids": 5 }, rawdoc! { "ids": odd }] {
            let entry = Entry {
                table: Table::Seen,
                id: Arc::clone(&id),
                body,
            };
            let error = segment_from_entry(&entry).expect_err("no segment");
            assert_eq!(error.id, *id);
        }
    }

    #[test]
    fn each_new_id_is_inserted_and_each_old_one_removed() {
        let id = |number: u8| IdHash::of(&[number]);
        let changes = SegmentChanges {
            put: Some(Put {
                segment: Segment {
                    first: 10,
                    ids: vec![id(1), id(2), id(3)],
                },
                stored: 1,
            }),
            removed: vec![Segment {
                first: 0,
                ids: vec![id(4)],
            }],
        };
        let changed: Vec<(bool, IdHash)> = id_changes(&checkpoint(), "orders/v1/main", &changes)
            .iter()
            .map(|change| match change {
                EntryChange::Insert(entry) => (true, id_from(entry).expect("an id")),
                EntryChange::Replace(_) => panic!("an id has nothing to replace"),
                EntryChange::Remove { table, id } => {
                    let body = rawdoc! {};
                    let entry = Entry {
                        table: *table,
                        id: Arc::clone(id),
                        body,
                    };
                    (false, id_from(&entry).expect("an id"))
                }
            })
            .collect();
        assert_eq!(changed, [(false, id(4)), (true, id(2)), (true, id(3))]);
    }
}
