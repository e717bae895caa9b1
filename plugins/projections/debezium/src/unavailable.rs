//! What PostgreSQL's connector writes for a large value that an update left as it was.
//!
//! The database does not tell such values (they are "toasted"), so there is a placeholder, in a form
//! that goes with the column's type.

use projection_fields::Object;
use serde_json::value::RawValue;

/// Text, numbers of variable scale and the like; also the name and the value of an hstore.
const TEXT: &str = "__debezium_unavailable_value";

/// The same as bytes, with `binary.handling.mode` bytes or base64, and with hex.
const BASE64: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
const HEX: &str = "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565";

/// An hstore, with `hstore.handling.mode` json.
const HSTORE: &str = r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#;

/// In an array of UUIDs: version 3 of the text.
const UUID: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";

/// The longest array of numbers is the text's bytes as doubles.
const ARRAY_BYTES_MAX: usize = 512;

/// Whether a column's value is the placeholder.
pub(crate) fn is_unavailable(value: &RawValue) -> bool {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => is_placeholder(value),
        Some(b'[') if text.len() <= ARRAY_BYTES_MAX => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            match &*items {
                [only] => is_placeholder(only) || is_hstore(only),
                items => is_bytes(items),
            }
        }
        Some(b'{') => is_hstore(value),
        _ => false,
    }
}

fn is_placeholder(value: &RawValue) -> bool {
    let text = value.get();
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    match inner {
        Some(TEXT | BASE64 | HEX | UUID) => true,
        // With quotes in it, it has escapes.
        Some(inner) if inner.contains(TEXT) => {
            serde_json::from_str::<String>(text).is_ok_and(|text| text == HSTORE)
        }
        _ => false,
    }
}

/// As a map of one name.
fn is_hstore(value: &RawValue) -> bool {
    let text = value.get();
    if !text.starts_with('{') || !text.contains(TEXT) {
        return false;
    }
    Object::read(value).is_ok_and(|map| {
        let mut fields = map.iter();
        let first = fields
            .next()
            .is_some_and(|(name, value)| name == TEXT && is_placeholder(value));
        first && fields.next().is_none()
    })
}

/// An array of numbers has the text's bytes.
fn is_bytes(items: &[&RawValue]) -> bool {
    let is_byte = |(item, byte): (&&RawValue, u8)| {
        let number: Option<f64> = item.get().parse().ok();
        number == Some(byte.into())
    };
    items.len() == TEXT.len() && items.iter().zip(TEXT.bytes()).all(is_byte)
}
