//! Keeps the latest event of each id, where the id is made of fields of the event's key or value,
//! or is the event's position.
//!
//! Apart from `mirror`, for a plugin says of a view once and for all whether its ids are keys: where
//! they are, the host writes faster.
//!
//! Guarantee: different values give different ids. Where no field is left out or renamed, the host
//! gets an event's text as it is.
//! Not here: order between partitions. Events of one id must be in one partition, or it is open
//! which of them is the latest.

use std::collections::BTreeMap;

use projection_fields::{Object, Pointer, Separator, Shape, scalar_text};
use projectionist_sdk::{Event, Ids, Ownership, Projection, Reject, export};
use serde::Deserialize;
use serde_json::value::RawValue;

struct MirrorByFields {
    id: Id,
    tombstones: Tombstones,
    shape: Shape,
}

/// What the id of an event's document is made of.
enum Id {
    Key(Parts),
    Value(Parts),
    Position,
}

struct Parts {
    pointers: Vec<Pointer>,
    separator: Separator,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    id_from: IdFrom,
    #[serde(default)]
    id: Vec<Pointer>,
    #[serde(default)]
    id_separator: Separator,
    tombstones: Option<Tombstones>,
    include: Option<Vec<String>>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    rename: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum IdFrom {
    Key,
    Value,
    Position,
}

/// What becomes of an event without a value, where the id is not in its key.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Tombstones {
    #[default]
    Reject,
    Ignore,
}

impl Projection for MirrorByFields {
    const NAME: &str = "mirror-by-fields";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "The latest value of each id, which is made of fields of the event.";
    const VIEW: &str = "mirror-by-fields";
    const OWNERSHIP: Ownership = Ownership::Shared;
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "id-from": {
                "description": "where an id comes from: the event's key or value, each a JSON object, or its topic, partition and offset",
                "enum": ["key", "value", "position"]
            },
            "id": {
                "description": "JSON pointers to the values that make up an id",
                "type": "array",
                "items": { "type": "string", "pattern": "^/" },
                "minItems": 1,
                "maxItems": 16
            },
            "id-separator": {
                "description": "stands between the values in an id",
                "type": "string", "minLength": 1, "maxLength": 1
            },
            "tombstones": {
                "description": "what becomes of an event without a value, where the id is not in the key",
                "enum": ["reject", "ignore"]
            },
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
        "required": ["id-from"],
        "additionalProperties": false
    }"#;
    type Config = Config;
    type Event<'a> = &'a RawValue;
    type Document = Box<RawValue>;

    fn new(config: Config) -> Result<Self, String> {
        config.id_separator.check()?;
        if config.id_from == IdFrom::Key && config.tombstones.is_some() {
            return Err(
                "with id-from = \"key\" a tombstone deletes its document; leave tombstones out"
                    .to_owned(),
            );
        }
        let is_position = config.id_from == IdFrom::Position;
        if is_position != config.id.is_empty() {
            return Err(
                "id lists the values that make up an id with id-from = \"key\" and \"value\", and \
                 with these alone"
                    .to_owned(),
            );
        }
        let parts = Parts {
            pointers: config.id,
            separator: config.id_separator,
        };
        Ok(MirrorByFields {
            id: match config.id_from {
                IdFrom::Key => Id::Key(parts),
                IdFrom::Value => Id::Value(parts),
                IdFrom::Position => Id::Position,
            },
            tombstones: config.tombstones.unwrap_or_default(),
            shape: Shape::new(config.include, config.exclude, config.rename)?,
        })
    }

    fn ids<'a>(&self, event: &Event<'a, &'a RawValue>, ids: &mut Ids) -> Result<(), Reject> {
        let id = match (&self.id, event.value) {
            (Id::Key(parts), _) => {
                let key = event.key().ok_or_else(|| {
                    Reject::because("the event has no key, which would hold its document's id")
                })?;
                let key: Object<'_> = serde_json::from_slice(key).map_err(|error| {
                    Reject::because(format_args!("the key is no JSON object: {error}"))
                })?;
                parts.id(&key, "key")?
            }
            (Id::Value(parts), Some(value)) => {
                let value = Object::read(value).map_err(|error| {
                    Reject::because(format_args!("the value is no JSON object: {error}"))
                })?;
                parts.id(&value, "value")?
            }
            (Id::Position, Some(_)) => {
                format!("{}#{}#{}", event.topic(), event.partition(), event.offset())
            }
            (Id::Value(_) | Id::Position, None) => match self.tombstones {
                Tombstones::Ignore => return Ok(()),
                Tombstones::Reject => {
                    return Err(Reject::because(
                        "the event has no value, and so names no document; tombstones = \"ignore\" \
                         leaves such events out",
                    ));
                }
            },
        };
        ids.add(&id);
        Ok(())
    }

    fn fold(
        &self,
        event: &Event<&RawValue>,
        _id: &str,
        document: &mut Option<Box<RawValue>>,
    ) -> Result<(), Reject> {
        let value = event.value.map(|value| self.shape.document(value));
        *document = value.transpose().map_err(Reject::because)?;
        Ok(())
    }
}

export!(MirrorByFields);

