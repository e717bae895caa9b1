//! Events as JSON lines: what a user writes by hand, or gets out of a topic.
//!
//! ```json
//! {"key": "a-1", "value": {"cents": 250}, "headers": {"id": "7"}, "timestamp-ms": 1700000000000}
//! {"key": "a-1"}
//! {"key": "a-1", "text": "a value that is no JSON"}
//! ```
//!
//! The key is a text, or any other JSON value as its text. The value is JSON, and reaches the
//! plugin exactly as it is written; without one (or `text`, its raw form) the event is a tombstone.
//! Empty lines are left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::record::{self, Header, Offset};

/// An event and where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counted from 1.
    pub line: usize,
    pub record: Arc<record::Event>,
}

/// A line that is no event.
#[derive(Debug, thiserror::Error)]
#[error(
    "line {line} is no event: {problem}; an event is an object such as {}",
    r#"{"key": "a", "value": {"n": 1}}"#
)]
pub struct Error {
    line: usize,
    problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Line<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    text: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    timestamp_ms: i64,
}

/// Reads lines as the events of one partition, from offset 0.
///
/// # Errors
/// The first line that is no event.
pub fn read(lines: &str) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    for (line, text) in (1..).zip(lines.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        let offset = Offset(i64::try_from(events.len()).expect("lines are in memory"));
        let record = event(offset, text).map_err(|problem| Error { line, problem })?;
        events.push(Event {
            line,
            record: Arc::new(record),
        });
    }
    Ok(events)
}

fn event(offset: Offset, line: &str) -> Result<record::Event, String> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let key = match line.key.map(RawValue::get) {
        Some(text) if text.starts_with('"') => {
            Some(serde_json::from_str(text).map_err(|error| error.to_string())?)
        }
        other => other.map(str::to_owned),
    };
    let value = match (line.value, line.text) {
        (Some(_), Some(_)) => return Err("it has both \"value\" and \"text\"".to_owned()),
        (Some(value), None) => Some(value.get().to_owned()),
        (None, text) => text,
    };
    let header = |(name, value): (String, Option<String>)| Header {
        name: name.into(),
        value: value.map(|value| value.into_bytes().into()),
    };
    Ok(record::Event::new(
        offset,
        line.timestamp_ms,
        key.as_ref().map(String::as_bytes),
        value.as_ref().map(String::as_bytes),
        line.headers.into_iter().map(header).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Arc<record::Event> {
        read(line).expect("an event")[0].record.clone()
    }

    #[test]
    fn keys_and_values_are_taken_as_they_stand() {
        let cases: [(&str, Option<&str>, Option<&str>); 6] = [
            (
                r#"{"key": "a\"b", "value": {"n":  1}}"#,
                Some("a\"b"),
                Some(r#"{"n":  1}"#),
            ),
            (r#"{"key": 7, "value": "x"}"#, Some("7"), Some("\"x\"")),
            (r#"{"key": {"id":1}}"#, Some(r#"{"id":1}"#), None),
            (r#"{"key": "a", "value": null}"#, Some("a"), None),
            (r#"{"value": 1}"#, None, Some("1")),
            (
                r#"{"key": "", "text": "no {json"}"#,
                Some(""),
                Some("no {json"),
            ),
        ];
        for (line, key, value) in cases {
            let event = one(line);
            assert_eq!(event.key(), key.map(str::as_bytes), "{line}");
            assert_eq!(event.value(), value.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn headers_and_times_come_along() {
        let event = one(r#"{"headers": {"id": "7", "none": null}, "timestamp-ms": 12}"#);
        assert_eq!(event.timestamp_ms, 12);
        assert_eq!(event.header("id"), Some(b"7".as_slice()));
        assert_eq!(event.headers().count(), 2);
        assert_eq!(event.header("none"), None);
    }

    #[test]
    fn lines_are_counted_with_the_empty_ones_and_offsets_without() {
        let events = read("\n{\"value\": 1}\n\n{\"value\": 2}\n").expect("two events");
        let found: Vec<(usize, i64)> = events
            .iter()
            .map(|event| (event.line, event.record.offset.0))
            .collect();
        assert_eq!(found, [(2, 0), (4, 1)]);
    }

    #[test]
    fn what_is_no_event_is_told_by_its_line() {
        let cases = [
            ("{}\n[1]", "line 2 is no event"),
            (r#"{"key": "a", "vlaue": 1}"#, "unknown field `vlaue`"),
            (
                r#"{"value": 1, "text": "1"}"#,
                "both \"value\" and \"text\"",
            ),
            (r#"{"value": }"#, "line 1"),
        ];
        for (lines, part) in cases {
            let text = read(lines).expect_err(part).to_string();
            assert!(text.contains(part), "{lines}: {text}");
        }
    }
}
