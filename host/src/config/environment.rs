//! The environment's share: keys set by `PROJECTIONIST__…`, and variables named in values.
//!
//! A variable that matches no key becomes a key that nobody knows, and is reported as such by
//! `reader`: nothing that is set is ignored.

use std::collections::BTreeMap;

use super::problem::{KeyPath, Place, Problem};
use super::tree::{self, Entry, Node, Table, Value};

/// What the name of a variable starts with that sets a key.
pub const PREFIX: &str = "PROJECTIONIST__";

pub(super) type Variables = BTreeMap<String, String>;

/// A string value with its variables put in.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) text: String,
    /// True where a variable was put in.
    pub(super) secret: bool,
}

impl Text {
    /// For messages.
    pub(super) fn quoted(&self) -> String {
        if self.secret {
            "the value".to_owned()
        } else {
            format!("{:?}", self.text)
        }
    }
}

/// Sets the keys that variables name, over what the file says.
pub(super) fn overlay(root: &mut Table, variables: &Variables) -> Vec<Problem> {
    let mut problems = Vec::new();
    // In the order of names: a variable for a table comes before those for keys in it.
    for (name, text) in variables {
        let Some(levels) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if let Err((key, message)) = set(root, levels, tree::variable(name, text)) {
            problems.push(Problem {
                place: Place::Variable(name.clone()),
                key,
                message,
            });
        }
    }
    problems
}

fn set(root: &mut Table, levels: &str, node: Node) -> Result<(), (Option<KeyPath>, String)> {
    let levels: Vec<&str> = levels.split("__").collect();
    let misnamed = |level: &&str| level.is_empty() || level.contains(|c: char| c.is_lowercase());
    if levels.iter().any(misnamed) {
        let message = format!("names no key; write it as {PREFIX}SECTION__KEY, in upper case");
        return Err((None, message));
    }

    let (last, parents) = levels.split_last().expect("split gives one item at least");
    let mut table = root;
    let mut path = KeyPath::default();
    for level in parents {
        let index = find_or_add(table, &path, level, &node.place)?;
        let entry = &mut table.0[index];
        path = path.child(&entry.name);
        open(&mut entry.node);
        table = match &mut entry.node.value {
            Value::Table(table) => table,
            other => {
                let message = format!("is {}, so no key in it can be set", other.kind());
                return Err((Some(path), message));
            }
        };
    }
    let index = find_or_add(table, &path, last, &node.place)?;
    let entry = &mut table.0[index];
    entry.place = node.place.clone();
    entry.node = node;
    Ok(())
}

/// Makes a table out of a variable that says one.
fn open(node: &mut Node) {
    if let Value::Table(table) = node.typed() {
        node.value = Value::Table(table.clone());
    }
}

/// The entry that a level of a variable's name means: the one that is spelt so, or a new one.
fn find_or_add(
    table: &mut Table,
    path: &KeyPath,
    level: &str,
    place: &Place,
) -> Result<usize, (Option<KeyPath>, String)> {
    let mut matching = (0..table.0.len()).filter(|&index| spelling(&table.0[index].name) == level);
    let found = matching.next();
    if let (Some(first), Some(second)) = (found, matching.next()) {
        let (first, second) = (&table.0[first].name, &table.0[second].name);
        let message = format!("means both {first:?} and {second:?}; set it in the file");
        return Err((Some(path.clone()), message));
    }
    if let Some(index) = found {
        return Ok(index);
    }
    table.0.push(Entry {
        name: name_of(path, level),
        place: place.clone(),
        node: Node {
            place: place.clone(),
            value: Value::Table(Table::default()),
        },
    });
    Ok(table.0.len() - 1)
}

/// A name as a variable spells it.
fn spelling(name: &str) -> String {
    name.to_uppercase().replace(['-', '.'], "_")
}

/// The name that a variable spells; ours have hyphens, librdkafka's have dots.
fn name_of(path: &KeyPath, level: &str) -> String {
    let of_librdkafka = path.0 == ["kafka", "properties"];
    let separator = if of_librdkafka { "." } else { "-" };
    level.to_lowercase().replace('_', separator)
}

/// Puts variables into a text: `${NAME}` is the variable's value, `$${` is a plain `${`.
pub(super) fn interpolate(text: &str, variables: &Variables) -> Result<Text, String> {
    let mut output = String::with_capacity(text.len());
    let mut secret = false;
    let mut missing = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, found) = rest.split_at(start);
        rest = &found["${".len()..];
        if let Some(before) = before.strip_suffix('$') {
            output.push_str(before);
            output.push_str("${");
            continue;
        }
        output.push_str(before);
        let Some((name, after)) = rest.split_once('}') else {
            return Err(
                "\"${\" without \"}\"; write \"$${\" where no variable is meant".to_owned(),
            );
        };
        match variables.get(name) {
            Some(value) => output.push_str(value),
            None => missing.push(format!("{name:?}")),
        }
        secret = true;
        rest = after;
    }
    output.push_str(rest);
    if missing.is_empty() {
        return Ok(Text {
            text: output,
            secret,
        });
    }
    Err(format!(
        "needs the environment variable {}, which is not set",
        missing.join(" and ")
    ))
}

/// Undoes [`interpolate`] for a text without secrets.
pub(super) fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_once() {
        let variables = Variables::from([
            ("A".to_owned(), "x".to_owned()),
            ("NESTED".to_owned(), "${A}".to_owned()),
        ]);
        let text = |text: &str| interpolate(text, &variables).map(|text| text.text);

        for (written, read) in [
            ("plain", "plain"),
            ("${A}", "x"),
            ("a${A}b${A}c", "axbxc"),
            ("${NESTED}", "${A}"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$", "$"),
            ("a$b{c}", "a$b{c}"),
        ] {
            assert_eq!(text(written), Ok(read.to_owned()), "{written}");
        }
        assert_eq!(
            text("${B}${A}${C}"),
            Err("needs the environment variable \"B\" and \"C\", which is not set".to_owned())
        );
        assert!(text("${A").is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_escaped_is_read_as_it_was(text in "[a${}]{0,12}") {
            let read = interpolate(&escape(&text), &Variables::new()).expect("it names no variable");
            proptest::prop_assert_eq!(read.text, text);
            proptest::prop_assert!(!read.secret);
        }
    }
}
