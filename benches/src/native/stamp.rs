//! Where a document comes from, in the shape in which the host notes it in each document, so that
//! the limit stores the same bytes.

use bson::rawdoc;

/// As long as a plugin's hash.
const PLUGIN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The element `_m` of documents of one topic.
pub(super) struct Stamp {
    element: Vec<u8>,
    revision_at: usize,
    partition_at: usize,
    offset_at: usize,
}

/// What one document has in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) revision: i64,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Stamp {
    pub(super) fn new(topic: &str) -> Self {
        let at = rawdoc! { "topic": topic, "partition": 0, "offset": 0_i64 };
        let meta = rawdoc! { "rev": 0_i64, "at": at, "plugin": PLUGIN };
        let document = rawdoc! { "_m": meta };
        let bytes = document.as_bytes();
        // Without the document's length and its last null.
        let element = bytes[4..bytes.len() - 1].to_vec();
        let behind = |name: &[u8]| {
            let found = element.windows(name.len()).position(|bytes| bytes == name);
            found.expect("it has this field") + name.len()
        };
        Stamp {
            revision_at: behind(b"\x12rev\0"),
            partition_at: behind(b"\x10partition\0"),
            offset_at: behind(b"\x12offset\0"),
            element,
        }
    }

    /// The element for one document.
    pub(super) fn element(&mut self, origin: Origin) -> &[u8] {
        let Origin {
            revision,
            partition,
            offset,
        } = origin;
        self.put(self.revision_at, &revision.to_le_bytes());
        self.put(self.partition_at, &partition.to_le_bytes());
        self.put(self.offset_at, &offset.to_le_bytes());
        &self.element
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.element[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::transaction::with_id;
    use super::*;

    #[test]
    fn it_comes_behind_the_fields() {
        let mut stamp = Stamp::new("a topic");
        for number in [1, 70_000] {
            let origin = Origin {
                revision: i64::from(number) * 3,
                partition: number,
                offset: i64::from(number) * 2,
            };
            let document = with_id("a", &rawdoc! { "n": 1 }, stamp.element(origin));
            let expected = rawdoc! { "_id": "a", "n": 1, "_m": {
                "rev": i64::from(number) * 3,
                "at": { "topic": "a topic", "partition": number, "offset": i64::from(number) * 2 },
                "plugin": PLUGIN,
            } };
            assert_eq!(document.expect("it is small"), expected);
        }
    }
}
