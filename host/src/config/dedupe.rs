//! `[projections.NAME.dedupe]`: how events that came before are told.

use toml::{Table, Value};

use super::effective::{table, text};
use super::reader::{Field, Section};
use super::values;

/// Drops events whose id was seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedupe {
    pub id: IdSource,
    /// How many ids are remembered for each partition; 1,000,000 by default.
    pub window: u32,
    /// `Partition` by default.
    pub scope: Scope,
    /// `Project` by default.
    pub without_id: WithoutId,
}

/// Where an event has its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdSource {
    Header(String),
    /// A JSON pointer into the value.
    Value(String),
}

/// Where an id may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Partition,
    Projection,
}

/// What becomes of an event that has no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutId {
    Project,
    Reject,
}

const WINDOW: u32 = 1_000_000;

const SCOPES: [(&str, Scope); 2] = [
    ("partition", Scope::Partition),
    ("projection", Scope::Projection),
];

const WITHOUT_ID: [(&str, WithoutId); 2] = [
    ("project", WithoutId::Project),
    ("reject", WithoutId::Reject),
];

/// `None` where the section is absent, or wrong.
pub(super) fn read(mut section: Section<'_>) -> Option<Dedupe> {
    if section.is_absent() {
        return None;
    }
    let way_out = "say where events have their id, such as \"header:ce_id\" or \"value:/id\"";
    let id = section.require("id", way_out, id);
    let window = section.read("window", values::count);
    let scope = section.read("scope", values::choice(&SCOPES));
    let without_id = section.read("without-id", values::choice(&WITHOUT_ID));
    section.finish();
    Some(Dedupe {
        id: id?,
        window: window.unwrap_or(WINDOW),
        scope: scope.unwrap_or(Scope::Partition),
        without_id: without_id.unwrap_or(WithoutId::Project),
    })
}

pub(super) fn to_toml(dedupe: &Dedupe) -> Table {
    table([
        (
            "id",
            text(&match &dedupe.id {
                IdSource::Header(name) => format!("header:{name}"),
                IdSource::Value(pointer) => format!("value:{pointer}"),
            }),
        ),
        ("window", Value::from(dedupe.window)),
        ("scope", values::word(&SCOPES, dedupe.scope)),
        ("without-id", values::word(&WITHOUT_ID, dedupe.without_id)),
    ])
}

fn are_escapes_right(pointer: &str) -> bool {
    pointer
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']))
}

fn id(field: &Field<'_>) -> Result<IdSource, String> {
    let text = field.text()?;
    match text.text.split_once(':') {
        Some(("header", name)) if !name.is_empty() => Ok(IdSource::Header(name.to_owned())),
        Some(("value", pointer)) if !are_escapes_right(pointer) => Err(format!(
            "{} is no JSON pointer: a \"~\" in a name is written \"~0\", and a \"/\" \"~1\"",
            text.quoted()
        )),
        Some(("value", pointer)) if pointer.is_empty() || pointer.starts_with('/') => {
            Ok(IdSource::Value(pointer.to_owned()))
        }
        Some(("value", _)) => Err(format!(
            "{} has no JSON pointer, which starts with a slash: \"value:/id\"",
            text.quoted()
        )),
        _ => Err(format!(
            "{} is no place for an id; write \"header:\" with a header's name, or \"value:\" with a \
             JSON pointer into the value",
            text.quoted()
        )),
    }
}
