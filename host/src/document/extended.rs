//! Values in MongoDB's extended JSON: objects whose first name starts with a dollar.
//!
//! Reads version 2 of the format, canonical and relaxed, and what version 1 (the "strict" mode of
//! older drivers, and of Debezium's connector for MongoDB) writes in another way:
//!
//! ```text
//! {"$binary": "…", "$type": "04"}    {"$regex": "…", "$options": "i"}    {"$date": 1700000000000}
//! ```
//!
//! Not here: `{"$ref": …, "$id": …}`, which is no type but a document (`from_json`).

use std::collections::BTreeMap;

use bson::Bson;
use bson::raw::{RawBson, RawDocumentBuf, RawJavaScriptCodeWithScope};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The parts of an object, each as its text; of a name that comes twice, the last one.
type Parts<'a> = BTreeMap<String, &'a RawValue>;

/// Reads an object whose first name is `first`. `scope` reads what belongs to a piece of code.
pub(super) fn read<E: From<String>>(
    json: &str,
    first: &str,
    scope: impl FnOnce(&str) -> Result<RawDocumentBuf, E>,
) -> Result<RawBson, E> {
    let wrong = |error: &dyn std::fmt::Display| E::from(error.to_string());
    if first == "$code" || first == "$scope" {
        let parts: Parts<'_> = serde_json::from_str(json).map_err(|error| wrong(&error))?;
        if let (Some(code), Some(bindings), 2) =
            (parts.get("$code"), parts.get("$scope"), parts.len())
        {
            let code = serde_json::from_str(code.get()).map_err(|error| wrong(&error))?;
            let scope = scope(bindings.get())?;
            let code = RawJavaScriptCodeWithScope { code, scope };
            return Ok(RawBson::JavaScriptCodeWithScope(code));
        }
    }
    let mut object: Map<String, Value> =
        serde_json::from_str(json).map_err(|error| wrong(&error))?;
    modernize(&mut object);
    let value = match Bson::try_from(object).map_err(|error| wrong(&error))? {
        Bson::Document(_) => {
            return Err(E::from(format!(
                "\"{first}\" names no type of MongoDB's extended JSON"
            )));
        }
        // What a double holds may be given with any number of digits, but not as what is none.
        Bson::Double(double) if double.is_infinite() && !json.contains("Infinity") => {
            return Err(E::from(format!("{json} is more than a double holds")));
        }
        value => value,
    };
    RawBson::try_from(value).map_err(|error| wrong(&error))
}