impl Parts {
    fn id(&self, of: &Object<'_>, whose: &str) -> Result<String, Reject> {
        let values = self.pointers.iter().map(|pointer| {
            let value = pointer
                .find(of)
                .ok_or_else(|| format!("the {whose} has no {pointer}, which is part of its document's id"))?;
            scalar_text(value).map_err(|found| {
                format!("the {whose}'s {pointer} is {found}; an id is made of strings, numbers and booleans")
            })
        });
        let values: Result<Vec<String>, String> = values.collect();
        let id = values.and_then(|values| self.separator.join(&values));
        id.map_err(Reject::because)
    }
}

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::{Harness, Record};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn mirror(config: &str) -> Harness<MirrorByFields> {
        Harness::new(config).expect("the configuration is right")
    }

    #[test]
    fn an_id_is_made_of_fields_of_the_key_and_a_tombstone_deletes() {
        let mut mirror = mirror(r#"{"id-from": "key", "id": ["/tenant", "/order/id"]}"#);
        let key =
            |tenant: &str, id: u32| json!({"tenant": tenant, "order": {"id": id}}).to_string();
        mirror
            .project([
                Record::json(&key("a|b", 1), &json!({"n": 1})),
                Record::json(&key("a", 1), &json!({"n": 2})),
                Record::json(&key("a", 2), &json!({"n": 3})),
                Record::json(&key("a", 1), &json!({"n": 4})),
                Record::tombstone(&key("a", 2)),
            ])
            .expect("all have an id");
        assert_eq!(
            json!(mirror.documents()),
            json!({"a\\|b|1": {"n": 1}, "a|1": {"n": 4}})
        );
    }

    #[test]
    fn an_id_is_made_of_a_field_of_the_value_and_tombstones_name_none() {
        let config =
            r#"{"id-from": "value", "id": ["/sku"], "tombstones": "ignore", "exclude": ["sku"]}"#;
        let mut mirror = mirror(config);
        mirror
            .project([
                Record::json("ignored", &json!({"sku": "a/1", "n": 1})),
                Record::tombstone("ignored"),
                Record::default().value(r#"{"sku": "a/1", "n": 1.50}"#),
            ])
            .expect("all have an id");
        let document = mirror.document("a/1").expect("it was written");
        assert_eq!(document.get(), r#"{"n":1.50}"#);
    }

    #[test]
    fn each_position_is_a_document_of_its_own() {
        let mut mirror = mirror(r#"{"id-from": "position"}"#);
        let event = |n: u32| Record::json("k", &json!({ "n": n }));
        mirror
            .project([event(1), event(2)])
            .expect("all have an id");
        mirror.project([event(3)]).expect("it has an id");
        assert_eq!(
            json!(mirror.documents()),
            json!({"test#0#0": {"n": 1}, "test#0#1": {"n": 2}, "test#0#2": {"n": 3}})
        );
    }

    #[test]
    fn an_event_that_names_no_document_is_rejected_with_the_reason() {
        let by_key = r#"{"id-from": "key", "id": ["/id"]}"#;
        let by_value = r#"{"id-from": "value", "id": ["/id"]}"#;
        let value = |text: &str| Record::default().value(text);
        let key = |text: &str| value("{}").key(text);
        let cases = [
            (by_key, value("{}"), "has no key"),
            (by_key, key("a-1"), "the key is no JSON object"),
            (by_key, key(r#"{"id": null}"#), "the key has no /id"),
            (by_key, key(r#"{"id": [1]}"#), "the key's /id is an array"),
            (by_value, value("{}"), "the value has no /id"),
            (by_value, value("7"), "the value is no JSON object"),
            (by_value, value(r#"{"id": ""}"#), "id would be empty"),
            (by_value, Record::tombstone("a"), "tombstones = \"ignore\""),
            (
                r#"{"id-from": "position"}"#,
                value("7"),
                "the value is a number",
            ),
        ];
        for (config, record, reason) in cases {
            let rejected = mirror(config).project([record]).expect_err(reason);
            assert!(rejected.reason.contains(reason), "{}", rejected.reason);
        }
    }

    #[test]
    fn a_wrong_configuration_says_why() {
        let cases = [
            ("{}", "missing field `id-from`"),
            (r#"{"id-from": "key"}"#, "id lists the values"),
            (
                r#"{"id-from": "position", "id": ["/a"]}"#,
                "with these alone",
            ),
            (
                r#"{"id-from": "key", "id": ["/a"], "tombstones": "ignore"}"#,
                "leave tombstones out",
            ),
            (r#"{"id-from": "value", "id": ["a"]}"#, "is no JSON pointer"),
            (
                r#"{"id-from": "value", "id": ["/a"], "include": []}"#,
                "include is empty",
            ),
        ];
        for (config, reason) in cases {
            let problem = Harness::<MirrorByFields>::new(config).err().expect(config);
            assert!(problem.contains(reason), "{config}: {problem}");
        }
    }

    proptest! {
        /// Whatever the batches, what is left is the last value of each pair of parts.
        #[test]
        fn what_is_left_is_the_last_value_of_each_id(
            batches in prop::collection::vec(
                prop::collection::vec(("[a|]{0,2}", "[a|]{0,2}", prop::option::of(0u32..9)), 0..6),
                0..6,
            ),
        ) {
            let mut mirror = mirror(r#"{"id-from": "key", "id": ["/x", "/y"]}"#);
            let mut expected = BTreeMap::new();
            for batch in batches {
                let mut records = Vec::new();
                for (x, y, value) in batch {
                    let key = json!({"x": x, "y": y}).to_string();
                    records.push(match value {
                        Some(n) => Record::json(&key, &json!({"n": n})),
                        None => Record::tombstone(&key),
                    });
                    match value {
                        Some(n) => expected.insert((x, y), n),
                        None => expected.remove(&(x, y)),
                    };
                }
                mirror.project(records).expect("all have an id");
            }
            prop_assert_eq!(mirror.documents().len(), expected.len());
            for ((x, y), n) in expected {
                let escaped = |part: String| part.replace('|', "\\|");
                let id = format!("{}|{}", escaped(x), escaped(y));
                let document = mirror.documents().remove(&id);
                prop_assert_eq!(document, Some(json!({"n": n})), "{}", id);
            }
        }
    }
}
