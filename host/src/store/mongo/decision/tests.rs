use bson::{doc, rawdoc};
use proptest::prelude::*;

use super::*;
use crate::record::{Epoch, Lineage, NextOffset, Offset, TopicPartition};
use crate::store::{CheckpointId, Entry, Provenance, Repairs, Table};

fn advance(partition: i32, epoch: i64, from: i64, to: i64) -> Advance {
    Advance {
        checkpoint: CheckpointId {
            projection: "p".into(),
            version: 1,
            copy: "main".into(),
            partition: TopicPartition::new("t", partition),
        },
        epoch: Epoch(epoch),
        from: NextOffset(from),
        to: NextOffset(to),
        lineage: Lineage::default(),
        repairs: Repairs { from: 0, to: 0 },
    }
}

impl Advance {
    /// The same, as a repair: the position stays.
    fn repairing(self, repairs: i64) -> Advance {
        let (from, to) = (repairs, repairs + 1);
        Advance {
            repairs: Repairs { from, to },
            ..self
        }
    }
}

fn claim(epoch: i64, next: i64) -> Option<Claim> {
    Some(Claim {
        epoch: Epoch(epoch),
        next: NextOffset(next),
        repairs: 0,
    })
}

#[test]
fn replies_are_told_apart() {
    let on_id = doc! { "_id": 1 };
    let on_email = doc! { "email": 1 };
    let duplicate = |pattern: Document| {
        doc! { "n": 0, "writeErrors": [
            { "index": 1, "code": 11000, "keyPattern": pattern, "errmsg": "dup" }
        ] }
    };
    let rejected = |code| Reply::Rejected {
        statement: 1,
        code,
        message: "dup".to_owned(),
    };
    let cases = [
        ("all found", doc! { "n": 2, "nModified": 2 }, Reply::Matched),
        ("64 bits", doc! { "n": 2_i64 }, Reply::Matched),
        // An update that changes nothing has found its document all the same.
        ("unchanged", doc! { "n": 2, "nModified": 0 }, Reply::Matched),
        ("one missing", doc! { "n": 1, "nModified": 1 }, Reply::Short),
        ("one too many", doc! { "n": 3 }, Reply::Short),
        ("exists", duplicate(on_id), Reply::Exists { statement: 1 }),
        ("a user's index", duplicate(on_email), rejected(11000)),
        (
            "a validator",
            doc! { "n": 1, "writeErrors": [{ "index": 1, "code": 121, "errmsg": "dup" }] },
            rejected(121),
        ),
        ("no count", doc! { "ok": 1 }, Reply::Unreadable),
        (
            "an error without its statement",
            doc! { "writeErrors": [{ "code": 1 }] },
            Reply::Unreadable,
        ),
    ];
    for (name, reply, expected) in cases {
        assert_eq!(read_reply(&reply, 2), expected, "{name}");
    }
}

#[test]
fn the_checkpoints_tell_what_became_of_a_commit() {
    let advances = [advance(0, 5, 10, 20), advance(1, 6, 30, 40)];
    let cases = [
        ("at to", [claim(5, 20), claim(6, 40)], Verdict::Done),
        ("at from", [claim(5, 10), claim(6, 30)], Verdict::Standing),
        (
            "claimed by another, before the commit",
            [claim(5, 10), claim(7, 30)],
            Verdict::Lost(vec![1]),
        ),
        (
            "claimed by another, behind an earlier commit",
            [claim(6, 20), claim(6, 30)],
            Verdict::Lost(vec![0]),
        ),
        (
            "moved on under my epoch",
            [claim(5, 20), claim(6, 30)],
            Verdict::Lost(vec![0]),
        ),
        ("gone", [None, None], Verdict::Lost(vec![0, 1])),
    ];
    for (name, found, expected) in cases {
        assert_eq!(verdict(&advances, &found), expected, "{name}");
    }
}

#[test]
fn repairs_tell_what_became_of_a_commit_that_moves_no_position() {
    let advances = [advance(0, 5, 10, 10).repairing(2)];
    let repaired = |epoch, next, repairs| [claim(epoch, next).map(|c| Claim { repairs, ..c })];
    let cases = [
        ("before", repaired(5, 10, 2), Verdict::Standing),
        ("after", repaired(5, 10, 3), Verdict::Done),
        ("two after", repaired(5, 10, 4), Verdict::Lost(vec![0])),
        ("moved on", repaired(5, 11, 3), Verdict::Lost(vec![0])),
        ("claimed since", repaired(6, 10, 3), Verdict::Lost(vec![0])),
    ];
    for (name, found, expected) in cases {
        assert_eq!(verdict(&advances, &found), expected, "{name}");
    }
}

