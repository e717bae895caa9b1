//! Runs a projection without a host, in an author's own tests.
//!
//! ```
//! # use projectionist_sdk::{Event, NoConfig, Projection, Reject};
//! use projectionist_sdk::testing::{Harness, Record};
//! # struct Counter;
//! # impl Projection for Counter {
//! #     const NAME: &str = "counter";
//! #     const VERSION: &str = "1";
//! #     const VIEW: &str = "counts";
//! #     type Config = NoConfig;
//! #     type Event<'a> = u64;
//! #     type Document = u64;
//! #     fn new(_: NoConfig) -> Result<Self, String> { Ok(Counter) }
//! #     fn fold(&self, event: &Event<u64>, _: &str, sum: &mut Option<u64>) -> Result<(), Reject> {
//! #         *sum = event.value.map(|value| sum.unwrap_or(0) + value);
//! #         Ok(())
//! #     }
//! # }
//!
//! let mut counter = Harness::<Counter>::new("{}").unwrap();
//! counter.project([
//!     Record::json("a", &1),
//!     Record::json("b", &2),
//!     Record::json("a", &3),
//!     Record::tombstone("b"),
//! ]).unwrap();
//! assert_eq!(counter.document("a"), Some(4));
//! assert_eq!(counter.document("b"), None);
//! ```

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bindings::exports::projectionist::plugin::projection::{Batch, Output};
use crate::column::Column;
use crate::encoding;
use crate::fold::{self, Documents};
use crate::guest;
use crate::message::Message;
use crate::policies;
use crate::policy::{Placement, Routing};
use crate::projection::Projection;

/// A projection with its documents in memory.
pub struct Harness<P> {
    projection: P,
    documents: Memory,
    messages: Vec<Message>,
    next_offset: u64,
}

/// An event to be. Its offset follows from the order in which records are projected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub timestamp_ms: i64,
}

/// The first record of a batch that the projection did not take. Those before it are projected,
/// those after it are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Index of the record in its batch.
    pub record: usize,
    pub reason: String,
}

#[derive(Default)]
struct Memory(BTreeMap<Vec<u8>, Vec<u8>>);

impl Record {
    pub fn json(key: &str, value: &impl Serialize) -> Self {
        let value = serde_json::to_vec(value).expect("a test's value has a JSON form");
        Record::default().key(key).value(value)
    }

    pub fn tombstone(key: &str) -> Self {
        Record::default().key(key)
    }

    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.value = Some(value.into());
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = timestamp_ms;
        self
    }
}

/// The record that a message becomes in its topic. The host's header `event-id` is not among its
/// headers: it follows from where the event stood.
impl From<Message> for Record {
    fn from(message: Message) -> Self {
        Record {
            key: message.key,
            value: message.value,
            headers: message.headers,
            timestamp_ms: 0,
        }
    }
}

impl<P: Projection> Harness<P> {
    /// Takes the configuration as JSON, as the host passes it.
    ///
    /// # Errors
    /// What the projection says of a wrong configuration.
    pub fn new(config: &str) -> Result<Self, String> {
        Ok(Harness {
            projection: guest::from_config(config)?,
            documents: Memory::default(),
            messages: Vec::new(),
            next_offset: 0,
        })
    }

    /// Projects the records as one batch.
    ///
    /// # Errors
    /// The first record that the projection rejects.
    ///
    /// # Panics
    /// If a document cannot be written.
    pub fn project(&mut self, records: impl IntoIterator<Item = Record>) -> Result<(), Rejected> {
        let records: Vec<Record> = records.into_iter().collect();
        let mut output = self.fold(&records);
        let rejected = output.rejects.drain(..).next();
        if let Some(rejected) = &rejected {
            // As the host does: once more, without it.
            output = self.fold(&records[..rejected.event as usize]);
        }
        self.next_offset += records.len() as u64;
        self.documents.apply(&output);
        self.messages
            .extend(output.messages.into_iter().map(Message::from));
        match rejected {
            Some(rejected) => Err(Rejected {
                record: rejected.event as usize,
                reason: rejected.reason,
            }),
            None => Ok(()),
        }
    }

    /// What has been sent since the last call, in the order of sending.
    pub fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.messages)
    }

    /// One document; `None` where it does not exist.
    ///
    /// # Panics
    /// If the projection cannot read what it has written.
    pub fn document(&self, id: &str) -> Option<P::Document> {
        let bytes = self.documents.0.get(id.as_bytes())?;
        Some(encoding::read(bytes, P::ENCODING).expect("a projection reads what it has written"))
    }

    /// All documents as JSON, by their ids.
    pub fn documents(&self) -> BTreeMap<String, serde_json::Value> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ids are UTF-8");
        self.documents
            .0
            .iter()
            .map(|(id, bytes)| {
                let json = encoding::read(bytes, P::ENCODING).expect("the SDK wrote it");
                (text(id), json)
            })
            .collect()
    }

    fn fold(&mut self, records: &[Record]) -> Output {
        let batch = self.batch(records);
        fold::project(&self.projection, &batch, &mut self.documents)
            .expect("each document has a JSON form")
    }

    fn batch(&self, records: &[Record]) -> Batch {
        let mut batch = Batch {
            topic: "test".to_owned(),
            partition: 0,
            offsets: Vec::new(),
            timestamps_ms: Vec::new(),
            keys: Column::new(),
            values: Column::new(),
            headers: P::HEADERS.iter().map(|_| Column::new()).collect(),
        };
        for (offset, record) in (self.next_offset..).zip(records) {
            batch.offsets.push(offset);
            batch.timestamps_ms.push(record.timestamp_ms);
            batch.keys.push_optional(record.key.as_deref());
            batch.values.push_optional(record.value.as_deref());
            for (name, column) in P::HEADERS.iter().zip(&mut batch.headers) {
                let header = record.headers.iter().rev().find(|(known, _)| known == name);
                column.push_optional(header.map(|(_, value)| value.as_slice()));
            }
        }
        batch
    }
}

impl Memory {
    fn apply(&mut self, output: &Output) {
        let writes = &output.writes;
        for (id, document) in writes.ids.iter().zip(writes.documents.iter()) {
            let id = id.expect("a write names its document");
            match document {
                Some(document) => {
                    self.0.insert(id.to_vec(), document.to_vec());
                }
                None => {
                    self.0.remove(id);
                }
            }
        }
    }
}

impl Documents for Memory {
    fn get_many(&mut self, ids: &Column) -> Column {
        let mut found = Column::new();
        for id in ids.iter() {
            let document = id.and_then(|id| self.0.get(id));
            found.push_optional(document.map(Vec::as_slice));
        }
        found
    }
}

/// A routing policy with its configuration, to be asked in a test.
///
/// # Errors
/// What the policy says of a wrong configuration.
pub fn routing<P: Routing>(config: &str) -> Result<P, String> {
    policies::routing(config)
}

/// A placement policy with its configuration, to be asked in a test.
///
/// # Errors
/// What the policy says of a wrong configuration.
pub fn placement<P: Placement>(config: &str) -> Result<P, String> {
    policies::placement(config)
}
