//! A JSON object whose values are kept as their text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

/// The fields of an object in their order. Of a name that occurs twice, the last one counts.
#[derive(Clone, Debug, Default)]
pub struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// Reads a name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Object<'a> {
    /// # Errors
    /// Where the value is no object, naming what it is.
    pub fn read(value: &'a RawValue) -> Result<Self, serde_json::Error> {
        serde_json::from_str(value.get())
    }

    /// `None` where the field is not there, or is null.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.entry(name).filter(|value| value.get() != "null")
    }

    /// `None` where the field is not there.
    pub fn entry(&self, name: &str) -> Option<&'a RawValue> {
        let mut fields = self.0.iter().rev();
        fields.find(|(known, _)| known == name).map(|&(_, v)| v)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// Adds a field, or replaces the one of this name.
    pub fn set(&mut self, name: Cow<'a, str>, value: &'a RawValue) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::with_capacity(map.size_hint().unwrap_or(16));
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A repeated name is written once, where it stood last.
        let is_last = |index: usize, name: &str| {
            let mut later = self.0[index + 1..].iter();
            later.all(|(known, _)| known != name)
        };
        let fields = self.0.iter().enumerate();
        serializer.collect_map(
            fields
                .filter(|(index, (name, _))| is_last(*index, name))
                .map(|(_, (name, value))| (name, value)),
        )
    }
}

/// What a JSON value is, for messages.
pub fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object<'_> {
        serde_json::from_str(text).expect("an object")
    }

    #[test]
    fn values_are_kept_to_the_letter_and_fields_in_their_order() {
        let text = r#"{"z":1.10,"a":123456789012345678901234567890,"té":{"b" : []},"n":null}"#;
        let object = object(text);

        assert_eq!(serde_json::to_string(&object).expect("JSON"), text);
        assert_eq!(object.get("z").map(RawValue::get), Some("1.10"));
        assert_eq!(object.get("té").map(RawValue::get), Some(r#"{"b" : []}"#));
        assert!(object.get("n").is_none() && object.entry("n").is_some());
        assert!(object.entry("absent").is_none());
    }

    #[test]
    fn of_a_repeated_name_the_last_value_counts() {
        let mut object = object(r#"{"a":1,"b":2,"\u0061":3}"#);
        assert_eq!(object.get("a").map(RawValue::get), Some("3"));
        assert_eq!(
            serde_json::to_string(&object).expect("JSON"),
            r#"{"b":2,"a":3}"#
        );
        let four: &RawValue = serde_json::from_str("4").expect("a number");
        object.set("a".into(), four);
        assert_eq!(
            serde_json::to_string(&object).expect("JSON"),
            r#"{"b":2,"a":4}"#
        );
    }

    #[test]
    fn what_is_no_object_says_so() {
        for (text, found) in [("[1]", "sequence"), ("7", "integer"), ("\"a\"", "string")] {
            let error = serde_json::from_str::<Object<'_>>(text).expect_err(text);
            let error = error.to_string();
            assert!(
                error.contains("expected an object") && error.contains(found),
                "{error}"
            );
        }
    }
}
