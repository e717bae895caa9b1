//! One document for each aircraft: what it flew, how late it was, where it is.
//!
//! Events are departures, keyed by tail number; one without a key belongs to no aircraft that
//! anyone could name, and is ignored. The order of events matters: `repositioned`, `base_changes`
//! and the last places follow from one departure to the next, which is why the view is by-key.

use std::borrow::Cow;

use projectionist_sdk::{Event, NoConfig, Projection, Reject, export};
use serde::{Deserialize, Serialize};

pub struct Fleet;

/// The part of a departure that this projection reads.
#[derive(Deserialize)]
pub struct Departure<'a> {
    /// Local time as the number HHMM; absent where the flight was cancelled.
    dep_time: Option<u32>,
    /// Minutes; negative where it left early.
    dep_delay: Option<i64>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    #[serde(borrow)]
    dest: Cow<'a, str>,
    /// Miles.
    distance: u64,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Aircraft {
    /// Departures that took place.
    legs: u64,
    cancelled_legs: u64,
    air_miles: u64,
    /// Minutes of late departures; early ones do not make up for them.
    delay_minutes: i64,
    worst_delay_minutes: i64,
    /// Where the last leg began and ended.
    last_origin: Option<String>,
    last_airport: Option<String>,
    /// How often a leg began elsewhere than where the one before ended. The events are departures
    /// from New York alone, so this counts the legs home as well.
    repositioned: u64,
    /// How often a leg began at another airport of New York than the one before.
    base_changes: u64,
}

impl Projection for Fleet {
    const NAME: &str = "aircraft";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str =
        "Where each aircraft is and what it has flown: one document for each tail number.";
    const VIEW: &str = "aircraft";
    type Config = NoConfig;
    type Event<'a> = Departure<'a>;
    type Document = Aircraft;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Fleet)
    }

    fn fold(
        &self,
        event: &Event<Departure>,
        _tail_number: &str,
        aircraft: &mut Option<Aircraft>,
    ) -> Result<(), Reject> {
        match &event.value {
            Some(departure) => aircraft.get_or_insert_default().depart(departure),
            None => *aircraft = None,
        }
        Ok(())
    }
}

export!(Fleet);

impl Aircraft {
    /// Takes one departure in.
    pub fn depart(&mut self, departure: &Departure) {
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
        let elsewhere = |last: &Option<String>| last.as_ref().is_some_and(|last| last != origin);
        self.repositioned += u64::from(elsewhere(&self.last_airport));
        self.base_changes += u64::from(elsewhere(&self.last_origin));
        remember(&mut self.last_origin, origin);
        remember(&mut self.last_airport, dest);
    }
}

/// Overwrites a place, reusing its memory.
fn remember(place: &mut Option<String>, airport: &str) {
    let place = place.get_or_insert_default();
    place.clear();
    place.push_str(airport);
}
