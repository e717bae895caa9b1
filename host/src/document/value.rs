//! JSON of others as a value that can be put into other JSON.

use std::borrow::Cow;

use serde_json::Value;

use super::DEPTH_MAX;
use super::number::Stored;
use super::text::{Malformed, Number, Text};
use crate::fast_hash::FastSet;

/// `None` where the bytes are no JSON, or where the value would not be what they say: a number
/// would be rounded, or one of two fields of a name be left out.
pub(crate) fn exact_value(json: &[u8]) -> Option<Value> {
    let text = str::from_utf8(json).ok()?;
    let mut reader = Text::new(text);
    look(&mut reader, 0).ok()?;
    serde_json::from_str(text).ok()
}

fn look(text: &mut Text<'_>, depth: usize) -> Result<(), Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed);
    }
    match text.peek()? {
        b'{' => {
            let mut names: FastSet<Cow<'_, str>> = FastSet::default();
            text.fields(|text, name| match names.insert(name) {
                true => look(text, depth + 1),
                false => Err(Malformed),
            })
        }
        b'[' => text.items(|text, _| look(text, depth + 1)),
        b'-' | b'0'..=b'9' => match is_exact(text.number()?) {
            true => Ok(()),
            false => Err(Malformed),
        },
        _ => text.skip(depth),
    }
}

/// Whether the library reads the number without rounding it.
fn is_exact(number: Number<'_>) -> bool {
    number.text.parse::<u64>().is_ok()
        || !matches!(Stored::of(number), Ok(Stored::Decimal128(_)) | Err(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_exact_or_none() {
        for text in [
            "1",
            "18446744073709551615",
            "0.1",
            "{\"a\":[1.5e3,null,\"x\"]}",
            " -0.0 ",
        ] {
            let value = exact_value(text.as_bytes());
            assert_eq!(value, serde_json::from_str(text).ok(), "{text}");
            assert!(value.is_some());
        }
        for text in [
            "18446744073709551616",
            "[0.10000000000000001]",
            "{\"a\":1,\"a\":2}",
            "{",
            "1 2",
        ] {
            assert_eq!(exact_value(text.as_bytes()), None, "{text}");
        }
    }
}
