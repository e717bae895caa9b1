//! The departures from New York's airports in January 2013, as events.
//!
//! [`read`] gives one event for each row of the data set, in its order. [`expected`] says what
//! the two projections of this example must make of them, by another way than theirs.
//!
//! Guarantee: an event says what its row says and nothing else, under the names of its columns.
//! Not here: Kafka (`flights-events` prints what Kafka's console producer reads).

mod departure;
pub mod expected;
mod read;

pub use departure::{Departure, FlightEvent};
pub use read::{Error, read, read_csv};
