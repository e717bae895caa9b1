//! The id of an event that has it in its value.
//!
//! Guarantee: different values are different ids, whatever their types; `1` is not `"1"`, and no
//! number is rounded. What differs in spelling alone is one id: layout, escapes, the order of an
//! object's fields, and of numbers with a fraction or an exponent the zeros and the exponent.
//! Of a name that an object has twice, the last one counts.

use std::collections::BTreeMap;

use super::IdHash;
use crate::document::text::{Malformed, Text};
use crate::document::{DEPTH_MAX, NumberValue};

/// Begins what is hashed of anything but a string, and no text.
const NO_TEXT: u8 = 0xff;

/// `None` where the value is no JSON, or `pointer` leads to nothing or to `null`.
pub(super) fn of(value: &[u8], pointer: &str) -> Option<IdHash> {
    let steps: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect();
    let mut text = Text::new(str::from_utf8(value).ok()?);
    let found = find(&mut text, &steps, 0).ok()?;
    text.end().ok()?;
    found.map(|id| IdHash::of(&id))
}

/// Reads a value to its end, and gives what the steps lead to.
fn find(text: &mut Text<'_>, steps: &[String], depth: usize) -> Result<Option<Vec<u8>>, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed);
    }
    let Some((step, rest)) = steps.split_first() else {
        return id(text, depth);
    };
    let mut found = None;
    match text.peek()? {
        b'{' => text.fields(|text, name| {
            if name != *step {
                return text.skip(depth + 1);
            }
            found = find(text, rest, depth + 1)?;
            Ok(())
        })?,
        b'[' => {
            // Array indices have no sign and no leading zero.
            let wanted = step.parse().ok().filter(|n: &usize| n.to_string() == *step);
            text.items(|text, index| {
                if Some(index) != wanted {
                    return text.skip(depth + 1);
                }
                found = find(text, rest, depth + 1)?;
                Ok(())
            })?;
        }
        _ => text.skip(depth)?,
    }
    Ok(found)
}

/// What is hashed: a string's text, and of anything else its one spelling behind a byte that no
/// text has.
fn id(text: &mut Text<'_>, depth: usize) -> Result<Option<Vec<u8>>, Malformed> {
    match text.peek()? {
        b'"' => Ok(Some(text.string()?.into_owned().into_bytes())),
        b'n' => text.word("null").map(|()| None),
        _ => {
            let mut id = vec![NO_TEXT];
            spell(text, depth, &mut id)?;
            Ok(Some(id))
        }
    }
}

/// Writes a value in the one way that all its spellings have in common.
fn spell(text: &mut Text<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed);
    }
    match text.peek()? {
        b'{' => {
            let mut fields = BTreeMap::new();
            text.fields(|text, name| {
                let mut value = Vec::new();
                spell(text, depth + 1, &mut value)?;
                fields.insert(name, value);
                Ok(())
            })?;
            out.push(b'{');
            for (name, value) in fields {
                spell_string(&name, out);
                out.push(b':');
                out.extend_from_slice(&value);
                out.push(b',');
            }
            out.push(b'}');
        }
        b'[' => {
            out.push(b'[');
            text.items(|text, _| {
                spell(text, depth + 1, out)?;
                out.push(b',');
                Ok(())
            })?;
            out.push(b']');
        }
        b'"' => spell_string(&text.string()?, out),
        b't' | b'f' | b'n' => {
            let place = text.place()?;
            text.skip(depth)?;
            out.extend_from_slice(text.since(place).as_bytes());
        }
        _ => {
            let number = text.number()?;
            // A whole number has no other spelling. Of an exponent beyond 64 bits, each counts as
            // a number of its own.
            let value = (!number.is_whole).then(|| NumberValue::of(number.text));
            match value.flatten() {
                Some(value) => out.extend_from_slice(value.to_string().as_bytes()),
                None => out.extend_from_slice(number.text.as_bytes()),
            }
        }
    }
    Ok(())
}

