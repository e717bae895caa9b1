//! How changes become documents.

use std::collections::{BTreeMap, BTreeSet};

use projection_fields::{Separator, Shape};
use serde::Deserialize;

use crate::DELETED_FIELD;
use crate::change::Added;

pub(crate) const SCHEMA: &str = r##"{
    "type": "object",
    "properties": {
        "connector": {
            "description": "what the changes come from: mongodb is Debezium's connector for MongoDB, relational any other",
            "enum": ["relational", "mongodb"]
        },
        "keep-deleted": {
            "description": "keep the document of a deleted row, and say in __deleted whether it is one",
            "type": "boolean"
        },
        "add-fields": {
            "description": "fields of the envelope to add, as op or source.ts_ms; they become __op and __source_ts_ms",
            "type": "array",
            "items": { "type": "string", "pattern": "^[A-Za-z_]+([.][A-Za-z_]+)*$" },
            "uniqueItems": true
        },
        "truncate": {
            "description": "what becomes of the event that a table was emptied",
            "enum": ["reject", "ignore"]
        },
        "id-separator": {
            "description": "stands between the values in the id of a row with a key of several columns",
            "type": "string", "minLength": 1, "maxLength": 1
        },
        "include": {
            "description": "the columns to keep; all where absent",
            "$ref": "#/$defs/columns",
            "minItems": 1
        },
        "exclude": { "description": "the columns to leave out", "$ref": "#/$defs/columns" },
        "rename": {
            "description": "new names of columns by their old ones",
            "type": "object",
            "additionalProperties": { "type": "string", "minLength": 1 }
        }
    },
    "additionalProperties": false,
    "$defs": {
        "columns": { "type": "array", "items": { "type": "string" }, "uniqueItems": true }
    }
}"##;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    #[serde(default)]
    connector: Connector,
    #[serde(default)]
    keep_deleted: bool,
    #[serde(default)]
    add_fields: Vec<String>,
    #[serde(default)]
    truncate: Truncate,
    #[serde(default)]
    id_separator: Separator,
    include: Option<Vec<String>>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    rename: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Connector {
    #[default]
    Relational,
    Mongodb,
}

/// What becomes of the event that a table was emptied.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Truncate {
    #[default]
    Reject,
    Ignore,
}

/// A configuration without contradictions.
pub(crate) struct Settings {
    pub(crate) connector: Connector,
    pub(crate) keep_deleted: bool,
    pub(crate) added: Vec<Added>,
    pub(crate) truncate: Truncate,
    pub(crate) separator: Separator,
    pub(crate) shape: Shape,
}

impl Settings {
    pub(crate) fn new(mut config: Config) -> Result<Self, String> {
        config.id_separator.check()?;
        let added: Vec<Added> = config
            .add_fields
            .iter()
            .map(|name| Added::new(name))
            .collect();
        let mut fields = BTreeSet::new();
        if let Some(twice) = added.iter().find(|added| !fields.insert(&added.field)) {
            return Err(format!(
                "add-fields has two fields that become {}",
                twice.field
            ));
        }
        // The host has an _id of its own, which is this one's text.
        let is_mongodb = config.connector == Connector::Mongodb;
        if is_mongodb && config.include.is_none() && !config.rename.contains_key("_id") {
            config.exclude.push("_id".to_owned());
        }
        let shape = Shape::new(config.include, config.exclude, config.rename)?;
        let of_the_envelope = |name: &&str| {
            let is_added = added.iter().any(|added| added.field == *name);
            is_added || config.keep_deleted && *name == DELETED_FIELD
        };
        if let Some(twice) = shape.names().find(of_the_envelope) {
            return Err(format!(
                "a column would have the name {twice:?}, which add-fields or keep-deleted gives to \
                 a field of its own; give the column another one with rename"
            ));
        }
        Ok(Settings {
            connector: config.connector,
            keep_deleted: config.keep_deleted,
            added,
            truncate: config.truncate,
            separator: config.id_separator,
            shape,
        })
    }
}
