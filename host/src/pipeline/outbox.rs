//! Messages as a store keeps them until they are sent, and who sends them.
//!
//! An entry of the table `_outbox` is one message. Its id is where it comes from, so that ids sort
//! in the order of sending: `{checkpoint}/{offset}/{index}`, the offset with 19 digits, the index
//! with four. Its body is for people, too: text is stored as text, and only other bytes as binary.
//!
//! Guarantee: a message that is made again, by a replay, another copy or another version of the
//! projection, has the same `event-id`; no two messages share one.
//! Not here: when entries are stored (`domain`), sent and removed (`relay`).

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use bson::raw::{RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf, cstr};
use bson::spec::BinarySubtype;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::projection::{EVENT_ID_HEADER, MESSAGES_PER_EVENT_MAX, Message};
use crate::record::{Event, Header, Offset};
use crate::store::{CheckpointId, Entry, Source, Table};

/// A message on its way to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub topic: Arc<str>,
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    /// All of them, the host's own included.
    pub headers: Vec<Header>,
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    pub checkpoint: &'a CheckpointId,
    /// Of the event that it follows from.
    pub offset: Offset,
    /// Counts the messages of one event, from 0; [`DEAD_LETTER_INDEX`] is none of the plugin's.
    pub index: u32,
}

/// The index of the copy of a parked event.
pub const DEAD_LETTER_INDEX: u32 = MESSAGES_PER_EVENT_MAX as u32;

/// Of an `event-id`, in hexadecimal digits.
const EVENT_ID_LEN: usize = 32;

/// Sends messages: Kafka's producer, or a test's.
#[async_trait]
pub trait Sender: Send + Sync + 'static {
    /// Sends messages in their order, and answers when all of them are where they cannot be lost.
    /// After an error, any of them may have been sent.
    async fn send(&self, messages: &[Outgoing]) -> Result<(), SendError>;
}

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It may work later.
    #[error("cannot send to topic \"{topic}\"")]
    Unavailable {
        topic: Arc<str>,
        #[source]
        source: Source,
    },
    /// Brokers may say so for a while after a topic was made, or while they start.
    #[error("topic \"{topic}\" does not exist")]
    NoTopic { topic: Arc<str> },
    /// Trying again cannot help.
    #[error("topic \"{topic}\" does not take a message: {reason}")]
    Refused {
        topic: Arc<str>,
        /// What is wrong and the way out.
        reason: String,
    },
}

/// An entry is not one of this host's making.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry \"{id}\" of {table} is no message: {problem}", table = Table::Outbox)]
pub struct Malformed {
    pub id: Arc<str>,
    pub problem: String,
}

/// What the ids of all messages of a partition have in common.
pub fn prefix(checkpoint: &CheckpointId) -> String {
    format!("{checkpoint}/")
}

/// The entries for the messages of a batch. They are sorted by their events, and name them by
/// their index in `events`.
pub fn entries(
    checkpoint: &CheckpointId,
    events: &[Arc<Event>],
    messages: Vec<Message>,
) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(messages.len());
    let mut before = None;
    let mut index = 0;
    for message in messages {
        index = if before == Some(message.event) {
            index + 1
        } else {
            0
        };
        before = Some(message.event);
        let origin = Origin {
            checkpoint,
            offset: events[message.event].offset,
            index,
        };
        let mut outgoing = Outgoing {
            topic: message.topic,
            key: message.key,
            value: message.value,
            headers: message.headers,
        };
        outgoing.headers.push(origin.event_id_header());
        entries.push(outgoing.into_entry(origin));
    }
    entries
}

impl Origin<'_> {
    /// The entry's id.
    pub fn entry_id(&self) -> Arc<str> {
        let Origin {
            checkpoint,
            offset,
            index,
        } = self;
        format!("{checkpoint}/{:019}/{index:04}", offset.0).into()
    }

    /// Names the message for good. Neither the version of the projection nor the copy is part of
    /// it, so that whoever folds the same events sends the same ids.
    pub fn event_id(&self) -> String {
        let CheckpointId {
            projection,
            partition,
            ..
        } = self.checkpoint;
        let mut hash = Sha256::new();
        for name in [projection, &partition.topic] {
            // With its length, so that no two pairs of names run together to the same bytes.
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name.as_bytes());
        }
        hash.update(partition.partition.to_be_bytes());
        hash.update(self.offset.0.to_be_bytes());
        hash.update(self.index.to_be_bytes());
        let mut id = String::with_capacity(EVENT_ID_LEN);
        for byte in &hash.finalize()[..EVENT_ID_LEN / 2] {
            write!(id, "{byte:02x}").expect("a string takes what is written");
        }
        id
    }

    pub fn event_id_header(&self) -> Header {
        Header {
            name: EVENT_ID_HEADER.into(),
            value: Some(self.event_id().into_bytes().into()),
        }
    }
}

