//! Parked keys and events as people and programs read them.

use serde_json::{Value, json};

use super::desk::ParkedKey;
use crate::document::exact_value;
use crate::record::Event;

/// A key in one word: its text in quotes, or its bytes in hexadecimal digits.
pub fn key_to_text(key: Option<&[u8]>) -> String {
    match key.map(|key| (key, std::str::from_utf8(key))) {
        None => "none".to_owned(),
        Some((_, Ok(text))) => format!("{text:?}"),
        Some((key, Err(_))) => format!("0x{}", hex(key)),
    }
}

pub fn key_to_json(key: &ParkedKey) -> Value {
    let entry = &key.entry;
    json!({
        "id": key.id.to_string(),
        "projection": &*key.id.projection,
        "topic": &*key.id.partition.topic,
        "partition": key.id.partition.partition,
        "offset": key.id.first.0,
        "key": bytes(entry.key.as_deref()),
        "events": entry.events,
        "bytes": entry.bytes,
        "reason": entry.reason,
        "request": key.request,
    })
}

/// JSON values stand as they are, other texts as strings, other bytes in hexadecimal digits. A text
/// with a number that readers of JSON would round is one of the others.
pub fn event_to_json(event: &Event) -> Value {
    let headers = event
        .headers()
        .map(|header| json!({ "name": header.name, "value": bytes(header.value) }));
    let value = event.value();
    let parsed = value.and_then(exact_value);
    json!({
        "offset": event.offset.0,
        "timestamp_ms": event.timestamp_ms,
        "key": bytes(event.key()),
        "value": parsed.unwrap_or_else(|| bytes(value)),
        "headers": headers.collect::<Value>(),
    })
}

fn bytes(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => text.into(),
        Some((bytes, Err(_))) => json!({ "hex": hex(bytes) }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
