//! The words that every stage shares: events and where they are in Kafka.
//!
//! A message's offset and the next offset to read differ by one. They are two types here, with
//! one conversion between them, so that a checkpoint cannot be off by one event.

use std::fmt;
use std::sync::Arc;

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

/// Where one event stands in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offset(pub i64);

/// The first offset that is not yet included: what checkpoints, positions and Kafka's committed
/// offsets hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextOffset(pub i64);

/// How often a partition has been claimed; only the newest claimer can store anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// Counts the assignments that this process has seen, so that what belongs to an earlier
/// assignment of a partition is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// One Kafka record.
///
/// Key and value lie in one buffer, so that an event costs one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub offset: Offset,
    pub timestamp_ms: i64,
    payload: Box<[u8]>,
    /// Length of the key in `payload`; `None` where the record has no key.
    key_len: Option<u32>,
    has_value: bool,
    headers: Vec<Header>,
}

/// A record header. Names may repeat; a value may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: Box<str>,
    pub value: Option<Box<[u8]>>,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl Offset {
    /// The position after this event.
    pub fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}

impl NextOffset {
    pub const ZERO: NextOffset = NextOffset(0);

    /// True where the event at `offset` lies before this position.
    pub fn includes(self, offset: Offset) -> bool {
        offset.0 < self.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NextOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Event {
    /// Copies a record out of the consumer's memory.
    pub fn new(
        offset: Offset,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Vec<Header>,
    ) -> Self {
        let key_bytes = key.unwrap_or_default();
        let value_bytes = value.unwrap_or_default();
        let mut payload = Vec::with_capacity(key_bytes.len() + value_bytes.len());
        payload.extend_from_slice(key_bytes);
        payload.extend_from_slice(value_bytes);
        Event {
            offset,
            timestamp_ms,
            payload: payload.into_boxed_slice(),
            key_len: key
                .map(|key| u32::try_from(key.len()).expect("Kafka's lengths are 32-bit integers")),
            has_value: value.is_some(),
            headers,
        }
    }

    /// The record's key; `None` where it has none, which is not the same as an empty one.
    pub fn key(&self) -> Option<&[u8]> {
        self.key_len.map(|len| &self.payload[..len as usize])
    }

    /// The record's value; `None` for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.has_value
            .then(|| &self.payload[self.key_len.unwrap_or(0) as usize..])
    }

    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// The last header of this name, as Kafka's own `lastHeader` has it.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let header = self.headers.iter().rev().find(|h| &*h.name == name)?;
        header.value.as_deref()
    }

    /// What this event counts for in a queue bounded by bytes.
    pub fn size_bytes(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|h| {
                size_of::<Header>() + h.name.len() + h.value.as_ref().map_or(0, |value| value.len())
            })
            .sum();
        size_of::<Event>() + self.payload.len() + headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_is_one_past_the_message() {
        assert_eq!(Offset(41).next(), NextOffset(42));
        assert!(NextOffset(42).includes(Offset(41)));
        assert!(!NextOffset(42).includes(Offset(42)));
    }

    #[test]
    fn absent_and_empty_are_told_apart() {
        let event = |key, value| Event::new(Offset(0), 0, key, value, Vec::new());

        let bare = event(None, None);
        assert_eq!((bare.key(), bare.value()), (None, None));

        let empty = event(Some(b"".as_slice()), Some(b"".as_slice()));
        assert_eq!(
            (empty.key(), empty.value()),
            (Some(b"".as_slice()), Some(b"".as_slice()))
        );

        let full = event(Some(b"k".as_slice()), Some(b"value".as_slice()));
        assert_eq!(
            (full.key(), full.value()),
            (Some(b"k".as_slice()), Some(b"value".as_slice()))
        );

        let keyless = event(None, Some(b"v".as_slice()));
        assert_eq!(
            (keyless.key(), keyless.value()),
            (None, Some(b"v".as_slice()))
        );
    }

    #[test]
    fn the_last_header_of_a_name_counts() {
        let header = |name: &str, value: &[u8]| Header {
            name: name.into(),
            value: Some(value.into()),
        };
        let headers = vec![
            header("id", b"1"),
            header("id", b"2"),
            header("other", b"3"),
        ];
        let event = Event::new(Offset(0), 0, None, None, headers);

        assert_eq!(event.header("id"), Some(b"2".as_slice()));
        assert_eq!(event.header("missing"), None);
    }
}