impl Outgoing {
    /// What it counts for in a queue bounded by bytes.
    pub fn size_bytes(&self) -> usize {
        let part = |bytes: Option<usize>| bytes.unwrap_or(0);
        let headers = self.headers.iter();
        let headers: usize = headers
            .map(|h| h.name.len() + part(h.value.as_ref().map(|v| v.len())))
            .sum();
        part(self.key.as_ref().map(Bytes::len))
            + part(self.value.as_ref().map(Bytes::len))
            + headers
    }

    /// As it is stored.
    pub fn into_entry(self, origin: Origin<'_>) -> Entry {
        let mut headers = RawArrayBuf::new();
        for header in &self.headers {
            let mut one = RawDocumentBuf::new();
            one.append(cstr!("name"), &*header.name);
            if let Some(value) = &header.value {
                one.append(cstr!("value"), readable(value));
            }
            headers.push(one);
        }
        let mut body = RawDocumentBuf::new();
        body.append(cstr!("topic"), &*self.topic);
        if let Some(key) = &self.key {
            body.append(cstr!("key"), readable(key));
        }
        if let Some(value) = &self.value {
            body.append(cstr!("value"), readable(value));
        }
        body.append(cstr!("headers"), headers);
        Entry {
            table: Table::Outbox,
            id: origin.entry_id(),
            body,
        }
    }

    /// Reads back what [`Outgoing::into_entry`] made.
    pub fn from_entry(entry: &Entry) -> Result<Self, Malformed> {
        let malformed = |problem: String| Malformed {
            id: Arc::clone(&entry.id),
            problem,
        };
        read(&entry.body).map_err(malformed)
    }
}

fn read(body: &RawDocument) -> Result<Outgoing, String> {
    let headers = match get(body, "headers")? {
        Some(RawBsonRef::Array(headers)) => headers,
        _ => return Err("it has no list of headers".to_owned()),
    };
    let headers = headers
        .into_iter()
        .map(|header| match header.map_err(|error| error.to_string())? {
            RawBsonRef::Document(header) => Ok(Header {
                name: text(header, "name")?.into(),
                value: bytes(header, "value")?.map(Into::into),
            }),
            _ => Err("a header is no document".to_owned()),
        })
        .collect::<Result<Vec<_>, String>>()?;
    Ok(Outgoing {
        topic: text(body, "topic")?.into(),
        key: bytes(body, "key")?.map(Bytes::copy_from_slice),
        value: bytes(body, "value")?.map(Bytes::copy_from_slice),
        headers,
    })
}

fn text<'d>(document: &'d RawDocument, name: &str) -> Result<&'d str, String> {
    match get(document, name)? {
        Some(RawBsonRef::String(text)) => Ok(text),
        _ => Err(format!("its \"{name}\" is no text")),
    }
}

fn bytes<'d>(document: &'d RawDocument, name: &str) -> Result<Option<&'d [u8]>, String> {
    match get(document, name)? {
        None => Ok(None),
        Some(RawBsonRef::String(text)) => Ok(Some(text.as_bytes())),
        Some(RawBsonRef::Binary(binary)) => Ok(Some(binary.bytes)),
        Some(_) => Err(format!("its \"{name}\" is neither text nor binary")),
    }
}

fn get<'d>(document: &'d RawDocument, name: &str) -> Result<Option<RawBsonRef<'d>>, String> {
    document.get(name).map_err(|error| error.to_string())
}

/// Text where the bytes are text, so that a person can read it.
fn readable(bytes: &[u8]) -> RawBson {
    match std::str::from_utf8(bytes) {
        Ok(text) => RawBson::String(text.to_owned()),
        Err(_) => RawBson::Binary(bson::Binary {
            subtype: BinarySubtype::Generic,
            bytes: bytes.to_vec(),
        }),
    }
}

#[cfg(test)]
mod tests;
