//! The way to a value in an object: a JSON pointer (RFC 6901).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::value::RawValue;

use crate::object::Object;

/// Has at least one step, and each leads into an object or an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    steps: Vec<String>,
}

impl Pointer {
    /// # Errors
    /// What is no pointer, with an example of one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let steps = text.strip_prefix('/').ok_or_else(|| {
            format!("{text:?} is no JSON pointer; it starts with \"/\", as in \"/customer/city\"")
        })?;
        let steps = steps.split('/').map(|step| {
            // In this order: "~01" is "~1".
            step.replace("~1", "/").replace("~0", "~")
        });
        Ok(Pointer {
            text: text.to_owned(),
            steps: steps.collect(),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value's own name.
    pub fn last_step(&self) -> &str {
        self.steps.last().expect("a pointer has a step")
    }

    /// The value that it leads to; `None` where there is none, or where it is null.
    pub fn find<'a>(&self, object: &Object<'a>) -> Option<&'a RawValue> {
        let (first, rest) = self.steps.split_first().expect("a pointer has a step");
        let mut value = object.get(first)?;
        for step in rest {
            value = match value.get().as_bytes().first()? {
                b'{' => Object::read(value).ok()?.get(step)?,
                b'[' => {
                    let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
                    *items.get(index(step)?)?
                }
                _ => return None,
            };
        }
        (value.get() != "null").then_some(value)
    }
}

/// Array indices have no sign and no leading zero.
fn index(step: &str) -> Option<usize> {
    let canonical = step == "0" || !step.starts_with(['0', '+']);
    step.parse().ok().filter(|_| canonical)
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Pointer::parse(&text).map_err(D::Error::custom)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn find(text: &str, pointer: &str) -> Option<String> {
        let object: Object<'_> = serde_json::from_str(text).expect("an object");
        let pointer = Pointer::parse(pointer).expect("a pointer");
        pointer.find(&object).map(|value| value.get().to_owned())
    }

    #[test]
    fn a_pointer_leads_through_objects_and_arrays() {
        let text = r#"{"a": {"b": [1.50, {"c": true}]}, "x/y": 1, "m~n": 2, "": 3, "n": null}"#;
        let cases = [
            ("/a/b/0", Some("1.50")),
            ("/a/b/1/c", Some("true")),
            ("/x~1y", Some("1")),
            ("/m~0n", Some("2")),
            ("/", Some("3")),
            ("/n", None),
            ("/a/b/2", None),
            ("/a/b/00", None),
            ("/a/b/+1", None),
            ("/a/b/-", None),
            ("/x~1y/z", None),
        ];
        for (pointer, found) in cases {
            assert_eq!(find(text, pointer).as_deref(), found, "{pointer}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused_with_an_example() {
        for text in ["", "city", "#/city"] {
            let problem = Pointer::parse(text).expect_err(text);
            assert!(problem.contains("\"/customer/city\""), "{problem}");
        }
    }

    proptest! {
        /// serde_json has the standard's pointers; null and absent are one here.
        #[test]
        fn it_finds_what_the_standard_says(
            names in prop::collection::vec("[ab/~0-2]{0,2}", 1..4),
            leaf in prop_oneof![Just(json!(null)), Just(json!(7)), Just(json!([1, [2], "a"]))],
            pointer in "(/[ab~0-2]{0,3}){1,4}",
        ) {
            let mut value = leaf;
            for name in names.iter().rev() {
                value = json!({ name: value, "0": [[value]] });
            }
            // A lone "~" is an error in the standard, and leads nowhere in either.
            let expected = value.pointer(&pointer).filter(|found| !found.is_null());
            let found = find(&value.to_string(), &pointer);
            let found: Option<Value> = found.map(|text| serde_json::from_str(&text).expect("JSON"));
            prop_assert_eq!(found.as_ref(), expected);
        }
    }
}
