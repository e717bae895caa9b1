//! The words that every stage shares: events and where they are in Kafka.
//!
//! A message's offset and the next offset to read differ by one. They are two types here, with
//! one conversion between them, so that a checkpoint cannot be off by one event.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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

/// Counts the leaders that a partition had when a record was written (KIP-320). In one log it never
/// falls from one offset to a later one, and a record that was lost and replaced has a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaderEpoch(pub i32);

/// What a cluster calls a topic from its making to its deletion (KIP-516).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicId(u128);

/// Which log a position is one of, as far as that is known: another log may have the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    pub topic: Option<TopicId>,
    /// The last record before the position.
    pub last: Option<LastRecord>,
}

/// A record that was read, by what tells it from another one at its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    pub offset: Offset,
    pub epoch: LeaderEpoch,
}

/// Counts the assignments that this process has seen, so that what belongs to an earlier
/// assignment of a partition is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// One Kafka record.
///
/// Key, value and headers lie in one buffer, so that an event costs one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub offset: Offset,
    pub timestamp_ms: i64,
    /// The key, the value, then the headers: of each the length of its name and of its value (or
    /// `ABSENT`), 32 bits little-endian, its name and its value.
    payload: Box<[u8]>,
    /// Length of the key in `payload`; `None` where the record has no key.
    key_len: Option<u32>,
    /// The same of the value, behind the key.
    value_len: Option<u32>,
}

/// A record header. Names may repeat; a value may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: Box<str>,
    pub value: Option<Box<[u8]>>,
}

/// A header as it lies in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRef<'e> {
    pub name: &'e str,
    pub value: Option<&'e [u8]>,
}

/// The headers of an event, in their order.
#[derive(Clone, Debug)]
pub struct Headers<'e> {
    rest: &'e [u8],
}

/// Stands for the length of a header's value that is absent.
const ABSENT: u32 = u32::MAX;

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

impl TopicId {
    /// `None` for all zeros, which means that there is no id.
    pub fn from_halves(high: i64, low: i64) -> Option<Self> {
        let bytes = (u128::from(high.cast_unsigned()) << 64) | u128::from(low.cast_unsigned());
        (bytes != 0).then_some(TopicId(bytes))
    }

    /// From the text that `Display` makes.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let id = u128::from_be_bytes(bytes.try_into().ok()?);
        (id != 0).then_some(TopicId(id))
    }
}

/// As Kafka's own tools show it.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.to_be_bytes()))
    }
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
    pub fn new(
        offset: Offset,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Vec<Header>,
    ) -> Self {
        let headers = headers.iter().map(Header::borrow);
        Event::copy(offset, timestamp_ms, key, value, headers)
    }

    /// Copies a record out of the consumer's memory.
    pub fn copy<'h>(
        offset: Offset,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = HeaderRef<'h>> + Clone,
    ) -> Self {
        let bytes = |field: Option<&[u8]>| field.map_or(0, <[u8]>::len);
        let header_bytes = headers
            .clone()
            .map(|header| header.name.len() + bytes(header.value) + 8);
        let mut payload =
            Vec::with_capacity(bytes(key) + bytes(value) + header_bytes.sum::<usize>());
        payload.extend_from_slice(key.unwrap_or_default());
        payload.extend_from_slice(value.unwrap_or_default());
        for header in headers {
            let value_len = header.value.map_or(ABSENT, narrow);
            payload.extend_from_slice(&narrow(header.name.as_bytes()).to_le_bytes());
            payload.extend_from_slice(&value_len.to_le_bytes());
            payload.extend_from_slice(header.name.as_bytes());
            payload.extend_from_slice(header.value.unwrap_or_default());
        }
        Event {
            offset,
            timestamp_ms,
            payload: payload.into_boxed_slice(),
            key_len: key.map(narrow),
            value_len: value.map(narrow),
        }
    }

    /// The record's key; `None` where it has none, which is not the same as an empty one.
    pub fn key(&self) -> Option<&[u8]> {
        self.key_len.map(|len| &self.payload[..len as usize])
    }

    /// The record's value; `None` for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        let value = self.key_bytes()..self.headers_start();
        self.value_len.map(|_| &self.payload[value])
    }

    pub fn headers(&self) -> Headers<'_> {
        Headers {
            rest: &self.payload[self.headers_start()..],
        }
    }

    /// The last header of this name, as Kafka's own `lastHeader` has it.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let named = self.headers().filter(|header| header.name == name);
        named.last()?.value
    }

    fn key_bytes(&self) -> usize {
        self.key_len.unwrap_or(0) as usize
    }

    fn headers_start(&self) -> usize {
        self.key_bytes() + self.value_len.unwrap_or(0) as usize
    }

    /// What this event counts for in a queue bounded by bytes.
    pub fn size_bytes(&self) -> usize {
        size_of::<Event>() + self.payload.len()
    }
}

impl<'e> Iterator for Headers<'e> {
    type Item = HeaderRef<'e>;

    fn next(&mut self) -> Option<HeaderRef<'e>> {
        let (name_len, rest) = self.rest.split_first_chunk::<4>()?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at(u32::from_le_bytes(*name_len) as usize);
        let name = std::str::from_utf8(name).expect("it was copied from a string");
        let (value, rest) = match u32::from_le_bytes(*value_len) {
            ABSENT => (None, rest),
            len => {
                let (value, rest) = rest.split_at(len as usize);
                (Some(value), rest)
            }
        };
        self.rest = rest;
        Some(HeaderRef { name, value })
    }
}

impl Header {
    pub fn borrow(&self) -> HeaderRef<'_> {
        HeaderRef {
            name: &self.name,
            value: self.value.as_deref(),
        }
    }
}

impl HeaderRef<'_> {
    pub fn to_owned(self) -> Header {
        Header {
            name: self.name.into(),
            value: self.value.map(Into::into),
        }
    }
}

fn narrow(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("Kafka's lengths are 32-bit integers")
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
    fn a_topic_id_is_shown_as_kafka_shows_it() {
        let id = TopicId::from_halves(0x0123_4567_89ab_cdef, -2).expect("an id");
        assert_eq!(id.to_string(), "ASNFZ4mrze___________g");
        assert_eq!(TopicId::parse(&id.to_string()), Some(id));
        for other in ["", "ASNFZ4mrze8", "AAAAAAAAAAAAAAAAAAAAAA", "?"] {
            assert_eq!(TopicId::parse(other), None, "{other}");
        }
        assert_eq!(TopicId::from_halves(0, 0), None);
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

    #[test]
    fn headers_come_back_as_they_were() {
        let headers = vec![
            Header {
                name: "id".into(),
                value: Some(b"1".as_slice().into()),
            },
            Header {
                name: "".into(),
                value: None,
            },
            Header {
                name: "empty".into(),
                value: Some(b"".as_slice().into()),
            },
        ];
        let (key, value) = (Some(b"k".as_slice()), Some(b"value".as_slice()));
        let event = Event::new(Offset(0), 0, key, value, headers.clone());
        assert_eq!((event.key(), event.value()), (key, value));
        let back: Vec<Header> = event.headers().map(HeaderRef::to_owned).collect();
        assert_eq!(back, headers);
        assert_eq!(event.header("empty"), Some(b"".as_slice()));
    }
}
