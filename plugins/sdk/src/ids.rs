//! The ids of a batch's documents, each once, in the form in which the host is asked for them.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::column::Column;

/// Numbers the documents of a batch in the order in which events first name them.
pub(crate) struct Interner {
    /// Indices into `column`.
    table: HashTable<u32>,
    column: Column,
}

/// Takes the ids of the documents that one event may change.
pub struct Ids<'b> {
    interner: &'b mut Interner,
    /// The touched documents of all events so far.
    touched: &'b mut Vec<u32>,
    /// Where in `touched` this event's start.
    start: usize,
}

impl Interner {
    pub(crate) fn new() -> Self {
        Interner {
            table: HashTable::new(),
            column: Column::new(),
        }
    }

    pub(crate) fn column(&self) -> &Column {
        &self.column
    }

    fn intern(&mut self, id: &str) -> u32 {
        let Interner { table, column } = self;
        let entry = table.entry(
            hash(id.as_bytes()),
            |&known| column.bytes_of(known as usize) == id.as_bytes(),
            |&known| hash(column.bytes_of(known as usize)),
        );
        match entry {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let number =
                    u32::try_from(column.len()).expect("a plugin's memory has 32-bit addresses");
                vacant.insert(number);
                column.push(id.as_bytes());
                number
            }
        }
    }
}

impl<'b> Ids<'b> {
    pub(crate) fn new(interner: &'b mut Interner, touched: &'b mut Vec<u32>) -> Self {
        let start = touched.len();
        Ids {
            interner,
            touched,
            start,
        }
    }

    /// Adds a document. One that the event has added before is folded once all the same.
    pub fn add(&mut self, id: &str) {
        let document = self.interner.intern(id);
        if !self.touched[self.start..].contains(&document) {
            self.touched.push(document);
        }
    }
}

fn hash(id: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};

    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(id);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_number_however_many_follow() {
        let mut interner = Interner::new();
        let ids: Vec<String> = (0..10_000).map(|n| format!("N{n}")).collect();

        for _ in 0..2 {
            for (number, id) in (0..).zip(&ids) {
                assert_eq!(interner.intern(id), number);
            }
        }

        assert_eq!(interner.column().len(), ids.len());
        assert_eq!(interner.column().get(9_999), Some("N9999".as_bytes()));
    }

    #[test]
    fn an_event_that_names_a_document_twice_touches_it_once() {
        let mut interner = Interner::new();
        let mut touched = Vec::new();

        let mut first = Ids::new(&mut interner, &mut touched);
        first.add("JFK");
        first.add("LAX");
        first.add("JFK");
        let mut second = Ids::new(&mut interner, &mut touched);
        second.add("LAX");

        assert_eq!(touched, [0, 1, 1]);
    }
}
