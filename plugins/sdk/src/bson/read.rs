//! From BSON to values, borrowed from the bytes where they can be.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::Error;
use super::kind;

/// Reads one document.
pub(crate) fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Error> {
    let (document, rest) = document(bytes)?;
    if !rest.is_empty() {
        return Err(Error::because("there are bytes behind the document"));
    }
    T::deserialize(Value {
        kind: kind::DOCUMENT,
        bytes: document,
    })
}

/// The elements of a document or an array that are still to be read.
struct Elements<'de> {
    rest: &'de [u8],
    /// The value whose name has been read.
    value: Option<Value<'de>>,
}

/// One value: of a document or an array the elements alone, of all others what they are stored as.
struct Value<'de> {
    kind: u8,
    bytes: &'de [u8],
}

/// A name of a field.
struct Name<'de>(&'de [u8]);

/// Takes the elements of a document, and says where it ends.
fn document(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let len = usize::try_from(i32::from_le_bytes(array(bytes)?)).map_err(|_| cut())?;
    match bytes.split_at_checked(len) {
        Some(([_, _, _, _, elements @ .., 0], rest)) => Ok((elements, rest)),
        _ => Err(cut()),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Error> {
    bytes.first_chunk().copied().ok_or_else(cut)
}

fn cut() -> Error {
    Error::because("the document is cut short")
}

impl<'de> Elements<'de> {
    fn of(bytes: &'de [u8]) -> Self {
        Elements {
            rest: bytes,
            value: None,
        }
    }

    fn next(&mut self) -> Result<Option<(Name<'de>, Value<'de>)>, Error> {
        let Some((&kind, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        let end = rest.iter().position(|&byte| byte == 0).ok_or_else(cut)?;
        let name = Name(&rest[..end]);
        let (value, rest) = Value::first(kind, &rest[end + 1..])?;
        self.rest = rest;
        Ok(Some((name, value)))
    }
}

impl<'de> Value<'de> {
    /// Takes the value that the bytes begin with.
    fn first(kind: u8, bytes: &'de [u8]) -> Result<(Self, &'de [u8]), Error> {
        let len = match kind {
            kind::DOCUMENT | kind::ARRAY => {
                let (bytes, rest) = document(bytes)?;
                return Ok((Value { kind, bytes }, rest));
            }
            kind::DOUBLE | kind::DATE | kind::INT64 => 8,
            kind::INT32 => 4,
            kind::BOOLEAN => 1,
            kind::NULL => 0,
            kind::STRING => 4 + length(bytes)?,
            kind::BINARY => 5 + length(bytes)?,
            other => {
                return Err(Error::because(format_args!(
                    "it has a field of BSON's type {other}, which is none of this encoding"
                )));
            }
        };
        let (bytes, rest) = bytes.split_at_checked(len).ok_or_else(cut)?;
        Ok((Value { kind, bytes }, rest))
    }

    fn text(&self) -> Result<&'de str, Error> {
        match self.bytes {
            [_, _, _, _, text @ .., 0] => str::from_utf8(text).map_err(Error::because),
            _ => Err(cut()),
        }
    }

    fn integer(&self) -> Result<i64, Error> {
        Ok(i64::from_le_bytes(array(self.bytes)?))
    }
}

fn length(bytes: &[u8]) -> Result<usize, Error> {
    let len = u32::try_from(i32::from_le_bytes(array(bytes)?)).map_err(|_| cut())?;
    // What it is added to is small, so that no sum is beyond what 32 bits hold.
    Ok(len as usize)
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.kind {
            kind::DOCUMENT => visitor.visit_map(Elements::of(self.bytes)),
            kind::ARRAY => visitor.visit_seq(Elements::of(self.bytes)),
            kind::STRING => visitor.visit_borrowed_str(self.text()?),
            kind::INT64 | kind::DATE => visitor.visit_i64(self.integer()?),
            kind::INT32 => visitor.visit_i32(i32::from_le_bytes(array(self.bytes)?)),
            kind::DOUBLE => visitor.visit_f64(f64::from_le_bytes(array(self.bytes)?)),
            kind::BOOLEAN => visitor.visit_bool(self.bytes == [1]),
            // Length and subtype come before it.
            kind::BINARY => visitor.visit_borrowed_bytes(&self.bytes[5..]),
            _ => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.kind {
            kind::NULL => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.kind {
            kind::STRING => visitor.visit_enum(BorrowedStrDeserializer::new(self.text()?)),
            kind::DOCUMENT => visitor.visit_enum(Elements::of(self.bytes)),
            _ => Err(Error::because(
                "a variant of an enum is a string, or an object with one field",
            )),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

impl<'de> MapAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.next()? else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(self.value.take().expect("a value is read after its key"))
    }
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((_, value)) = self.next()? else {
            return Ok(None);
        };
        seed.deserialize(value).map(Some)
    }
}

impl<'de> EnumAccess<'de> for Elements<'de> {
    type Error = Error;
    type Variant = Value<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        mut self,
        seed: V,
    ) -> Result<(V::Value, Value<'de>), Error> {
        match (self.next()?, self.next()?) {
            (Some((name, value)), None) => Ok((seed.deserialize(name)?, value)),
            _ => Err(Error::because(
                "an object that names a variant of an enum has one field",
            )),
        }
    }
}

impl<'de> VariantAccess<'de> for Value<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Deserialize::deserialize(self)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }
}

/// The keys of a map may be numbers; their names are the digits.
macro_rules! numbers {
    ($($deserialize:ident $visit:ident),*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.text()?.parse().map_err(Error::because)?)
        }
    )*};
}

impl<'de> Name<'de> {
    fn text(&self) -> Result<&'de str, Error> {
        str::from_utf8(self.0).map_err(Error::because)
    }
}

impl<'de> Deserializer<'de> for Name<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.text()?)
    }

    /// Names of fields are compared as bytes, which need not be looked through before.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_bytes(self.0)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(BorrowedStrDeserializer::<Error>::new(self.text()?))
    }

    forward_to_deserialize_any! {
        bool char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map
        struct
    }

    numbers! {
        deserialize_i8 visit_i8, deserialize_i16 visit_i16, deserialize_i32 visit_i32,
        deserialize_i64 visit_i64, deserialize_i128 visit_i128, deserialize_u8 visit_u8,
        deserialize_u16 visit_u16, deserialize_u32 visit_u32, deserialize_u64 visit_u64,
        deserialize_u128 visit_u128, deserialize_f32 visit_f32, deserialize_f64 visit_f64
    }
}
