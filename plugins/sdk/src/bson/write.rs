//! From values to BSON, straight into one buffer.
//!
//! An element is its type, its name and its value; the type is known last, and filled in.

use serde::Serialize;
use serde::ser::{self, Serializer};

use super::Error;
use super::kind;

/// Appends a document. After an error, what it has appended is to be thrown away.
pub(crate) fn write<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Value { bytes, kind: None })
}

/// Takes one value.
struct Value<'b> {
    bytes: &'b mut Vec<u8>,
    /// Where its type goes. The outermost document has none.
    kind: Option<usize>,
}

/// Takes the elements of a document or an array, and ends it.
struct Elements<'b> {
    bytes: &'b mut Vec<u8>,
    /// Where it starts.
    start: usize,
    /// Where the document around it starts, that names the variant of an enum.
    around: Option<usize>,
    /// How many items an array has so far.
    items: usize,
}

impl<'b> Value<'b> {
    fn set(&mut self, kind: u8) -> Result<(), Error> {
        match self.kind {
            Some(at) => self.bytes[at] = kind,
            None if kind == kind::DOCUMENT => {}
            None => return Err(Error::because("a document is an object with fields")),
        }
        Ok(())
    }

    fn put<const N: usize>(mut self, kind: u8, bytes: [u8; N]) -> Result<(), Error> {
        self.set(kind)?;
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn open(mut self, kind: u8) -> Result<Elements<'b>, Error> {
        self.set(kind)?;
        let start = open(self.bytes);
        Ok(Elements {
            bytes: self.bytes,
            start,
            around: None,
            items: 0,
        })
    }

    /// Opens the document that names the variant of an enum, and what that holds within it.
    fn open_variant(mut self, variant: &str, kind: u8) -> Result<Elements<'b>, Error> {
        self.set(kind::DOCUMENT)?;
        let around = open(self.bytes);
        let at = name(self.bytes, variant)?;
        let inner = Value {
            bytes: self.bytes,
            kind: Some(at),
        };
        let mut elements = inner.open(kind)?;
        elements.around = Some(around);
        Ok(elements)
    }
}

impl Elements<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        let at = name(self.bytes, key)?;
        self.value(at, value)
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let at = name(self.bytes, &self.items.to_string())?;
        self.items += 1;
        self.value(at, value)
    }

    fn value<T: Serialize + ?Sized>(&mut self, at: usize, value: &T) -> Result<(), Error> {
        value.serialize(Value {
            bytes: self.bytes,
            kind: Some(at),
        })
    }

    fn finish(self) -> Result<(), Error> {
        close(self.bytes, self.start)?;
        self.around.map_or(Ok(()), |start| close(self.bytes, start))
    }
}

fn open(bytes: &mut Vec<u8>) -> usize {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    start
}

fn close(bytes: &mut Vec<u8>, start: usize) -> Result<(), Error> {
    bytes.push(0);
    let len = length(bytes.len() - start)?;
    bytes[start..start + 4].copy_from_slice(&len);
    Ok(())
}

/// Writes an element's name and says where its type goes.
fn name(bytes: &mut Vec<u8>, name: &str) -> Result<usize, Error> {
    if name.as_bytes().contains(&0) {
        let name = name.escape_default();
        return Err(Error::because(format_args!(
            "field \"{name}\" has a null byte in its name"
        )));
    }
    let at = bytes.len();
    bytes.push(0);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    Ok(at)
}

fn length(bytes: usize) -> Result<[u8; 4], Error> {
    let bytes = i32::try_from(bytes).map_err(|_| Error::because("it takes more than 2 GiB"))?;
    Ok(bytes.to_le_bytes())
}

/// Whole numbers are all of one type.
macro_rules! integers {
    ($($serialize:ident $integer:ident),*) => {$(
        fn $serialize(self, value: $integer) -> Result<(), Error> {
            self.serialize_i64(value.into())
        }
    )*};
}

impl<'b> Serializer for Value<'b> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Elements<'b>;
    type SerializeTuple = Elements<'b>;
    type SerializeTupleStruct = Elements<'b>;
    type SerializeTupleVariant = Elements<'b>;
    type SerializeMap = Pairs<'b>;
    type SerializeStruct = Elements<'b>;
    type SerializeStructVariant = Elements<'b>;

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.put(kind::BOOLEAN, [value.into()])
    }

    integers! {
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32
    }

    fn serialize_i64(self, value: i64) -> Result<(), Error> {
        self.put(kind::INT64, value.to_le_bytes())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        let value = i64::try_from(value).map_err(|_| {
            Error::because(format_args!(
                "{value} is more than a 64-bit signed integer holds"
            ))
        })?;
        self.serialize_i64(value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        self.put(kind::DOUBLE, value.to_le_bytes())
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(mut self, value: &str) -> Result<(), Error> {
        self.set(kind::STRING)?;
        self.bytes.extend_from_slice(&length(value.len() + 1)?);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    fn serialize_bytes(mut self, value: &[u8]) -> Result<(), Error> {
        self.set(kind::BINARY)?;
        self.bytes.extend_from_slice(&length(value.len())?);
        // The generic subtype.
        self.bytes.push(0);
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.put(kind::NULL, [])
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let mut elements = self.open(kind::DOCUMENT)?;
        elements.element(variant, value)?;
        elements.finish()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements<'b>, Error> {
        self.open(kind::ARRAY)
    }

    fn serialize_tuple(self, _: usize) -> Result<Elements<'b>, Error> {
        self.open(kind::ARRAY)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Elements<'b>, Error> {
        self.open(kind::ARRAY)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Elements<'b>, Error> {
        self.open_variant(variant, kind::ARRAY)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Pairs<'b>, Error> {
        let elements = self.open(kind::DOCUMENT)?;
        Ok(Pairs { elements, at: None })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Elements<'b>, Error> {
        self.open(kind::DOCUMENT)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Elements<'b>, Error> {
        self.open_variant(variant, kind::DOCUMENT)
    }
}

macro_rules! items {
    ($($list:ident $take:ident),*) => {$(
        impl ser::$list for Elements<'_> {
            type Ok = ();
            type Error = Error;

            fn $take<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.item(value)
            }

            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        }
    )*};
}

items! {
    SerializeSeq serialize_element, SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field
}

macro_rules! fields {
    ($($list:ident),*) => {$(
        impl ser::$list for Elements<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                self.element(key, value)
            }

            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);

/// Takes the pairs of a map.
struct Pairs<'b> {
    elements: Elements<'b>,
    /// Where the type of the value goes whose key was given.
    at: Option<usize>,
}

impl ser::SerializeMap for Pairs<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        // The JSON form of a key is its text in quotes, whatever it is in the map.
        let key = match serde_json::to_value(key) {
            Ok(serde_json::Value::String(key)) => key,
            Ok(key @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                key.to_string()
            }
            _ => return Err(Error::because("a key of a map is no text")),
        };
        self.at = Some(name(self.elements.bytes, &key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let at = self.at.take().expect("a map gives a key before its value");
        self.elements.value(at, value)
    }

    fn end(self) -> Result<(), Error> {
        self.elements.finish()
    }
}
