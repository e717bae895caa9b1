//! Names that an object of an event has twice: the last one counts, as everywhere in the host.
//!
//! Types that are derived for serde refuse such objects, so the text is written anew without the
//! earlier fields. It is rare, and done only once a text was refused.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::column::Column;

/// Deeper ones are refused whoever reads them.
const DEPTH_MAX: usize = 128;

/// Whether a text may have been refused for this.
pub(crate) fn is_blamed(reason: &str) -> bool {
    reason.contains("duplicate field")
}

/// The same texts, each name once. What is no JSON stays as it is.
pub(crate) fn without(texts: &Column) -> Column {
    let mut rewritten = Column::new();
    let mut text = Vec::new();
    for item in texts.iter() {
        text.clear();
        let read = item.and_then(|item| serde_json::from_slice::<&RawValue>(item).ok());
        match read.and_then(|value| write(value, 0, &mut text)) {
            Some(()) => rewritten.push(&text),
            None => rewritten.push_optional(item),
        }
    }
    rewritten
}

fn write(value: &RawValue, depth: usize, out: &mut Vec<u8>) -> Option<()> {
    if depth > DEPTH_MAX {
        return None;
    }
    let json = value.get();
    match json.as_bytes().first()? {
        b'{' => {
            let Fields(fields) = serde_json::from_str(json).ok()?;
            out.push(b'{');
            let mut is_first = true;
            for (index, (name, value)) in fields.iter().enumerate() {
                if fields[index + 1..].iter().any(|(later, _)| later == name) {
                    continue;
                }
                if !is_first {
                    out.push(b',');
                }
                is_first = false;
                serde_json::to_writer(&mut *out, name).ok()?;
                out.push(b':');
                write(value, depth + 1, out)?;
            }
            out.push(b'}');
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            out.push(b'[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, depth + 1, out)?;
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(json.as_bytes()),
    }
    Some(())
}

/// The fields of an object in their order.
struct Fields<'a>(Vec<(Name<'a>, &'a RawValue)>);

#[derive(PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_stays_and_all_else_is_as_it_was() {
        let cases = [
            (r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"b":2,"a":3}"#),
            (r#"[{"a":{"x":1,"x":1.50}}]"#, r#"[{"a":{"x":1.50}}]"#),
            (
                r#"{"n":12345678901234567890123}"#,
                r#"{"n":12345678901234567890123}"#,
            ),
            ("{\"a\":", "{\"a\":"),
        ];
        let mut texts = Column::new();
        for (text, _) in cases {
            texts.push(text.as_bytes());
        }
        texts.push_missing();
        let rewritten = without(&texts);
        for (index, (_, expected)) in cases.iter().enumerate() {
            assert_eq!(
                rewritten.get(index),
                Some(expected.as_bytes()),
                "{expected}"
            );
        }
        assert_eq!(rewritten.get(cases.len()), None);
    }
}