/// Puts what version 1 of the format writes as version 2 does.
fn modernize(object: &mut Map<String, Value>) {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let modern = match object.len() {
        1 => text("$date").and_then(|date| {
            // The zone as older tools write it: +0100.
            let (time, zone) = date.split_at_checked(date.len().checked_sub(5)?)?;
            let is_old =
                zone.starts_with(['+', '-']) && zone[1..].bytes().all(|b| b.is_ascii_digit());
            let (hours, minutes) = zone.split_at(3);
            is_old.then(|| json!({ "$date": format!("{time}{hours}:{minutes}") }))
        }),
        2 => match (
            text("$binary"),
            text("$type"),
            text("$regex"),
            text("$options"),
        ) {
            (Some(base64), Some(subtype), _, _) => {
                let body = json!({ "base64": base64, "subType": format!("{subtype:0>2}") });
                Some(json!({ "$binary": body }))
            }
            (_, _, Some(pattern), Some(options)) => {
                let body = json!({ "pattern": pattern, "options": options });
                Some(json!({ "$regularExpression": body }))
            }
            _ => None,
        },
        _ => None,
    };
    if let Some(Value::Object(modern)) = modern {
        *object = modern;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{from_json, to_json};

    /// What a value is written as once it was read.
    fn rewritten(value: &str) -> Result<String, String> {
        let read = from_json(format!("{{\"v\":{value}}}").as_bytes());
        let read = read.map_err(|error| error.to_string())?;
        let json = to_json(&read.body).expect("valid BSON");
        let json = String::from_utf8(json).expect("JSON is UTF-8");
        Ok(json[5..json.len() - 1].to_owned())
    }

    #[test]
    fn each_spelling_of_a_value_is_read() {
        let cases = [
            // Dates: texts with and without milliseconds and zones, numbers, years beyond 9999.
            (
                r#"{"$date":"2013-01-01T10:00:00Z"}"#,
                r#"{"$date":"2013-01-01T10:00:00Z"}"#,
            ),
            (
                r#"{"$date":"2013-01-01T10:00:00.250+0100"}"#,
                r#"{"$date":"2013-01-01T09:00:00.25Z"}"#,
            ),
            (
                r#"{"$date":"2013-01-01T10:00:00-01:30"}"#,
                r#"{"$date":"2013-01-01T11:30:00Z"}"#,
            ),
            (
                r#"{"$date":1357034400000}"#,
                r#"{"$date":"2013-01-01T10:00:00Z"}"#,
            ),
            (
                r#"{"$date":{"$numberLong":"1357034400000"}}"#,
                r#"{"$date":"2013-01-01T10:00:00Z"}"#,
            ),
            (
                r#"{"$date":253402300799999}"#,
                r#"{"$date":"9999-12-31T23:59:59.999Z"}"#,
            ),
            (
                r#"{"$date":253402300800000}"#,
                r#"{"$date":{"$numberLong":"253402300800000"}}"#,
            ),
            (
                r#"{"$date":9223372036854775807}"#,
                r#"{"$date":{"$numberLong":"9223372036854775807"}}"#,
            ),
            (
                r#"{"$date":-9223372036854775808}"#,
                r#"{"$date":{"$numberLong":"-9223372036854775808"}}"#,
            ),
            (r#"{"$date":-1}"#, r#"{"$date":{"$numberLong":"-1"}}"#),
            (
                r#"{"$date":"1969-12-31T23:59:59Z"}"#,
                r#"{"$date":{"$numberLong":"-1000"}}"#,
            ),
            (
                r#"{"$date":1,"$date":2}"#,
                r#"{"$date":"1970-01-01T00:00:00.002Z"}"#,
            ),
            // Bytes.
            (
                r#"{"$binary":"AQI=","$type":"00"}"#,
                r#"{"$binary":{"base64":"AQI=","subType":"00"}}"#,
            ),
            (
                r#"{"$type":"4","$binary":"AQI="}"#,
                r#"{"$binary":{"base64":"AQI=","subType":"04"}}"#,
            ),
            (
                r#"{"$uuid":"c8edabc3-f738-4ca3-b68d-ab92a91478a3"}"#,
                r#"{"$binary":{"base64":"yO2rw/c4TKO2jauSqRR4ow==","subType":"04"}}"#,
            ),
            // Numbers.
            (r#"{"$numberLong":"7"}"#, "7"),
            (r#"{"$numberInt":"7"}"#, "7"),
            (r#"{"$numberDouble":"-0.0"}"#, "-0.0"),
            (r#"{"$numberDouble":"1"}"#, "1.0"),
            (r#"{"$numberDouble":"0.10000000000000000555"}"#, "0.1"),
            (r#"{"$numberDouble":"NaN"}"#, r#"{"$numberDouble":"NaN"}"#),
            (
                r#"{"$numberDouble":"-Infinity"}"#,
                r#"{"$numberDouble":"-Infinity"}"#,
            ),
            (
                r#"{"$numberDecimal":"1.50"}"#,
                r#"{"$numberDecimal":"1.50"}"#,
            ),
            (
                "18446744073709551616",
                r#"{"$numberDecimal":"18446744073709551616"}"#,
            ),
            // The others.
            (
                r#"{"$timestamp":{"t":4294967295,"i":1}}"#,
                r#"{"$timestamp":{"i":1,"t":4294967295}}"#,
            ),
            (
                r#"{"$regex":"a.b","$options":"i"}"#,
                r#"{"$regularExpression":{"options":"i","pattern":"a.b"}}"#,
            ),
            (r#"{"$undefined":true}"#, r#"{"$undefined":true}"#),
            (r#"{"$minKey":1}"#, r#"{"$minKey":1}"#),
            (
                r#"{"$code":"f","$scope":{"n":9007199254740993.5,"n":18446744073709551616}}"#,
                r#"{"$code":"f","$scope":{"n":{"$numberDecimal":"18446744073709551616"}}}"#,
            ),
            (
                r#"{"$ref":"c","$id":{"$oid":"596e275826f08b2730779e1f"},"$db":"d"}"#,
                r#"{"$ref":"c","$id":{"$oid":"596e275826f08b2730779e1f"},"$db":"d"}"#,
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(rewritten(value).as_deref(), Ok(expected), "{value}");
            assert_eq!(
                rewritten(expected).as_deref(),
                Ok(expected),
                "{expected} again"
            );
        }
    }

    #[test]
    fn what_a_value_cannot_be_is_refused() {
        let cases = [
            (r#"{"$date":"yesterday"}"#, "yesterday"),
            (r#"{"$date":9223372036854775808}"#, "did not match"),
            (r#"{"$date":1.5}"#, "did not match"),
            (r#"{"$numberDouble":"1e400"}"#, "more than a double holds"),
            (
                r#"{"$numberDecimal":"1234567890123456789012345678901234567890.5"}"#,
                "decimal128",
            ),
            (r#"{"$numberLong":"9223372036854775808"}"#, "i64"),
            (r#"{"$timestamp":{"t":4294967296,"i":1}}"#, "u32"),
            (r#"{"$code":"f","$scope":{"$n":1}}"#, "starts with"),
            (r#"{"$set":{"a":1}}"#, "names no type"),
        ];
        for (value, reason) in cases {
            let refused = rewritten(value).expect_err(value);
            assert!(refused.contains(reason), "{value}: {refused}");
            assert!(refused.contains("/v"), "{refused}");
        }
    }
}
