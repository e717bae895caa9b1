//! Which fields a document keeps, and under which names.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use crate::name::{RESERVED, check_name};
use crate::object::{Object, kind};

/// Applied to the fields of an object itself, not to those of objects in it.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    include: Option<BTreeSet<String>>,
    exclude: BTreeSet<String>,
    rename: BTreeMap<String, String>,
}

impl Shape {
    /// Keeps the fields of `include`, or all but those of `exclude`; then gives those of `rename`
    /// their new names.
    ///
    /// # Errors
    /// What contradicts what, for whoever wrote the configuration.
    pub fn new(
        include: Option<Vec<String>>,
        exclude: Vec<String>,
        rename: BTreeMap<String, String>,
    ) -> Result<Self, String> {
        if include.as_ref().is_some_and(Vec::is_empty) {
            return Err("include is empty; list the fields to keep, or leave it out".to_owned());
        }
        if include.is_some() && !exclude.is_empty() {
            return Err(
                "include and exclude contradict one another; what include does not list is left \
                 out anyway"
                    .to_owned(),
            );
        }
        for (old, new) in &rename {
            if let Err(reason) = check_name(new) {
                return Err(format!(
                    "rename gives {old:?} the name {new:?}, which {reason}; choose another one"
                ));
            }
        }
        let kept = include.iter().flatten();
        let mut own = kept.filter(|name| RESERVED.contains(&name.as_str()));
        if let Some(name) = own.find(|name| !rename.contains_key(*name)) {
            return Err(format!(
                "include keeps the field {name:?}, which belongs to the host, so no event that has \
                 it could become a document; give it another name with rename, or leave it out"
            ));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = rename.values().find(|name| !names.insert(*name)) {
            return Err(format!("rename gives two fields the name {twice:?}"));
        }
        Ok(Shape {
            include: include.map(|names| names.into_iter().collect()),
            exclude: exclude.into_iter().collect(),
            rename,
        })
    }

    /// A document of this value. Where the shape changes nothing, it is the value's own text.
    ///
    /// # Errors
    /// Where the value is no object, or a field would get the name of another one.
    pub fn document(&self, value: &RawValue) -> Result<Box<RawValue>, String> {
        if !value.get().starts_with('{') {
            return Err(format!(
                "the value is {}, and a document is an object",
                kind(value)
            ));
        }
        if self.is_whole() {
            return Ok(value.to_owned());
        }
        let unreadable = |error: serde_json::Error| format!("the value is not JSON: {error}");
        let object = Object::read(value).map_err(unreadable)?;
        serde_json::value::to_raw_value(&self.apply(&object)?).map_err(unreadable)
    }

    /// The names that it gives, or lists to be kept: fields that documents may have.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let kept = self.include.iter().flatten();
        let kept = kept.filter(|name| !self.rename.contains_key(*name));
        kept.chain(self.rename.values()).map(String::as_str)
    }

    fn is_whole(&self) -> bool {
        self.include.is_none() && self.exclude.is_empty() && self.rename.is_empty()
    }

