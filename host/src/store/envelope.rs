//! The stored form of a document:
//! `{_id, …body…, _m: {rev, at: {topic, partition, offset}, plugin}}`.
//!
//! `open(seal(id, document)) == (id, document)` for every body without the reserved fields.
//!
//! Not here: whether a body is valid (`document`), and what happens to a document that is not of
//! this form (the caller knows its view and its store).

use std::ops::Range;
use std::sync::Arc;

use bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};

use super::bson_writer::BsonWriter;
use super::{Provenance, StoredDocument};
use crate::projection::DocumentId;
use crate::record::{Offset, TopicPartition};

/// What an envelope takes besides its body and its strings, rounded up.
const OVERHEAD_BYTES: usize = 128;

/// A stored document is not of this form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The `_id`, as far as it can be told.
    pub id: String,
    /// What is wrong with it.
    pub message: String,
}

/// What a stored document says of itself, where it lies in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp<'d> {
    pub id: &'d str,
    pub revision: i64,
    pub topic: &'d str,
    pub partition: i32,
    pub offset: Offset,
    /// The plugin's hash.
    pub plugin: &'d str,
}

/// Opens many documents; those that share a topic or a plugin share the string.
#[derive(Debug, Default)]
pub struct Opener {
    topic: Option<Arc<str>>,
    plugin: Option<Arc<str>>,
}

/// Puts id and provenance around a body.
pub fn seal(id: &str, document: &StoredDocument) -> RawDocumentBuf {
    let mut writer = BsonWriter::with_capacity(sealed_bytes_max(id, document));
    seal_into(&mut writer, id, document);
    writer.finish()
}

/// Takes a stored document apart.
pub fn open(sealed: &RawDocument) -> Result<(DocumentId, StoredDocument), Invalid> {
    let (id, document) = Opener::default().open(sealed)?;
    Ok((id.into(), document))
}

/// Reads id and provenance, and leaves the body alone.
pub fn stamp(sealed: &RawDocument) -> Result<Stamp<'_>, Invalid> {
    let read = || {
        let meta = sealed.get_document("_m")?;
        let at = meta.get_document("at")?;
        Ok(Stamp {
            id: sealed.get_str("_id")?,
            revision: meta.get_i64("rev")?,
            topic: at.get_str("topic")?,
            partition: at.get_i32("partition")?,
            offset: Offset(at.get_i64("offset")?),
            plugin: meta.get_str("plugin")?,
        })
    };
    read().map_err(|error: bson::error::Error| invalid(sealed, error))
}

/// An upper bound for the size of the sealed document.
pub(super) fn sealed_bytes_max(id: &str, document: &StoredDocument) -> usize {
    let Provenance {
        partition, plugin, ..
    } = &document.provenance;
    let strings = id.len() + partition.topic.len() + plugin.len();
    document.body.as_bytes().len() + strings + OVERHEAD_BYTES
}

/// Writes the elements of the sealed document.
pub(super) fn seal_into(writer: &mut BsonWriter, id: &str, document: &StoredDocument) {
    let provenance = &document.provenance;
    writer.string("_id", id);
    writer.elements(&document.body);
    writer.document("_m", |meta| {
        meta.int64("rev", provenance.revision);
        meta.document("at", |at| place_into(at, provenance));
        meta.string("plugin", &provenance.plugin);
    });
}

/// Writes the elements of `_m.at`.
pub(super) fn place_into(writer: &mut BsonWriter, provenance: &Provenance) {
    writer.string("topic", &provenance.partition.topic);
    writer.int32("partition", provenance.partition.partition);
    writer.int64("offset", provenance.offset.0);
}

