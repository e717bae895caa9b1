//! The guest `tally`, with its documents in BSON.

#[path = "../../tally/src/tally.rs"]
mod tally;

use projectionist_sdk::export;
use tally::Tally;

export!(Tally<false, true>);
