//! What is parked, as it is stored: the keys, their events, and what users want done about them.
//!
//! - `_parked_keys`: an entry per parked key, `{checkpoint}/{first}`.
//! - `_parked`: an entry per event, `{checkpoint}/{first}/{offset}`, so that the events of a key
//!   are read in their order.
//! - `_parked_requests`: `{checkpoint}/{first}`; anybody may put one, the partition's owner carries
//!   it out and removes it with what it did.
//! - `_skipped`: events that a user gave up, with the reason, under the id they had.
//!
//! `first` is the offset of the event that its projection could not take; it names the key.
//!
//! Not here: what is to be parked (`pipeline::parking`).

use std::sync::Arc;

use bson::Binary;
use bson::raw::RawDocumentBuf;
use bson::spec::BinarySubtype;
use serde::{Deserialize, Serialize};

use crate::record::{Event, Header, Offset};
use crate::store::{CheckpointId, Entry, Table};

pub mod desk;
pub mod json;

/// Why an event could not be folded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What kind of fault: "the plugin rejected the event".
    pub kind: String,
    /// The text of the plugin or of the check that it failed, up to [`DETAIL_BYTES_MAX`].
    pub detail: String,
    /// The hash of the plugin.
    pub plugin: String,
    /// When it was parked, or folded in vain for the last time. Unix time.
    pub at_ms: i64,
}

/// A parked key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The event that its projection could not take.
    pub first: Offset,
    /// `None` for an event without a key, which is parked by itself.
    pub key: Option<Arc<[u8]>>,
    /// How many events are parked.
    pub events: u64,
    pub bytes: u64,
    pub reason: Reason,
}

/// What a user wants done about a parked key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub action: Action,
    /// Who asks.
    pub by: String,
    /// Unix time.
    pub at_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Fold the events, in order, with this plugin (a hash), or else with the projection's own.
    Drain { plugin: Option<String> },
    /// Give one event up.
    Skip { offset: i64, reason: String },
}

/// A long text of a plugin is cut to this.
pub const DETAIL_BYTES_MAX: usize = 16 << 10;

/// What cannot be parked: with its headers and its key, the value would not fit in a document.
pub const EVENT_BYTES_MAX: usize = 15 << 20;

/// An entry is not one of this host's.
#[derive(Debug, thiserror::Error)]
#[error("entry \"{id}\" of {table} cannot be read: {message}")]
pub struct Unreadable {
    pub table: Table,
    pub id: String,
    pub message: String,
}

#[derive(Serialize, Deserialize)]
struct KeyBody {
    topic: String,
    partition: i32,
    first: i64,
    key: Option<Binary>,
    /// The key, where it is text: for people who look here.
    text: Option<String>,
    events: i64,
    bytes: i64,
    reason: Reason,
}

#[derive(Serialize, Deserialize)]
struct EventBody {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<Binary>,
    value: Option<Binary>,
    headers: Vec<HeaderBody>,
    /// Why it was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Skipped>,
}

#[derive(Serialize, Deserialize)]
struct Skipped {
    reason: String,
    by: String,
    at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct HeaderBody {
    name: String,
    value: Option<Binary>,
}

/// The id of a key's entry and of a request about it.
pub fn key_id(checkpoint: &CheckpointId, first: Offset) -> Arc<str> {
    format!("{checkpoint}/{:019}", first.0).into()
}

/// The id of a parked event.
pub fn event_id(checkpoint: &CheckpointId, first: Offset, offset: Offset) -> Arc<str> {
    format!("{checkpoint}/{:019}/{:019}", first.0, offset.0).into()
}

/// The start of the ids of all events of a key.
pub fn events_prefix(checkpoint: &CheckpointId, first: Offset) -> String {
    format!("{checkpoint}/{:019}/", first.0)
}

/// The start of the ids of all keys of a partition.
pub fn keys_prefix(checkpoint: &CheckpointId) -> String {
    format!("{checkpoint}/")
}

impl Action {
    /// Its name, and what else it says.
    pub fn told(&self) -> (&'static str, String) {
        match self {
            Action::Drain { plugin: None } => ("drain", String::new()),
            Action::Drain { plugin: Some(hash) } => ("drain", format!("with plugin {hash}")),
            Action::Skip { offset, reason } => ("skip", format!("offset {offset}: {reason}")),
        }
    }
}

impl KeyEntry {
    pub fn to_entry(&self, checkpoint: &CheckpointId) -> Entry {
        let key = self.key.as_deref();
        let body = KeyBody {
            topic: checkpoint.partition.topic.to_string(),
            partition: checkpoint.partition.partition,
            first: self.first.0,
            key: key.map(binary),
            text: key.and_then(|key| Some(std::str::from_utf8(key).ok()?.to_owned())),
            events: signed(self.events),
            bytes: signed(self.bytes),
            reason: self.reason.clone(),
        };
        Entry {
            table: Table::ParkedKeys,
            id: key_id(checkpoint, self.first),
            body: write(&body),
        }
    }

