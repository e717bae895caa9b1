//! A plugin's own configuration: a free table, handed to the plugin as JSON.

use std::fmt;

use serde_json::{Map, Number, Value as Json};

use super::reader::Field;
use super::secret::REDACTED;
use super::tree::Value;

/// A JSON object in which some values may be secrets, which hide themselves in `Debug`.
#[derive(Clone, PartialEq)]
pub struct PluginConfig {
    exposed: Json,
    /// The same with secrets redacted.
    shown: Json,
}

impl PluginConfig {
    /// The object itself, for the plugin: never for a log or a message.
    pub fn expose(&self) -> &Json {
        &self.exposed
    }

    /// The object with [`REDACTED`] in the place of each secret.
    pub fn shown(&self) -> &Json {
        &self.shown
    }

    fn same(value: impl Into<Json>) -> Self {
        let exposed = value.into();
        PluginConfig {
            shown: exposed.clone(),
            exposed,
        }
    }
}

/// An empty object.
impl Default for PluginConfig {
    fn default() -> Self {
        PluginConfig::same(Map::new())
    }
}

impl fmt::Debug for PluginConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.shown, f)
    }
}

pub(super) fn read(field: &Field<'_>) -> Option<PluginConfig> {
    match field.typed() {
        Value::Table(_) => json(field),
        other => {
            field.problem(format!("expected a table, found {}", other.kind()));
            None
        }
    }
}

/// Any value; `None` after its problems were noted.
fn json(field: &Field<'_>) -> Option<PluginConfig> {
    let mut complete = true;
    let mut exposed_items = Vec::new();
    let mut shown_items = Vec::new();
    let mut push = |name: &str, item: Option<PluginConfig>| match item {
        Some(item) => {
            exposed_items.push((name.to_owned(), item.exposed));
            shown_items.push((name.to_owned(), item.shown));
        }
        None => complete = false,
    };
    match field.typed() {
        Value::Table(table) => {
            for entry in &table.0 {
                push(&entry.name, json(&field.entry(&entry.name, &entry.node)));
            }
            complete.then(|| PluginConfig {
                exposed: exposed_items.into_iter().collect(),
                shown: shown_items.into_iter().collect(),
            })
        }
        Value::Array(items) => {
            for item in items {
                push("", json(&field.item(item)));
            }
            let array = |items: Vec<(String, Json)>| items.into_iter().map(|(_, v)| v).collect();
            complete.then(|| PluginConfig {
                exposed: array(exposed_items),
                shown: array(shown_items),
            })
        }
        value => scalar(field, value)
            .map_err(|message| field.problem(message))
            .ok(),
    }
}

fn scalar(field: &Field<'_>, value: &Value) -> Result<PluginConfig, String> {
    Ok(match value {
        Value::Integer(integer) => PluginConfig::same(
            i64::try_from(*integer)
                .map_err(|_| "out of range; an integer has 64 bits at most".to_owned())?,
        ),
        Value::Float(float) => PluginConfig::same(
            Number::from_f64(*float)
                .ok_or_else(|| "JSON has neither infinity nor \"not a number\"".to_owned())?,
        ),
        Value::Boolean(boolean) => PluginConfig::same(*boolean),
        Value::Datetime(datetime) => PluginConfig::same(datetime.as_str()),
        Value::String(text) | Value::Variable { text, .. } => {
            let text = field.interpolate(text)?;
            let shown = if text.secret { REDACTED } else { &text.text };
            PluginConfig {
                shown: shown.into(),
                exposed: text.text.into(),
            }
        }
        Value::Array(_) | Value::Table(_) => unreachable!("not a scalar"),
    })
}
