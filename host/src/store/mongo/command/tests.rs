use bson::rawdoc;
use proptest::prelude::*;

use super::*;
use crate::record::{Epoch, NextOffset, Offset, TopicPartition};
use crate::store::{
    Change, CheckpointId, Guard, Provenance, Repairs, StoredDocument, ViewId, Write,
};

fn provenance(revision: i64, offset: i64) -> Provenance {
    Provenance {
        revision,
        partition: TopicPartition::new("t", 1),
        offset: Offset(offset),
        plugin: "p".into(),
    }
}

fn document(revision: i64, body: RawDocumentBuf) -> StoredDocument {
    StoredDocument {
        body,
        provenance: provenance(revision, revision * 10),
    }
}

fn write(view: &str, id: &str, change: Change) -> Write {
    Write {
        view: ViewId::new(view, 1),
        id: id.into(),
        change,
    }
}

fn advance() -> Advance {
    Advance {
        checkpoint: CheckpointId {
            projection: "flights".into(),
            version: 1,
            copy: "main".into(),
            partition: TopicPartition::new("t", 1),
        },
        epoch: Epoch(4),
        from: NextOffset(10),
        to: NextOffset(20),
        repairs: Repairs { from: 2, to: 3 },
    }
}

fn bodies(commands: &[Command]) -> Vec<&RawDocumentBuf> {
    commands.iter().map(|command| &command.body).collect()
}

#[test]
fn a_commit_becomes_deletes_updates_inserts_and_the_checkpoints_last() {
    let commit = Commit {
        writes: vec![
            write("a", "new", Change::Insert(document(1, rawdoc! { "x": 1 }))),
            write(
                "a",
                "old",
                Change::Update {
                    document: document(3, rawdoc! { "x": 2 }),
                    guard: Guard::Unchanged(provenance(2, 20)),
                },
            ),
            write(
                "b",
                "gone",
                Change::Delete {
                    guard: Guard::SoleWriter,
                },
            ),
        ],
        entries: Vec::new(),
        advances: vec![advance()],
    };
    let commands = build(&commit).expect("it is small");

    let at = |offset: i64| rawdoc! { "topic": "t", "partition": 1, "offset": offset };
    let delete = rawdoc! {
        "delete": "b.v1",
        "deletes": [{ "q": { "_id": "gone" }, "limit": 1 }],
    };
    let update = rawdoc! {
        "update": "a.v1",
        "updates": [{
            "q": { "_id": "old", "_m.rev": 2_i64, "_m.at": at(20), "_m.plugin": "p" },
            "u": {
                "_id": "old",
                "x": 2,
                "_m": { "rev": 3_i64, "at": at(30), "plugin": "p" },
            },
            "upsert": false,
            "multi": false,
        }],
    };
    let insert = rawdoc! {
        "insert": "a.v1",
        "documents": [{
            "_id": "new",
            "x": 1,
            "_m": { "rev": 1_i64, "at": at(10), "plugin": "p" },
        }],
    };
    let checkpoints = rawdoc! {
        "update": "_checkpoints",
        "updates": [{
            "q": { "_id": "flights/v1/main/t/1", "epoch": 4_i64, "next": 10_i64, "repairs": 2_i64 },
            "u": { "$set": { "next": 20_i64, "repairs": 3_i64 } },
            "upsert": false,
            "multi": false,
        }],
    };
    assert_eq!(bodies(&commands), [&delete, &update, &insert, &checkpoints]);
    let targets: Vec<&Target> = commands.iter().map(|command| &command.target).collect();
    assert_eq!(
        targets,
        [
            &Target::Documents(vec![2]),
            &Target::Documents(vec![1]),
            &Target::Documents(vec![0]),
            &Target::Checkpoints { count: 1 },
        ]
    );
}

#[test]
fn progress_without_writes_is_one_command() {
    let commit = Commit {
        writes: Vec::new(),
        entries: Vec::new(),
        advances: vec![advance()],
    };
    assert_eq!(build(&commit).expect("it is small").len(), 1);
}

#[test]
fn more_than_a_transaction_holds_is_refused() {
    let body = rawdoc! { "x": "y".repeat(13 * 1024 * 1024) };
    let commit = |count: usize| Commit {
        writes: (0..count)
            .map(|n| {
                write(
                    "a",
                    &n.to_string(),
                    Change::Insert(document(1, body.clone())),
                )
            })
            .collect(),
        entries: Vec::new(),
        advances: vec![advance()],
    };
    let error = build(&commit(5)).expect_err("65 MiB are too much");
    assert!(error.to_string().contains("a transaction has at most"));
    // Two of them do not fit in one message.
    assert_eq!(build(&commit(4)).expect("52 MiB pass").len(), 4 + 1);
}

#[test]
fn the_largest_document_passes() {
    let text = crate::document::DOCUMENT_BYTES_MAX - 16 * 1024 - 64;
    let body = rawdoc! { "x": "y".repeat(text) };
    let commit = Commit {
        writes: vec![write(
            "a",
            "1",
            Change::Update {
                document: document(2, body),
                guard: Guard::Unchanged(provenance(1, 1)),
            },
        )],
        entries: Vec::new(),
        advances: vec![advance()],
    };
    let commands = build(&commit).expect("it is the largest");
    assert!(commands[0].body.as_bytes().len() <= 16 * 1024 * 1024);
}

fn any_change() -> impl Strategy<Value = Change> {
    let body_bytes = prop_oneof![0_usize..100, 1_000_000_usize..6_000_000];
    let guard = prop_oneof![
        Just(Guard::SoleWriter),
        any::<i64>().prop_map(|revision| Guard::Unchanged(provenance(revision, 1))),
    ];
    (0..3, body_bytes, guard).prop_map(|(kind, body_bytes, guard)| {
        let document = document(1, rawdoc! { "x": "y".repeat(body_bytes) });
        match kind {
            0 => Change::Insert(document),
            1 => Change::Update { document, guard },
            _ => Change::Delete { guard },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_write_is_sent_once_in_messages_that_fit(
        changes in prop::collection::vec((any_change(), "[ab]"), 0..12)
    ) {
        let writes: Vec<Write> = changes
            .into_iter()
            .enumerate()
            .map(|(id, (change, view))| write(&view, &id.to_string(), change))
            .collect();
        let count = writes.len();
        let commit = Commit { writes, entries: Vec::new(), advances: vec![advance()] };
        let Ok(commands) = build(&commit) else {
            return Ok(());
        };
        let mut sent = Vec::new();
        for command in &commands {
            prop_assert!(command.body.as_bytes().len() <= COMMAND_BYTES_MAX + 1024);
            if let Target::Documents(indices) = &command.target {
                prop_assert!(!indices.is_empty());
                sent.extend(indices.iter().copied());
            }
        }
        sent.sort_unstable();
        prop_assert_eq!(sent, (0..count).collect::<Vec<_>>());
        let last = commands.last().expect("the checkpoints");
        prop_assert_eq!(&last.target, &Target::Checkpoints { count: 1 });
    }
}
