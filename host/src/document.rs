//! Documents between a plugin's encoding and BSON.
//!
//! JSON is read in one pass, straight into BSON: whole numbers become 64-bit integers, other
//! numbers doubles, and MongoDB's extended JSON (`{"$date": …}`) the type that it names. The way
//! back gives the relaxed extended form. For every document that [`from_json`] accepts,
//! `from_json(to_json(d)) == d`.

use bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};
use serde::ser::{self, Serialize, SerializeMap, SerializeSeq, Serializer};

mod from_json;
mod plain;

pub use from_json::{FromJson, JsonReader};

use plain::Seen;

/// Fields that belong to the host.
pub const RESERVED_FIELDS: [&str; 2] = ["_id", "_m"];

/// The largest document that MongoDB stores, and so the largest for every store.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The deepest that documents and arrays may lie in one another, as in serde_json: whoever goes
/// through a document does so recursively, and a deeper one could end the host's stack.
const DEPTH_MAX: usize = 128;

/// What the host adds to a body (`_id`, `_m`) must fit as well.
pub(crate) const ENVELOPE_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Bson(#[from] bson::error::Error),
    #[error("field \"{0}\" belongs to the host; give the document's own field another name")]
    ReservedField(String),
    #[error("it is nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
    #[error("it takes {bytes} bytes, and a document has at most {DOCUMENT_BYTES_MAX}")]
    TooLarge { bytes: usize },
}

/// Reads one JSON object as a document's body. [`JsonReader`] is for many of them.
pub fn from_json(json: &[u8]) -> Result<FromJson, Error> {
    JsonReader::default().read(json)
}

/// Reads BSON bytes as a document's body, and validates them to the last element.
pub fn from_bson(bytes: &[u8]) -> Result<RawDocumentBuf, Error> {
    let seen = plain::look(bytes);
    if let Seen::Reserved(field) = seen {
        return Err(Error::ReservedField(field.to_owned()));
    }
    let body = RawDocumentBuf::from_bytes(bytes.to_vec())?;
    if seen == Seen::Unclear {
        validate(RawBsonRef::Document(&body), 0)?;
        check_names(&body)?;
    }
    check_size(bytes.len())?;
    Ok(body)
}

/// Writes a document in relaxed extended JSON.
pub fn to_json(document: &RawDocument) -> Result<Vec<u8>, Error> {
    Ok(serde_json::to_vec(&Json(RawBsonRef::Document(document)))?)
}

/// The same for people to read: indented, one field a line.
pub fn to_json_pretty(document: &RawDocument) -> Result<Vec<u8>, Error> {
    Ok(serde_json::to_vec_pretty(&Json(RawBsonRef::Document(
        document,
    )))?)
}

/// Appends one value in relaxed extended JSON.
pub fn write_json_value(out: &mut Vec<u8>, value: RawBsonRef<'_>) -> Result<(), Error> {
    Ok(serde_json::to_writer(out, &Json(value))?)
}

fn check_names(body: &RawDocument) -> Result<(), Error> {
    for element in body.iter() {
        let (name, _) = element?;
        if RESERVED_FIELDS.contains(&name.as_str()) {
            return Err(Error::ReservedField(name.as_str().to_owned()));
        }
    }
    Ok(())
}

fn check_size(bytes: usize) -> Result<(), Error> {
    if bytes > DOCUMENT_BYTES_MAX - ENVELOPE_BYTES_MAX {
        return Err(Error::TooLarge { bytes });
    }
    Ok(())
}

fn validate(value: RawBsonRef<'_>, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep);
    }
    match value {
        RawBsonRef::Document(document) => {
            for element in document.iter() {
                validate(element?.1, depth + 1)?;
            }
        }
        RawBsonRef::Array(items) => {
            for item in items {
                validate(item?, depth + 1)?;
            }
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            validate(RawBsonRef::Document(code.scope), depth + 1)?;
        }
        _ => {}
    }
    Ok(())
}

