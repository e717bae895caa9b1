use bson::rawdoc;
use proptest::prelude::*;

use super::*;
use crate::record::{
    Epoch, LastRecord, LeaderEpoch, Lineage, NextOffset, Offset, TopicId, TopicPartition,
};
use crate::store::{
    Change, CheckpointId, ENTRY_BYTES_MAX, Entry, EntryChange, Guard, Provenance, Repairs,
    StoredDocument, Table, ViewId, Write,
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
        lineage: Lineage {
            topic: TopicId::from_halves(0, 1),
            last: Some(LastRecord {
                offset: Offset(19),
                epoch: LeaderEpoch(6),
            }),
        },
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
            "u": { "$set": {
                "next": 20_i64,
                "repairs": 3_i64,
                "topic_id": "AAAAAAAAAAAAAAAAAAAAAQ",
                "last": { "offset": 19_i64, "leader_epoch": 6 },
            } },
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

fn entry(table: Table, id: &str, body: RawDocumentBuf) -> Entry {
    Entry {
        table,
        id: id.into(),
        body,
    }
}

#[test]
fn entries_follow_the_documents_and_go_before_the_checkpoints() {
    let commit = Commit {
        writes: vec![write("a", "1", Change::Insert(document(1, rawdoc! {})))],
        entries: vec![
            EntryChange::Insert(entry(Table::Seen, "new", rawdoc! { "x": 1 })),
            EntryChange::Insert(entry(Table::Outbox, "new", rawdoc! { "x": 2 })),
            EntryChange::Replace(entry(Table::Outbox, "old", rawdoc! { "x": 3 })),
            EntryChange::Remove {
                table: Table::Outbox,
                id: "gone".into(),
            },
            EntryChange::Insert(entry(Table::Seen, "newer", rawdoc! {})),
        ],
        advances: vec![advance()],
    };
    let commands = build(&commit).expect("it is small");
    let targets: Vec<&Target> = commands.iter().map(|command| &command.target).collect();
    assert_eq!(
        targets,
        [
            &Target::Documents(vec![0]),
            &Target::Entries(vec![3]),
            &Target::Entries(vec![2]),
            &Target::Entries(vec![0, 4]),
            &Target::Entries(vec![1]),
            &Target::Checkpoints { count: 1 },
        ]
    );
    let delete = rawdoc! {
        "delete": "_outbox",
        "deletes": [{ "q": { "_id": "gone" }, "limit": 1 }],
    };
    let update = rawdoc! {
        "update": "_outbox",
        "updates": [{
            "q": { "_id": "old" },
            "u": { "_id": "old", "x": 3 },
            "upsert": false,
            "multi": false,
        }],
    };
    let seen = rawdoc! {
        "insert": "_seen",
        "documents": [{ "_id": "new", "x": 1 }, { "_id": "newer" }],
    };
    let outbox = rawdoc! { "insert": "_outbox", "documents": [{ "_id": "new", "x": 2 }] };
    assert_eq!(bodies(&commands)[1..5], [&delete, &update, &seen, &outbox]);
}

#[test]
fn the_largest_entry_passes_and_a_larger_one_is_named() {
    let commit = |bytes: usize| {
        let frame = rawdoc! { "x": "" }.as_bytes().len();
        let body = rawdoc! { "x": "y".repeat(bytes - frame) };
        Commit {
            writes: Vec::new(),
            entries: vec![EntryChange::Replace(entry(
                Table::Plugins,
                &"i".repeat(1024),
                body,
            ))],
            advances: vec![advance()],
        }
    };
    let commands = build(&commit(ENTRY_BYTES_MAX)).expect("it is the largest");
    assert!(commands[0].body.as_bytes().len() <= 16 * 1024 * 1024);
    let error = build(&commit(ENTRY_BYTES_MAX + 1)).expect_err("too large");
    assert!(error.to_string().contains("of _plugins has"), "{error}");
}

#[test]
fn documents_and_entries_share_the_limit_of_a_transaction() {
    let body = rawdoc! { "x": "y".repeat(13 * 1024 * 1024) };
    let documents = (0..3).map(|n| {
        let change = Change::Insert(document(1, body.clone()));
        write("a", &n.to_string(), change)
    });
    let entries =
        (0..2).map(|n| EntryChange::Insert(entry(Table::Seen, &n.to_string(), body.clone())));
    let mut commit = Commit {
        writes: documents.collect(),
        entries: entries.collect(),
        advances: vec![advance()],
    };
    let error = build(&commit).expect_err("65 MiB are too much");
    assert!(error.to_string().contains("a transaction has at most"));
    commit.entries.pop();
    assert_eq!(build(&commit).expect("52 MiB pass").len(), 4 + 1);
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

fn any_entry_change() -> impl Strategy<Value = EntryChange> {
    let body_bytes = prop_oneof![0_usize..100, 1_000_000_usize..6_000_000];
    let table = prop_oneof![Just(Table::Seen), Just(Table::Outbox)];
    (0..3, body_bytes, table, any::<u32>()).prop_map(|(kind, body_bytes, table, id)| {
        let entry = entry(
            table,
            &id.to_string(),
            rawdoc! { "x": "y".repeat(body_bytes) },
        );
        match kind {
            0 => EntryChange::Insert(entry),
            1 => EntryChange::Replace(entry),
            _ => EntryChange::Remove {
                table,
                id: entry.id,
            },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_change_is_sent_once_in_messages_that_fit(
        changes in prop::collection::vec((any_change(), "[ab]"), 0..12),
        entries in prop::collection::vec(any_entry_change(), 0..6),
    ) {
        let writes: Vec<Write> = changes
            .into_iter()
            .enumerate()
            .map(|(id, (change, view))| write(&view, &id.to_string(), change))
            .collect();
        let counts = [writes.len(), entries.len()];
        let commit = Commit { writes, entries, advances: vec![advance()] };
        let Ok(commands) = build(&commit) else {
            return Ok(());
        };
        let mut sent = [Vec::new(), Vec::new()];
        for command in &commands {
            prop_assert!(command.body.as_bytes().len() <= COMMAND_BYTES_MAX + 1024);
            let (of, indices) = match &command.target {
                Target::Documents(indices) => (0, indices),
                Target::Entries(indices) => (1, indices),
                Target::Checkpoints { .. } => continue,
            };
            prop_assert!(!indices.is_empty());
            sent[of].extend(indices.iter().copied());
        }
        for (mut sent, count) in sent.into_iter().zip(counts) {
            sent.sort_unstable();
            prop_assert_eq!(sent, (0..count).collect::<Vec<_>>());
        }
        let last = commands.last().expect("the checkpoints");
        prop_assert_eq!(&last.target, &Target::Checkpoints { count: 1 });
    }
}
