//! Which event is behind what a store does not take: read from the batch itself.
//!
//! Pure. Not here: what becomes of the event (`domain`).

use super::super::outbox::DEAD_LETTER_INDEX;
use crate::record::{Offset, TopicPartition};
use crate::store::{Advance, Change, Commit, Culprit, Rejection, Table, Write};

/// What a store does not take of a batch, as its domain is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub origin: Origin,
    /// Where it was to be stored; empty where the store does not tell.
    pub collection: String,
    /// Why, and the way out.
    pub reason: String,
}

/// Where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// What was made of events, of which this one came last.
    Event(TopicPartition, Offset),
    /// Something that was made of one of the batch's events, or of several.
    SomeEvent,
    /// What the host keeps for itself: no event that is left out would change it.
    Host,
}

impl Refusal {
    pub(super) fn unknown(rejection: &Rejection) -> Self {
        Refusal {
            origin: Origin::SomeEvent,
            collection: String::new(),
            reason: rejection.to_string(),
        }
    }

    /// `own` is the batch that holds the culprit.
    pub(super) fn of(culprit: &Culprit, own: &Commit, rejection: &Rejection) -> Self {
        let origin = match culprit {
            Culprit::Document { view, id } => {
                let mut writes = own.writes.iter();
                let write = writes.find(|write| write.view == *view && write.id == *id);
                write.map_or(Origin::SomeEvent, of_write)
            }
            Culprit::Entry {
                table: Table::Outbox,
                id,
            } => of_message(own, id),
            Culprit::Entry { .. } => Origin::Host,
        };
        Refusal {
            origin,
            collection: culprit.collection(),
            reason: rejection.to_string(),
        }
    }
}

fn of_write(write: &Write) -> Origin {
    match &write.change {
        Change::Insert(document) | Change::Update { document, .. } => {
            let at = &document.provenance;
            Origin::Event(at.partition.clone(), at.offset)
        }
        // What goes names no event.
        Change::Delete { .. } => Origin::SomeEvent,
    }
}

/// A message's id is `{checkpoint}/{offset}/{index}`. A copy of a parked event is the host's.
fn of_message(own: &Commit, id: &str) -> Origin {
    let of_checkpoint = |advance: &Advance| {
        let rest = id.strip_prefix(&*advance.checkpoint.to_string())?;
        let (offset, index) = rest.strip_prefix('/')?.split_once('/')?;
        let index: u32 = index.parse().ok()?;
        let event = Origin::Event(
            advance.checkpoint.partition.clone(),
            Offset(offset.parse().ok()?),
        );
        (index != DEAD_LETTER_INDEX).then_some(event)
    };
    let mut advances = own.advances.iter();
    advances.find_map(of_checkpoint).unwrap_or(Origin::Host)
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;
    use crate::record::{Epoch, Lineage, NextOffset};
    use crate::store::{
        CheckpointId, Entry, EntryChange, Guard, Provenance, Repairs, StoredDocument, ViewId,
    };

    fn checkpoint() -> CheckpointId {
        CheckpointId {
            projection: "accounts".into(),
            version: 1,
            copy: "main".into(),
            partition: TopicPartition::new("transfers", 3),
        }
    }

    fn entry(table: Table, id: String) -> EntryChange {
        EntryChange::Insert(Entry {
            table,
            id: id.into(),
            body: rawdoc! {},
        })
    }

    /// What event 7 made, event 9 parked with its copy, and a removed document.
    fn batch() -> Commit {
        let checkpoint = checkpoint();
        let write = |id: &str, change| Write {
            view: ViewId::new("accounts", 1),
            id: id.into(),
            change,
        };
        let made = StoredDocument {
            body: rawdoc! {},
            provenance: Provenance {
                revision: 1,
                partition: checkpoint.partition.clone(),
                offset: Offset(7),
                plugin: "hash".into(),
            },
        };
        let guard = Guard::SoleWriter;
        Commit {
            writes: vec![
                write("made", Change::Insert(made)),
                write("gone", Change::Delete { guard }),
            ],
            entries: vec![
                entry(Table::Outbox, format!("{checkpoint}/{:019}/0000", 7)),
                entry(Table::Outbox, format!("{checkpoint}/{:019}/9999", 9)),
                entry(Table::Parked, format!("{checkpoint}/{:019}/{:019}", 9, 9)),
            ],
            advances: vec![Advance {
                checkpoint,
                epoch: Epoch(1),
                from: NextOffset(5),
                to: NextOffset(10),
                lineage: Lineage::default(),
                repairs: Repairs { from: 0, to: 0 },
            }],
        }
    }

    #[test]
    fn the_event_behind_a_culprit_is_read_from_the_batch() {
        let document = |id: &str| Culprit::Document {
            view: ViewId::new("accounts", 1),
            id: id.into(),
        };
        let batch = batch();
        let stored = |index: usize| Culprit::Entry {
            table: batch.entries[index].table(),
            id: batch.entries[index].id().clone(),
        };
        let seven = Origin::Event(TopicPartition::new("transfers", 3), Offset(7));
        let cases = [
            ("a document", document("made"), seven.clone()),
            ("one that goes", document("gone"), Origin::SomeEvent),
            ("a message", stored(0), seven),
            ("a copy for the dead letters", stored(1), Origin::Host),
            ("a parked event", stored(2), Origin::Host),
        ];
        for (name, culprit, expected) in cases {
            let rejection = Rejection {
                address: "mongodb://db".to_owned(),
                culprit: Some(culprit.clone()),
                message: "no".to_owned(),
            };
            let refusal = Refusal::of(&culprit, &batch, &rejection);
            assert_eq!(refusal.origin, expected, "{name}");
            assert_eq!(refusal.reason, "mongodb://db: no");
        }
    }
}
