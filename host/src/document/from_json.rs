//! Reads JSON into BSON in one pass, straight into one buffer.
//!
//! Every document of every batch comes through here. Built from the library's own documents and
//! arrays, each level would be copied into the one around it, and each key be looked at again.
//!
//! An element is its type, its name and its value; the type is known last, and filled in.

use std::borrow::Cow;
use std::fmt;

use bson::raw::{RawBson, RawDocumentBuf, cstr};
use bson::spec::ElementType;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Error, RESERVED_FIELDS};

/// What a document or an array begins with.
const LENGTH_BYTES: usize = 4;

/// A document read from JSON.
#[derive(Debug)]
pub struct FromJson {
    pub body: RawDocumentBuf,
    /// True where the text named BSON types in MongoDB's extended form, of which there are
    /// several for one value: [`to_json`](super::to_json) may then spell the same document
    /// differently.
    pub extended: bool,
}

/// Reads documents one after the other, in memory of its own that it keeps.
#[derive(Debug, Default)]
pub struct JsonReader {
    bytes: Vec<u8>,
}

impl JsonReader {
    /// Reads one JSON object as a document's body. The body takes just as much memory as it has
    /// bytes, for many stay in caches.
    pub fn read(&mut self, json: &[u8]) -> Result<FromJson, Error> {
        self.bytes.clear();
        let mut writer = Writer {
            bytes: &mut self.bytes,
            extended: false,
            reserved: None,
        };
        // All of it at once: else each string would be looked through by itself.
        let text = str::from_utf8(json).map_err(<serde_json::Error as de::Error>::custom)?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Document(&mut writer).deserialize(&mut deserializer)?;
        deserializer.end()?;
        let Writer {
            extended, reserved, ..
        } = writer;
        if let Some(field) = reserved {
            return Err(Error::ReservedField(field.to_owned()));
        }
        super::check_size(self.bytes.len())?;
        let body = RawDocumentBuf::from_bytes(self.bytes.to_vec())?;
        Ok(FromJson { body, extended })
    }
}

/// What is written of one document.
struct Writer<'w> {
    bytes: &'w mut Vec<u8>,
    extended: bool,
    /// The host's own field that the document has.
    reserved: Option<&'static str>,
}

impl Writer<'_> {
    /// Begins a document or an array; [`Writer::close`] takes what this gives.
    fn open(&mut self) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        start
    }

    fn close<E: de::Error>(&mut self, start: usize) -> Result<(), E> {
        self.bytes.push(0);
        let len = length(self.bytes.len() - start)?;
        self.bytes[start..start + LENGTH_BYTES].copy_from_slice(&len);
        Ok(())
    }

    /// Writes an element: its name, and the value that comes next in `map`.
    fn element<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        if name.as_bytes().contains(&0) {
            return Err(de::Error::custom(format!(
                "field \"{}\" has a null byte in its name",
                name.escape_default()
            )));
        }
        let kind = self.name(name.as_bytes());
        self.bytes[kind] = map.next_value_seed(Value(self))? as u8;
        Ok(())
    }

    /// Writes an element's name and says where its type goes.
    fn name(&mut self, name: &[u8]) -> usize {
        let kind = self.bytes.len();
        self.bytes.push(0);
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        kind
    }

    /// The same for an item of an array, whose name is its index.
    fn index(&mut self, index: usize) -> usize {
        // The digits of the largest index there is.
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = index;
        loop {
            start -= 1;
            digits[start] = b'0' + u8::try_from(rest % 10).expect("one digit");
            rest /= 10;
            if rest == 0 {
                return self.name(&digits[start..]);
            }
        }
    }

    fn string<E: de::Error>(&mut self, value: &str) -> Result<(), E> {
        let len = length(value.len() + 1)?;
        self.bytes.extend_from_slice(&len);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        Ok(())
    }
}

/// A length as BSON has it.
fn length<E: de::Error>(bytes: usize) -> Result<[u8; 4], E> {
    let bytes = i32::try_from(bytes)
        .map_err(|_| de::Error::custom("it takes more than 2 GiB, which no document may"))?;
    Ok(bytes.to_le_bytes())
}

