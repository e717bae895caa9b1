use std::collections::BTreeSet;

use bson::RawBsonRef;
use proptest::prelude::*;

use super::*;
use crate::record::TopicPartition;

fn checkpoint(projection: &str, topic: &str, partition: i32) -> CheckpointId {
    CheckpointId {
        projection: projection.into(),
        version: 1,
        copy: "main".into(),
        partition: TopicPartition::new(topic, partition),
    }
}

fn plain(topic: &str) -> Outgoing {
    Outgoing {
        topic: topic.into(),
        key: None,
        value: None,
        headers: Vec::new(),
    }
}

fn any_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        "\\PC{0,10}\0?".prop_map(String::into_bytes),
    ])
}

prop_compose! {
    fn any_outgoing()(
        topic in "[a-z.]{1,10}",
        key in any_bytes(),
        value in any_bytes(),
        headers in prop::collection::vec(("[a-zäß_-]{1,10}", any_bytes()), 0..4),
    ) -> Outgoing {
        Outgoing {
            topic: topic.into(),
            key: key.map(Bytes::from),
            value: value.map(Bytes::from),
            headers: headers
                .into_iter()
                .map(|(name, value)| Header {
                    name: name.into(),
                    value: value.map(Into::into),
                })
                .collect(),
        }
    }
}

/// Few values, so that some are equal.
fn any_origin() -> impl Strategy<Value = (String, String, i32, i64, u32)> {
    let name = || prop::sample::select(vec!["a", "b", "ab", "a1", "1"]).prop_map(str::to_owned);
    let offset = prop_oneof![0..12_i64, (i64::MAX - 3)..i64::MAX];
    (name(), name(), 0..12_i32, offset, 0..12_u32)
}

proptest! {
    #[test]
    fn what_is_stored_is_read_back(outgoing in any_outgoing()) {
        let checkpoint = checkpoint("orders", "events", 3);
        let origin = Origin { checkpoint: &checkpoint, offset: Offset(7), index: 0 };
        let entry = outgoing.clone().into_entry(origin);
        prop_assert_eq!(Outgoing::from_entry(&entry), Ok(outgoing));
    }

    #[test]
    fn ids_differ_exactly_where_origins_do(one in any_origin(), other in any_origin()) {
        let ids = |(projection, topic, partition, offset, index): &(String, String, i32, i64, u32)| {
            let checkpoint = checkpoint(projection, topic, *partition);
            let origin = Origin { checkpoint: &checkpoint, offset: Offset(*offset), index: *index };
            (origin.event_id(), origin.entry_id())
        };
        let (one_ids, other_ids) = (ids(&one), ids(&other));
        prop_assert_eq!(one == other, one_ids.0 == other_ids.0);
        prop_assert_eq!(one == other, one_ids.1 == other_ids.1);
    }

    #[test]
    fn entries_of_a_partition_sort_by_offset_then_index(
        one in (0..i64::MAX, 0..=DEAD_LETTER_INDEX),
        other in (0..20_i64, 0..=DEAD_LETTER_INDEX),
    ) {
        let checkpoint = checkpoint("orders", "events", 3);
        let id = |(offset, index)| {
            Origin { checkpoint: &checkpoint, offset: Offset(offset), index }.entry_id()
        };
        prop_assert_eq!(one.cmp(&other), id(one).cmp(&id(other)));
        prop_assert!(id(one).starts_with(&prefix(&checkpoint)));
    }

    #[test]
    fn no_body_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(body) = RawDocumentBuf::from_bytes(bytes) {
            let entry = Entry { table: Table::Outbox, id: "x".into(), body };
            prop_assert!(Outgoing::from_entry(&entry).is_err());
        }
    }
}

#[test]
fn an_event_id_is_that_of_the_event_whatever_version_and_copy_fold_it() {
    let first = checkpoint("orders", "events", 3);
    let second = CheckpointId {
        version: 2,
        copy: "other".into(),
        ..first.clone()
    };
    let id = |checkpoint| {
        Origin {
            checkpoint,
            offset: Offset(7),
            index: 1,
        }
        .event_id()
    };
    assert_eq!(id(&first), id(&second));
    // Of SHA-256 over the names with their lengths (8 bytes) and the numbers (4, 8, 4 bytes), as
    // another program computes it: readers may hold ids of messages from long ago.
    assert_eq!(id(&first), "14f9f72e108a8a9f8d0b62c6ecf02544");
}

#[test]
fn the_messages_of_a_batch_are_numbered_event_by_event() {
    let checkpoint = checkpoint("orders", "events", 3);
    let events: Vec<Arc<Event>> = [4, 9, 12]
        .map(|offset| Arc::new(Event::new(Offset(offset), 0, None, None, Vec::new())))
        .to_vec();
    let message = |event| Message {
        event,
        topic: "out".into(),
        key: None,
        value: Some(Bytes::from_static(b"v")),
        headers: vec![Header {
            name: "kind".into(),
            value: None,
        }],
    };

    let entries = entries(
        &checkpoint,
        &events,
        vec![message(0), message(2), message(2), message(2)],
    );

    let ids: Vec<&str> = entries.iter().map(|entry| &*entry.id).collect();
    let expected = [
        "orders/v1/main/events/3/0000000000000000004/0000",
        "orders/v1/main/events/3/0000000000000000012/0000",
        "orders/v1/main/events/3/0000000000000000012/0001",
        "orders/v1/main/events/3/0000000000000000012/0002",
    ];
    assert_eq!(ids, expected);
    let event_ids: BTreeSet<Vec<u8>> = entries
        .iter()
        .map(|entry| {
            let outgoing = Outgoing::from_entry(entry).expect("a message");
            assert_eq!(&*outgoing.headers[0].name, "kind");
            assert_eq!(&*outgoing.headers[1].name, "event-id");
            outgoing.headers[1].value.clone().expect("an id").to_vec()
        })
        .collect();
    assert_eq!(event_ids.len(), 4);
}

#[test]
fn text_is_stored_as_text() {
    let checkpoint = checkpoint("orders", "events", 3);
    let origin = Origin {
        checkpoint: &checkpoint,
        offset: Offset(7),
        index: 0,
    };
    let outgoing = Outgoing {
        key: Some(Bytes::from_static(b"\xff\x00")),
        value: Some(Bytes::from_static(br#"{"cents":5}"#)),
        ..plain("payments")
    };

    let body = outgoing.into_entry(origin).body;

    let get = |name| body.get(name).expect("BSON");
    assert_eq!(get("topic"), Some(RawBsonRef::String("payments")));
    assert_eq!(get("value"), Some(RawBsonRef::String(r#"{"cents":5}"#)));
    assert!(matches!(get("key"), Some(RawBsonRef::Binary(_))));
}

#[test]
fn what_is_no_message_is_named() {
    let entry = |body: bson::Document| Entry {
        table: Table::Outbox,
        id: "orders/1".into(),
        body: RawDocumentBuf::try_from(&body).expect("BSON"),
    };
    let cases = [
        (bson::doc! {"headers": []}, "its \"topic\" is no text"),
        (bson::doc! {"topic": "t"}, "no list of headers"),
        (
            bson::doc! {"topic": "t", "headers": [1]},
            "a header is no document",
        ),
        (
            bson::doc! {"topic": "t", "headers": [], "key": 1},
            "its \"key\" is neither text nor binary",
        ),
    ];
    for (body, problem) in cases {
        let text = Outgoing::from_entry(&entry(body))
            .expect_err(problem)
            .to_string();
        assert!(text.contains(problem), "{text}");
        assert!(text.contains("entry \"orders/1\" of _outbox"), "{text}");
    }
}
