//! The last value of each key, how many there were, and a chain over their order.

use std::collections::HashMap;

use bson::raw::{RawBsonRef, RawDocument};
use serde::Deserialize;

use super::{Clock, Expected, Fields};
use crate::workload::{Event, Naming, Plan, Subject};

pub(super) struct Latest {
    plan: Plan,
    naming: Naming,
    clock: Clock,
    /// By the number of the key.
    keys: Vec<State>,
    markers: HashMap<String, State>,
    documents: u64,
}

/// What is kept of a key; the rest follows from the number of its last event.
#[derive(Clone, Copy, Default)]
struct State {
    count: u64,
    chain: i64,
    last: u64,
}

/// The last event's value as the plan spells it.
#[derive(Deserialize)]
struct Value<'a> {
    at_us: u64,
    pad: &'a str,
}

impl Latest {
    pub(super) fn new(plan: &Plan, clock: Clock) -> Self {
        Latest {
            plan: plan.clone(),
            naming: plan.workload.naming(),
            clock,
            keys: Vec::new(),
            markers: HashMap::new(),
            documents: 0,
        }
    }

    fn state(&self, id: &str) -> Option<&State> {
        let state = match self.naming.number(id) {
            Some(number) => self.keys.get(usize::try_from(number).ok()?),
            None => self.markers.get(id),
        };
        state.filter(|state| state.count > 0)
    }
}

impl Expected for Latest {
    fn add(&mut self, event: &Event) {
        let state = match event.subject {
            Subject::Key(number) => {
                let number = number as usize;
                if self.keys.len() <= number {
                    self.keys.resize(number + 1, State::default());
                }
                &mut self.keys[number]
            }
            Subject::Marker(_) | Subject::Move(_) | Subject::Flight(_) => {
                self.markers.entry(event.key.clone()).or_default()
            }
        };
        self.documents += u64::from(state.count == 0);
        state.count += 1;
        state.chain = state
            .chain
            .wrapping_mul(31)
            .wrapping_add(event.n.cast_signed());
        state.last = event.n;
    }

    fn documents(&self) -> u64 {
        self.documents
    }

    fn check(&self, id: &str, document: &RawDocument, fields: Fields) -> Result<(), String> {
        let state = self.state(id).ok_or("no event is about it")?;
        let event = Event {
            key: id.to_owned(),
            partition: 0,
            n: state.last,
            subject: Subject::Marker(0),
        };
        let mut json = Vec::new();
        let at_us = self.clock.at_us(state.last);
        self.plan.value_into(&event, at_us, &mut json);
        let value: Value = serde_json::from_slice(&json).map_err(|error| error.to_string())?;

        integer(document, "n", state.last.cast_signed())?;
        integer(document, "at_us", value.at_us.cast_signed())?;
        if !document.get_str("pad").is_ok_and(|pad| pad == value.pad) {
            return Err(format!("pad is not that of event {}", state.last));
        }
        if fields == Fields::All {
            integer(document, "count", state.count.cast_signed())?;
            integer(document, "chain", state.chain)?;
            if self.plan.work_rounds > 0 {
                let work = bench_latest::work(state.last, self.plan.work_rounds);
                integer(document, "work", work)?;
            }
        }
        Ok(())
    }
}

/// Compares a whole number of any type.
pub(super) fn integer(document: &RawDocument, key: &str, expected: i64) -> Result<(), String> {
    let found = match document.get(key) {
        Ok(Some(RawBsonRef::Int64(found))) => Some(found),
        Ok(Some(RawBsonRef::Int32(found))) => Some(i64::from(found)),
        Ok(_) => None,
        Err(error) => return Err(error.to_string()),
    };
    match found {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(format!("{key} is {found}, and must be {expected}")),
        None => Err(format!("{key} is no whole number, and must be {expected}")),
    }
}
