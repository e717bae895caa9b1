//! One document for each key: how many numbers it got, their sum, and a chain over their order.
//!
//! A negative number is rejected.

mod tally;

use projectionist_sdk::export;
use tally::Tally;

export!(Tally<false, false>);
