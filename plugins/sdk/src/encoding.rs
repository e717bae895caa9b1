//! Documents on their way between a plugin and the host, in the encoding that the projection
//! chose.

use std::str::Utf8Error;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bindings::exports::projectionist::plugin::projection::Encoding;
use crate::bson;
use crate::column::{Column, Texts};

/// The documents that were stored before a batch.
pub(crate) enum Stored<'a> {
    Json(Texts<'a>),
    Bson(&'a Column),
}

impl<'a> Stored<'a> {
    pub(crate) fn of(column: &'a Column, encoding: Encoding) -> Self {
        match encoding {
            Encoding::Json => Stored::Json(Texts::of(column)),
            Encoding::Bson => Stored::Bson(column),
        }
    }

    /// One document by its index; `None` where none is stored.
    pub(crate) fn get<D: DeserializeOwned>(&self, index: usize) -> Option<Result<D, String>> {
        match self {
            Stored::Json(texts) => texts.get(index).map(read_json),
            Stored::Bson(column) => column.get(index).map(read_bson),
        }
    }
}

/// Appends a document.
pub(crate) fn write<D: Serialize>(
    document: &D,
    encoding: Encoding,
    bytes: &mut Vec<u8>,
) -> Result<(), String> {
    match encoding {
        Encoding::Json => serde_json::to_writer(bytes, document)
            .map_err(|error| format!("cannot be written as JSON: {error}")),
        Encoding::Bson => bson::write(document, bytes)
            .map_err(|error| format!("cannot be written as BSON: {error}")),
    }
}

pub(crate) fn read_json<'a, T: Deserialize<'a>>(
    text: Result<&'a str, Utf8Error>,
) -> Result<T, String> {
    let text = text.map_err(|error| error.to_string())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn read_bson<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    bson::read(bytes).map_err(|error| error.to_string())
}

/// Reads one document, where there are not many.
pub(crate) fn read<D: DeserializeOwned>(bytes: &[u8], encoding: Encoding) -> Result<D, String> {
    match encoding {
        Encoding::Json => read_json(str::from_utf8(bytes)),
        Encoding::Bson => read_bson(bytes),
    }
}
