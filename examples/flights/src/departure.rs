//! One departure, typed.

use serde::{Deserialize, Serialize};

/// One event of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlightEvent {
    /// The tail number; `None` where the data set has none, as for some cancelled flights.
    pub key: Option<String>,
    pub value: Departure,
    /// The value of the header [`FlightEvent::ID_HEADER`]: `flight-2013-01-<row>`, from 1.
    pub id: String,
}

/// A row of the data set. `NA` is `None`; `data/README.md` explains the columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    pub year: u16,
    pub month: u8,
    pub day: u8,
    /// Local time as the number HHMM, as are the other times; `None` for a cancelled flight.
    pub dep_time: Option<u16>,
    pub sched_dep_time: u16,
    /// Minutes, negative where early.
    pub dep_delay: Option<i32>,
    pub arr_time: Option<u16>,
    pub sched_arr_time: u16,
    /// Minutes, negative where early.
    pub arr_delay: Option<i32>,
    pub carrier: String,
    pub flight: u32,
    pub tailnum: Option<String>,
    pub origin: String,
    pub dest: String,
    /// Minutes.
    pub air_time: Option<u32>,
    /// Miles.
    pub distance: u32,
    /// Of the scheduled departure.
    pub hour: u8,
    pub minute: u8,
    /// The hour of the scheduled departure in UTC, ISO 8601.
    pub time_hour: String,
}

impl FlightEvent {
    /// Names the header that identifies an event for good, whatever its offset.
    pub const ID_HEADER: &str = "event-id";

    /// The event's value as it goes to Kafka.
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.value).expect("numbers and strings have a JSON form")
    }
}
