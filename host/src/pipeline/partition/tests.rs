use proptest::prelude::*;

use super::*;
use crate::record::Offset;

fn event(offset: i64, key: &str) -> Arc<Event> {
    let key = Some(key.as_bytes());
    Arc::new(Event::new(Offset(offset), 0, key, Some(b"{}"), Vec::new()))
}

fn partition(next: i64) -> Partition {
    Partition::new(TopicPartition::new("flights", 0), NextOffset(next))
}

const ROOM: BatchLimits = BatchLimits {
    events_max: 1000,
    documents_max: 1000,
    bytes_max: usize::MAX,
};

/// The indices of a batch that the plugin was given in full.
fn all(batch: &[Arc<Event>]) -> Vec<usize> {
    (0..batch.len()).collect()
}

fn offsets(batch: &[Arc<Event>]) -> Vec<i64> {
    batch.iter().map(|event| event.offset.0).collect()
}

#[test]
fn a_checkpoint_never_passes_an_event_that_waits() {
    let mut partition = partition(10);
    for offset in 10..14 {
        assert!(partition.receive(event(offset, "k")));
    }
    assert_eq!(partition.submit(), None, "nothing is folded");

    partition.fold(3);
    let step = partition.submit().expect("three events are folded");
    assert_eq!((step.from, step.to), (NextOffset(10), NextOffset(13)));

    assert_eq!(partition.commit().events, 3);
    assert_eq!(partition.stored(), NextOffset(13));
    assert_eq!(offsets(&partition.cut(ROOM)), [13]);
}

/// Whichever event is at fault, what is before it is stored, and it is found out in few commits.
#[test]
fn an_event_whose_documents_are_refused_ends_alone_with_all_before_it_stored() {
    const EVENTS: i64 = 100;
    for culprit in 0..EVENTS {
        let mut partition = partition(0);
        for offset in 0..EVENTS {
            partition.receive(event(offset, "k"));
        }
        let mut commits = 0;
        loop {
            let batch = partition.cut(ROOM);
            partition.fold(batch.len());
            partition.submit().expect("something is folded");
            commits += 1;
            let (first, last) = (batch[0].offset, batch[batch.len() - 1].offset);
            if last.0 < culprit {
                partition.commit();
                continue;
            }
            partition.retract();
            if batch.len() == 1 {
                assert_eq!(first, Offset(culprit));
                assert_eq!(partition.stored(), NextOffset(culprit));
                break;
            }
            // The store tells of the last event that shaped the document.
            partition.narrow_before(last);
        }
        assert!(commits < 30, "{commits} commits for event {culprit}");
    }
}

#[test]
fn folding_goes_on_while_a_commit_is_under_way() {
    let mut partition = partition(0);
    for offset in 0..4 {
        partition.receive(event(offset, "k"));
    }
    partition.fold(2);
    partition.submit().expect("two events are folded");
    partition.fold(1);
    assert_eq!(partition.pending_events(), 1);

    partition.commit();
    let step = partition.submit().expect("one more is folded");
    assert_eq!((step.from, step.to), (NextOffset(2), NextOffset(3)));
}

#[test]
fn retracting_folds_everything_again_that_is_not_stored() {
    let mut partition = partition(0);
    for offset in 0..4 {
        partition.receive(event(offset, "k"));
    }
    partition.fold(1);
    partition.submit().expect("an event is folded");
    partition.commit();
    partition.fold(1);
    partition.submit().expect("an event is folded");
    partition.fold(1);

    partition.retract();
    assert_eq!(offsets(&partition.cut(ROOM)), [1, 2, 3]);
    assert_eq!(partition.stored(), NextOffset(1));
    assert!(!partition.has_pending());
}

#[test]
fn a_gap_at_the_end_is_passed_when_no_event_waits() {
    let mut partition = partition(0);
    partition.receive(event(0, "k"));
    partition.receive_position(NextOffset(5));
    partition.fold(1);
    let step = partition.submit().expect("an event and a gap");
    assert_eq!(step.to, NextOffset(5));
    partition.commit();

    partition.receive_position(NextOffset(9));
    let step = partition
        .submit()
        .expect("a gap alone moves the checkpoint");
    assert_eq!((step.from, step.to), (NextOffset(5), NextOffset(9)));
    assert_eq!(partition.commit(), Freed::default());
}

