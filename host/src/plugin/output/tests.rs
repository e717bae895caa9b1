use std::collections::HashSet;

use proptest::prelude::*;

use crate::projection::View;
use crate::record::Offset;

use super::super::bindings::Column;
use super::*;

/// Two views: "mine" (0, by-key) and "all" (1, shared).
fn descriptor(encoding: Encoding) -> Descriptor {
    let view = |name: &str, ownership| View {
        name: name.into(),
        ownership,
    };
    Descriptor {
        name: "test".to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        encoding,
        views: vec![
            view("mine", Ownership::ByKey),
            view("all", Ownership::Shared),
        ],
        headers: Vec::new(),
        config_schema: String::new(),
    }
}

/// Events with the keys "k0", "k1", and one without a key.
fn events() -> Vec<Arc<Event>> {
    let keys: [Option<&[u8]>; 3] = [Some(b"k0"), Some(b"k1"), None];
    keys.into_iter()
        .enumerate()
        .map(|(i, key)| Arc::new(Event::new(Offset(i as i64), 0, key, None, Vec::new())))
        .collect()
}

fn column(items: &[Option<&[u8]>]) -> Column {
    columns::join(items.iter().copied())
}

/// A write of `{"n":1}` to a view by the event.
fn writes(list: &[(u32, u32, &str)]) -> raw::Output {
    raw::Output {
        writes: raw::Writes {
            events: list.iter().map(|w| w.0).collect(),
            views: list.iter().map(|w| w.1).collect(),
            ids: columns::join(list.iter().map(|w| Some(w.2.as_bytes()))),
            documents: columns::join(list.iter().map(|_| Some(br#"{"n":1}"#.as_slice()))),
        },
        messages: Vec::new(),
        rejects: Vec::new(),
    }
}

fn check_as(answer: &raw::Output, encoding: Encoding) -> Result<Output, Fault> {
    let checked = check_within(1 << 20, answer, encoding);
    checked.map_err(|refusal| match refusal {
        Refusal::Fault(fault) => fault,
        Refusal::TooMuch => panic!("a megabyte is enough for all of these"),
    })
}

fn check_within(
    bytes_max: usize,
    answer: &raw::Output,
    encoding: Encoding,
) -> Result<Output, Refusal> {
    check(
        answer,
        &Question {
            descriptor: &descriptor(encoding),
            events: &events(),
            writes_max: 4,
            messages_max: 4,
            bytes_max,
            projection: "test",
            topics: &["out".into(), "audit".into()],
        },
    )
}

fn check_json(answer: &raw::Output) -> Result<Output, Fault> {
    check_as(answer, Encoding::Json)
}

#[test]
fn a_proper_answer_is_taken_over() {
    let mut answer = writes(&[(1, 0, "k1"), (2, 1, "any"), (0, 1, "k1")]);
    answer.writes.documents = column(&[Some(br#"{"n":1}"#), None, Some(b"{}")]);
    let output = check_json(&answer).expect("a proper answer");

    let seen: Vec<_> = output
        .writes
        .iter()
        .map(|write| {
            let body = write.body.as_ref();
            (
                write.key.view.0,
                &*write.key.id,
                write.event,
                body.map(|b| &b.encoded[..]),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (0, "k1", 1, Some(br#"{"n":1}"#.as_slice())),
            (1, "any", 2, None),
            (1, "k1", 0, Some(b"{}".as_slice())),
        ]
    );
}

#[test]
fn what_breaks_the_contract_is_refused_with_the_reason() {
    type Change = fn(&mut raw::Output);
    let cases: [(&str, Change, &str, Option<usize>); 17] = [
        ("fewer views", |o| o.writes.views.clear(), "0 views", None),
        (
            "more documents",
            |o| o.writes.documents = column(&[None, None]),
            "2 documents",
            None,
        ),
        (
            "ids beyond their bytes",
            |o| o.writes.ids.ends[0] = 99,
            "column of ids is malformed: its item 0 ends at byte 99",
            None,
        ),
        (
            "documents that end early",
            |o| o.writes.documents.ends[0] = 1,
            "column of documents is malformed",
            None,
        ),
        (
            "five writes of four",
            |o| {
                *o = writes(&[
                    (0, 1, "a"),
                    (0, 1, "b"),
                    (0, 1, "c"),
                    (0, 1, "d"),
                    (0, 1, "e"),
                ])
            },
            "5 writes for 3 events, and may have 4",
            None,
        ),
        (
            "a document twice",
            |o| *o = writes(&[(0, 1, "a"), (1, 1, "a")]),
            "document \"a\" of view 1 twice",
            None,
        ),
        (
            "no such event",
            |o| o.writes.events[0] = 3,
            "event 3 of a batch of 3",
            None,
        ),
        (
            "no such view",
            |o| o.writes.views[0] = 2,
            "view 2, and it declared 2",
            Some(0),
        ),
        (
            "an empty id",
            |o| *o = writes(&[(1, 1, "")]),
            "an id for view \"all\" is empty",
            Some(1),
        ),
        (
            "no id",
            |o| o.writes.ids = column(&[None]),
            "is missing",
            Some(0),
        ),
        (
            "an id that is no UTF-8",
            |o| o.writes.ids = column(&[Some(b"\xff")]),
            "not UTF-8: \"\\xff\"",
            Some(0),
        ),
        (
            "a long id",
            |o| *o = writes(&[(0, 1, &"x".repeat(1025))]),
            "1025 bytes, and may have 1024",
            Some(0),
        ),
        (
            "another key's document",
            |o| *o = writes(&[(1, 0, "k0")]),
            "document \"k0\" of view \"mine\" was shaped by an event with the key \"k1\"",
            Some(1),
        ),
        (
            "a by-key document of no key",
            |o| *o = writes(&[(2, 0, "k0")]),
            "without a key",
            Some(2),
        ),
        (
            "no JSON",
            |o| o.writes.documents = column(&[Some(b"{")]),
            "document \"k0\" of view \"mine\" cannot be stored: EOF",
            Some(0),
        ),
        (
            "a reject of nothing",
            |o| o.rejects.push(reject(7, "why")),
            "rejects event 7 of a batch of 3: why",
            None,
        ),
        (
            "the host's own field",
            |o| o.writes.documents = column(&[Some(br#"{"_id":1}"#)]),
            "belongs to the host",
            Some(0),
        ),
    ];
    for (name, change, reason, event) in cases {
        let mut answer = writes(&[(0, 0, "k0")]);
        change(&mut answer);
        let fault = check_json(&answer).expect_err(name);
        assert_eq!(fault.kind, FaultKind::InvalidOutput, "{name}: {fault}");
        assert!(fault.detail.contains(reason), "{name}: {fault}");
        assert_eq!(fault.event, event, "{name}: {fault}");
    }
}

fn reject(event: u32, reason: &str) -> raw::Reject {
    raw::Reject {
        event,
        reason: reason.to_owned(),
    }
}

#[test]
fn rejected_events_are_named_each_once_and_in_order_beside_what_the_rest_came_to() {
    let mut answer = writes(&[(0, 0, "k0")]);
    answer.rejects = vec![reject(2, "second"), reject(1, "first"), reject(2, "again")];
    let fault = check_json(&answer).expect_err("a reject");
    assert_eq!(
        (fault.kind, fault.detail.as_str(), fault.event),
        (FaultKind::Rejected, "first", Some(1))
    );
    let also = fault.also.iter().map(|r| (r.event, r.detail.as_str()));
    assert_eq!(also.collect::<Vec<_>>(), [(2, "second")]);
    let rest = fault.rest.expect("a write came along");
    assert_eq!(&*rest.writes[0].key.id, "k0");

    answer.writes = writes(&[]).writes;
    let fault = check_json(&answer).expect_err("a reject");
    assert_eq!(fault.rest, None, "the rest is to be asked for again");
}

#[test]
fn nothing_may_follow_from_an_event_that_is_left_out() {
    let mut answer = writes(&[(1, 0, "k1")]);
    answer.rejects = vec![reject(1, "no")];
    let fault = check_json(&answer).expect_err("a contradiction");
    assert_eq!(
        (fault.kind, fault.event),
        (FaultKind::InvalidOutput, Some(1))
    );
    assert!(fault.detail.contains("follows from event 1"), "{fault}");
}

#[test]
fn a_cached_document_looks_as_it_will_after_a_reload() {
    let mut answer = writes(&[(0, 0, "k0")]);
    let spelt = br#"{"at":{"$date":{"$numberLong":"1357034400000"}}}"#;
    answer.writes.documents = column(&[Some(spelt)]);
    let output = check_json(&answer).expect("extended JSON is fine");
    let body = output.writes[0].body.as_ref().expect("not a deletion");
    assert_eq!(
        &body.encoded[..],
        br#"{"at":{"$date":"2013-01-01T10:00:00Z"}}"#
    );
    assert_eq!(
        document::to_json(&body.bson).expect("valid BSON"),
        body.encoded
    );
}

#[test]
fn bson_is_taken_as_it_is() {
    let document = document::from_json(br#"{"n":1}"#).expect("valid").body;
    let mut answer = writes(&[(0, 0, "k0")]);
    answer.writes.documents = column(&[Some(document.as_bytes())]);
    let output = check_as(&answer, Encoding::Bson).expect("valid BSON");
    let body = output.writes[0].body.as_ref().expect("not a deletion");
    assert_eq!(&body.encoded[..], document.as_bytes());
    assert_eq!(body.bson, document);

    answer.writes.documents = column(&[Some(br#"{"n":1}"#)]);
    let fault = check_as(&answer, Encoding::Bson).expect_err("JSON is no BSON");
    assert_eq!(fault.kind, FaultKind::InvalidOutput);
}

fn any_column() -> impl Strategy<Value = Column> {
    let garbage = (
        prop::collection::vec(any::<u8>(), 0..16),
        prop::collection::vec(0..20_u32, 0..4),
        prop::collection::vec(0..5_u32, 0..3),
    )
        .prop_map(|(bytes, ends, missing)| Column {
            bytes,
            ends,
            missing,
        });
    let item = prop_oneof![
        Just(None),
        Just(Some(b"{}".to_vec())),
        Just(Some(b"k0".to_vec())),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(Some),
    ];
    let proper = prop::collection::vec(item, 0..4)
        .prop_map(|items| columns::join(items.iter().map(Option::as_deref)));
    prop_oneof![garbage, proper]
}

proptest! {
    #[test]
    fn whatever_passes_keeps_the_contract(
        events_named in prop::collection::vec(0..5_u32, 0..4),
        views in prop::collection::vec(0..3_u32, 0..4),
        ids in any_column(),
        documents in any_column(),
        rejects in prop::collection::vec(0..5_u32, 0..2),
        bson in any::<bool>(),
    ) {
        let answer = raw::Output {
            writes: raw::Writes { events: events_named, views, ids, documents },
            messages: Vec::new(),
            rejects: rejects.into_iter().map(|event| reject(event, "no")).collect(),
        };
        let encoding = if bson { Encoding::Bson } else { Encoding::Json };
        if let Ok(output) = check_as(&answer, encoding) {
            let events = events();
            let mut seen = HashSet::new();
            prop_assert!(answer.rejects.is_empty());
            prop_assert!(output.writes.len() <= 4);
            for write in &output.writes {
                prop_assert!(seen.insert(&write.key));
                prop_assert!(!write.key.id.is_empty());
                let by_key = write.key.view.0 == 0;
                let own = events[write.event].key() == Some(write.key.id.as_bytes());
                prop_assert!(own || !by_key);
            }
        }
    }
}

#[test]
fn what_is_made_of_an_answer_is_bounded_whatever_its_own_size() {
    // Each item takes two bytes here, and a dozen as BSON.
    let document = format!("{{\"n\":[0{}]}}", ",0".repeat(1_000));
    let mut answer = writes(&[(0, 1, "a"), (1, 1, "b")]);
    answer.writes.documents = column(&[Some(document.as_bytes()); 2]);
    let output = check_within(1 << 20, &answer, Encoding::Json).expect("room enough");
    let made = made_bytes(&output);
    assert!(made > 5 * lifted_bytes(&answer), "{made}");
    assert!(check_within(made, &answer, Encoding::Json).is_ok());
    let refusal = check_within(made - 1, &answer, Encoding::Json).expect_err("a byte too few");
    assert!(matches!(refusal, Refusal::TooMuch), "{refusal:?}");
}

#[test]
fn counts_are_looked_at_before_anything_is_made_of_them() {
    let mut answer = writes(&[]);
    answer.writes.events = vec![0; 5];
    answer.writes.views = vec![1; 5];
    // Neither column is one: nobody has looked.
    let malformed = Column {
        bytes: Vec::new(),
        ends: vec![7; 5],
        missing: vec![9; 50],
    };
    answer.writes.ids = malformed.clone();
    answer.writes.documents = malformed;
    let fault = check_json(&answer).expect_err("five for four");
    assert!(fault.detail.contains("5 writes"), "{fault}");
}
