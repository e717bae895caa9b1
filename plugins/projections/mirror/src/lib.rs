//! Keeps the latest event of each key: the document of a key is the value of its last event.
//!
//! A tombstone deletes the document. The configuration may leave fields out and rename them.
//!
//! Guarantee: where no field is left out or renamed, the host gets an event's text as it is.
//! Not here: ids of other values than the key (`mirror-by-fields`). Fields named `_id` or `_m` are
//! the host's; `exclude` leaves them out, `rename` keeps them.

use std::collections::BTreeMap;

use projection_fields::Shape;
use projectionist_sdk::{Event, Ids, Projection, Reject, export};
use serde::Deserialize;
use serde_json::value::RawValue;

struct Mirror(Shape);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The fields to keep; all where absent. One that an event lacks is absent in the document.
    include: Option<Vec<String>>,
    /// The fields to leave out.
    #[serde(default)]
    exclude: Vec<String>,
    /// New names by the old ones.
    #[serde(default)]
    rename: BTreeMap<String, String>,
}

impl Projection for Mirror {
    const NAME: &str = "mirror";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "The latest value of each key. A tombstone deletes the document.";
    const VIEW: &str = "mirror";
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "include": {
                "description": "the fields of an event to keep; all where absent",
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
                "uniqueItems": true
            },
            "exclude": {
                "description": "the fields of an event to leave out",
                "type": "array",
                "items": { "type": "string" },
                "uniqueItems": true
            },
            "rename": {
                "description": "new names of fields by their old ones",
                "type": "object",
                "additionalProperties": { "type": "string", "minLength": 1 }
            }
        },
        "additionalProperties": false
    }"#;
    type Config = Config;
    type Event<'a> = &'a RawValue;
    type Document = Box<RawValue>;

    fn new(config: Config) -> Result<Self, String> {
        Shape::new(config.include, config.exclude, config.rename).map(Mirror)
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
        let value = event.value.map(|value| self.0.document(value));
        *document = value.transpose().map_err(Reject::because)?;
        Ok(())
    }
}

export!(Mirror);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use projectionist_sdk::testing::{Harness, Record};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn mirror(config: &str) -> Harness<Mirror> {
        Harness::new(config).expect("the configuration is right")
    }

    #[test]
    fn a_document_is_the_last_value_to_the_letter() {
        let mut mirror = mirror("");
        let text = r#"{ "z": 1.10, "a": 12345678901234567890123, "e": {"b":[]} }"#;

        mirror
            .project([
                Record::json("a", &json!({"old": true})),
                Record::default().key("a").value(text),
            ])
            .expect("both are objects");

        let document = mirror.document("a").expect("it was written");
        assert_eq!(document.get(), text);
    }

    #[test]
    fn a_tombstone_deletes_and_a_later_event_recreates() {
        let mut mirror = mirror("");

        mirror
            .project([
                Record::json("a", &json!({"n": 1})),
                Record::json("b", &json!({"n": 2})),
            ])
            .expect("both are objects");
        mirror
            .project([
                Record::tombstone("a"),
                Record::tombstone("b"),
                Record::json("b", &json!({"n": 3})),
            ])
            .expect("tombstones need no value");

        assert_eq!(json!(mirror.documents()), json!({"b": {"n": 3}}));
    }

    #[test]
    fn fields_are_kept_left_out_and_renamed_as_configured() {
        let cases = [
            (
                r#"{"include": ["n", "té", "absent"]}"#,
                json!({"a": {"n": {"x": 1}, "té": 2}}),
            ),
            (
                r#"{"exclude": ["n"], "rename": {"_id": "number"}}"#,
                json!({"a": {"té": 2, "number": 3}}),
            ),
        ];
        for (config, documents) in cases {
            let mut mirror = mirror(config);
            mirror
                .project([Record::default()
                    .key("a")
                    .value(r#"{"n": {"x": 1}, "t\u00e9": 2, "_id": 3}"#)])
                .expect("it is an object");
            assert_eq!(json!(mirror.documents()), documents, "{config}");
        }
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
                "a name twice",
                Record::json("a", &json!({"old": 1, "new": 2})),
                "the field \"old\" would be renamed to \"new\", which the event has too",
            ),
            (
                "no JSON",
                Record::default().key("a").value("{\"n\":"),
                "the value is not what this projection reads: EOF while parsing a value at line 1 column 5",
            ),
        ];
        for (name, record, reason) in cases {
            let mut mirror = mirror(r#"{"rename": {"old": "new"}}"#);
            let rejected = mirror.project([record]).expect_err(name);
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
                r#"{"only": ["n"]}"#,
                "the configuration is not what mirror reads: unknown field `only`, expected one of `include`, `exclude`, `rename` at line 1 column 7",
            ),
        ];
        for (config, reason) in cases {
            assert_eq!(
                Harness::<Mirror>::new(config).err().as_deref(),
                Some(reason)
            );
        }
    }

    proptest! {
        /// Whatever the batches, what is left is the last value of each key.
        #[test]
        fn what_is_left_is_the_last_value_of_each_key(
            batches in prop::collection::vec(
                prop::collection::vec(("[a-c]", prop::option::of(0u32..9)), 0..6),
                0..6,
            ),
        ) {
            let mut mirror = mirror(r#"{"rename": {"n": "m"}}"#);
            let mut expected: BTreeMap<String, Value> = BTreeMap::new();
            for batch in batches {
                for (key, value) in &batch {
                    match value {
                        Some(n) => expected.insert(key.clone(), json!({"m": n})),
                        None => expected.remove(key),
                    };
                }
                let records = batch.iter().map(|(key, value)| match value {
                    Some(n) => Record::json(key, &json!({"n": n})),
                    None => Record::tombstone(key),
                });
                mirror.project(records).expect("all are objects");
            }
            prop_assert_eq!(mirror.documents(), expected);
        }
    }
}
