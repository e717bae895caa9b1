//! Each kind of fault is planted in a store that is right, and must be found as what it is.

use bson::rawdoc;

use super::super::events::{Hazards, Input, events};
use super::super::fold::{Books, Record, fold};
use super::*;

const PARTITIONS: usize = 3;
const ALL: Hazards = Hazards {
    duplicates: true,
    poison: true,
};

fn records() -> Vec<Record> {
    let input = Input {
        events: 2_000,
        hazards: ALL,
    };
    let mut ends = [0; PARTITIONS];
    let events = events(11, &input).into_iter();
    let records = events.map(|event| {
        let partition = event.key.len() % PARTITIONS;
        ends[partition] += 1;
        Record {
            partition: i32::try_from(partition).expect("few partitions"),
            offset: ends[partition] - 1,
            key: event.key,
            id: event.id,
            value: event.value,
        }
    });
    records.collect()
}

fn books(records: &[Record]) -> Books {
    fold(records, ALL).expect("transfers")
}

/// A store that holds what is expected.
fn found(expected: &Expected) -> Found {
    let documents = expected.documents.iter().map(|(id, document)| {
        let (&partition, &offset) = document.last.last_key_value().expect("an event");
        let stored = Stored {
            body: document.body.clone(),
            partition,
            offset,
        };
        (id.clone(), stored)
    });
    Found {
        documents: documents.collect(),
        parked: expected.parked.clone(),
    }
}

fn differences(stored: &Books, expected: &Books) -> Differences {
    let accounts = compare("accounts", &expected.accounts, &found(&stored.accounts));
    let mut differences = accounts.expect("chains");
    let statements = compare(
        "statements",
        &expected.statements,
        &found(&stored.statements),
    );
    differences.add(statements.expect("chains"));
    differences
}

/// The place of an event that shapes documents, with a later one of its key behind it.
fn pair(records: &[Record]) -> (usize, usize) {
    let parked = &books(records).accounts.parked;
    for (index, record) in records.iter().enumerate() {
        let same = |other: &Record| other.key == record.key && other.id != record.id;
        let unparked = !parked.contains_key(&(record.partition, record.key.clone()));
        let repeated = |id: &str| records.iter().filter(|other| other.id == id).count() > 1;
        let later = records[index + 1..].iter().position(same);
        if let Some(later) = later.map(|later| index + 1 + later)
            && unparked
            && !repeated(&record.id)
            && !repeated(&records[later].id)
        {
            return (index, later);
        }
    }
    panic!("no key has two events");
}

#[test]
fn a_right_store_has_no_differences() {
    let records = records();
    assert_eq!(
        differences(&books(&records), &books(&records)),
        Differences::default()
    );
}

#[test]
fn a_lost_event_is_found_in_all_three_chains_that_it_belongs_to() {
    let records = records();
    let mut stored = records.clone();
    stored.remove(pair(&records).0);
    let differences = differences(&books(&stored), &books(&records));
    assert_eq!((differences.lost, differences.duplicated), (3, 0));
    assert_eq!((differences.reordered, differences.documents), (0, 3));
}

#[test]
fn a_duplicated_event_is_found() {
    let records = records();
    let mut stored = records.clone();
    let first = pair(&records).0;
    let again = Record {
        id: "another id, or it would be dropped".to_owned(),
        ..stored[first].clone()
    };
    stored.insert(first + 1, again);
    let differences = differences(&books(&stored), &books(&records));
    assert_eq!((differences.lost, differences.duplicated), (0, 3));
    assert_eq!((differences.reordered, differences.documents), (0, 3));
}

#[test]
fn two_events_in_the_wrong_order_are_found() {
    let records = records();
    let mut stored = records.clone();
    let (first, second) = pair(&records);
    stored.swap(first, second);
    let differences = differences(&books(&stored), &books(&records));
    assert_eq!((differences.lost, differences.duplicated), (0, 0));
    assert!(differences.reordered >= 2, "{differences:?}");
}

