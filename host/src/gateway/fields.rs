//! A stored document as JSON for readers: all of it, or some fields.
//!
//! JSON is written straight from the BSON as it lies in the store, in MongoDB's relaxed extended
//! form for types that JSON lacks. `_id` comes along always; `_m` never, for it is the host's own.

use std::sync::Arc;

use bson::raw::{RawBsonRef, RawDocument};

use crate::document::{self, write_json_value};

/// Paths of fields with dots between their names, as in MongoDB; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields(Vec<Arc<str>>);

/// More are not asked for by people.
const FIELDS_MAX: usize = 100;

impl Fields {
    /// Reads `a,b.c`; else answers what is wrong with it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let paths: Vec<Arc<str>> = text.split(',').map(Arc::from).collect();
        if paths.len() > FIELDS_MAX {
            return Err(format!("fields names more than {FIELDS_MAX} fields"));
        }
        let legal = |path: &str| path.split('.').all(|name| !name.is_empty());
        match paths.iter().find(|path| !legal(path)) {
            None => Ok(Fields(paths)),
            Some(path) => Err(format!(
                "fields names \"{path}\", which is no field; write names with dots between the \
                 levels and commas between the fields, as in fields=carrier,last.airport"
            )),
        }
    }
}

/// What is kept of a document.
#[derive(Clone, Copy)]
enum Keep<'a> {
    All,
    /// The rests of paths.
    Some(&'a [&'a str]),
}

/// Appends a stored document.
pub(super) fn write_document(
    out: &mut Vec<u8>,
    sealed: &RawDocument,
    fields: Option<&Fields>,
) -> Result<(), document::Error> {
    let paths: Vec<&str>;
    let keep = match fields {
        None => Keep::All,
        Some(fields) => {
            let chosen = fields.0.iter().map(|path| &**path);
            paths = chosen.chain(["_id"]).collect();
            Keep::Some(&paths)
        }
    };
    out.push(b'{');
    let mut first = true;
    for element in sealed.iter() {
        let (name, value) = element?;
        if name.as_str() != "_m" {
            write_field(out, &mut first, name.as_str(), value, keep)?;
        }
    }
    out.push(b'}');
    Ok(())
}

fn write_field(
    out: &mut Vec<u8>,
    first: &mut bool,
    name: &str,
    value: RawBsonRef<'_>,
    keep: Keep<'_>,
) -> Result<(), document::Error> {
    let below: Vec<&str>;
    let keep = match keep {
        Keep::All => Keep::All,
        Keep::Some(paths) => {
            if paths.contains(&name) {
                Keep::All
            } else {
                let rests = paths
                    .iter()
                    .filter_map(|path| path.strip_prefix(name)?.strip_prefix('.'));
                below = rests.collect();
                // A field that has no fields of its own has none of those that are asked for.
                let inner = matches!(value, RawBsonRef::Document(_) | RawBsonRef::Array(_));
                if below.is_empty() || !inner {
                    return Ok(());
                }
                Keep::Some(&below)
            }
        }
    };
    if !*first {
        out.push(b',');
    }
    *first = false;
    serde_json::to_writer(&mut *out, name)?;
    out.push(b':');
    write_value(out, value, keep)
}

fn write_value(
    out: &mut Vec<u8>,
    value: RawBsonRef<'_>,
    keep: Keep<'_>,
) -> Result<(), document::Error> {
    match (value, keep) {
        (RawBsonRef::Document(document), Keep::Some(_)) => {
            out.push(b'{');
            let mut first = true;
            for element in document.iter() {
                let (name, value) = element?;
                write_field(out, &mut first, name.as_str(), value, keep)?;
            }
            out.push(b'}');
            Ok(())
        }
        // As MongoDB does: of a list, the documents in it, each with what is kept of it.
        (RawBsonRef::Array(items), Keep::Some(_)) => {
            out.push(b'[');
            let mut first = true;
            for item in items {
                let item = item?;
                if matches!(item, RawBsonRef::Document(_) | RawBsonRef::Array(_)) {
                    if !first {
                        out.push(b',');
                    }
                    first = false;
                    write_value(out, item, keep)?;
                }
            }
            out.push(b']');
            Ok(())
        }
        (value, _) => write_json_value(out, value),
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    fn written(fields: Option<&str>) -> String {
        let sealed = rawdoc! {
            "_id": "N1",
            "legs": 4_i64,
            "last": { "at": "JFK", "on": bson::DateTime::from_millis(0), "by": { "x": 1 } },
            "list": [{ "a": 1, "b": 2 }, 3, { "b": 4 }],
            "_m": { "rev": 1_i64 },
        };
        let fields = fields.map(|text| Fields::read(text).expect("fields"));
        let mut out = Vec::new();
        write_document(&mut out, &sealed, fields.as_ref()).expect("valid BSON");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn fields_are_chosen_by_their_paths() {
        let all = r#"{"_id":"N1","legs":4,"last":{"at":"JFK","on":{"$date":"1970-01-01T00:00:00Z"},"by":{"x":1}},"list":[{"a":1,"b":2},3,{"b":4}]}"#;
        let cases = [
            (None, all),
            (Some("legs"), r#"{"_id":"N1","legs":4}"#),
            (Some("none"), r#"{"_id":"N1"}"#),
            (Some("_m"), r#"{"_id":"N1"}"#),
            (Some("legs.x"), r#"{"_id":"N1"}"#),
            (
                Some("last.at,legs"),
                r#"{"_id":"N1","legs":4,"last":{"at":"JFK"}}"#,
            ),
            (Some("last.by.x"), r#"{"_id":"N1","last":{"by":{"x":1}}}"#),
            (Some("list.b"), r#"{"_id":"N1","list":[{"b":2},{"b":4}]}"#),
        ];
        for (fields, expected) in cases {
            assert_eq!(written(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn what_names_no_field_is_refused() {
        for text in ["", ",", "a,,b", "a..b", ".a", "a."] {
            assert!(Fields::read(text).is_err(), "{text}");
        }
        assert!(Fields::read(&"a,".repeat(FIELDS_MAX)).is_err());
    }
}