fn spell_string(string: &str, out: &mut Vec<u8>) {
    // Its length in front tells where it ends.
    out.extend_from_slice(format!("\"{}\"", string.len()).as_bytes());
    out.extend_from_slice(string.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(value: &str) -> Option<IdHash> {
        of(format!("{{\"id\": {value}}}").as_bytes(), "/id")
    }

    #[test]
    fn distinct_values_are_distinct_ids() {
        let values = [
            "1",
            "\"1\"",
            "1.0",
            "true",
            "\"true\"",
            "\"null\"",
            "0",
            "-0",
            "9007199254740992",
            "9007199254740993",
            "9007199254740993.5",
            "18446744073709551616",
            "18446744073709551617",
            "-9223372036854775809",
            "1.0000000000000000000000000000000000001",
            "1.0000000000000000000000000000000000002",
            "1e400",
            "1e401",
            "1e99999999999999999999",
            "1e99999999999999999998",
            "[]",
            "[1]",
            "[\"1\"]",
            "[[1]]",
            "[1,2]",
            "\"[1]\"",
            "{}",
            "{\"a\":1}",
            "{\"a\":18446744073709551616}",
            "{\"a\":18446744073709551617}",
            "{\"a\":{}}",
            "\"\"",
        ];
        for (index, one) in values.iter().enumerate() {
            for other in &values[index + 1..] {
                assert_ne!(id(one), id(other), "{one} and {other}");
            }
            assert!(id(one).is_some(), "{one}");
        }
    }

    #[test]
    fn spelling_makes_no_other_id() {
        let same = [
            ("\"ab\"", "\"a\\u0062\""),
            ("1.50", "1.5"),
            ("1e3", "1000.0"),
            ("{\"a\":1,\"b\":[2]}", "{ \"b\" : [ 2 ], \"a\" : 1 }"),
            ("{\"a\":1}", "{\"a\":0,\"\\u0061\":1}"),
        ];
        for (one, other) in same {
            assert_eq!(id(one), id(other), "{one} and {other}");
            assert!(id(one).is_some());
        }
        // Ids of earlier versions: a string is known by its text.
        assert_eq!(id("\"a-1\""), Some(IdHash::of(b"a-1")));
    }

    #[test]
    fn a_pointer_leads_to_the_last_of_a_name() {
        let cases = [
            (r#"{"id":1,"id":"a"}"#, "/id", Some("a")),
            (r#"{"a":{"id":"x"},"a":{"id":"b"}}"#, "/a/id", Some("b")),
            (r#"{"a":{"id":"x"},"a":{}}"#, "/a/id", None),
            (r#"{"a":{"id":"x"},"a":[{"id":"b"}]}"#, "/a/0/id", Some("b")),
            (r#"{"a":["x","b"]}"#, "/a/1", Some("b")),
            (r#"{"a":["x","b"]}"#, "/a/01", None),
            (r#"{"x/y":{"m~n":"b"}}"#, "/x~1y/m~0n", Some("b")),
            (r#"{"a":1}"#, "/a/b", None),
            (r#"{"id":null}"#, "/id", None),
            (r#""b""#, "", Some("b")),
            (r#"{"id":"b"} x"#, "/id", None),
            (r#"{"id":"b","more":}"#, "/id", None),
        ];
        for (value, pointer, expected) in cases {
            let expected = expected.map(|text| IdHash::of(text.as_bytes()));
            assert_eq!(of(value.as_bytes(), pointer), expected, "{value} {pointer}");
        }
        assert_eq!(of(b"{\"id\":\"\xff\"}", "/id"), None);
    }

    proptest! {
        #[test]
        fn numbers_are_one_id_exactly_where_they_are_one_value(
            one in "-?[1-9][0-9]{0,24}\\.[0-9]{1,3}",
            other in "-?[1-9][0-9]{0,24}\\.[0-9]{1,3}",
        ) {
            let value = |text: &str| text.trim_end_matches('0').to_owned();
            prop_assert_eq!(id(&one) == id(&other), value(&one) == value(&other));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            of(&bytes, "/a/0");
            of(&bytes, "");
        }
    }
}
