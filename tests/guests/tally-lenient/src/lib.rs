//! The guest `tally`, mended: it takes negative numbers as well.

#[path = "../../tally/src/tally.rs"]
mod tally;

use projectionist_sdk::export;
use tally::Tally;

export!(Tally<true, false>);