    /// The fields that are kept, under their names in the document.
    ///
    /// # Errors
    /// Where a field would get the name of another one.
    pub fn apply<'a>(&'a self, object: &Object<'a>) -> Result<Object<'a>, String> {
        let mut kept = object.clone();
        kept.retain(|name| match &self.include {
            Some(include) => include.contains(name),
            None => !self.exclude.contains(name),
        });
        if self.rename.is_empty() {
            return Ok(kept);
        }
        let mut renamed = Object::default();
        for (name, value) in kept.iter() {
            let new_name = self.rename.get(name);
            let stays =
                |other: &String| kept.entry(other).is_some() && !self.rename.contains_key(other);
            if let Some(taken) = new_name.filter(|other| stays(other)) {
                return Err(format!(
                    "the field {name:?} would be renamed to {taken:?}, which the event has too"
                ));
            }
            let name = new_name.map_or(name, String::as_str);
            renamed.set(Cow::Owned(name.to_owned()), value);
        }
        Ok(renamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(include: Option<&[&str]>, exclude: &[&str], rename: &[(&str, &str)]) -> Shape {
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let rename = rename.iter().map(|&(old, new)| (old.into(), new.into()));
        Shape::new(include.map(texts), texts(exclude), rename.collect()).expect("no contradiction")
    }

    fn applied(shape: &Shape, text: &str) -> Result<String, String> {
        let object: Object<'_> = serde_json::from_str(text).expect("an object");
        let kept = shape.apply(&object)?;
        Ok(serde_json::to_string(&kept).expect("JSON"))
    }

    #[test]
    fn fields_are_kept_left_out_and_renamed_in_their_order() {
        let text = r#"{"b":1.0,"a":{"b":2},"c":null}"#;
        let cases = [
            (shape(None, &[], &[]), text),
            (
                shape(Some(&["c", "b", "z"]), &[], &[]),
                r#"{"b":1.0,"c":null}"#,
            ),
            (shape(None, &["b", "z"], &[]), r#"{"a":{"b":2},"c":null}"#),
            (
                shape(Some(&["a", "b"]), &[], &[("b", "c"), ("z", "y")]),
                r#"{"c":1.0,"a":{"b":2}}"#,
            ),
            (
                shape(None, &[], &[("a", "b"), ("b", "a")]),
                r#"{"a":1.0,"b":{"b":2},"c":null}"#,
            ),
        ];
        for (shape, kept) in cases {
            assert_eq!(applied(&shape, text).as_deref(), Ok(kept), "{shape:?}");
            assert_eq!(shape.is_whole(), kept == text, "{shape:?}");
        }
    }

    #[test]
    fn a_document_is_the_value_to_the_letter_unless_its_shape_changes() {
        let text = r#"{ "z": 1.10, "a": 12345678901234567890123, "e": {"b" : []} }"#;
        let value: &RawValue = serde_json::from_str(text).expect("JSON");
        let document = |shape: &Shape| {
            let document = shape.document(value).expect("an object");
            document.get().to_owned()
        };
        assert_eq!(document(&shape(None, &[], &[])), text);
        assert_eq!(
            document(&shape(None, &["a"], &[("z", "y")])),
            r#"{"y":1.10,"e":{"b" : []}}"#
        );
        let array: &RawValue = serde_json::from_str("[1]").expect("JSON");
        assert_eq!(
            shape(None, &[], &[]).document(array).expect_err("an array"),
            "the value is an array, and a document is an object"
        );
    }

    #[test]
    fn no_field_takes_the_place_of_another() {
        let shape = shape(None, &[], &[("a", "b")]);
        let problem = applied(&shape, r#"{"a":1,"b":2}"#).expect_err("b is taken");
        assert_eq!(
            problem,
            "the field \"a\" would be renamed to \"b\", which the event has too"
        );
        assert_eq!(applied(&shape, r#"{"a":1}"#).as_deref(), Ok(r#"{"b":1}"#));
    }

    #[test]
    fn contradictions_are_told() {
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.into()).collect() };
        let rename = BTreeMap::from([("a".into(), "c".into()), ("b".into(), "c".into())]);
        let cases = [
            (
                Shape::new(Some(vec![]), vec![], BTreeMap::new()),
                "include is empty",
            ),
            (
                Shape::new(Some(names(&["a"])), names(&["b"]), BTreeMap::new()),
                "contradict one another",
            ),
            (
                Shape::new(None, vec![], rename),
                "two fields the name \"c\"",
            ),
            (
                Shape::new(None, vec![], BTreeMap::from([("a".into(), "_id".into())])),
                "rename gives \"a\" the name \"_id\", which cannot name a field",
            ),
            (
                Shape::new(None, vec![], BTreeMap::from([("a".into(), "$x".into())])),
                "for it starts with \"$\"",
            ),
            (
                Shape::new(Some(names(&["a", "_m"])), vec![], BTreeMap::new()),
                "include keeps the field \"_m\", which belongs to the host",
            ),
        ];
        for (shape, reason) in cases {
            let problem = shape.expect_err(reason);
            assert!(problem.contains(reason), "{problem}");
        }
    }
}