impl Opener {
    /// Takes a stored document apart; the id is borrowed from it.
    pub fn open<'d>(
        &mut self,
        sealed: &'d RawDocument,
    ) -> Result<(&'d str, StoredDocument), Invalid> {
        let mut id = None;
        let mut meta = None;
        // The first element lies behind the document's length.
        let mut start = 4;
        for element in sealed.iter_elements() {
            let element = element.map_err(|error| invalid(sealed, error))?;
            // Its type, its name with a null, and what the library calls its size: its value.
            let end = start + 1 + element.key().as_str().len() + 1 + element.size();
            let found = match element.key().as_str() {
                "_id" => Some(&mut id),
                "_m" => Some(&mut meta),
                _ => None,
            };
            if let Some(found) = found {
                let value = element.value().map_err(|error| invalid(sealed, error))?;
                *found = Some((value, start..end));
            }
            start = end;
        }
        let Some((RawBsonRef::String(id), id_at)) = id else {
            return Err(invalid(sealed, "its _id is not a string"));
        };
        let Some((RawBsonRef::Document(meta), meta_at)) = meta else {
            return Err(invalid(sealed, "it has no field _m"));
        };
        let provenance = self
            .provenance(meta)
            .map_err(|error| invalid(sealed, format!("its field _m is not valid: {error}")))?;
        let document = StoredDocument {
            body: without(sealed, id_at, meta_at),
            provenance,
        };
        Ok((id, document))
    }

    /// Reads the provenance in `_m`.
    fn provenance(&mut self, meta: &RawDocument) -> Result<Provenance, bson::error::Error> {
        let at = meta.get_document("at")?;
        Ok(Provenance {
            revision: meta.get_i64("rev")?,
            partition: TopicPartition {
                topic: shared(&mut self.topic, at.get_str("topic")?),
                partition: at.get_i32("partition")?,
            },
            offset: Offset(at.get_i64("offset")?),
            plugin: shared(&mut self.plugin, meta.get_str("plugin")?),
        })
    }
}

/// Copies a document but for two of its elements, into exactly as much memory as that takes: many
/// bodies stay in caches.
fn without(document: &RawDocument, a: Range<usize>, b: Range<usize>) -> RawDocumentBuf {
    let bytes = document.as_bytes();
    let (first, second) = if a.start < b.start { (a, b) } else { (b, a) };
    let end = bytes.len() - 1;
    let mut writer = BsonWriter::with_capacity(end - 4 - first.len() - second.len());
    writer.raw_elements(&bytes[4..first.start]);
    writer.raw_elements(&bytes[first.end..second.start]);
    writer.raw_elements(&bytes[second.end..end]);
    writer.finish()
}

/// The string seen last where it is the same, and a new one otherwise.
fn shared(last: &mut Option<Arc<str>>, value: &str) -> Arc<str> {
    match last {
        Some(last) if **last == *value => Arc::clone(last),
        _ => Arc::clone(last.insert(value.into())),
    }
}