/// Reads a JSON object as the outermost document.
struct Document<'w, 'b>(&'w mut Writer<'b>);

/// Reads any JSON value, and says which type it became.
struct Value<'w, 'b>(&'w mut Writer<'b>);

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let start = self.0.open();
        while let Some(Key(name)) = map.next_key::<Key<'de>>()? {
            if name.starts_with('$') {
                return Err(de::Error::custom(format!(
                    "field \"{name}\" of the document starts with \"$\""
                )));
            }
            if let Some(reserved) = RESERVED_FIELDS.iter().find(|&&field| field == name) {
                self.0.reserved.get_or_insert(reserved);
            }
            self.0.element(&name, &mut map)?;
        }
        self.0.close(start)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ElementType;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ElementType, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ElementType;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<ElementType, E> {
        self.0.bytes.push(value.into());
        Ok(ElementType::Boolean)
    }

    fn visit_i64<E>(self, value: i64) -> Result<ElementType, E> {
        self.0.bytes.extend_from_slice(&value.to_le_bytes());
        Ok(ElementType::Int64)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<ElementType, E> {
        let value = i64::try_from(value).map_err(|_| {
            E::custom(format!(
                "{value} is more than a 64-bit signed integer holds"
            ))
        })?;
        self.visit_i64(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<ElementType, E> {
        self.0.bytes.extend_from_slice(&value.to_le_bytes());
        Ok(ElementType::Double)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<ElementType, E> {
        self.0.string(value)?;
        Ok(ElementType::String)
    }

    fn visit_unit<E>(self) -> Result<ElementType, E> {
        Ok(ElementType::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ElementType, A::Error> {
        let start = self.0.open();
        for index in 0.. {
            let kind = self.0.index(index);
            let Some(item) = items.next_element_seed(Value(self.0))? else {
                self.0.bytes.truncate(kind);
                break;
            };
            self.0.bytes[kind] = item as u8;
        }
        self.0.close(start)?;
        Ok(ElementType::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ElementType, A::Error> {
        let start = self.0.open();
        while let Some(Key(name)) = map.next_key::<Key<'de>>()? {
            if name.starts_with('$') {
                if self.0.bytes.len() > start + LENGTH_BYTES {
                    return Err(de::Error::custom(format!(
                        "field \"{name}\" starts with \"$\" but is not the first of its object"
                    )));
                }
                self.0.bytes.truncate(start);
                self.0.extended = true;
                return self.0.extended_value(&name, map);
            }
            self.0.element(&name, &mut map)?;
        }
        self.0.close(start)?;
        Ok(ElementType::EmbeddedDocument)
    }
}

impl Writer<'_> {
    /// Reads the rest of an object whose first key starts with `$`.
    fn extended_value<'de, A: MapAccess<'de>>(
        &mut self,
        first: &str,
        mut map: A,
    ) -> Result<ElementType, A::Error> {
        let mut object = serde_json::Map::new();
        object.insert(first.to_owned(), map.next_value()?);
        while let Some((key, value)) = map.next_entry::<String, serde_json::Value>()? {
            object.insert(key, value);
        }
        let value = match bson::Bson::try_from(object).map_err(de::Error::custom)? {
            bson::Bson::Document(_) => {
                return Err(de::Error::custom(format!(
                    "\"{first}\" names no type of MongoDB's extended JSON"
                )));
            }
            value => RawBson::try_from(value).map_err(de::Error::custom)?,
        };
        // As the only element of a document, without a name: length, type and name's end come
        // before the value, and a null after it.
        let kind = value.element_type();
        let mut around = RawDocumentBuf::new();
        around.append(cstr!(""), value);
        let bytes = around.as_bytes();
        self.bytes
            .extend_from_slice(&bytes[LENGTH_BYTES + 2..bytes.len() - 1]);
        Ok(kind)
    }
}

/// An object key, borrowed from the text where it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
