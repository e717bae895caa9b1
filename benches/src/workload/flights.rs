//! The departures of the example `flights`, over and over.
//!
//! Those without a tail number are left out: they belong to no document, and Kafka Connect's sink
//! has no id for them.

use std::path::Path;
use std::sync::LazyLock;

use flights::FlightEvent;

use super::{Event, Subject};

struct Row {
    event: FlightEvent,
    /// Its JSON behind the opening brace.
    fields: Vec<u8>,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("examples/flights/data/flights-2013-01.csv.gz");
    let events = flights::read(&path).expect("the data set is part of the repository");
    let known = events.into_iter().filter(|event| event.key.is_some());
    known
        .map(|event| Row {
            fields: event.json()[1..].to_vec(),
            event,
        })
        .collect()
});

pub(super) fn subjects() -> impl Iterator<Item = Subject> {
    (0..ROWS.len()).cycle().map(Subject::Flight)
}

pub(super) fn tail_number(row: usize) -> &'static str {
    let key = ROWS[row].event.key.as_deref();
    key.expect("rows without a tail number are left out")
}

/// The row that markers repeat, as departures of aircraft of their own.
const MARKER_ROW: usize = 0;

/// The row of the data set that an event repeats.
pub(crate) fn row(subject: &Subject) -> usize {
    match subject {
        Subject::Flight(row) => *row,
        Subject::Marker(_) | Subject::Key(_) | Subject::Move(_) => MARKER_ROW,
    }
}

/// The departure in a row.
pub(crate) fn departure(row: usize) -> &'static FlightEvent {
    &ROWS[row].event
}

/// The departure's fields behind an `_id`, which Kafka Connect's sink needs and others ignore.
pub(super) fn value_into(event: &Event, value: &mut Vec<u8>) {
    value.extend_from_slice(b"{\"_id\":\"");
    value.extend_from_slice(event.key.as_bytes());
    value.extend_from_slice(b"\",");
    value.extend_from_slice(&ROWS[row(&event.subject)].fields);
}