fn invalid(sealed: &RawDocument, message: impl ToString) -> Invalid {
    let id = match sealed.get("_id") {
        Ok(Some(RawBsonRef::String(id))) => id.to_owned(),
        Ok(Some(RawBsonRef::ObjectId(id))) => id.to_hex(),
        Ok(Some(other)) => format!("{other:?}"),
        Ok(None) | Err(_) => String::new(),
    };
    Invalid {
        id,
        message: message.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;
    use proptest::prelude::*;

    use super::*;

    fn stored(body: RawDocumentBuf) -> StoredDocument {
        StoredDocument {
            body,
            provenance: Provenance {
                revision: 3,
                partition: TopicPartition::new("flights", 2),
                offset: Offset(77),
                plugin: "5eed".into(),
            },
        }
    }

    #[test]
    fn the_stored_form_is_the_documented_one() {
        let sealed = seal(
            "N1",
            &stored(rawdoc! { "legs": 4_i64, "last": { "at": "JFK" } }),
        );
        let expected = rawdoc! {
            "_id": "N1",
            "legs": 4_i64,
            "last": { "at": "JFK" },
            "_m": {
                "rev": 3_i64,
                "at": { "topic": "flights", "partition": 2_i32, "offset": 77_i64 },
                "plugin": "5eed",
            },
        };
        assert_eq!(sealed, expected);
    }

    #[test]
    fn a_field_that_was_added_behind_the_metadata_belongs_to_the_body() {
        let mut sealed = seal("N1", &stored(rawdoc! { "a": 1 }));
        sealed.append(bson::raw::cstr!("b"), 2);
        let (_, document) = open(&sealed).expect("of the stored form");
        assert_eq!(document.body, rawdoc! { "a": 1, "b": 2 });
    }

    #[test]
    fn what_is_not_of_the_stored_form_is_refused_with_the_reason() {
        let at = rawdoc! { "topic": "t", "partition": 0, "offset": 0_i64 };
        let cases = [
            ("no id", rawdoc! { "a": 1 }, "", "not a string"),
            ("a number as id", rawdoc! { "_id": 7 }, "7", "not a string"),
            ("no metadata", rawdoc! { "_id": "x" }, "x", "no field _m"),
            (
                "no revision",
                rawdoc! { "_id": "x", "_m": { "at": at.clone(), "plugin": "p" } },
                "x",
                "rev",
            ),
            (
                "a revision of another type",
                rawdoc! { "_id": "x", "_m": { "rev": "1", "at": at, "plugin": "p" } },
                "x",
                "rev",
            ),
            (
                "no place",
                rawdoc! { "_id": "x", "_m": { "rev": 1_i64, "plugin": "p" } },
                "x",
                "at",
            ),
        ];
        for (name, document, id, reason) in cases {
            let error = open(&document).expect_err(name);
            assert!(error.id.contains(id), "{name}: {error:?}");
            assert!(error.message.contains(reason), "{name}: {error}");
        }
    }

    #[test]
    fn documents_of_one_plugin_share_its_name() {
        let mut opener = Opener::default();
        let sealed = [
            seal("a", &stored(rawdoc! {})),
            seal("b", &stored(rawdoc! {})),
        ];
        let [a, b] = sealed.each_ref().map(|sealed| {
            opener
                .open(sealed)
                .expect("of the stored form")
                .1
                .provenance
        });
        assert!(Arc::ptr_eq(&a.plugin, &b.plugin));
        assert!(Arc::ptr_eq(&a.partition.topic, &b.partition.topic));
    }

    fn body() -> impl Strategy<Value = RawDocumentBuf> {
        let value = prop_oneof![
            any::<i64>().prop_map(serde_json::Value::from),
            any::<bool>().prop_map(serde_json::Value::from),
            "[^\0]{0,12}".prop_map(serde_json::Value::from),
            prop::collection::vec(any::<i32>(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z_]{1,4}", any::<i64>(), 0..3)
                .prop_map(|map| serde_json::to_value(map).expect("a JSON object")),
        ];
        prop::collection::btree_map("[a-z]{1,6}", value, 0..8).prop_map(|fields| {
            let json = serde_json::to_vec(&fields).expect("a JSON object");
            crate::document::from_json(&json)
                .expect("a valid body")
                .body
        })
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_to_the_same(
            id in "\\PC{0,20}",
            body in body(),
            revision in any::<i64>(),
            topic in "[a-z.]{1,12}",
            partition in any::<i32>(),
            offset in any::<i64>(),
            plugin in "[0-9a-f]{0,64}",
        ) {
            let document = StoredDocument {
                body,
                provenance: Provenance {
                    revision,
                    partition: TopicPartition::new(topic, partition),
                    offset: Offset(offset),
                    plugin: plugin.into(),
                },
            };
            let sealed = seal(&id, &document);
            prop_assert!(sealed.as_bytes().len() <= sealed_bytes_max(&id, &document));
            let provenance = &document.provenance;
            let expected = Stamp {
                id: &id,
                revision,
                topic: &provenance.partition.topic,
                partition,
                offset: Offset(offset),
                plugin: &provenance.plugin,
            };
            prop_assert_eq!(stamp(&sealed).expect("of the stored form"), expected);
            let (opened_id, opened) = open(&sealed).expect("of the stored form");
            prop_assert_eq!(&*opened_id, id.as_str());
            prop_assert_eq!(opened, document);
        }
    }
}
