//! Keeps the latest event of each key: the document of a key is the value of its last event.
//!
//! A tombstone deletes the document. With `include` in its configuration a document holds only
//! these of the event's fields.
//!
//! Guarantee: without `include`, the host gets an event's text as it is, fields in their order.
//! Not here: fields named `_id` or `_m`, which are the host's; `include` can leave them out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use projectionist_sdk::{Event, Ids, Projection, Reject, export};
use serde::Deserialize;
use serde_json::value::RawValue;

struct Latest {
    include: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The fields to keep; all where absent. One that an event lacks is absent in the document.
    include: Option<Vec<String>>,
}

/// An event's fields, each as its text.
#[derive(Deserialize)]
#[serde(transparent)]
struct Fields<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, &'a RawValue>);

impl Projection for Latest {
    const NAME: &str = "latest";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "The latest value of each key. A tombstone deletes the document.";
    const VIEW: &str = "latest";
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "include": {
                "description": "the fields of an event to keep; all where absent",
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
                "uniqueItems": true
            }
        },
        "additionalProperties": false
    }"#;
    type Config = Config;
    type Event<'a> = &'a RawValue;
    type Document = Box<RawValue>;

    fn new(config: Config) -> Result<Self, String> {
        let Config { include } = config;
        if include.as_ref().is_some_and(Vec::is_empty) {
            return Err("include is empty; list the fields to keep, or leave it out".to_owned());
        }
        Ok(Latest { include })
    }

    /// Unlike most projections, this one is there to keep every event: one without a key must not
    /// vanish.
    fn ids<'a>(&self, event: &Event<'a, &'a RawValue>, ids: &mut Ids) -> Result<(), Reject> {
        let Some(key) = event.key_str()? else {
            return Err(Reject::because(
                "the event has no key, which would be its document's id",
            ));
        };
        ids.add(key);
        Ok(())
    }

    fn fold(
        &self,
        event: &Event<&RawValue>,
        _id: &str,
        document: &mut Option<Box<RawValue>>,
    ) -> Result<(), Reject> {
        *document = match (event.value, &self.include) {
            (None, _) => None,
            (Some(value), _) if !value.get().starts_with('{') => {
                return Err(Reject::because(format_args!(
                    "the value is {}, and a document is an object",
                    kind(value)
                )));
            }
            (Some(value), None) => Some(value.to_owned()),
            (Some(value), Some(include)) => Some(pick(value, include)?),
        };
        Ok(())
    }
}

export!(Latest);

fn pick(value: &RawValue, include: &[String]) -> Result<Box<RawValue>, Reject> {
    let Fields(mut fields) = serde_json::from_str(value.get())?;
    fields.retain(|name, _| include.iter().any(|included| included == name));
    Ok(serde_json::value::to_raw_value(&fields)?)
}

fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::{Harness, Record};
    use serde_json::json;

    use super::*;

    fn latest(config: &str) -> Harness<Latest> {
        Harness::new(config).expect("the configuration is right")
    }

    #[test]
    fn a_document_is_the_last_value_to_the_letter() {
        let mut latest = latest("");
        let text = r#"{ "z": 1.10, "a": 12345678901234567890123, "e": {"b":[]} }"#;

        latest
            .project([
                Record::json("a", &json!({"old": true})),
                Record::default().key("a").value(text),
            ])
            .expect("both are objects");

        let document = latest.document("a").expect("it was written");
        assert_eq!(document.get(), text);
    }

    #[test]
    fn a_tombstone_deletes_and_a_later_event_recreates() {
        let mut latest = latest("");

        latest
            .project([
                Record::json("a", &json!({"n": 1})),
                Record::json("b", &json!({"n": 2})),
            ])
            .expect("both are objects");
        latest
            .project([
                Record::tombstone("a"),
                Record::tombstone("b"),
                Record::json("b", &json!({"n": 3})),
            ])
            .expect("tombstones need no value");

        assert_eq!(json!(latest.documents()), json!({"b": {"n": 3}}));
    }

    #[test]
    fn include_keeps_only_the_listed_fields() {
        let mut latest = latest(r#"{"include": ["n", "té", "absent"]}"#);

        latest
            .project([Record::default()
                .key("a")
                .value(r#"{"n": {"x": 1}, "t\u00e9": 2, "_id": 3}"#)])
            .expect("it is an object");

        assert_eq!(
            json!(latest.documents()),
            json!({"a": {"n": {"x": 1}, "té": 2}})
        );
    }

    #[test]
    fn what_cannot_be_a_document_is_rejected() {
        let no_key = "the event has no key, which would be its document's id";
        let cases = [
            (
                "array",
                Record::json("a", &json!([1])),
                "the value is an array, and a document is an object",
            ),
            (
                "null",
                Record::json("a", &json!(null)),
                "the value is null, and a document is an object",
            ),
            (
                "number",
                Record::json("a", &json!(-1)),
                "the value is a number, and a document is an object",
            ),
            ("no key", Record::default().value("{}"), no_key),
            ("no key, no value", Record::default(), no_key),
            (
                "no JSON",
                Record::default().key("a").value("{\"n\":"),
                "the value is not what this projection reads: EOF while parsing a value at line 1 column 5",
            ),
        ];
        for (name, record, reason) in cases {
            let rejected = latest("").project([record]).expect_err(name);
            assert_eq!(rejected.reason, reason, "{name}");
        }
    }

    #[test]
    fn a_wrong_configuration_says_why() {
        let cases = [
            (
                r#"{"include": []}"#,
                "include is empty; list the fields to keep, or leave it out",
            ),
            (
                r#"{"exclude": ["n"]}"#,
                "the configuration is not what latest reads: unknown field `exclude`, expected `include` at line 1 column 10",
            ),
        ];
        for (config, reason) in cases {
            assert_eq!(
                Harness::<Latest>::new(config).err().as_deref(),
                Some(reason)
            );
        }
    }
}
