use proptest::prelude::*;

use super::*;
use crate::record::{Header, Offset};

fn id(number: u32) -> IdHash {
    IdHash::of(&number.to_be_bytes())
}

/// Applies changes as a store does.
fn store(segments: &mut Vec<Segment>, changes: &SegmentChanges) {
    for removed in &changes.removed {
        let found = segments.iter().position(|segment| segment == removed);
        segments.remove(found.expect("what is removed was stored"));
    }
    if let Some(Put { segment, stored }) = &changes.put {
        let same = |other: &&mut Segment| other.first == segment.first;
        match segments.iter_mut().find(same) {
            Some(older) => {
                assert_eq!(older.ids, segment.ids[..*stored], "it grows at its end");
                *older = segment.clone();
            }
            None => {
                assert_eq!(*stored, 0, "a new segment has new ids only");
                segments.push(segment.clone());
            }
        }
    }
}

/// The window as its definition says: the last `limit` accepted ids.
fn expected(limit: usize, accepted: &[u32], number: u32) -> bool {
    let from = accepted.len().saturating_sub(limit);
    !accepted[from..].contains(&number)
}

#[derive(Clone, Debug)]
enum Step {
    Accept(u32),
    /// A batch that the plugin could not fold.
    Rewind(Vec<u32>),
    Submit,
    Commit,
    Retract,
    /// A new owner loads what is stored.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0..40u32).prop_map(Step::Accept),
        2 => prop::collection::vec(0..40u32, 0..6).prop_map(Step::Rewind),
        3 => Just(Step::Submit),
        3 => Just(Step::Commit),
        1 => Just(Step::Retract),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn an_id_is_known_if_it_is_one_of_the_last_accepted_ones(limit in 1..30usize, steps in steps()) {
        let mut window = Window::new(limit as u64, Vec::new()).expect("nothing is missing");
        let mut segments = Vec::new();
        let mut accepted: Vec<u32> = Vec::new();
        let (mut stored, mut submitted) = (0, None);
        for step in steps {
            match step {
                Step::Accept(number) => {
                    let new = expected(limit, &accepted, number);
                    prop_assert_eq!(window.accept(id(number)), new);
                    if new {
                        accepted.push(number);
                    }
                }
                Step::Rewind(numbers) => {
                    let mark = window.mark();
                    for number in numbers {
                        window.accept(id(number));
                    }
                    window.rewind(mark);
                }
                Step::Submit if submitted.is_none() => {
                    submitted = Some((window.submit(), accepted.len()));
                }
                Step::Submit => {}
                Step::Commit => {
                    if let Some((changes, up_to)) = submitted.take() {
                        store(&mut segments, &changes);
                        window.commit();
                        stored = up_to;
                    }
                }
                Step::Retract => {
                    submitted = None;
                    window.retract();
                    accepted.truncate(stored);
                }
                Step::Restart => {
                    submitted = None;
                    accepted.truncate(stored);
                    let loaded = Window::new(limit as u64, segments.clone());
                    window = loaded.expect("nothing is missing");
                }
            }
        }
    }
}

#[test]
fn what_is_stored_stays_small() {
    let limit = 1000;
    let mut window = Window::new(limit, Vec::new()).expect("nothing is missing");
    let mut segments = Vec::new();
    for number in 0..10_000 {
        assert!(window.accept(id(number)));
        store(&mut segments, &window.submit());
        window.commit();
    }
    let ids: usize = segments.iter().map(|segment| segment.ids.len()).sum();
    assert!(ids >= 1000, "the window is stored");
    assert!(ids <= 1000 + 2 * SEGMENT_GROWS_TO as usize, "{ids} ids");
    assert!(segments.len() <= 6, "{} segments", segments.len());
    assert_eq!(window.len(), ids, "memory holds what is stored");
}

#[test]
fn a_hole_is_found() {
    let segment = |first, numbers: &[u32]| Segment {
        first,
        ids: numbers.iter().copied().map(id).collect(),
    };
    let whole = Window::new(10, vec![segment(7, &[1, 2]), segment(9, &[3])]);
    assert_eq!(whole.expect("nothing is missing").len(), 3);

    let hole = Window::new(10, vec![segment(7, &[1, 2]), segment(10, &[3])]);
    let missing = MissingSegment {
        expected: 9,
        found: 10,
    };
    assert_eq!(hole.expect_err("a segment is missing"), missing);
}

#[test]
fn ids_are_read_from_a_header_or_the_value() {
    let header = Header {
        name: "ce_id".into(),
        value: Some(b"17".as_slice().into()),
    };
    let value = br#"{"id": "17", "meta": {"number": 17, "none": null, "list": [1, "a"]}}"#;
    let event = Event::new(Offset(0), 0, None, Some(value), vec![header]);
    let text = Some(IdHash::of(b"17"));
    let cases = [
        (IdSource::Header("ce_id".to_owned()), text),
        (IdSource::Header("ce-id".to_owned()), None),
        (IdSource::Value("/id".to_owned()), text),
        // What is no text is known by one that no text is.
        (
            IdSource::Value("/meta/number".to_owned()),
            Some(IdHash::of(b"\xff17")),
        ),
        (
            IdSource::Value("/meta/list".to_owned()),
            Some(IdHash::of(b"\xff[1,\"1\"a,]")),
        ),
        (IdSource::Value("/meta/none".to_owned()), None),
        (IdSource::Value("/meta/missing".to_owned()), None),
    ];
    for (source, expected) in cases {
        assert_eq!(source.id_of(&event), expected, "{source:?}");
    }

    let tombstone = Event::new(Offset(0), 0, Some(b"k"), None, Vec::new());
    assert_eq!(IdSource::Value("/id".to_owned()).id_of(&tombstone), None);
    let text = Event::new(Offset(0), 0, None, Some(b"no JSON"), Vec::new());
    assert_eq!(IdSource::Value(String::new()).id_of(&text), None);
}
