//! Ids of documents made of values.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::object::kind;

/// The host takes no longer one.
const ID_BYTES_MAX: usize = 1024;

/// What stands between the values of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Separator(char);

impl Default for Separator {
    fn default() -> Self {
        Separator('|')
    }
}

impl Separator {
    /// Puts values together to an id, such that different values give different ids: a separator
    /// within a value has a backslash before it, and so has a backslash. A single value is the id
    /// as it is.
    ///
    /// # Errors
    /// Where no document can have such an id.
    pub fn join(self, values: &[String]) -> Result<String, String> {
        let id = match values {
            [only] => only.clone(),
            values => self.escaped(values),
        };
        match id.len() {
            0 => Err("the document's id would be empty".to_owned()),
            1..=ID_BYTES_MAX => Ok(id),
            bytes => Err(format!(
                "the document's id would have {bytes} bytes, and may have {ID_BYTES_MAX}"
            )),
        }
    }

    fn escaped(self, values: &[String]) -> String {
        let mut id = String::new();
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                id.push(self.0);
            }
            for c in value.chars() {
                if c == self.0 || c == '\\' {
                    id.push('\\');
                }
                id.push(c);
            }
        }
        id
    }

    /// # Errors
    /// Where it could not be told apart from what it separates.
    pub fn check(self) -> Result<(), String> {
        match self.0 {
            '\\' => Err("id-separator is a backslash, which marks separators within values".into()),
            _ => Ok(()),
        }
    }
}

/// The text of a string, and of a number or a boolean as JSON has it.
///
/// # Errors
/// What the value is, where it is something else.
pub fn scalar_text(value: &RawValue) -> Result<String, &'static str> {
    match value.get().as_bytes().first() {
        Some(b'{' | b'[' | b'n') => Err(kind(value)),
        Some(b'"') => serde_json::from_str(value.get()).map_err(|_| "no valid text"),
        _ => Ok(value.get().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_value_is_the_id_and_several_are_joined() {
        let join = |values: &[&str]| {
            let values: Vec<String> = values.iter().map(|&value| value.into()).collect();
            Separator::default().join(&values)
        };
        let ids = [
            join(&["a|b\\"]),
            join(&["DE", "shoes"]),
            join(&["D|E", "", "\\"]),
            join(&["", ""]),
        ];
        let expected = ["a|b\\", "DE|shoes", "D\\|E||\\\\", "|"];
        assert_eq!(ids, expected.map(|id| Ok(id.to_owned())));
    }

    #[test]
    fn an_id_that_no_document_can_have_is_refused() {
        let join = |value: String| Separator::default().join(&[value]);
        assert!(join("x".repeat(1024)).is_ok());
        for (value, reason) in [(String::new(), "empty"), ("x".repeat(1025), "1025 bytes")] {
            let problem = join(value).expect_err(reason);
            assert!(problem.contains(reason), "{problem}");
        }
    }

    #[test]
    fn scalars_have_a_text_and_others_have_a_name() {
        let text = |json: &str| scalar_text(serde_json::from_str(json).expect("JSON"));
        assert_eq!(text(r#""a\u0062""#).as_deref(), Ok("ab"));
        assert_eq!(text("1.50").as_deref(), Ok("1.50"));
        assert_eq!(text("true").as_deref(), Ok("true"));
        assert_eq!(text("{}"), Err("an object"));
        assert_eq!(text("[]"), Err("an array"));
        assert_eq!(text("null"), Err("null"));
        assert_eq!(text(r#""\ud800""#), Err("no valid text"));
    }

    proptest! {
        #[test]
        fn different_values_give_different_ids(
            one in prop::collection::vec("[a|\\\\]{0,3}", 3),
            other in prop::collection::vec("[a|\\\\]{0,3}", 3),
        ) {
            let separator = Separator::default();
            prop_assert_eq!(one == other, separator.join(&one) == separator.join(&other));
        }
    }
}
