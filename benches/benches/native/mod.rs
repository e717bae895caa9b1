//! The projection of the flights example once more, as somebody writes it who has neither Wasm
//! nor the SDK.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use projectionist::document;
use projectionist::projection::{
    Batch, Body, Descriptor, DocumentKey, DocumentWrite, Documents, Encoding, Error, Output,
    Ownership, Projector, View, ViewIndex,
};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Departure<'a> {
    dep_time: Option<u32>,
    dep_delay: Option<i64>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    #[serde(borrow)]
    dest: Cow<'a, str>,
    distance: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Aircraft {
    legs: u64,
    cancelled_legs: u64,
    air_miles: u64,
    delay_minutes: i64,
    worst_delay_minutes: i64,
    last_origin: Option<String>,
    last_airport: Option<String>,
    repositioned: u64,
    base_changes: u64,
}

/// Folds departures into one document for each aircraft.
pub(crate) struct Fleet {
    descriptor: Arc<Descriptor>,
    hash: Arc<str>,
}

impl Default for Fleet {
    fn default() -> Self {
        let view = View {
            name: "aircraft".into(),
            ownership: Ownership::ByKey,
        };
        let descriptor = Descriptor {
            name: "native".to_owned(),
            version: "1".to_owned(),
            description: String::new(),
            encoding: Encoding::Json,
            views: vec![view],
            headers: Vec::new(),
            config_schema: String::new(),
        };
        Fleet {
            descriptor: Arc::new(descriptor),
            hash: "native".into(),
        }
    }
}

impl Projector for Fleet {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    fn plugin_hash(&self) -> &Arc<str> {
        &self.hash
    }

    fn project(
        &mut self,
        batch: Batch<'_>,
        mut documents: Box<dyn Documents>,
    ) -> Result<Output, Error> {
        let mut numbers = HashMap::with_capacity(batch.events.len());
        let mut ids = Vec::with_capacity(batch.events.len());
        let touched: Vec<usize> = batch
            .events
            .iter()
            .map(|event| {
                let id = std::str::from_utf8(event.key().expect("a key")).expect("UTF-8");
                *numbers.entry(id).or_insert_with(|| {
                    ids.push(id);
                    ids.len() - 1
                })
            })
            .collect();
        let stored = documents.get_many(ViewIndex(0), &ids)?;
        let mut folded: Vec<(Aircraft, usize)> = stored
            .iter()
            .map(|json| match json {
                Some(json) => (serde_json::from_slice(json).expect("an aircraft"), 0),
                None => (Aircraft::default(), 0),
            })
            .collect();
        for (index, (event, number)) in batch.events.iter().zip(touched).enumerate() {
            let value = event.value().expect("a value");
            let departure = serde_json::from_slice(value).expect("a departure");
            let (aircraft, last) = &mut folded[number];
            aircraft.depart(&departure);
            *last = index;
        }
        let writes = ids.iter().zip(folded).map(|(&id, (aircraft, event))| {
            let json = serde_json::to_vec(&aircraft).expect("an aircraft has a JSON form");
            let bson = document::from_json(&json).expect("a document").body;
            DocumentWrite {
                key: DocumentKey {
                    view: ViewIndex(0),
                    id: id.into(),
                },
                event,
                body: Some(Body {
                    encoded: Bytes::from(json),
                    bson,
                }),
            }
        });
        Ok(Output {
            writes: writes.collect(),
            messages: Vec::new(),
        })
    }
}

impl Aircraft {
    fn depart(&mut self, departure: &Departure<'_>) {
        if departure.dep_time.is_none() {
            self.cancelled_legs += 1;
            return;
        }
        self.legs += 1;
        self.air_miles += departure.distance;
        let delay_minutes = departure.dep_delay.unwrap_or(0).max(0);
        self.delay_minutes += delay_minutes;
        self.worst_delay_minutes = self.worst_delay_minutes.max(delay_minutes);
        let Departure { origin, dest, .. } = departure;
        let elsewhere = |last: &Option<String>| last.as_deref().is_some_and(|last| last != origin);
        self.repositioned += u64::from(elsewhere(&self.last_airport));
        self.base_changes += u64::from(elsewhere(&self.last_origin));
        self.last_origin = Some(origin.to_string());
        self.last_airport = Some(dest.to_string());
    }
}
