//! The configuration as it was written: TOML, each key and value with its place.
//!
//! Not here: what the keys mean (`reader` and the sections), and variables (`environment`).

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    /// Wider than what TOML promises, so that a number out of range is still known as one.
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
    /// From an environment variable: only the key decides whether it is a string.
    Variable {
        text: String,
        /// The text read as TOML, where it is any.
        parsed: Option<Box<Value>>,
    },
}

/// Entries in the order in which they were written; names are unique.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(pub(super) Vec<Entry>);

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where the name stands.
    pub(super) place: Place,
    pub(super) node: Node,
}

/// Reads a file's text; all syntax errors at once.
pub(super) fn parse(text: &str, path: &Arc<Path>) -> Result<Table, Vec<Problem>> {
    let lines = Lines::new(text, path);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(convert_table(table.get_ref(), &|span| lines.place(span)));
    }
    let problem = |error: &toml::de::Error| Problem {
        place: lines.place(error.span().unwrap_or(0..0)),
        key: None,
        message: format!("not TOML: {}", error.message()),
    };
    Err(errors.iter().map(problem).collect())
}

/// What an environment variable says.
pub(super) fn variable(name: &str, text: &str) -> Node {
    let place = Place::Variable(name.to_owned());
    let parsed = DeValue::parse(text)
        .ok()
        .map(|value| Box::new(convert(&value, &|_| place.clone()).value));
    Node {
        place: place.clone(),
        value: Value::Variable {
            text: text.to_owned(),
            parsed,
        },
    }
}

impl Node {
    /// The value for a key that is not simply a string.
    pub(super) fn typed(&self) -> &Value {
        match &self.value {
            Value::Variable {
                parsed: Some(parsed),
                ..
            } => parsed,
            value => value,
        }
    }
}

impl Value {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::String(_) | Value::Variable { .. } => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime(_) => "a date or time",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

impl Table {
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.name == name)
    }
}

/// Finds line and column of a byte.
struct Lines<'t> {
    text: &'t str,
    path: Arc<Path>,
    /// Where each line starts.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str, path: &Arc<Path>) -> Self {
        let after_breaks = text.match_indices('\n').map(|(index, _)| index + 1);
        Lines {
            text,
            path: path.clone(),
            starts: std::iter::once(0).chain(after_breaks).collect(),
        }
    }

    fn place(&self, span: Range<usize>) -> Place {
        let line = self.starts.partition_point(|&start| start <= span.start);
        let before = self.text.get(self.starts[line - 1]..span.start);
        Place::Position {
            path: self.path.clone(),
            line,
            column: before.map_or(0, |before| before.chars().count()) + 1,
        }
    }
}

type FindPlace<'f> = &'f dyn Fn(Range<usize>) -> Place;

fn convert_table(table: &DeTable<'_>, place: FindPlace<'_>) -> Table {
    let mut entries = Vec::with_capacity(table.len());
    for (name, value) in table {
        entries.push(Entry {
            name: name.get_ref().to_string(),
            place: place(name.span()),
            node: convert(value, place),
        });
    }
    Table(entries)
}

fn convert(value: &Spanned<DeValue<'_>>, place: FindPlace<'_>) -> Node {
    let converted = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => Value::Integer(
            i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX),
        ),
        DeValue::Float(float) => Value::Float(
            float
                .as_str()
                .parse()
                .expect("TOML's floats are written as Rust's are"),
        ),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| convert(item, place)).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(table, place)),
    };
    Node {
        place: place(value.span()),
        value: converted,
    }
}