#[test]
fn events_that_are_fetched_again_are_ignored() {
    let mut partition = partition(5);
    assert!(!partition.receive(event(4, "k")));
    assert!(partition.receive(event(5, "k")));
    assert!(!partition.receive(event(5, "k")));
    assert_eq!(offsets(&partition.cut(ROOM)), [5]);
}

#[test]
fn batches_keep_each_limit_and_hold_at_least_one_event() {
    let mut partition = partition(0);
    for offset in 0..10 {
        partition.receive(event(offset, &format!("key {}", offset / 2)));
    }
    let bytes = event(0, "key 0").size_bytes();
    let cases = [
        (
            "events",
            BatchLimits {
                events_max: 3,
                ..ROOM
            },
            3,
        ),
        (
            "distinct keys",
            BatchLimits {
                documents_max: 2,
                ..ROOM
            },
            4,
        ),
        (
            "bytes",
            BatchLimits {
                bytes_max: 5 * bytes,
                ..ROOM
            },
            5,
        ),
        (
            "a large event",
            BatchLimits {
                bytes_max: 1,
                ..ROOM
            },
            1,
        ),
        ("everything", ROOM, 10),
    ];
    for (name, room, expected) in cases {
        assert_eq!(partition.cut(room).len(), expected, "{name}");
    }
}

#[test]
fn a_fault_is_narrowed_down_to_its_event() {
    let mut partition = partition(0);
    for offset in 0..100 {
        partition.receive(event(offset, "k"));
    }
    let poison = 37;
    let mut folds = 0;
    let culprit = loop {
        folds += 1;
        let batch = partition.cut(ROOM);
        match batch.iter().position(|event| event.offset.0 == poison) {
            None => partition.fold(batch.len()),
            Some(_) => match partition.fault(&all(&batch), None) {
                Narrowed::Retry => {}
                Narrowed::Culprit(index) => break batch[index].offset.0,
            },
        }
    };
    assert_eq!(culprit, poison);
    assert!(folds < 30, "{folds} folds");
    let step = partition.submit().expect("the events before it are folded");
    assert_eq!(step.to, NextOffset(poison));
}

#[test]
fn a_named_culprit_leaves_the_events_before_it() {
    let mut partition = partition(0);
    for offset in 0..10 {
        partition.receive(event(offset, "k"));
    }
    assert_eq!(
        partition.fault(&all(&partition.cut(ROOM)), Some(4)),
        Narrowed::Retry
    );
    assert_eq!(offsets(&partition.cut(ROOM)), [0, 1, 2, 3]);
    partition.fold(4);
    let batch = partition.cut(ROOM);
    assert_eq!(batch[0].offset.0, 4);
    assert_eq!(partition.fault(&all(&batch), Some(0)), Narrowed::Retry);
    assert_eq!(offsets(&partition.cut(ROOM)), [4]);
    assert_eq!(partition.fault(&[0], Some(0)), Narrowed::Culprit(0));
}

#[test]
fn only_what_the_plugin_was_given_is_narrowed() {
    let mut partition = partition(0);
    for offset in 0..10 {
        partition.receive(event(offset, "k"));
    }
    assert_eq!(partition.fault(&[2, 5, 7], None), Narrowed::Retry);
    assert_eq!(offsets(&partition.cut(ROOM)), [0, 1, 2, 3, 4, 5]);
    assert_eq!(partition.fault(&[2, 5], Some(1)), Narrowed::Retry);
    assert_eq!(offsets(&partition.cut(ROOM)), [0, 1, 2]);
    partition.fold(3);
    assert_eq!(partition.fault(&[2], None), Narrowed::Culprit(2));
}

#[derive(Clone, Debug)]
enum Action {
    Receive { gap: i64 },
    ReceiveAgain,
    Position { gap: i64 },
    Fold(usize),
    Submit,
    Commit,
    Retract,
    Fault { culprit: Option<usize> },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0..3i64).prop_map(|gap| Action::Receive { gap }),
        1 => Just(Action::ReceiveAgain),
        1 => (0..3i64).prop_map(|gap| Action::Position { gap }),
        4 => (1..6usize).prop_map(Action::Fold),
        3 => Just(Action::Submit),
        3 => Just(Action::Commit),
        1 => Just(Action::Retract),
        1 => prop::option::of(0..4usize).prop_map(|culprit| Action::Fault { culprit }),
    ]
}

