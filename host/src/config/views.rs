//! `[views.NAME]`: how a view's documents are found, besides by their ids.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::effective::{table, text};
use super::reader::{Field, Section};
use super::values;

/// A view of one of the projections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Each one path of fields or several; by default none.
    pub indexes: Vec<Vec<String>>,
}

/// What requests call something else.
const RESERVED: [&str; 6] = ["after", "wait", "fields", "sort", "limit", "cursor"];

/// MongoDB has 64 indexes in a collection at most, the one of the ids included.
const INDEXES_MAX: usize = 30;
const FIELDS_MAX: usize = 8;

/// A document has no more levels than 128, and MongoDB takes no path of 200.
const LEVELS_MAX: usize = 100;
const FIELD_BYTES_MAX: usize = 255;

pub(super) fn read(section: &Section<'_>) -> BTreeMap<String, View> {
    let mut views = BTreeMap::new();
    for (name, mut view) in section.named_sections() {
        let way_out = "list the fields to find documents by, such as [\"carrier\"]";
        let items = view.require("indexes", way_out, values::items);
        let items = items.unwrap_or_default();
        if items.len() > INDEXES_MAX {
            view.problem("indexes", format!("must not be more than {INDEXES_MAX}"));
        }
        let mut indexes = Vec::with_capacity(items.len());
        for item in items {
            match index(&item) {
                Ok(index) if indexes.contains(&index) => {
                    item.problem("declares an index again; remove it");
                }
                Ok(index) => indexes.push(index),
                Err(message) => item.problem(message),
            }
        }
        view.finish();
        views.insert(name.to_owned(), View { indexes });
    }
    views
}

fn index(field: &Field<'_>) -> Result<Vec<String>, String> {
    let text = field.text()?;
    let fields: Vec<String> = text
        .text
        .split(',')
        .map(|field| field.trim().to_owned())
        .collect();
    if fields.len() > FIELDS_MAX {
        return Err(format!("has more than {FIELDS_MAX} fields; name fewer"));
    }
    for (index, field) in fields.iter().enumerate() {
        check_field(field)?;
        if fields[..index].contains(field) {
            return Err(format!("names the field {field:?} twice; name it once"));
        }
    }
    Ok(fields)
}

fn check_field(field: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name = |name: &str| !name.is_empty() && name.chars().all(legal);
    if !field.split('.').all(name) {
        return Err(format!(
            "{field:?} is no field to index; write names of ASCII letters, digits, underscores and \
             hyphens, with dots between the levels and commas between the fields of one index"
        ));
    }
    if field.split('.').count() > LEVELS_MAX || field.len() > FIELD_BYTES_MAX {
        return Err(format!(
            "has a field of more than {LEVELS_MAX} levels or {FIELD_BYTES_MAX} bytes; index one \
             that is nearer to the top"
        ));
    }
    if RESERVED.contains(&field) {
        return Err(format!(
            "{field:?} cannot be filtered by, for requests have a parameter of that name"
        ));
    }
    if ["_id", "_m"].contains(&field.split('.').next().unwrap_or_default()) {
        return Err(format!(
            "{field:?} belongs to the host; every view is in the order of its ids without an index"
        ));
    }
    Ok(())
}

pub(super) fn to_toml(views: &BTreeMap<String, View>) -> Table {
    let entries = views.iter().map(|(name, view)| {
        let indexes = view.indexes.iter();
        let indexes = indexes.map(|fields| text(&fields.join(", "))).collect();
        let entry = table([("indexes", Value::Array(indexes))]);
        (name.clone(), Value::Table(entry))
    });
    entries.collect()
}
