//! Counts events by group: a document for each group, with sums, smallest and largest values.
//!
//! A group is named by values of the event, or by the hour, day, month or year of a date. Its document has these values, how many events there
//! were, and what the configuration asks for.
//!
//! Guarantee: a document does not depend on the order of events. Sums are exact: integers stay
//! integers, decimals are decimals and not doubles, and what would have to be rounded is rejected.
//! Not here: taking events back. A tombstone counts nothing.

use std::cmp::Ordering;

use projection_fields::{Object, kind, scalar_text};
use projectionist_sdk::{Event, Ids, Ownership, Projection, Reject, export};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

mod config;
mod date;
mod decimal;

use config::{Aggregate, By, Config, Group, Missing, Plan};
use decimal::Decimal;

/// The id of the document that counts all events, where there is nothing to group by.
const ALL: &str = "all";

struct Count(Plan);

impl Projection for Count {
    const NAME: &str = "count";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "How many events each group has, with sums and extremes.";
    const VIEW: &str = "count";
    const OWNERSHIP: Ownership = Ownership::Shared;
    const CONFIG_SCHEMA: &str = config::SCHEMA;
    type Config = Config;
    type Event<'a> = Object<'a>;
    type Document = Map<String, Value>;

    fn new(config: Config) -> Result<Self, String> {
        Plan::new(config).map(Count)
    }

    fn ids<'a>(&self, event: &Event<'a, Object<'a>>, ids: &mut Ids) -> Result<(), Reject> {
        let Some(value) = &event.value else {
            return Ok(()); // a tombstone
        };
        if self.0.groups.is_empty() {
            ids.add(ALL);
        } else if let Some(group) = self.group(value)? {
            ids.add(&self.0.separator.join(&group).map_err(Reject::because)?);
        }
        Ok(())
    }

    fn fold(
        &self,
        event: &Event<Object>,
        _id: &str,
        document: &mut Option<Map<String, Value>>,
    ) -> Result<(), Reject> {
        let Some(value) = &event.value else {
            return Ok(());
        };
        if document.is_none() {
            *document = Some(self.first(value)?);
        }
        let document = document.get_or_insert_default();
        let count = document.get(&self.0.count).and_then(Value::as_u64);
        document.insert(self.0.count.clone(), (count.unwrap_or(0) + 1).into());
        for aggregate in &self.0.aggregates {
            aggregate.fold(value, document)?;
        }
        Ok(())
    }
}

export!(Count);

impl Count {
    /// The values that name the event's group; `None` where the event is to be ignored.
    fn group(&self, value: &Object<'_>) -> Result<Option<Vec<String>>, Reject> {
        let mut group = Vec::with_capacity(self.0.groups.len());
        for Group { of, unit, .. } in &self.0.groups {
            match (of.find(value), unit, self.0.missing) {
                (Some(found), Some(unit), _) => group.push(unit.of(found).ok_or_else(|| {
                    Reject::because(format_args!(
                        "{of} is {found}, and no date of the years 0 to 9999; dates are texts as \
                         2024-05-01 and 2024-05-01T12:00:00Z, or milliseconds since 1970"
                    ))
                })?),
                (Some(found), None, _) => group.push(text(found).map_err(|found| {
                    Reject::because(format_args!(
                        "{of} is {found}, which names no group; strings, numbers and booleans do"
                    ))
                })?),
                (None, _, Missing::Ignore) => return Ok(None),
                (None, _, Missing::Reject) => {
                    return Err(Reject::because(format_args!(
                        "the event has no {of}, which names its group"
                    )));
                }
            }
        }
        Ok(Some(group))
    }

    /// The document of a group without events.
    fn first(&self, value: &Object<'_>) -> Result<Map<String, Value>, Reject> {
        let names = self.0.groups.iter().map(|group| group.field.clone());
        let group = self.group(value)?.unwrap_or_default();
        Ok(names.zip(group.into_iter().map(Value::from)).collect())
    }
}

/// The text of a value that names a group: equal numbers have one text.
fn text(value: &RawValue) -> Result<String, &'static str> {
    let text = scalar_text(value)?;
    if kind(value) != "a number" {
        return Ok(text);
    }
    let number = Decimal::parse(&text).ok_or("a number of too many digits")?;
    Ok(number.to_string())
}

/// A value that can be compared, numbers before strings, as MongoDB sorts them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Comparable {
    Number(Decimal),
    Text(String),
}

impl Comparable {
    fn from_field(field: &Value) -> Option<Self> {
        match field {
            Value::String(text) => Some(Comparable::Text(text.clone())),
            _ => Decimal::from_field(field).map(Comparable::Number),
        }
    }

    fn into_field(self) -> Value {
        match self {
            Comparable::Number(number) => number.to_field(),
            Comparable::Text(text) => text.into(),
        }
    }
}

impl Aggregate {
    /// A value that the event lacks, or that is null, changes nothing.
    fn fold(&self, event: &Object<'_>, document: &mut Map<String, Value>) -> Result<(), Reject> {
        let Some(found) = self.of.find(event) else {
            return Ok(());
        };
        let stored = document.get(&self.field);
        let folded = match self.by {
            By::Sum => {
                let stored = stored.map_or_else(|| Decimal::parse("0"), Decimal::from_field);
                let stored = stored.ok_or_else(|| self.unreadable())?;
                let sum = stored.add(self.number(found)?).map_err(|too_long| {
                    Reject::because(format_args!(
                        "the sum \"{}\" would have {too_long}",
                        self.field
                    ))
                })?;
                sum.to_field()
            }
            By::Min => self.extreme(stored, found, Ordering::Less)?,
            By::Max => self.extreme(stored, found, Ordering::Greater)?,
        };
        document.insert(self.field.clone(), folded);
        Ok(())
    }

    /// The found value where it compares so with the stored one, which stays otherwise.
    fn extreme(
        &self,
        stored: Option<&Value>,
        found: &RawValue,
        wanted: Ordering,
    ) -> Result<Value, Reject> {
        let found = match kind(found) {
            "a string" => Comparable::Text(serde_json::from_str(found.get())?),
            _ => Comparable::Number(self.number(found)?),
        };
        let Some(field) = stored else {
            return Ok(found.into_field());
        };
        let stored = Comparable::from_field(field).ok_or_else(|| self.unreadable())?;
        Ok(match found.cmp(&stored) == wanted {
            true => found.into_field(),
            false => field.clone(),
        })
    }

    fn number(&self, found: &RawValue) -> Result<Decimal, Reject> {
        let Aggregate { field, of, by } = self;
        if kind(found) != "a number" {
            let takes = match by {
                By::Sum => "numbers",
                By::Min | By::Max => "numbers and strings",
            };
            return Err(Reject::because(format_args!(
                "{of} is {}, and \"{field}\" takes {takes}",
                kind(found)
            )));
        }
        Decimal::parse(found.get()).ok_or_else(|| {
            Reject::because(format_args!(
                "{of} is {found}, which has {}, and \"{field}\" would have to round it",
                decimal::TooLong
            ))
        })
    }

    fn unreadable(&self) -> Reject {
        Reject::because(format_args!(
            "the stored document has a field \"{}\" that this projection did not write; a new \
             configuration needs a new version of the view",
            self.field
        ))
    }
}

#[cfg(test)]
mod tests;
