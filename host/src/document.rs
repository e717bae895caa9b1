//! Documents between a plugin's encoding and BSON.
//!
//! JSON is read in one pass, straight into BSON. Numbers are never rounded (`number` has the rule),
//! and MongoDB's extended JSON (`{"$date": …}`) becomes the type that it names. Of a name that an
//! object has twice, the last one counts, in JSON and in BSON. The way back gives the relaxed
//! extended form.
//!
//! Guarantee: for every document that [`from_json`] or [`from_bson`] accepts,
//! `from_json(to_json(d)) == d`, but that 32-bit integers become 64-bit ones, and NaNs one.

use bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};

mod extended;
mod from_json;
mod number;
mod plain;
mod repeats;
pub(crate) mod text;
mod to_json;
mod value;

pub use from_json::{FromJson, JsonReader, Refusal};
pub(crate) use number::Value as NumberValue;
pub use to_json::{to_json, to_json_pretty, write_json_value};
pub(crate) use value::exact_value;

use from_json::REFERENCE_FIELDS;
use plain::Seen;

/// Fields that belong to the host.
pub const RESERVED_FIELDS: [&str; 2] = ["_id", "_m"];

/// The largest document that MongoDB stores, and so the largest for every store.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The deepest that documents and arrays may lie in one another, as in serde_json: whoever goes
/// through a document does so recursively, and a deeper one could end the host's stack.
pub(crate) const DEPTH_MAX: usize = 128;

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
    #[error("{0}")]
    Refused(Refusal),
    #[error("field \"{0}\" starts with \"$\", which JSON has no form for; give it another name")]
    Dollar(String),
    #[error("it is nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
    #[error("it takes {bytes} bytes, and a document has at most {DOCUMENT_BYTES_MAX}")]
    TooLarge { bytes: usize },
}

/// Reads one JSON object as a document's body. [`JsonReader`] is for many of them.
pub fn from_json(json: &[u8]) -> Result<FromJson, Error> {
    JsonReader::default().read(json)
}

/// Reads BSON bytes as a document's body, and validates them to the last element. Of elements with
/// one name, the last one stays.
pub fn from_bson(bytes: &[u8]) -> Result<RawDocumentBuf, Error> {
    let seen = plain::look(bytes);
    if let Seen::Reserved(field) = seen {
        return Err(Error::ReservedField(field.to_owned()));
    }
    let mut body = RawDocumentBuf::from_bytes(bytes.to_vec())?;
    if seen == Seen::Unclear {
        validate(RawBsonRef::Document(&body), 0)?;
        check_names(&body)?;
        body = repeats::without(&body)?;
    }
    check_size(bytes.len())?;
    Ok(body)
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
            let mut is_reference = false;
            for (index, element) in document.iter().enumerate() {
                let (name, value) = element?;
                let name = name.as_str();
                is_reference |= depth > 0 && index == 0 && name == REFERENCE_FIELDS[0];
                if name.starts_with('$') && !(is_reference && REFERENCE_FIELDS.contains(&name)) {
                    return Err(Error::Dollar(name.to_owned()));
                }
                validate(value, depth + 1)?;
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

#[cfg(test)]
mod tests;
