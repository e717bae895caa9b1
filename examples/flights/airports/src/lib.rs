//! One document for each airport: what left, what arrived, how late, by whom and when.
//!
//! An event touches two documents, its origin's and its destination's, and flights of one airport
//! come from all partitions, which the host reads in no fixed order. So every field is one whose
//! value does not depend on the order of events: counts, sums, extremes, and what follows from
//! them. The last departure, say, has no place here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use projectionist_sdk::{Event, Ids, NoConfig, Ownership, Projection, Reject, export};
use serde::{Deserialize, Serialize};

pub struct Airports;

/// The part of a departure that this projection reads.
#[derive(Deserialize)]
pub struct Departure<'a> {
    /// Local time as the number HHMM; absent where the flight was cancelled.
    dep_time: Option<u32>,
    /// Minutes; negative where it left early.
    dep_delay: Option<i64>,
    /// Minutes; absent where it was cancelled or diverted.
    arr_delay: Option<i64>,
    #[serde(borrow)]
    carrier: Cow<'a, str>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    #[serde(borrow)]
    dest: Cow<'a, str>,
    /// Miles.
    distance: u64,
    /// Of the scheduled departure.
    hour: u8,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Airport {
    departures: u64,
    /// Flights that left for here.
    arrivals: u64,
    cancelled_departures: u64,
    cancelled_arrivals: u64,
    /// Of all flights from and to here.
    miles: u64,
    /// Minutes of late departures; early ones do not make up for them.
    departure_delay_minutes: i64,
    worst_departure_delay_minutes: i64,
    arrival_delay_minutes: i64,
    worst_arrival_delay_minutes: i64,
    /// Departures and arrivals of each carrier.
    flights_by_carrier: BTreeMap<String, u64>,
    departures_by_hour: BTreeMap<u8, u64>,
    /// The hour with the most departures, the earliest of equals.
    busiest_hour: Option<u8>,
}

impl Projection for Airports {
    const NAME: &str = "airports";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str =
        "Departures and arrivals of each airport: one document for each airport code.";
    const VIEW: &str = "airports";
    const OWNERSHIP: Ownership = Ownership::Shared;
    type Config = NoConfig;
    type Event<'a> = Departure<'a>;
    type Document = Airport;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Airports)
    }

    fn ids<'a>(&self, event: &Event<'a, Departure<'a>>, ids: &mut Ids) -> Result<(), Reject> {
        // A tombstone takes back no departure: it is only the end of an aircraft.
        if let Some(departure) = &event.value {
            ids.add(&departure.origin);
            ids.add(&departure.dest);
        }
        Ok(())
    }

    fn fold(
        &self,
        event: &Event<Departure>,
        code: &str,
        airport: &mut Option<Airport>,
    ) -> Result<(), Reject> {
        let Some(departure) = &event.value else {
            return Ok(());
        };
        let airport = airport.get_or_insert_default();
        if code == departure.origin {
            airport.depart(departure);
        }
        if code == departure.dest {
            airport.arrive(departure);
        }
        Ok(())
    }
}

export!(Airports);

impl Airport {
    fn depart(&mut self, departure: &Departure) {
        if departure.dep_time.is_none() {
            self.cancelled_departures += 1;
            return;
        }
        self.departures += 1;
        let delay_minutes = departure.dep_delay.unwrap_or(0).max(0);
        self.departure_delay_minutes += delay_minutes;
        self.worst_departure_delay_minutes = self.worst_departure_delay_minutes.max(delay_minutes);
        *self.departures_by_hour.entry(departure.hour).or_default() += 1;
        self.busiest_hour = self.busiest_hour();
        self.fly(departure);
    }

    fn arrive(&mut self, departure: &Departure) {
        if departure.dep_time.is_none() {
            self.cancelled_arrivals += 1;
            return;
        }
        self.arrivals += 1;
        let delay_minutes = departure.arr_delay.unwrap_or(0).max(0);
        self.arrival_delay_minutes += delay_minutes;
        self.worst_arrival_delay_minutes = self.worst_arrival_delay_minutes.max(delay_minutes);
        self.fly(departure);
    }

    fn fly(&mut self, departure: &Departure) {
        self.miles += departure.distance;
        match self.flights_by_carrier.get_mut(&*departure.carrier) {
            Some(flights) => *flights += 1,
            None => {
                self.flights_by_carrier
                    .insert(departure.carrier.as_ref().to_owned(), 1);
            }
        }
    }

    fn busiest_hour(&self) -> Option<u8> {
        let hours = self.departures_by_hour.iter();
        let busiest = hours.max_by_key(|&(&hour, &departures)| (departures, u8::MAX - hour));
        busiest.map(|(&hour, _)| hour)
    }
}
