//! Folds events into documents in memory.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::document;
use crate::projection::{Batch, Error, HostError, Message, Projector};
use crate::record::{self, TopicPartition};

use super::cuts::{Cut, NextInstance};
use super::events::Event;
use super::memory::Memory;

/// As large as those of a host by default.
const BATCH_EVENTS_MAX: usize = 1_000;

/// A projector with its documents.
pub struct Desk<P> {
    projector: P,
    partition: TopicPartition,
    documents: Memory,
    messages: Vec<Value>,
    rejected: Vec<Value>,
    /// Keys of which an event was rejected, and its line.
    parked: HashMap<Box<[u8]>, usize>,
}

/// What events came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// View, then id, then the document.
    pub documents: Map<String, Value>,
    pub messages: Vec<Value>,
    /// The events that the projection could not take, each with its line and the reason.
    pub rejected: Vec<Value>,
}

impl<P: Projector> Desk<P> {
    /// `topic` is what the events are said to come from.
    pub fn new(projector: P, topic: &str) -> Self {
        Desk {
            projector,
            partition: TopicPartition::new(topic, 0),
            documents: Memory::default(),
            messages: Vec::new(),
            rejected: Vec::new(),
            parked: HashMap::new(),
        }
    }

    /// Folds events, in batches as large as a host's.
    ///
    /// # Errors
    /// The engine's own failures only; what the plugin does wrong is part of the outcome.
    pub fn fold(&mut self, events: &[Event]) -> Result<(), HostError> {
        for batch in events.chunks(BATCH_EVENTS_MAX) {
            let is_free = self.parked.is_empty();
            // Where an event is at fault, or may belong to a key that is parked, one at a time
            // tells which.
            if !is_free || self.project(batch)?.is_err() {
                self.fold_singly(batch)?;
            }
        }
        Ok(())
    }

    /// Folds events in the batches that these cuts make of them. `renew` gives the projector a new
    /// instance.
    ///
    /// # Errors
    /// As [`fold`](Self::fold).
    pub fn fold_cut(
        &mut self,
        events: &[Event],
        cuts: &[Cut],
        renew: impl Fn(&mut P),
    ) -> Result<(), HostError> {
        let mut start = 0;
        for cut in cuts {
            self.fold(&events[start..cut.before])?;
            if cut.next == NextInstance::New {
                renew(&mut self.projector);
            }
            start = cut.before;
        }
        self.fold(&events[start..])
    }

    fn fold_singly(&mut self, events: &[Event]) -> Result<(), HostError> {
        for event in events {
            let key = event.record.key();
            if let Some(first) = key.and_then(|key| self.parked.get(key)) {
                let reason = format!("waits for the event of its key in line {first}");
                self.reject(event.line, &reason);
                continue;
            }
            if let Err(reason) = self.project(std::slice::from_ref(event))? {
                self.reject(event.line, &reason);
                // One without a key has no order to keep: nothing waits for it.
                if let Some(key) = key {
                    self.parked.insert(key.into(), event.line);
                }
            }
        }
        Ok(())
    }

    fn reject(&mut self, line: usize, reason: &str) {
        self.rejected.push(json!({"line": line, "reason": reason}));
    }

    /// Folds a batch whole or not at all. The inner error is the plugin's fault, in words.
    fn project(&mut self, events: &[Event]) -> Result<Result<(), String>, HostError> {
        let records: Vec<Arc<record::Event>> =
            events.iter().map(|event| event.record.clone()).collect();
        let batch = Batch {
            partition: &self.partition,
            events: &records,
        };
        let documents = Box::new(self.documents.clone());
        match self.projector.project(batch, documents) {
            Ok(output) => {
                self.documents.put(output.writes);
                self.messages.extend(output.messages.iter().map(message));
                Ok(Ok(()))
            }
            Err(Error::Fault(fault)) => Ok(Err(fault.to_string())),
            Err(Error::Host(error)) => Err(error),
        }
    }

    /// # Errors
    /// A document that cannot be written as JSON.
    pub fn outcome(&self) -> Result<Outcome, document::Error> {
        let views = &self.projector.descriptor().views;
        let mut documents = Map::new();
        for (key, body) in self.documents.all() {
            let json = document::to_json(&body.bson)?;
            let view = views[key.view.0 as usize].name.to_string();
            let of_view = documents.entry(view).or_insert_with(|| json!({}));
            of_view[&*key.id] = serde_json::from_slice(&json).map_err(document::Error::Json)?;
        }
        Ok(Outcome {
            documents,
            messages: self.messages.clone(),
            rejected: self.rejected.clone(),
        })
    }
}

impl Outcome {
    /// As a fixture has it; what is empty is left out.
    pub fn to_value(&self) -> Value {
        let parts = [
            ("documents", Value::Object(self.documents.clone())),
            ("messages", Value::Array(self.messages.clone())),
            ("rejected", Value::Array(self.rejected.clone())),
        ];
        let is_full = |part: &Value| *part != json!({}) && *part != json!([]);
        let full = parts.into_iter().filter(|(_, part)| is_full(part));
        full.map(|(name, part)| (name.to_owned(), part)).collect()
    }
}

fn message(message: &Message) -> Value {
    let headers: Map<String, Value> = message
        .headers
        .iter()
        .map(|header| (header.name.to_string(), readable(header.value.as_deref())))
        .collect();
    let mut value = json!({
        "topic": &*message.topic,
        "key": readable(message.key.as_deref()),
        // A number must not be taken for another one that is rounded to the same.
        "value": match message.value.as_deref().and_then(document::exact_value) {
            Some(json) => json,
            None => readable(message.value.as_deref()),
        },
    });
    if !headers.is_empty() {
        value["headers"] = Value::Object(headers);
    }
    value
}

/// A text; bytes that are none as hexadecimal digits.
fn readable(bytes: Option<&[u8]>) -> Value {
    match bytes.map(std::str::from_utf8) {
        None => Value::Null,
        Some(Ok(text)) => text.into(),
        Some(Err(_)) => {
            let digits = bytes
                .into_iter()
                .flatten()
                .map(|byte| format!("{byte:02x}"));
            json!({"hex": digits.collect::<String>()})
        }
    }
}
