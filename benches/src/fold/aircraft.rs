//! As the plugin `aircraft` of the example `flights`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Fold;

pub struct Fleet;

#[derive(Deserialize)]
pub struct Departure<'a> {
    dep_time: Option<u32>,
    dep_delay: Option<i64>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    #[serde(borrow)]
    dest: Cow<'a, str>,
    distance: u64,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Aircraft {
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

impl Fold for Fleet {
    type Event<'a> = Departure<'a>;
    type Document = Aircraft;

    fn ids<'a>(key: &'a str, _: &'a Departure<'_>) -> (&'a str, Option<&'a str>) {
        (key, None)
    }

    fn fold(&self, departure: &Departure<'_>, _: &str, aircraft: &mut Aircraft) {
        if departure.dep_time.is_none() {
            aircraft.cancelled_legs += 1;
            return;
        }
        aircraft.legs += 1;
        aircraft.air_miles += departure.distance;
        let delay_minutes = departure.dep_delay.unwrap_or(0).max(0);
        aircraft.delay_minutes += delay_minutes;
        aircraft.worst_delay_minutes = aircraft.worst_delay_minutes.max(delay_minutes);

        let Departure { origin, dest, .. } = departure;
        let left_elsewhere =
            |last: &Option<String>| last.as_deref().is_some_and(|last| last != origin);
        aircraft.repositioned += u64::from(left_elsewhere(&aircraft.last_airport));
        aircraft.base_changes += u64::from(left_elsewhere(&aircraft.last_origin));
        overwrite(&mut aircraft.last_origin, origin);
        overwrite(&mut aircraft.last_airport, dest);
    }
}

fn overwrite(place: &mut Option<String>, airport: &str) {
    let place = place.get_or_insert_default();
    place.clear();
    place.push_str(airport);
}