    pub fn from_entry(entry: &Entry) -> Result<Self, Unreadable> {
        let body: KeyBody = read(entry)?;
        Ok(KeyEntry {
            first: Offset(body.first),
            key: body.key.map(|key| Arc::from(key.bytes)),
            events: unsigned(body.events),
            bytes: unsigned(body.bytes),
            reason: body.reason,
        })
    }
}

/// An event that is parked at `first` or behind it.
pub fn event_entry(checkpoint: &CheckpointId, first: Offset, event: &Event) -> Entry {
    Entry {
        table: Table::Parked,
        id: event_id(checkpoint, first, event.offset),
        body: write(&event_body(checkpoint, event, None)),
    }
}

/// An event that was given up.
pub fn skipped_entry(
    checkpoint: &CheckpointId,
    first: Offset,
    event: &Event,
    reason: &str,
    request: &Request,
) -> Entry {
    let skipped = Skipped {
        reason: reason.to_owned(),
        by: request.by.clone(),
        at_ms: request.at_ms,
    };
    Entry {
        table: Table::Skipped,
        id: event_id(checkpoint, first, event.offset),
        body: write(&event_body(checkpoint, event, Some(skipped))),
    }
}

/// Reads an event back, as it came from Kafka.
pub fn event_from_entry(entry: &Entry) -> Result<Event, Unreadable> {
    let body: EventBody = read(entry)?;
    let headers = body.headers.into_iter().map(|header| Header {
        name: header.name.into(),
        value: header.value.map(|value| value.bytes.into()),
    });
    let bytes = |field: &Option<Binary>| field.as_ref().map(|binary| binary.bytes.clone());
    Ok(Event::new(
        Offset(body.offset),
        body.timestamp_ms,
        bytes(&body.key).as_deref(),
        bytes(&body.value).as_deref(),
        headers.collect(),
    ))
}

impl Request {
    pub fn to_entry(&self, checkpoint: &CheckpointId, first: Offset) -> Entry {
        Entry {
            table: Table::ParkedRequests,
            id: key_id(checkpoint, first),
            body: write(self),
        }
    }

    pub fn from_entry(entry: &Entry) -> Result<Self, Unreadable> {
        read(entry)
    }
}

/// The `first` that an entry's id ends with; `None` where it is no such id.
pub fn first_of(id: &str) -> Option<Offset> {
    let (_, first) = id.rsplit_once('/')?;
    first.parse().ok().map(Offset)
}

fn event_body(checkpoint: &CheckpointId, event: &Event, skipped: Option<Skipped>) -> EventBody {
    let headers = event.headers().map(|header| HeaderBody {
        name: header.name.to_owned(),
        value: header.value.map(binary),
    });
    EventBody {
        topic: checkpoint.partition.topic.to_string(),
        partition: checkpoint.partition.partition,
        offset: event.offset.0,
        timestamp_ms: event.timestamp_ms,
        key: event.key().map(binary),
        value: event.value().map(binary),
        headers: headers.collect(),
        skipped,
    }
}

fn binary(bytes: &[u8]) -> Binary {
    Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    }
}

fn write(body: &impl Serialize) -> RawDocumentBuf {
    bson::serialize_to_raw_document_buf(body).expect("these bodies have a form in BSON")
}

fn read<T: serde::de::DeserializeOwned>(entry: &Entry) -> Result<T, Unreadable> {
    bson::deserialize_from_slice(entry.body.as_bytes()).map_err(|error| Unreadable {
        table: entry.table,
        id: entry.id.to_string(),
        message: error.to_string(),
    })
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..20))
    }

    proptest! {
        #[test]
        fn an_event_comes_back_as_it_was(
            offset in 0..i64::MAX,
            timestamp_ms in any::<i64>(),
            key in bytes(),
            value in bytes(),
            headers in prop::collection::vec(("[a-z]{0,5}", bytes()), 0..4),
        ) {
            let headers = headers.into_iter().map(|(name, value)| Header {
                name: name.into(),
                value: value.map(Into::into),
            });
            let (key, value) = (key.as_deref(), value.as_deref());
            let event = Event::new(Offset(offset), timestamp_ms, key, value, headers.collect());
            let entry = event_entry(&checkpoint(), Offset(7), &event);
            prop_assert_eq!(event_from_entry(&entry).expect("it was written here"), event);
        }

        #[test]
        fn events_of_a_key_are_in_their_order(a in 0..i64::MAX, b in 0..i64::MAX) {
            let id = |offset| event_id(&checkpoint(), Offset(7), Offset(offset));
            prop_assert_eq!(id(a).cmp(&id(b)), a.cmp(&b));
            prop_assert!(id(a).starts_with(&events_prefix(&checkpoint(), Offset(7))));
        }
    }

    #[test]
    fn a_key_and_a_request_come_back_as_they_were() {
        let reason = Reason {
            kind: "the plugin rejected the event".to_owned(),
            detail: "no amount".to_owned(),
            plugin: "c0ffee".to_owned(),
            at_ms: 5,
        };
        for key in [None, Some(Arc::from(b"a\xff".as_slice()))] {
            let known = KeyEntry {
                first: Offset(12),
                key,
                events: 3,
                bytes: 400,
                reason: reason.clone(),
            };
            let entry = known.to_entry(&checkpoint());
            assert_eq!(first_of(&entry.id), Some(Offset(12)));
            assert_eq!(KeyEntry::from_entry(&entry).expect("written here"), known);
        }

        let skip = Action::Skip {
            offset: 13,
            reason: "a test order".to_owned(),
        };
        for action in [Action::Drain { plugin: None }, skip] {
            let request = Request {
                action,
                by: "ops".to_owned(),
                at_ms: 6,
            };
            let entry = request.to_entry(&checkpoint(), Offset(12));
            assert_eq!(Request::from_entry(&entry).expect("written here"), request);
        }
    }

    #[test]
    fn an_entry_of_somebody_else_is_named() {
        let entry = Entry {
            table: Table::ParkedKeys,
            id: "orders/v1/main/orders.events/3/12".into(),
            body: bson::rawdoc! { "hello": "world" },
        };
        let error = KeyEntry::from_entry(&entry).expect_err("it has no key");
        assert!(error.to_string().contains("orders.events/3/12"), "{error}");
    }
}