#[test]
fn a_foreign_document_is_found() {
    let books = books(&records());
    let mut found = found(&books.accounts);
    let foreign = Stored {
        body: rawdoc! {
            "balance": 1_i64,
            "count": 1_i64,
            "chains": { "0": { "count": 1_i64, "chain": "00" } },
        },
        partition: 0,
        offset: 0,
    };
    found.documents.insert("a-foreign".to_owned(), foreign);
    let differences = compare("accounts", &books.accounts, &found).expect("chains");
    assert_eq!((differences.duplicated, differences.documents), (1, 1));
    assert!(
        differences
            .notes
            .iter()
            .any(|note| note.contains("a-foreign"))
    );
}

#[test]
fn a_missing_document_has_lost_all_its_events() {
    let books = books(&records());
    let mut found = found(&books.statements);
    let (id, document) = found.documents.pop_first().expect("documents");
    let events = document.body.get_i64("count").expect("a number");
    let differences = compare("statements", &books.statements, &found).expect("chains");
    assert_eq!(differences.lost, events.unsigned_abs(), "{id}");
    assert_eq!(differences.documents, 1);
}

#[test]
fn a_body_that_differs_in_a_single_byte_is_found() {
    let books = books(&records());
    let mut found = found(&books.accounts);
    let (_, document) = found.documents.iter_mut().next().expect("documents");
    let balance = document.body.get_i64("balance").expect("a number");
    let mut body = document.body.clone().into_bytes();
    let at = body.windows(8).position(|w| w == balance.to_le_bytes());
    body[at.expect("the balance")] ^= 1;
    document.body = RawDocumentBuf::from_bytes(body).expect("as long as before");
    let differences = compare("accounts", &books.accounts, &found).expect("chains");
    assert_eq!((differences.lost, differences.duplicated), (0, 0));
    assert_eq!((differences.reordered, differences.documents), (0, 1));
}

#[test]
fn a_wrong_provenance_is_found() {
    let books = books(&records());
    let mut found = found(&books.statements);
    let (_, document) = found.documents.iter_mut().next().expect("documents");
    document.offset -= 1;
    let differences = compare("statements", &books.statements, &found).expect("chains");
    assert_eq!(differences.documents, 1);
}

#[test]
fn parked_events_that_are_lost_repeated_or_in_another_order_are_found() {
    let books = books(&records());
    let key = books.accounts.parked.iter().find(|(_, o)| o.len() > 1);
    let (key, offsets) = key
        .map(|(key, o)| (key.clone(), o.clone()))
        .expect("poison");
    let with = |offsets: Vec<i64>| {
        let mut found = found(&books.accounts);
        found.parked.insert(key.clone(), offsets);
        let differences = compare("accounts", &books.accounts, &found).expect("chains");
        let Differences {
            lost,
            duplicated,
            reordered,
            ..
        } = differences;
        (lost, duplicated, reordered)
    };
    assert_eq!(with(offsets[1..].to_vec()), (1, 0, 0), "lost");
    let repeated = [&offsets[..1], &offsets].concat();
    assert_eq!(with(repeated), (0, 1, 0), "repeated");
    let reversed = offsets.iter().rev().copied().collect();
    assert_eq!(with(reversed), (0, 0, 1), "reversed");
}

#[test]
fn a_stored_document_is_taken_apart_without_a_change_to_its_body() {
    let stored = rawdoc! {
        "_id": "a",
        "count": 1_i64,
        "chain": "00",
        "_m": { "rev": 1_i64, "at": { "topic": "t", "partition": 2, "offset": 7_i64 }, "plugin": "p" },
    };
    let (id, stored) = Stored::read(&stored).expect("of the stored form");
    assert_eq!(id, "a");
    assert_eq!(stored.body, rawdoc! { "count": 1_i64, "chain": "00" });
    assert_eq!((stored.partition, stored.offset), (2, 7));
}