/// Serializes BSON as relaxed extended JSON.
struct Json<'a>(RawBsonRef<'a>);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            RawBsonRef::Document(document) => {
                let mut map = serializer.serialize_map(None)?;
                for element in document.iter() {
                    let (name, value) = element.map_err(ser::Error::custom)?;
                    map.serialize_entry(name.as_str(), &Json(value))?;
                }
                map.end()
            }
            RawBsonRef::Array(items) => {
                let mut seq = serializer.serialize_seq(None)?;
                for item in items {
                    seq.serialize_element(&Json(item.map_err(ser::Error::custom)?))?;
                }
                seq.end()
            }
            RawBsonRef::String(value) => serializer.serialize_str(value),
            RawBsonRef::Boolean(value) => serializer.serialize_bool(value),
            RawBsonRef::Null => serializer.serialize_unit(),
            RawBsonRef::Int32(value) => serializer.serialize_i32(value),
            RawBsonRef::Int64(value) => serializer.serialize_i64(value),
            RawBsonRef::Double(value) if value.is_finite() => serializer.serialize_f64(value),
            other => bson::Bson::try_from(other)
                .map_err(ser::Error::custom)?
                .into_relaxed_extjson()
                .serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(json: &str) -> String {
        let read = from_json(json.as_bytes()).expect("a valid document");
        String::from_utf8(to_json(&read.body).expect("valid BSON")).expect("JSON is UTF-8")
    }

    #[test]
    fn json_keeps_its_values_and_their_order() {
        let json = r#"{"z":1,"a":-2.5,"n":null,"t":true,"s":"ü\n","l":[1,[],{}],"o":{"x":0.1}}"#;
        assert_eq!(round_trip(json), json);
    }

    #[test]
    fn whole_numbers_are_64_bit_integers_and_others_doubles() {
        let body = from_json(br#"{"i":1,"d":1.0,"m":9223372036854775807}"#)
            .expect("a valid document")
            .body;
        assert_eq!(body.get("i").expect("valid"), Some(RawBsonRef::Int64(1)));
        assert_eq!(body.get("d").expect("valid"), Some(RawBsonRef::Double(1.0)));
        assert_eq!(
            body.get("m").expect("valid"),
            Some(RawBsonRef::Int64(i64::MAX))
        );
    }

    #[test]
    fn extended_json_names_bson_types() {
        let read = from_json(br#"{"at":{"$date":"2013-01-01T10:00:00Z"}}"#).expect("valid");
        assert!(read.extended);
        let at = read.body.get_datetime("at").expect("a date");
        assert_eq!(at.timestamp_millis(), 1_357_034_400_000);
        assert_eq!(
            to_json(&read.body).expect("valid BSON"),
            br#"{"at":{"$date":"2013-01-01T10:00:00Z"}}"#
        );
    }

    #[test]
    fn what_is_no_document_is_refused_with_the_reason() {
        let cases = [
            ("not JSON", "{", "EOF"),
            ("no object", "[1]", "a JSON object"),
            ("two documents", "{}{}", "trailing"),
            (
                "a field of the host",
                r#"{"_id":"x"}"#,
                "belongs to the host",
            ),
            ("the host's metadata", r#"{"_m":{}}"#, "belongs to the host"),
            ("a key with a null byte", r#"{"a\u0000b":1}"#, "null"),
            ("an operator", r#"{"$set":{}}"#, "starts with"),
            ("an unknown type", r#"{"a":{"$nope":1}}"#, "names no type"),
            ("a late dollar", r#"{"a":{"b":1,"$c":1}}"#, "not the first"),
            (
                "too large a number",
                r#"{"a":18446744073709551615}"#,
                "64-bit",
            ),
            (
                "a number past all doubles",
                r#"{"a":1e999}"#,
                "out of range",
            ),
        ];
        for (name, json, reason) in cases {
            let error = from_json(json.as_bytes()).expect_err(name).to_string();
            assert!(error.contains(reason), "{name}: {error}");
        }
    }

    /// Arrays or documents, so many levels in one another, as BSON bytes.
    fn nested(kind: u8, levels: usize) -> Vec<u8> {
        let mut bytes = vec![5, 0, 0, 0, 0];
        for _ in 0..levels {
            let len = u32::try_from(bytes.len() + 8).expect("a small document");
            let mut outer = len.to_le_bytes().to_vec();
            outer.extend([kind, b'0', 0]);
            outer.append(&mut bytes);
            outer.push(0);
            bytes = outer;
        }
        bytes
    }

    #[test]
    fn bson_that_would_end_the_stack_is_refused() {
        for kind in [0x03, 0x04] {
            assert!(from_bson(&nested(kind, DEPTH_MAX)).is_ok());
            let error = from_bson(&nested(kind, DEPTH_MAX + 1)).expect_err("too deep");
            assert!(error.to_string().contains("128 levels"), "{error}");
        }
    }

    #[test]
    fn bson_is_validated_to_the_last_element() {
        // A boolean in an array in an array, first true and then neither true nor false.
        let valid = bson::rawdoc! { "a": [[true]] };
        let mut bytes = valid.as_bytes().to_vec();
        assert!(from_bson(&bytes).is_ok());
        let boolean = bytes.iter().rposition(|&b| b == 1).expect("it is there");
        bytes[boolean] = 7;
        assert!(from_bson(&bytes).is_err());
    }

    fn json_value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>()
                .prop_filter("JSON has finite numbers only", |n| n.is_finite())
                .prop_map(Into::into),
            "[^\0]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_survives_the_way_through_bson(
            fields in prop::collection::btree_map("[a-z]{1,4}", json_value(), 0..6)
        ) {
            let object = serde_json::Value::Object(fields.into_iter().collect());
            let body = from_json(object.to_string().as_bytes()).expect("valid").body;
            let back: serde_json::Value =
                serde_json::from_slice(&to_json(&body).expect("valid BSON")).expect("valid JSON");
            prop_assert_eq!(&back, &object);
            let again = from_json(back.to_string().as_bytes()).expect("valid").body;
            prop_assert_eq!(again, body);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            drop(from_json(&bytes));
            drop(from_bson(&bytes));
        }
    }
}
