//! Each way in which a zombie could write is planted in a history that is right.

use super::*;

const CHECKPOINT: &str = "accounts/v1/main/transfers/0";

fn claim(epoch: i64, session: &str) -> Change {
    Change::Claim {
        checkpoint: CHECKPOINT.to_owned(),
        epoch,
        sessions: Some(BTreeSet::from([session.to_owned()])),
    }
}

fn by(session: &str, transaction: i64) -> Option<Author> {
    Some(Author {
        session: session.to_owned(),
        transaction,
    })
}

fn advance(next: i64, author: Option<Author>) -> Change {
    Change::Advance {
        checkpoint: CHECKPOINT.to_owned(),
        next,
        author,
    }
}

fn write(offset: i64, author: Option<Author>) -> Change {
    Change::Write {
        projection: "accounts".to_owned(),
        id: "a-1".to_owned(),
        partition: 0,
        offset,
        author,
    }
}

#[test]
fn a_history_of_owners_alone_has_no_zombie() {
    let changes = [
        claim(1, "one"),
        write(3, by("one", 1)),
        advance(5, by("one", 1)),
        write(9, by("one", 2)),
        advance(10, by("one", 2)),
        claim(2, "two"),
        write(11, by("two", 1)),
        advance(12, by("two", 1)),
        Change::Claim {
            checkpoint: CHECKPOINT.to_owned(),
            epoch: 3,
            sessions: None,
        },
        advance(13, by("two", 2)),
    ];
    let verdict = check(&changes);
    assert_eq!(verdict.notes, Vec::<String>::new());
    assert_eq!((verdict.zombie_commits, verdict.claims), (0, 3));
    assert_eq!(verdict.transactions, 4);
}

#[test]
fn every_kind_of_zombie_is_found() {
    let cases = [
        (
            "a commit of the owner before the newest claim",
            vec![
                claim(1, "one"),
                claim(2, "two"),
                write(0, by("one", 1)),
                advance(5, by("one", 1)),
            ],
        ),
        ("a commit without any claim", vec![advance(5, by("one", 1))]),
        (
            "a step back",
            vec![
                claim(1, "one"),
                advance(5, by("one", 1)),
                advance(5, by("one", 2)),
            ],
        ),
        (
            "a document without its checkpoint",
            vec![claim(1, "one"), write(0, by("one", 1))],
        ),
        (
            "a document of another step",
            vec![
                claim(1, "one"),
                advance(5, by("one", 1)),
                write(4, by("one", 2)),
                advance(6, by("one", 2)),
            ],
        ),
        (
            "a document outside of any transaction",
            vec![claim(1, "one"), write(0, None)],
        ),
        (
            "a checkpoint outside of any transaction",
            vec![claim(1, "one"), advance(1, None)],
        ),
        (
            "a claim that does not know the one before",
            vec![claim(1, "one"), claim(1, "two")],
        ),
    ];
    for (name, changes) in cases {
        assert_eq!(check(&changes).zombie_commits, 1, "{name}");
    }
}

fn uuid(byte: u8) -> Bson {
    Bson::Binary(bson::Binary {
        subtype: BinarySubtype::Uuid,
        bytes: vec![byte; 16],
    })
}

#[test]
fn the_events_of_a_change_stream_are_understood() {
    let claim = bson::doc! {
        "operationType": "update",
        "ns": { "db": "d", "coll": "_checkpoints" },
        "documentKey": { "_id": CHECKPOINT },
        "updateDescription": {
            "updatedFields": { "epoch": 2_i64, "owner": "b", "sessions": [uuid(1)] },
        },
    };
    let expected = Change::Claim {
        checkpoint: CHECKPOINT.to_owned(),
        epoch: 2,
        sessions: Some(BTreeSet::from(["01".repeat(16)])),
    };
    assert_eq!(read(&claim).expect("a claim"), expected);

    let moved = bson::doc! {
        "operationType": "update",
        "ns": { "db": "d", "coll": "_checkpoints" },
        "documentKey": { "_id": CHECKPOINT },
        "lsid": { "id": uuid(1) },
        "txnNumber": 3_i64,
        "updateDescription": { "updatedFields": { "next": 7_i64 } },
    };
    let expected = advance(7, by(&"01".repeat(16), 3));
    assert_eq!(read(&moved).expect("a step"), expected);

    let written = bson::doc! {
        "operationType": "replace",
        "ns": { "db": "d", "coll": "accounts.v1" },
        "documentKey": { "_id": "a-1" },
        "lsid": { "id": uuid(1) },
        "txnNumber": 3_i64,
        "fullDocument": { "_m": { "at": { "partition": 0, "offset": 6_i64 } } },
    };
    let expected = write(6, by(&"01".repeat(16), 3));
    assert_eq!(read(&written).expect("a document"), expected);
}

#[test]
fn what_is_not_understood_is_an_error() {
    let deleted = bson::doc! {
        "operationType": "delete",
        "ns": { "db": "d", "coll": "accounts.v1" },
        "documentKey": { "_id": "a-1" },
    };
    assert!(read(&deleted).is_err());
}
