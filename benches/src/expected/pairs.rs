//! How many moves each document had a part in, and what they sum up to.

use std::collections::HashMap;

use bson::raw::RawDocument;

use super::latest::integer;
use super::{Expected, Fields};
use crate::workload::{Event, Move, Subject};

#[derive(Default)]
pub(super) struct Pairs {
    /// Count and sum.
    documents: HashMap<String, (i64, i64)>,
}

impl Pairs {
    pub(super) fn new() -> Self {
        Pairs::default()
    }

    fn book(&mut self, id: String, amount: i64) {
        let (count, sum) = self.documents.entry(id).or_default();
        *count += 1;
        *sum += amount;
    }
}

impl Expected for Pairs {
    fn add(&mut self, event: &Event) {
        match event.subject {
            Subject::Move(Move { from, to, amount }) => {
                self.book(Move::document(from), -amount);
                self.book(Move::document(to), amount);
            }
            // Out of itself and into itself again.
            Subject::Marker(_) | Subject::Key(_) | Subject::Flight(_) => {
                self.book(event.key.clone(), 0);
            }
        }
    }

    fn documents(&self) -> u64 {
        self.documents.len() as u64
    }

    fn check(&self, id: &str, document: &RawDocument, _: Fields) -> Result<(), String> {
        let (count, sum) = self.documents.get(id).ok_or("no event is about it")?;
        integer(document, "count", *count)?;
        integer(document, "sum", *sum)
    }
}
