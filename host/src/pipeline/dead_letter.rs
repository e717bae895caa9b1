//! The copy of a parked event that goes to a dead-letter topic, with the headers that Kafka
//! Connect gives it there, so that tools which read those understand it.
//!
//! Headers: `ERRORS_HEADER_PREFIX` and what follows in Kafka's
//! `org.apache.kafka.connect.runtime.errors.DeadLetterQueueReporter`.

use std::sync::Arc;

use bytes::Bytes;

use super::outbox::{DEAD_LETTER_INDEX, Origin, Outgoing};
use crate::parked::KeyEntry;
use crate::record::{Event, Header, HeaderRef};
use crate::store::{CheckpointId, Entry};

/// The outbox's entry for an event that is parked under `key`.
pub fn entry(topic: &Arc<str>, checkpoint: &CheckpointId, event: &Event, key: &KeyEntry) -> Entry {
    let origin = Origin {
        checkpoint,
        offset: event.offset,
        index: DEAD_LETTER_INDEX,
    };
    let mut headers: Vec<Header> = event.headers().map(HeaderRef::to_owned).collect();
    let message = if event.offset == key.first {
        key.reason.detail.clone()
    } else {
        format!("the event at offset {} of its key is parked", key.first)
    };
    let partition = &checkpoint.partition;
    let errors = [
        ("topic", partition.topic.to_string()),
        ("partition", partition.partition.to_string()),
        ("offset", event.offset.to_string()),
        ("connector.name", checkpoint.projection.to_string()),
        ("task.id", partition.partition.to_string()),
        ("stage", "TASK_PUT".to_owned()),
        ("class.name", key.reason.plugin.clone()),
        ("exception.class.name", key.reason.kind.clone()),
        ("exception.message", message),
    ];
    headers.extend(errors.map(|(name, value)| Header {
        name: format!("__connect.errors.{name}").into(),
        value: Some(value.into_bytes().into()),
    }));
    let outgoing = Outgoing {
        topic: Arc::clone(topic),
        key: event.key().map(Bytes::copy_from_slice),
        value: event.value().map(Bytes::copy_from_slice),
        headers,
    };
    outgoing.into_entry(origin)
}

/// True where the copy would be more than a topic takes with its defaults, or an entry holds. Such
/// an event is parked without one.
pub fn is_too_large(event: &Event) -> bool {
    const BYTES_MAX: usize = 1_000_000;
    event.size_bytes() > BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parked::Reason;
    use crate::record::{Offset, TopicPartition};

    #[test]
    fn a_copy_has_the_event_and_the_headers_of_kafka_connect() {
        let checkpoint = CheckpointId {
            projection: "orders".into(),
            version: 1,
            copy: "main".into(),
            partition: TopicPartition::new("orders.events", 3),
        };
        let key = KeyEntry {
            first: Offset(12),
            key: Some(Arc::from(b"k".as_slice())),
            events: 2,
            bytes: 2,
            reason: Reason {
                kind: "the plugin rejected the event".to_owned(),
                detail: "no amount".to_owned(),
                plugin: "c0ffee".to_owned(),
                at_ms: 0,
            },
        };
        let own = Header {
            name: "ce_id".into(),
            value: Some(b"17".as_slice().into()),
        };
        let copy = |offset| {
            let headers = vec![own.clone()];
            let event = Event::new(Offset(offset), 0, Some(b"k"), Some(b"v"), headers);
            let entry = entry(&"dead".into(), &checkpoint, &event, &key);
            Outgoing::from_entry(&entry).expect("it was written here")
        };
        let header = |copy: &Outgoing, name: &str| {
            let header = copy.headers.iter().find(|header| &*header.name == name);
            let value = header.and_then(|header| header.value.as_deref());
            String::from_utf8_lossy(value.expect("it is there")).into_owned()
        };

        let first = copy(12);
        assert_eq!(first.key.as_deref(), Some(b"k".as_slice()));
        assert_eq!(first.value.as_deref(), Some(b"v".as_slice()));
        let expected = [
            ("ce_id", "17"),
            ("__connect.errors.topic", "orders.events"),
            ("__connect.errors.partition", "3"),
            ("__connect.errors.offset", "12"),
            ("__connect.errors.exception.message", "no amount"),
            (
                "__connect.errors.exception.class.name",
                "the plugin rejected the event",
            ),
        ];
        for (name, value) in expected {
            assert_eq!(header(&first, name), value, "{name}");
        }

        let behind = header(&copy(14), "__connect.errors.exception.message");
        assert!(behind.contains("offset 12"), "{behind}");
    }
}