#[test]
fn a_commit_that_moves_nothing_is_never_taken_for_done() {
    let advances = [advance(0, 5, 10, 10)];
    assert_eq!(verdict(&advances, &[claim(5, 10)]), Verdict::Standing);
}

#[test]
fn the_way_of_a_commit_without_trouble_is_run_and_commit() {
    let mut progress = Progress::new();
    let now = Duration::ZERO;
    assert_eq!(progress.start(), Step::Run { after: now });
    assert_eq!(progress.next(Event::Ran, 0.5), Step::Commit { after: now });
    assert_eq!(
        progress.next(Event::Committed, 0.5),
        Step::Finish(End::Stored)
    );
}

#[test]
fn a_contradiction_is_believed_only_after_a_look_at_the_checkpoints() {
    let documents = (
        Suspects::Documents,
        Step::ReadDocuments,
        Event::DocumentDiffers,
        End::Mismatch,
    );
    let entries = (
        Suspects::Entries,
        Step::ReadEntries,
        Event::EntryDiffers,
        End::EntryMismatch,
    );
    for (suspects, look, differs, mismatch) in [documents, entries] {
        let cases = [
            (Verdict::Done, End::Stored),
            (Verdict::Lost(vec![0]), End::Fenced(vec![0])),
            (Verdict::Standing, mismatch),
        ];
        for (verdict, end) in cases {
            let mut progress = Progress::new();
            progress.start();
            let step = progress.next(Event::Contradicted(suspects), 0.0);
            assert_eq!(step, look);
            let step = progress.next(differs.clone(), 0.0);
            assert_eq!(step, Step::ReadCheckpoints);
            let step = progress.next(Event::Checkpoints(verdict), 0.0);
            assert_eq!(step, Step::Finish(end));
        }
    }
}

#[test]
fn what_was_suspected_before_another_run_is_forgotten() {
    let cases = [
        (Suspects::Documents, Event::DocumentsAgree),
        (Suspects::Entries, Event::EntriesAgree),
    ];
    for (suspects, agree) in cases {
        let mut progress = Progress::new();
        progress.start();
        progress.next(Event::Contradicted(suspects), 0.0);
        progress.next(agree, 0.0);
        let step = progress.next(Event::Checkpoints(Verdict::Standing), 0.0);
        assert!(matches!(step, Step::Run { .. }), "{step:?}");
        progress.next(Event::Contradicted(Suspects::Checkpoints), 0.0);
        let step = progress.next(Event::Checkpoints(Verdict::Standing), 0.0);
        assert!(matches!(step, Step::Run { .. }), "{step:?}");
    }
}

#[test]
fn an_unknown_commit_is_sent_again_and_then_looked_up_and_then_left_to_the_caller() {
    let mut progress = Progress::new();
    progress.start();
    progress.next(Event::Ran, 0.0);
    let unknown = Event::CommitFailed(Class::Unknown);
    let again = progress.next(unknown.clone(), 0.0);
    assert!(matches!(again, Step::Commit { .. }), "{again:?}");
    assert_eq!(progress.next(unknown, 0.0), Step::ReadCheckpoints);
    let standing = Event::Checkpoints(Verdict::Standing);
    assert_eq!(progress.next(standing, 0.0), Step::Finish(End::Unavailable));
}

#[test]
fn a_document_differs_where_its_write_would_not_find_it() {
    let document = |revision| StoredDocument {
        body: rawdoc! {},
        provenance: Provenance {
            revision,
            partition: TopicPartition::new("t", 0),
            offset: Offset(revision * 10),
            plugin: "p".into(),
        },
    };
    let insert = Change::Insert(document(1));
    let update = |guard| Change::Update {
        document: document(3),
        guard,
    };
    let unchanged = |revision| Guard::Unchanged(document(revision).provenance);
    let cases = [
        ("insert, missing", &insert, None, false),
        ("insert, exists", &insert, Some(2), true),
        ("sole, exists", &update(Guard::SoleWriter), Some(2), false),
        ("sole, missing", &update(Guard::SoleWriter), None, true),
        ("guarded, same", &update(unchanged(2)), Some(2), false),
        ("guarded, other", &update(unchanged(2)), Some(4), true),
        ("guarded, missing", &update(unchanged(2)), None, true),
        (
            "delete, guarded, other",
            &Change::Delete {
                guard: unchanged(2),
            },
            Some(1),
            true,
        ),
    ];
    for (name, change, found, expected) in cases {
        let found = found.map(document);
        assert_eq!(differs(change, found.as_ref()), expected, "{name}");
    }
}

