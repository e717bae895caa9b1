//! What is grouped by what, and what is made of each group.

use std::collections::{BTreeMap, BTreeSet};

use projection_fields::{Pointer, Separator, check_name};
use serde::Deserialize;

use crate::date::Unit;

pub(crate) const SCHEMA: &str = r##"{
    "type": "object",
    "properties": {
        "group-by": {
            "description": "the values that name an event's group; one document counts all where there are none",
            "type": "array",
            "maxItems": 16,
            "items": {
                "anyOf": [
                    { "$ref": "#/$defs/pointer" },
                    {
                        "type": "object",
                        "properties": {
                            "pointer": { "$ref": "#/$defs/pointer" },
                            "as": { "$ref": "#/$defs/name" },
                            "unit": {
                                "description": "the value is a date, and the group is its hour, day, month or year, in UTC",
                                "enum": ["hour", "day", "month", "year"]
                            }
                        },
                        "required": ["pointer"],
                        "additionalProperties": false
                    }
                ]
            }
        },
        "count": { "description": "the field that counts events", "$ref": "#/$defs/name" },
        "sum": { "description": "fields that add up values", "$ref": "#/$defs/values" },
        "min": { "description": "fields with the smallest value", "$ref": "#/$defs/values" },
        "max": { "description": "fields with the largest value", "$ref": "#/$defs/values" },
        "missing": {
            "description": "what becomes of an event that lacks a value of group-by",
            "enum": ["reject", "ignore"]
        },
        "id-separator": {
            "description": "stands between the values in a document's id",
            "type": "string", "minLength": 1, "maxLength": 1
        }
    },
    "additionalProperties": false,
    "$defs": {
        "pointer": { "description": "a JSON pointer", "type": "string", "pattern": "^/" },
        "name": { "type": "string", "minLength": 1, "pattern": "^[^$]" },
        "values": {
            "type": "object",
            "propertyNames": { "$ref": "#/$defs/name" },
            "additionalProperties": { "$ref": "#/$defs/pointer" }
        }
    }
}"##;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    #[serde(default)]
    group_by: Vec<GroupBy>,
    count: Option<String>,
    #[serde(default)]
    sum: BTreeMap<String, Pointer>,
    #[serde(default)]
    min: BTreeMap<String, Pointer>,
    #[serde(default)]
    max: BTreeMap<String, Pointer>,
    #[serde(default)]
    missing: Missing,
    #[serde(default)]
    id_separator: Separator,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum GroupBy {
    Pointer(Pointer),
    Named(Named),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    pointer: Pointer,
    r#as: Option<String>,
    unit: Option<Unit>,
}

/// What becomes of an event that lacks a value that its group is named by.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Missing {
    #[default]
    Reject,
    Ignore,
}

/// A value that names a group.
pub(crate) struct Group {
    pub(crate) field: String,
    pub(crate) of: Pointer,
    /// Where it is a date: how much of it names the group.
    pub(crate) unit: Option<Unit>,
}

/// What a field of a document is made of.
pub(crate) struct Aggregate {
    pub(crate) field: String,
    pub(crate) of: Pointer,
    pub(crate) by: By,
}

#[derive(Clone, Copy)]
pub(crate) enum By {
    Sum,
    Min,
    Max,
}

/// A configuration without contradictions.
pub(crate) struct Plan {
    /// The fields that say which group it is.
    pub(crate) groups: Vec<Group>,
    pub(crate) count: String,
    pub(crate) aggregates: Vec<Aggregate>,
    pub(crate) missing: Missing,
    pub(crate) separator: Separator,
}

impl Plan {
    pub(crate) fn new(config: Config) -> Result<Self, String> {
        config.id_separator.check()?;
        let groups = config.group_by.into_iter().map(|group| {
            let (of, name, unit) = match group {
                GroupBy::Pointer(pointer) => (pointer, None, None),
                GroupBy::Named(named) => (named.pointer, named.r#as, named.unit),
            };
            let field = name.unwrap_or_else(|| of.last_step().to_owned());
            Group { field, of, unit }
        });
        let aggregates = [
            (By::Sum, config.sum),
            (By::Min, config.min),
            (By::Max, config.max),
        ];
        let aggregates = aggregates.into_iter().flat_map(|(by, fields)| {
            let aggregate = move |(field, of)| Aggregate { field, of, by };
            fields.into_iter().map(aggregate)
        });
        let plan = Plan {
            groups: groups.collect(),
            count: config.count.unwrap_or_else(|| "count".to_owned()),
            aggregates: aggregates.collect(),
            missing: config.missing,
            separator: config.id_separator,
        };
        plan.check_names()?;
        Ok(plan)
    }

    fn check_names(&self) -> Result<(), String> {
        let groups = self.groups.iter().map(|group| &group.field);
        let aggregates = self.aggregates.iter().map(|aggregate| &aggregate.field);
        let mut names = BTreeSet::new();
        for name in groups.chain([&self.count]).chain(aggregates) {
            if let Err(reason) = check_name(name) {
                return Err(format!(
                    "{name:?} {reason}; give it another name, a value of group-by as \
                     {{ pointer = \"/…\", as = \"name\" }}"
                ));
            }
            if !names.insert(name) {
                return Err(format!(
                    "two fields of a document would be named {name:?}; give one another name, a \
                     value of group-by as {{ pointer = \"/…\", as = \"name\" }}"
                ));
            }
        }
        Ok(())
    }
}
