//! Debezium's envelope around a change, and the key beside it.

use std::borrow::Cow;

use projection_fields::{Object, Separator, kind, scalar_text};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::Value;
use serde_json::value::RawValue;

/// An event's value: what happened to a row.
pub(crate) struct Change<'a> {
    pub(crate) op: Op,
    /// The row as it was, as far as the connector tells it.
    pub(crate) before: Option<&'a RawValue>,
    /// The row as it is; of MongoDB's connector, a string of JSON.
    pub(crate) after: Option<&'a RawValue>,
    /// All of it, for the fields that a configuration asks for.
    envelope: Object<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Created, or read by a snapshot.
    Insert,
    Update,
    Delete,
    Truncate,
    /// Written to the log by hand; no row's.
    Message,
}

/// A name as Debezium's `add.fields` has it, `source.ts_ms`, and the field it becomes,
/// `__source_ts_ms`.
pub(crate) struct Added {
    path: Vec<String>,
    pub(crate) field: String,
}

impl<'de: 'a, 'a> Deserialize<'de> for Change<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let envelope = payload(Object::deserialize(deserializer)?).map_err(D::Error::custom)?;
        let op = envelope.get("op").ok_or_else(|| {
            D::Error::custom(
                "it has no \"op\", so it is no envelope of Debezium; a topic that was unwrapped by \
                 ExtractNewRecordState is one for the projection mirror-by-fields",
            )
        })?;
        let op = match op.get() {
            r#""c""# | r#""r""# => Op::Insert,
            r#""u""# => Op::Update,
            r#""d""# => Op::Delete,
            r#""t""# => Op::Truncate,
            r#""m""# => Op::Message,
            op => {
                return Err(D::Error::custom(format_args!(
                    "its op is {op}; this projection knows c, r, u, d, t and m"
                )));
            }
        };
        Ok(Change {
            op,
            before: envelope.get("before"),
            after: envelope.get("after"),
            envelope,
        })
    }
}

impl<'a> Change<'a> {
    pub(crate) fn added(&self, added: &Added) -> Option<&'a RawValue> {
        let (first, rest) = added.path.split_first()?;
        let mut value = self.envelope.entry(first)?;
        for step in rest {
            value = Object::read(value).ok()?.entry(step)?;
        }
        Some(value)
    }
}

impl Added {
    pub(crate) fn new(name: &str) -> Self {
        Added {
            path: name.split('.').map(str::to_owned).collect(),
            field: format!("__{}", name.replace('.', "_")),
        }
    }
}

/// Takes the schema off, with which Kafka Connect's JSON converter wraps keys and values unless
/// `schemas.enable` is false.
fn payload(object: Object<'_>) -> Result<Object<'_>, serde_json::Error> {
    match (object.entry("schema"), object.entry("payload")) {
        // A key may have columns of these names, but no column of it is an object.
        (Some(schema), Some(payload))
            if object.iter().count() == 2 && schema.get().starts_with('{') =>
        {
            Object::read(payload)
        }
        _ => Ok(object),
    }
}

/// The row's id: the values of its key.
///
/// # Errors
/// What is wrong with the key, for whoever has to mend it.
pub(crate) fn id(key: &[u8], is_mongodb: bool, separator: Separator) -> Result<String, String> {
    let key: Object<'_> = serde_json::from_slice(key)
        .and_then(payload)
        .map_err(|error| format!("the key is no JSON object: {error}"))?;
    let values = key.iter().map(|(name, value)| {
        if is_mongodb {
            return document_id(value);
        }
        scalar_text(value).map_err(|found| {
            format!("the key's {name} is {found}; an id is made of strings, numbers and booleans")
        })
    });
    let values: Result<Vec<String>, String> = values.collect();
    separator.join(&values?)
}

/// The `_id` of MongoDB's connector is a string of extended JSON. Different values are different
/// ids:
///
/// - an ObjectId is its 24 digits, an integer or a double its digits, `true` and `false` themselves;
/// - a string is its text, unless that could be taken for a value of another type, as `"17"` and
///   `"596e275826f08b2730779e1f"`: then it keeps its quotes;
/// - anything else is its JSON.
fn document_id(value: &RawValue) -> Result<String, String> {
    let text: Cow<'_, str> = serde_json::from_str(value.get())
        .map_err(|_| format!("the key's id is {}, and no string of JSON", kind(value)))?;
    let json = standard(&text);
    let id: &RawValue = serde_json::from_str(&json)
        .map_err(|error| format!("the key's id {text:?} is no JSON: {error}"))?;
    if let Ok(scalar) = scalar_text(id) {
        let is_string = id.get().starts_with('"');
        return Ok(match is_string && is_ambiguous(&scalar) {
            true => Value::from(scalar).to_string(),
            false => scalar,
        });
    }
    let typed = Object::read(id).ok().and_then(|object| {
        let mut fields = object.iter();
        let (name, value) = fields.next().filter(|_| fields.next().is_none())?;
        let text = scalar_text(value).ok()?;
        match name {
            "$oid" => is_object_id(&text).then_some(text),
            "$numberInt" | "$numberLong" | "$numberDouble" => is_scalar(&text).then_some(text),
            _ => None,
        }
    });
    Ok(typed.unwrap_or_else(|| id.get().to_owned()))
}

/// JSON as the standard has it: the connector writes doubles that are no numbers as bare words.
pub(crate) fn standard(text: &str) -> Cow<'_, str> {
    const WORDS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    if !WORDS.iter().any(|word| text.contains(word)) {
        return Cow::Borrowed(text);
    }
    let mut standard = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let word = WORDS.iter().find(|word| rest.starts_with(**word));
        let len = match (next, word) {
            ('"', _) => string_len(rest),
            (_, Some(word)) => {
                standard.push_str(&format!("{{\"$numberDouble\":\"{word}\"}}"));
                rest = &rest[word.len()..];
                continue;
            }
            _ => next.len_utf8(),
        };
        standard.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    Cow::Owned(standard)
}

/// How long the string is that the text begins with.
fn string_len(text: &str) -> usize {
    let mut is_escaped = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !is_escaped => return at + 1,
            b'\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

/// Whether a string's text could be taken for the id of another type.
fn is_ambiguous(text: &str) -> bool {
    text.is_empty() || text.starts_with(['{', '[', '"']) || is_object_id(text) || is_scalar(text)
}

/// As an ObjectId is written.
fn is_object_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A number, true, false or null of JSON.
fn is_scalar(text: &str) -> bool {
    let read = serde_json::from_str::<&RawValue>(text);
    read.is_ok_and(|value| value.get() == text && !text.starts_with(['{', '[', '"']))
}
