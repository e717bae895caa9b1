//! The view `aircraft`, by the rules that the example `flights` tells for it.

use std::collections::HashMap;

use bson::raw::RawDocument;
use bson::{Bson, Document};
use flights::FlightEvent;
use serde_json::Value;

use super::{Expected, Fields};
use crate::workload::Event;
use crate::workload::flights::{departure, row};

#[derive(Default)]
pub(super) struct Aircraft {
    /// The rows of each aircraft's departures, in their order.
    rows: HashMap<String, Vec<usize>>,
}

impl Aircraft {
    pub(super) fn new() -> Self {
        Aircraft::default()
    }

    /// What the example expects of one aircraft.
    fn document(id: &str, rows: &[usize]) -> Option<Value> {
        let departures: Vec<FlightEvent> = rows
            .iter()
            .map(|&row| FlightEvent {
                key: Some(id.to_owned()),
                ..departure(row).clone()
            })
            .collect();
        flights::expected::aircraft(&departures).remove(id)
    }
}

impl Expected for Aircraft {
    fn add(&mut self, event: &Event) {
        let rows = self.rows.entry(event.key.clone()).or_default();
        rows.push(row(&event.subject));
    }

    fn documents(&self) -> u64 {
        self.rows.len() as u64
    }

    fn check(&self, id: &str, document: &RawDocument, fields: Fields) -> Result<(), String> {
        let rows = self.rows.get(id).ok_or("no event is about it")?;
        let expected = match (fields, rows.last()) {
            (Fields::All, _) => Self::document(id, rows),
            (Fields::LastValue, last) => last.map(|&row| {
                let departure = &departure(row).value;
                serde_json::to_value(departure).expect("numbers and strings have a JSON form")
            }),
        };
        let expected = expected.ok_or("no departure is about it")?;
        let mut found = Document::try_from(document).map_err(|error| error.to_string())?;
        found.remove("_id");
        found.remove("_m");
        let found = Bson::Document(found).into_relaxed_extjson();
        if found == expected {
            return Ok(());
        }
        Err(format!("it is {found}, and must be {expected}"))
    }
}
