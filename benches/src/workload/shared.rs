//! Events that move an amount between two of 50 documents, from all partitions.

use std::io::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{Event, Subject, latest};

const DOCUMENTS: u64 = 50;

/// An amount, and the two documents it is moved between, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub from: u64,
    pub to: u64,
    pub amount: i64,
}

impl Move {
    /// The `_id` of a document.
    pub fn document(number: u64) -> String {
        format!("account-{number:02}")
    }
}

pub(super) fn subjects(seed: u64) -> impl Iterator<Item = Subject> {
    let mut random = StdRng::seed_from_u64(seed);
    std::iter::repeat_with(move || {
        let from = random.random_range(0..DOCUMENTS);
        // Any of the others.
        let to = (from + random.random_range(1..DOCUMENTS)) % DOCUMENTS;
        let amount = random.random_range(1..1_000);
        Subject::Move(Move { from, to, amount })
    })
}

/// A marker moves 1 from its document to itself.
pub(super) fn value_into(event: &Event, bytes: usize, value: &mut Vec<u8>) {
    let (from, to, amount) = match &event.subject {
        Subject::Move(Move { from, to, amount }) => {
            (Move::document(*from), Move::document(*to), *amount)
        }
        Subject::Marker(_) | Subject::Key(_) | Subject::Flight(_) => {
            (event.key.clone(), event.key.clone(), 1)
        }
    };
    let n = event.n;
    write!(
        value,
        r#"{{"n":{n},"from":"{from}","to":"{to}","amount":{amount},"pad":""#
    )
    .expect("a vector takes all that is written to it");
    let rest = bytes.saturating_sub(value.len() + 2);
    value.extend_from_slice(latest::pad(n, rest).as_bytes());
    value.extend_from_slice(b"\"}");
}
