use proptest::prelude::*;

use super::*;
use crate::projection::{Descriptor, Encoding, FaultKind};
use crate::record::{Event, Offset};

fn message(event: u32, topic: &str) -> raw::Message {
    raw::Message {
        event,
        topic: topic.to_owned(),
        key: None,
        value: None,
        headers: Vec::new(),
    }
}

fn with_header(name: &str) -> raw::Message {
    raw::Message {
        headers: vec![raw::Header {
            name: name.to_owned(),
            value: b"v".to_vec(),
        }],
        ..message(2, "out")
    }
}

/// A batch of three events, which may send to "out" and "audit".
fn check_up_to(messages_max: usize, answer: &[raw::Message]) -> Result<Vec<Message>, Fault> {
    let descriptor = Descriptor {
        name: "test".to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        encoding: Encoding::Json,
        views: Vec::new(),
        headers: Vec::new(),
        config_schema: String::new(),
    };
    let events: Vec<Arc<Event>> = (0..3)
        .map(|offset| Arc::new(Event::new(Offset(offset), 0, None, None, Vec::new())))
        .collect();
    check(
        answer,
        &Question {
            descriptor: &descriptor,
            events: &events,
            writes_max: 0,
            messages_max,
            bytes_max: usize::MAX,
            projection: "orders",
            topics: &["out".into(), "audit".into()],
        },
    )
}

#[test]
fn proper_messages_are_taken_over_event_by_event() {
    let whole = raw::Message {
        key: Some(b"k".to_vec()),
        value: Some(b"".to_vec()),
        ..with_header("kind")
    };
    let answer = [
        whole,
        message(0, "audit"),
        message(2, "audit"),
        message(0, "out"),
    ];

    let messages = check_up_to(4, &answer).expect("proper messages");

    let plain = |event, topic: &str| Message {
        event,
        topic: topic.into(),
        key: None,
        value: None,
        headers: Vec::new(),
    };
    let whole = Message {
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::new()),
        headers: vec![Header {
            name: "kind".into(),
            value: Some((*b"v").into()),
        }],
        ..plain(2, "out")
    };
    let expected = [plain(0, "audit"), plain(0, "out"), whole, plain(2, "audit")];
    assert_eq!(messages, expected);
}

#[test]
fn what_breaks_the_contract_is_refused_with_the_reason() {
    let large = raw::Message {
        key: Some(vec![0; 400_000]),
        value: Some(vec![0; 599_994]),
        ..with_header("kind55")
    };
    let cases: [(&str, raw::Message, &str, Option<usize>); 6] = [
        (
            "no such event",
            message(3, "out"),
            "a message names event 3 of a batch of 3",
            None,
        ),
        (
            "a topic that is not listed",
            message(1, "elsewhere"),
            "a message for topic \"elsewhere\" goes where the projection may not send; add the \
             topic to projections.orders.messages.topics",
            Some(1),
        ),
        (
            "large",
            large,
            "1000001 bytes, and may have 1000000",
            Some(2),
        ),
        (
            "a nameless header",
            with_header(""),
            "without a name",
            Some(2),
        ),
        (
            "the host's own header",
            with_header("event-id"),
            "header \"event-id\", which the host sets itself",
            Some(2),
        ),
        (
            "a header that ends early",
            with_header("a\0b"),
            "a zero byte: \"a\\0b\"",
            Some(2),
        ),
    ];
    for (name, wrong, reason, event) in cases {
        let fault = check_up_to(4, &[message(0, "out"), wrong]).expect_err(name);
        assert_eq!(fault.kind, FaultKind::InvalidOutput, "{name}: {fault}");
        assert!(fault.detail.contains(reason), "{name}: {fault}");
        assert_eq!(fault.event, event, "{name}: {fault}");
    }
}

#[test]
fn a_message_may_be_as_large_as_the_limit() {
    let largest = raw::Message {
        key: Some(vec![0; 400_000]),
        value: Some(vec![0; 599_995]),
        ..with_header("kind")
    };
    assert!(check_up_to(4, &[largest]).is_ok());
}

#[test]
fn messages_are_limited_in_number_per_batch_and_per_event() {
    let many = |count| vec![message(1, "out"); count];

    assert!(check_up_to(4, &many(4)).is_ok());
    let fault = check_up_to(4, &many(5)).expect_err("more than the limit");
    assert!(
        fault.detail.contains(
            "5 messages for 3 events, and may have 4; raise \
             projections.orders.limits.messages-per-event"
        ),
        "{fault}"
    );
    assert_eq!(fault.event, None);

    assert!(check_up_to(usize::MAX, &many(MESSAGES_PER_EVENT_MAX)).is_ok());
    let fault = check_up_to(usize::MAX, &many(MESSAGES_PER_EVENT_MAX + 1)).expect_err("too many");
    assert!(
        fault.detail.contains("no event may have more than 9999"),
        "{fault}"
    );
    assert_eq!(fault.event, Some(1));
}

proptest! {
    #[test]
    fn what_is_taken_over_is_what_was_given_in_a_stable_order(
        events in prop::collection::vec(0..3_u32, 0..12),
    ) {
        let answer: Vec<raw::Message> = (0_u8..)
            .zip(&events)
            .map(|(number, &event)| raw::Message {
                value: Some(vec![number]),
                ..message(event, "out")
            })
            .collect();

        let messages = check_up_to(12, &answer).expect("proper messages");

        let order: Vec<(usize, Bytes)> = messages
            .into_iter()
            .map(|message| (message.event, message.value.expect("its number")))
            .collect();
        prop_assert!(order.is_sorted());
        prop_assert_eq!(order.len(), events.len());
    }
}
