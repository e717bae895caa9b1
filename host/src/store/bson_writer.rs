//! Writes BSON straight into one buffer.
//!
//! A command of a transaction holds thousands of documents. Built from `RawDocumentBuf`s, each of
//! them would be copied once per level of nesting; here every byte is written once.
//!
//! Not here: checks. Whoever writes gives valid elements and keys without null bytes.

use std::io::Write;

use bson::raw::{RawDocument, RawDocumentBuf};
use bson::spec::ElementType;

/// Length prefix and terminating null of an empty document.
const EMPTY_DOCUMENT_BYTES: usize = 5;

/// Appends elements to one document.
pub(super) struct BsonWriter {
    bytes: Vec<u8>,
}

impl BsonWriter {
    /// Starts a document that will take about `capacity_bytes`.
    pub(super) fn with_capacity(capacity_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity_bytes + EMPTY_DOCUMENT_BYTES);
        bytes.extend_from_slice(&[0; 4]);
        BsonWriter { bytes }
    }

    pub(super) fn string(&mut self, key: &str, value: &str) {
        self.key(ElementType::String, key);
        self.string_value(value);
    }

    pub(super) fn int32(&mut self, key: &str, value: i32) {
        self.key(ElementType::Int32, key);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn int64(&mut self, key: &str, value: i64) {
        self.key(ElementType::Int64, key);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn bool(&mut self, key: &str, value: bool) {
        self.key(ElementType::Boolean, key);
        self.bytes.push(value.into());
    }

    /// Writes a document into the document.
    pub(super) fn document(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(ElementType::EmbeddedDocument, key);
        self.nest(fill);
    }

    /// Writes an array of documents, one per item.
    pub(super) fn documents<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Self, T),
    ) {
        self.key(ElementType::Array, key);
        self.nest(|writer| {
            for (index, item) in items.into_iter().enumerate() {
                writer.index(ElementType::EmbeddedDocument, index);
                writer.nest(|writer| fill(writer, item));
            }
        });
    }

    /// Writes an array of strings.
    pub(super) fn strings<'s>(&mut self, key: &str, items: impl IntoIterator<Item = &'s str>) {
        self.key(ElementType::Array, key);
        self.nest(|writer| {
            for (index, item) in items.into_iter().enumerate() {
                writer.index(ElementType::String, index);
                writer.string_value(item);
            }
        });
    }

    /// Copies all elements of a document.
    pub(super) fn elements(&mut self, document: &RawDocument) {
        let bytes = document.as_bytes();
        self.bytes.extend_from_slice(&bytes[4..bytes.len() - 1]);
    }

    /// Copies elements as they lie in another document.
    pub(super) fn raw_elements(&mut self, elements: &[u8]) {
        self.bytes.extend_from_slice(elements);
    }

    pub(super) fn finish(mut self) -> RawDocumentBuf {
        self.close(0);
        RawDocumentBuf::from_bytes(self.bytes).expect("length and terminator were just written")
    }

    fn key(&mut self, kind: ElementType, key: &str) {
        debug_assert!(!key.contains('\0'), "a key ends at its first null byte");
        self.bytes.push(kind as u8);
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.push(0);
    }

    fn index(&mut self, kind: ElementType, index: usize) {
        self.bytes.push(kind as u8);
        write!(self.bytes, "{index}").expect("a vector takes all that is written to it");
        self.bytes.push(0);
    }

    fn string_value(&mut self, value: &str) {
        let len = i32::try_from(value.len() + 1).expect("a string of a document is below 2 GiB");
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
    }

    fn nest(&mut self, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        fill(self);
        self.close(start);
    }

    /// Ends the document that starts at `start`.
    fn close(&mut self, start: usize) {
        self.bytes.push(0);
        let len =
            i32::try_from(self.bytes.len() - start).expect("commands are split far below 2 GiB");
        self.bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn it_writes_what_the_library_writes() {
        let mut writer = BsonWriter::with_capacity(0);
        writer.string("s", "ü");
        writer.int32("i", -1);
        writer.int64("l", 1 << 40);
        writer.bool("b", true);
        writer.document("d", |d| {
            d.document("e", |_| {});
            d.elements(&rawdoc! { "x": 1.5, "y": null });
        });
        writer.documents("a", [1, 2], |d, n| d.int32("n", n));
        writer.strings("t", ["p", "q"]);

        let expected = rawdoc! {
            "s": "ü",
            "i": -1,
            "l": 1_i64 << 40,
            "b": true,
            "d": { "e": {}, "x": 1.5, "y": null },
            "a": [{ "n": 1 }, { "n": 2 }],
            "t": ["p", "q"],
        };
        assert_eq!(writer.finish(), expected);
    }
}
