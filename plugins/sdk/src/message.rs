//! Messages that a projection sends: what an author writes, and where they are kept meanwhile.

use std::cell::RefCell;

use hashbrown::HashSet;
use serde::Serialize;

use crate::bindings::exports::projectionist::plugin::projection as contract;

/// A message for Kafka, which follows from an event: see [`Event::send`](crate::Event::send).
///
/// ```
/// # use projectionist_sdk::Message;
/// # fn main() -> Result<(), serde_json::Error> {
/// let message = Message::to("payments")
///     .key("order-17")
///     .json(&serde_json::json!({"cents": 250}))?
///     .header("kind", "request");
/// # assert_eq!(message.value.as_deref(), Some(br#"{"cents":250}"#.as_slice()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// One of those that the projection's configuration lists under `messages.topics`.
    pub topic: String,
    /// Decides on the partition, as in any Kafka client; without one, any partition will do.
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names may repeat. `event-id` is the host's: it names the message for good, so that whoever
    /// reads it can drop repeats.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Message {
    /// A message without key, value and headers.
    pub fn to(topic: impl Into<String>) -> Self {
        Message {
            topic: topic.into(),
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Makes the value of JSON text.
    ///
    /// # Errors
    /// What has no JSON form, such as a map whose keys are no strings.
    pub fn json(self, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(self.value(serde_json::to_vec(value)?))
    }

    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// The messages of a batch, each with its event's index.
#[derive(Default)]
pub(crate) struct Outbox(RefCell<Vec<(u32, Message)>>);

impl Outbox {
    pub(crate) fn put(&self, event: u32, message: Message) {
        self.0.borrow_mut().push((event, message));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Takes back all messages but the first ones.
    pub(crate) fn truncate(&self, len: usize) {
        self.0.borrow_mut().truncate(len);
    }

    /// Takes back the messages of these events.
    pub(crate) fn leave_out(&self, events: &HashSet<u32, foldhash::fast::FixedState>) {
        if !events.is_empty() {
            let mut sent = self.0.borrow_mut();
            sent.retain(|(event, _)| !events.contains(event));
        }
    }

    /// The messages of the batch as the contract has them: event by event, those of one event in
    /// the order in which it sent them.
    pub(crate) fn take(&self) -> Vec<contract::Message> {
        let mut sent = self.0.take();
        sent.sort_by_key(|(event, _)| *event);
        sent.into_iter().map(into_contract).collect()
    }
}

fn into_contract((event, message): (u32, Message)) -> contract::Message {
    let headers = message.headers.into_iter();
    contract::Message {
        event,
        topic: message.topic,
        key: message.key,
        value: message.value,
        headers: headers
            .map(|(name, value)| contract::Header { name, value })
            .collect(),
    }
}

impl From<contract::Message> for Message {
    fn from(message: contract::Message) -> Self {
        let headers = message.headers.into_iter();
        Message {
            topic: message.topic,
            key: message.key,
            value: message.value,
            headers: headers.map(|header| (header.name, header.value)).collect(),
        }
    }
}
