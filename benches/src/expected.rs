//! Which documents a plan must become, worked out without any of the contenders.
//!
//! Guarantee: a store passes only if it holds exactly these documents with exactly these fields.
//! What a contender adds for itself (`_m`) is its own affair. Of Kafka Connect's sink, which knows
//! no count and no order, the last value of each key is asked for: see [`Fields`].

mod aircraft;
mod latest;
mod pairs;

use bson::raw::RawDocument;

use crate::workload::{Event, Plan, Shape};

/// What is asked of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fields {
    /// All that the projection makes.
    All,
    /// The last value of its key, and nothing else.
    LastValue,
}

/// When events were produced.
#[derive(Clone, Debug)]
pub enum Clock {
    /// Nobody measured: [`at_us`](crate::workload::at_us).
    Nominal,
    /// Microseconds since 1970, by the number of the event.
    Recorded(Vec<u64>),
}

/// The documents of one plan.
pub trait Expected: Send {
    /// Takes the next event.
    fn add(&mut self, event: &Event);

    /// How many documents there must be.
    fn documents(&self) -> u64;

    /// Compares one stored document.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self, id: &str, document: &RawDocument, fields: Fields) -> Result<(), String>;
}

impl Clock {
    pub fn at_us(&self, n: u64) -> u64 {
        match self {
            Clock::Nominal => crate::workload::at_us(n),
            Clock::Recorded(times) => times[n as usize],
        }
    }
}

/// What the events of a plan must become.
pub fn expected(plan: &Plan, clock: Clock) -> Box<dyn Expected> {
    let mut expected: Box<dyn Expected> = match plan.workload.shape() {
        Shape::Latest => Box::new(latest::Latest::new(plan, clock)),
        Shape::Pairs => Box::new(pairs::Pairs::new()),
        Shape::Aircraft => Box::new(aircraft::Aircraft::new()),
    };
    for event in plan.events() {
        expected.add(&event);
    }
    expected
}

#[cfg(test)]
mod tests;
