//! What the projections must have made of the events, worked out another way.
//!
//! The projections fold event by event into a document. Here all events of a document are first
//! gathered, and each field is then computed on its own from the whole list. Nothing is shared
//! with the plugins, so that a mistake of theirs cannot be made twice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::departure::{Departure, FlightEvent};

/// Documents by their ids, without the fields that the host adds.
pub type Documents = BTreeMap<String, Value>;

/// The documents of the view `aircraft`, which depend on the order of the events of an aircraft.
pub fn aircraft(events: &[FlightEvent]) -> Documents {
    let mut by_tail_number: BTreeMap<&str, Vec<&Departure>> = BTreeMap::new();
    for event in events {
        if let Some(key) = &event.key {
            by_tail_number.entry(key).or_default().push(&event.value);
        }
    }
    by_tail_number
        .into_iter()
        .map(|(tail_number, departures)| (tail_number.to_owned(), one_aircraft(&departures)))
        .collect()
}

/// The documents of the view `airports`, which are the same for any order of the events.
pub fn airports(events: &[FlightEvent]) -> Documents {
    let departures: Vec<&Departure> = events.iter().map(|event| &event.value).collect();
    let codes: BTreeSet<&str> = departures
        .iter()
        .flat_map(|departure| [departure.origin.as_str(), departure.dest.as_str()])
        .collect();
    codes
        .into_iter()
        .map(|code| (code.to_owned(), one_airport(code, &departures)))
        .collect()
}

fn one_aircraft(departures: &[&Departure]) -> Value {
    let flown = flown(departures);
    let delays = || {
        flown
            .iter()
            .filter_map(|leg| leg.dep_delay)
            .filter(|delay| *delay > 0)
    };
    json!({
        "legs": flown.len(),
        "cancelled_legs": departures.len() - flown.len(),
        "air_miles": flown.iter().map(|leg| leg.distance).sum::<u32>(),
        "delay_minutes": delays().sum::<i32>(),
        "worst_delay_minutes": delays().max().unwrap_or(0),
        "last_origin": flown.last().map(|leg| &leg.origin),
        "last_airport": flown.last().map(|leg| &leg.dest),
        "repositioned": flown.windows(2).filter(|two| two[0].dest != two[1].origin).count(),
        "base_changes": flown.windows(2).filter(|two| two[0].origin != two[1].origin).count(),
    })
}

fn one_airport(code: &str, departures: &[&Departure]) -> Value {
    let from: Vec<&Departure> = select(departures, |departure| departure.origin == code);
    let to: Vec<&Departure> = select(departures, |departure| departure.dest == code);
    let (left, arrived) = (flown(&from), flown(&to));

    let mut carriers: BTreeMap<&str, u32> = BTreeMap::new();
    for flight in left.iter().chain(&arrived) {
        *carriers.entry(&flight.carrier).or_default() += 1;
    }
    let mut hours: BTreeMap<u8, u32> = BTreeMap::new();
    for departure in &left {
        *hours.entry(departure.hour).or_default() += 1;
    }
    let most = hours.values().max();
    let busiest_hour = hours
        .iter()
        .find(|(_, count)| Some(*count) == most)
        .map(|(hour, _)| hour);

    let departure_delays = || left.iter().filter_map(|flight| flight.dep_delay);
    let arrival_delays = || arrived.iter().filter_map(|flight| flight.arr_delay);
    json!({
        "departures": left.len(),
        "arrivals": arrived.len(),
        "cancelled_departures": from.len() - left.len(),
        "cancelled_arrivals": to.len() - arrived.len(),
        "miles": left.iter().chain(&arrived).map(|flight| flight.distance).sum::<u32>(),
        "departure_delay_minutes": departure_delays().filter(|delay| *delay > 0).sum::<i32>(),
        "worst_departure_delay_minutes": departure_delays().fold(0, i32::max),
        "arrival_delay_minutes": arrival_delays().filter(|delay| *delay > 0).sum::<i32>(),
        "worst_arrival_delay_minutes": arrival_delays().fold(0, i32::max),
        "flights_by_carrier": carriers,
        "departures_by_hour": hours,
        "busiest_hour": busiest_hour,
    })
}

fn flown<'a>(departures: &[&'a Departure]) -> Vec<&'a Departure> {
    select(departures, |departure| departure.dep_time.is_some())
}

fn select<'a>(
    departures: &[&'a Departure],
    keep: impl Fn(&Departure) -> bool,
) -> Vec<&'a Departure> {
    let mut selected = departures.to_vec();
    selected.retain(|departure| keep(departure));
    selected
}
