//! Writes documents in relaxed extended JSON.
//!
//! Not the library's own: that shows dates beyond the year 9999 as its last instant.

use std::ops::RangeInclusive;

use bson::raw::{RawBsonRef, RawDocument};
use serde::ser::{self, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::json;

use super::Error;

/// The dates that are written as texts: of the years 1970 to 9999, in milliseconds since 1970.
const HAS_TEXT: RangeInclusive<i64> = 0..=253_402_300_799_999;

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
            RawBsonRef::DateTime(date) if !HAS_TEXT.contains(&date.timestamp_millis()) => {
                let millis = date.timestamp_millis().to_string();
                json!({ "$date": { "$numberLong": millis } }).serialize(serializer)
            }
            RawBsonRef::JavaScriptCodeWithScope(code) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("$code", code.code)?;
                map.serialize_entry("$scope", &Json(RawBsonRef::Document(code.scope)))?;
                map.end()
            }
            other => bson::Bson::try_from(other)
                .map_err(ser::Error::custom)?
                .into_relaxed_extjson()
                .serialize(serializer),
        }
    }
}
