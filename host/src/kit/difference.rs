//! In what two outcomes differ, by document and field.
//!
//! Guarantee: a document is named whenever something in it differs, and what is told is bounded,
//! however much differs. Not here: whether a difference is wanted (`cli::plugin`).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// One line of what is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub kind: Kind,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the lines below it are about, or how much is left out.
    Heading,
    Gone,
    Added,
}

/// A field, or a whole document, in both outcomes.
struct Change<'v> {
    /// `view/id` of a document, or the list and the place in it.
    whole: String,
    /// Names and indices within it; empty where it is there as a whole, or not.
    field: String,
    before: Option<&'v Value>,
    after: Option<&'v Value>,
}

/// A value that is longer is cut.
const VALUE_CHARS_MAX: usize = 120;

/// What is told of two outcomes: at most so many changes, and how many are left out.
pub fn lines<'v>(before: &'v Value, after: &'v Value, changes_max: usize) -> Vec<Line> {
    let mut changes = Vec::new();
    for view in names(&before["documents"], &after["documents"]) {
        let (before, after) = (&before["documents"][view], &after["documents"][view]);
        for id in names(before, after) {
            let whole = format!("{view}/{id}");
            collect(
                &mut changes,
                &whole,
                String::new(),
                before.get(id),
                after.get(id),
            );
        }
    }
    for list in ["messages", "rejected"] {
        let items = |outcome: &'v Value| outcome[list].as_array().map_or(&[][..], Vec::as_slice);
        let (before, after) = (items(before), items(after));
        for index in 0..before.len().max(after.len()) {
            let whole = format!("{list}[{index}]");
            collect(
                &mut changes,
                &whole,
                String::new(),
                before.get(index),
                after.get(index),
            );
        }
    }
    tell(&changes, changes_max)
}

fn names<'v>(one: &'v Value, other: &'v Value) -> BTreeSet<&'v String> {
    let maps = [one, other].into_iter().filter_map(Value::as_object);
    maps.flat_map(Map::keys).collect()
}

/// Notes where two values differ, as deep as both have the same parts.
fn collect<'v>(
    changes: &mut Vec<Change<'v>>,
    whole: &str,
    field: String,
    before: Option<&'v Value>,
    after: Option<&'v Value>,
) {
    if before == after {
        return;
    }
    match (before, after) {
        (Some(one @ Value::Object(_)), Some(other @ Value::Object(_))) => {
            for name in names(one, other) {
                let inner = match field.is_empty() {
                    true => name.clone(),
                    false => format!("{field}.{name}"),
                };
                collect(changes, whole, inner, one.get(name), other.get(name));
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for index in 0..one.len().max(other.len()) {
                let inner = format!("{field}[{index}]");
                collect(changes, whole, inner, one.get(index), other.get(index));
            }
        }
        _ => changes.push(Change {
            whole: whole.to_owned(),
            field,
            before,
            after,
        }),
    }
}

fn tell(changes: &[Change<'_>], changes_max: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let line = |kind, text| Line { kind, text };
    let mut heading = "";
    for change in changes.iter().take(changes_max) {
        if change.whole != heading {
            heading = &change.whole;
            lines.push(line(Kind::Heading, heading.to_owned()));
        }
        let name = match change.field.is_empty() {
            true => String::new(),
            false => format!("{}: ", change.field),
        };
        for (kind, sign, value) in [
            (Kind::Gone, '-', change.before),
            (Kind::Added, '+', change.after),
        ] {
            if let Some(value) = value {
                lines.push(line(kind, format!("  {sign} {name}{}", short(value))));
            }
        }
    }
    let left = changes.len().saturating_sub(changes_max);
    if left > 0 {
        let wholes: BTreeSet<&str> = changes.iter().map(|change| &*change.whole).collect();
        lines.push(line(
            Kind::Heading,
            format!(
                "… and {left} more differences; {} documents and messages differ in all",
                wholes.len()
            ),
        ));
    }
    lines
}

fn short(value: &Value) -> String {
    let mut text = value.to_string();
    if let Some((cut, _)) = text.char_indices().nth(VALUE_CHARS_MAX) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(before: &Value, after: &Value, changes_max: usize) -> Vec<String> {
        let lines = lines(before, after, changes_max);
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_difference_is_told_by_document_and_field() {
        let before = json!({
            "documents": { "v": {
                "a": { "n": 1, "same": true, "in": { "x": [1, 2] } },
                "b": { "n": 1 },
                "c": { "n": 1 },
            }},
            "messages": [{ "key": "k", "value": 1 }],
        });
        let after = json!({
            "documents": { "v": {
                "a": { "n": 2, "same": true, "in": { "x": [1, 3, 4] }, "new": null },
                "b": { "n": 1 },
                "d": { "n": 1.0 },
            }},
            "messages": [{ "key": "k", "value": 2 }],
            "rejected": [{ "line": 3 }],
        });
        let expected = [
            "v/a",
            "  - in.x[1]: 2",
            "  + in.x[1]: 3",
            "  + in.x[2]: 4",
            "  - n: 1",
            "  + n: 2",
            "  + new: null",
            "v/c",
            "  - {\"n\":1}",
            "v/d",
            "  + {\"n\":1.0}",
            "messages[0]",
            "  - value: 1",
            "  + value: 2",
            "rejected[0]",
            "  + {\"line\":3}",
        ];
        assert_eq!(texts(&before, &after, 100), expected);
        assert_eq!(texts(&before, &before, 100), Vec::<String>::new());
    }

    #[test]
    fn however_much_differs_what_is_told_is_bounded() {
        let outcome = |n: i64| {
            let documents: Map<String, Value> = (0..10_000)
                .map(|id| (id.to_string(), json!({ "n": n })))
                .collect();
            json!({ "documents": { "v": documents } })
        };
        let told = texts(&outcome(1), &outcome(2), 20);
        assert_eq!(told.len(), 61);
        assert_eq!(
            told[60],
            "… and 9980 more differences; 10000 documents and messages differ in all"
        );
        let long = json!({ "documents": { "v": { "a": "x".repeat(1 << 20) } } });
        assert!(texts(&json!({}), &long, 20)[1].len() < 200);
    }
}