#[test]
fn an_entry_differs_where_its_change_would_not_find_it() {
    let table = Table::Outbox;
    let entry = || Entry {
        table,
        id: "a".into(),
        body: rawdoc! {},
    };
    let cases = [
        (EntryChange::Insert(entry()), true, true),
        (EntryChange::Insert(entry()), false, false),
        (EntryChange::Replace(entry()), true, false),
        (EntryChange::Replace(entry()), false, true),
        (
            EntryChange::Remove {
                table,
                id: "a".into(),
            },
            true,
            false,
        ),
        (
            EntryChange::Remove {
                table,
                id: "a".into(),
            },
            false,
            true,
        ),
    ];
    for (change, exists, expected) in cases {
        assert_eq!(entry_differs(&change, exists), expected, "{change:?}");
    }
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        Just(Class::Conflict),
        Just(Class::Transient),
        Just(Class::Unknown),
        Just(Class::Interrupted),
        Just(Class::TooLarge),
        Just(Class::Refused),
        Just(Class::Unavailable),
    ]
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Done),
        Just(Verdict::Standing),
        Just(Verdict::Lost(vec![0])),
    ]
}

/// What may happen at each step.
#[derive(Clone, Debug)]
struct World {
    run: Event,
    commit: Event,
    checkpoints: Event,
    documents: Event,
    entries: Event,
    jitter: f64,
}

fn world() -> impl Strategy<Value = World> {
    let run = prop_oneof![
        Just(Event::Ran),
        Just(Event::Contradicted(Suspects::Checkpoints)),
        Just(Event::Contradicted(Suspects::Documents)),
        Just(Event::Contradicted(Suspects::Entries)),
        class().prop_map(Event::RunFailed),
    ];
    let commit = prop_oneof![
        Just(Event::Committed),
        class().prop_map(Event::CommitFailed)
    ];
    let checkpoints = prop_oneof![
        any_verdict().prop_map(Event::Checkpoints),
        class().prop_map(Event::LookFailed),
    ];
    let documents = prop_oneof![
        Just(Event::DocumentDiffers),
        Just(Event::DocumentsAgree),
        class().prop_map(Event::LookFailed),
    ];
    let entries = prop_oneof![
        Just(Event::EntryDiffers),
        Just(Event::EntriesAgree),
        class().prop_map(Event::LookFailed),
    ];
    (run, commit, checkpoints, documents, entries, 0.0..1.0).prop_map(
        |(run, commit, checkpoints, documents, entries, jitter)| World {
            run,
            commit,
            checkpoints,
            documents,
            entries,
            jitter,
        },
    )
}

proptest! {
    #[test]
    fn every_commit_ends_and_only_with_evidence(
        worlds in prop::collection::vec(world(), 1..12)
    ) {
        let mut progress = Progress::new();
        let mut step = progress.start();
        let mut history = Vec::new();
        let mut worlds = worlds.iter().cycle();
        let end = loop {
            prop_assert!(history.len() < 200, "no end: {history:?}");
            let world = worlds.next().expect("it is a cycle");
            let event = match &step {
                Step::Run { after } | Step::Commit { after } if *after > PAUSE_MAX => {
                    return Err(TestCaseError::fail("a pause beyond the longest"));
                }
                Step::Run { .. } => world.run.clone(),
                Step::Commit { .. } => world.commit.clone(),
                Step::ReadCheckpoints => world.checkpoints.clone(),
                Step::ReadDocuments => world.documents.clone(),
                Step::ReadEntries => world.entries.clone(),
                Step::Finish(end) => break end.clone(),
            };
            history.push(event.clone());
            step = progress.next(event, world.jitter);
        };

        let last = history.last().expect("at least one run").clone();
        match end {
            End::Stored => prop_assert!(
                matches!(last, Event::Committed | Event::Checkpoints(Verdict::Done)),
                "{history:?}"
            ),
            End::Fenced(lost) => prop_assert_eq!(last, Event::Checkpoints(Verdict::Lost(lost))),
            End::Mismatch => {
                prop_assert_eq!(last, Event::Checkpoints(Verdict::Standing));
                let before = &history[history.len() - 2];
                prop_assert_eq!(before, &Event::DocumentDiffers);
            }
            End::EntryMismatch => {
                prop_assert_eq!(last, Event::Checkpoints(Verdict::Standing));
                let before = &history[history.len() - 2];
                prop_assert_eq!(before, &Event::EntryDiffers);
            }
            // Never after a commit that may have gone through.
            End::TooLarge | End::Refused => prop_assert!(
                matches!(
                    last,
                    Event::RunFailed(Class::TooLarge | Class::Refused)
                        | Event::CommitFailed(Class::TooLarge)
                        | Event::LookFailed(Class::TooLarge | Class::Refused)
                ),
                "{history:?}"
            ),
            End::Unavailable => {}
        }
    }
}