proptest! {
    /// Against a model that knows every offset: what is stored is always the prefix of the events
    /// in their order, each folded once per life between retractions.
    #[test]
    fn what_is_stored_is_the_folded_prefix(
        start in 0..5i64,
        actions in prop::collection::vec(action(), 0..200)
    ) {
        let mut partition = partition(start);
        let mut next = start;
        let mut sent: Vec<i64> = Vec::new();
        let mut stored: Vec<i64> = Vec::new();
        let mut in_flight: Option<(usize, Step)> = None;
        let mut folded: Vec<i64> = Vec::new();

        for action in actions {
            match action {
                Action::Receive { gap } => {
                    next += gap;
                    prop_assert!(partition.receive(event(next, "k")));
                    sent.push(next);
                    next += 1;
                }
                Action::ReceiveAgain => {
                    if let Some(last) = sent.last() {
                        prop_assert!(!partition.receive(event(*last, "k")));
                    }
                }
                Action::Position { gap } => {
                    next += gap;
                    partition.receive_position(NextOffset(next));
                }
                Action::Fold(events_max) => {
                    let batch = partition.cut(BatchLimits { events_max, ..ROOM });
                    if !batch.is_empty() {
                        prop_assert!(batch.len() <= events_max);
                        folded.extend(offsets(&batch));
                        partition.fold(batch.len());
                    }
                }
                Action::Submit => {
                    if in_flight.is_none()
                        && let Some(step) = partition.submit()
                    {
                        prop_assert_eq!(step.from, partition.stored());
                        prop_assert!(step.to > step.from);
                        in_flight = Some((folded.len(), step));
                    }
                }
                Action::Commit => {
                    if let Some((count, step)) = in_flight.take() {
                        let freed = partition.commit();
                        prop_assert_eq!(freed.events, count);
                        prop_assert_eq!(partition.stored(), step.to);
                        stored.extend(folded.drain(..count));
                    }
                }
                Action::Retract => {
                    partition.retract();
                    in_flight = None;
                    folded.clear();
                }
                Action::Fault { culprit } => {
                    let batch = partition.cut(ROOM);
                    if !batch.is_empty() {
                        let narrowed = partition.fault(&all(&batch), culprit);
                        let next = partition.cut(ROOM);
                        match narrowed {
                            Narrowed::Retry => prop_assert!(next.len() < batch.len()),
                            Narrowed::Culprit(index) => {
                                prop_assert_eq!((batch.len(), index), (1, 0));
                            }
                        }
                    }
                }
            }
            let prefix: Vec<i64> = stored.iter().chain(&folded).copied().collect();
            prop_assert_eq!(&prefix[..], &sent[..prefix.len()]);
            let reached: Vec<i64> =
                sent.iter().copied().filter(|offset| *offset < partition.stored().0).collect();
            prop_assert_eq!(&reached, &stored, "the checkpoint and the stored events agree");
        }
    }
}

#[test]
fn the_last_event_before_a_position_is_known_with_its_leader_epoch() {
    let last = |offset, epoch| {
        Some(LastRecord {
            offset: Offset(offset),
            epoch: LeaderEpoch(epoch),
        })
    };
    let mut partition = partition(0).after(last(-1, 1));
    partition.receive(event(0, "k"));
    partition.receive_epoch(Some(LeaderEpoch(4)));
    partition.receive(event(1, "k"));
    partition.receive(event(2, "k"));
    partition.receive_epoch(None);
    partition.receive(event(3, "k"));

    // What is folded, and the last event of it.
    for (events, expected) in [(1, last(0, 1)), (2, last(2, 4)), (1, None)] {
        partition.fold(events);
        let step = partition.submit().expect("events are folded");
        assert_eq!(step.last, expected);
        partition.commit();
        assert_eq!(partition.last(), expected);
    }
    partition.receive_epoch(Some(LeaderEpoch(5)));
    partition.receive(event(4, "k"));
    partition.fold(1);
    partition.submit().expect("an event is folded");
    partition.retract();
    assert_eq!(partition.last(), None);
    partition.fold(1);
    partition.submit().expect("an event is folded");
    partition.commit();
    // A gap has no event.
    partition.receive_position(NextOffset(9));
    let step = partition.submit().expect("the position moves");
    assert_eq!((step.to, step.last), (NextOffset(9), last(4, 5)));
}
