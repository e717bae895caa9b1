//! Turns Debezium's change events into documents: one for each row, as it is now.
//!
//! Reads the envelopes of Debezium's connectors (`before`, `after`, `op`), with and without the
//! schema that Kafka Connect wraps around them. A row's id is made of the values of its key.
//!
//! Guarantees:
//! - A column's value is passed on as its text, numbers of any length included.
//! - An event that is no change of a row is rejected and not skipped, except for the messages that
//!   a program writes to PostgreSQL's log.
//!
//! - Rows with different keys are different documents, whatever the types of the keys (`change::id`).
//! - A value that PostgreSQL left as it was is kept as it was stored.
//!
//! Not here: emptying a view where a table was truncated, for no event touches all documents; and
//! changes of MongoDB's connector that tell what was updated instead of the document.

use std::borrow::Cow;

use projection_fields::Object;
use projectionist_sdk::{Event, Ids, Ownership, Projection, Reject, export, host};
use serde_json::value::{RawValue, to_raw_value};

mod change;
mod config;
mod unavailable;

use change::{Change, Op};
use config::{Config, Connector, Settings, Truncate};
use unavailable::is_unavailable;

/// Says of each document whether its row is deleted, with `keep-deleted`.
const DELETED_FIELD: &str = "__deleted";

struct Debezium(Settings);

impl Projection for Debezium {
    const NAME: &str = "debezium";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "Each row of a table that Debezium captures, as it is now.";
    const VIEW: &str = "debezium";
    const OWNERSHIP: Ownership = Ownership::Shared;
    const CONFIG_SCHEMA: &str = config::SCHEMA;
    type Config = Config;
    type Event<'a> = Change<'a>;
    type Document = Box<RawValue>;

    fn new(config: Config) -> Result<Self, String> {
        Settings::new(config).map(Debezium)
    }

    fn ids<'a>(&self, event: &Event<'a, Change<'a>>, ids: &mut Ids) -> Result<(), Reject> {
        match event.value.as_ref().map(|change| change.op) {
            // The tombstone that follows a deletion.
            None if self.0.keep_deleted => return Ok(()),
            Some(Op::Message) => return Ok(()),
            // MongoDB's connector looks an updated document up, and it was gone by then. Its
            // deletion follows.
            Some(Op::Update) if self.is_mongodb() && is_without_row(event) => {
                host::count("updates-without-document", 1);
                return Ok(());
            }
            Some(Op::Truncate) if self.0.truncate == Truncate::Ignore => return Ok(()),
            Some(Op::Truncate) => {
                return Err(Reject::because(
                    "the table was truncated, which no single event can tell of all documents; \
                     empty the view and rebuild it, or have such events left out: truncate = \
                     \"ignore\", or skipped.operations at the connector",
                ));
            }
            None | Some(Op::Insert | Op::Update | Op::Delete) => {}
        }
        let key = event.key().ok_or_else(|| {
            Reject::because(
                "the event has no key, which names its row; give the table a primary key, or the \
                 connector message.key.columns",
            )
        })?;
        let id = change::id(key, self.is_mongodb(), self.0.separator).map_err(Reject::because)?;
        ids.add(&id);
        Ok(())
    }

    fn fold(
        &self,
        event: &Event<Change>,
        _id: &str,
        document: &mut Option<Box<RawValue>>,
    ) -> Result<(), Reject> {
        let stored = document.take();
        *document = match &event.value {
            Some(change) if change.op == Op::Delete => self.deleted(change, stored.as_deref())?,
            Some(change) => Some(self.written(change, stored.as_deref())?),
            None => None,
        };
        Ok(())
    }
}

export!(Debezium);

impl Debezium {
    fn is_mongodb(&self) -> bool {
        self.0.connector == Connector::Mongodb
    }

    fn written(
        &self,
        change: &Change<'_>,
        stored: Option<&RawValue>,
    ) -> Result<Box<RawValue>, Reject> {
        let Some(after) = change.after else {
            return Err(Reject::because(match self.0.connector {
                Connector::Relational => "the change has no \"after\", which is the row",
                Connector::Mongodb => {
                    "the change has no \"after\"; let the connector look documents up: \
                     capture.mode = change_streams_update_full"
                }
            }));
        };
        match self.0.connector {
            Connector::Relational if after.get().starts_with('"') => Err(Reject::because(
                "\"after\" is a string, as MongoDB's connector writes it; set connector = \"mongodb\"",
            )),
            Connector::Relational => self.document(change, after, stored),
            Connector::Mongodb => {
                let text: Cow<'_, str> = serde_json::from_str(after.get())?;
                let json = change::standard(&text);
                let after: &RawValue = serde_json::from_str(&json)?;
                self.document(change, after, stored)
            }
        }
    }

    /// The document of a row that is there.
    fn document(
        &self,
        change: &Change<'_>,
        after: &RawValue,
        stored: Option<&RawValue>,
    ) -> Result<Box<RawValue>, Reject> {
        let Settings {
            shape,
            added,
            keep_deleted,
            ..
        } = &self.0;
        if !after.get().starts_with('{') {
            return shape.document(after).map_err(Reject::because);
        }
        let row = Object::read(after)?;
        let is_partial = !self.is_mongodb() && row.iter().any(|(_, value)| is_unavailable(value));
        if added.is_empty() && !keep_deleted && !is_partial {
            return shape.document(after).map_err(Reject::because);
        }
        let mut row = shape.apply(&row).map_err(Reject::because)?;
        if is_partial {
            let stored = stored.map(Object::read).transpose()?;
            row = completed(&row, &stored.unwrap_or_default());
        }
        self.complete(row, change, false)
    }

    /// The document of a row that is gone; `None` where it shall be gone too.
    fn deleted(
        &self,
        change: &Change<'_>,
        stored: Option<&RawValue>,
    ) -> Result<Option<Box<RawValue>>, Reject> {
        if !self.0.keep_deleted {
            return Ok(None);
        }
        // What is stored comes first: by default, PostgreSQL's "before" has the key alone.
        let document = match (stored, change.before) {
            (Some(stored), _) => self.complete(Object::read(stored)?, change, true)?,
            (None, Some(before)) => {
                let row = Object::read(before)?;
                let row = self.0.shape.apply(&row).map_err(Reject::because)?;
                self.complete(completed(&row, &Object::default()), change, true)?
            }
            (None, None) => self.complete(Object::default(), change, true)?,
        };
        Ok(Some(document))
    }

    /// Adds what the configuration asks for beside the columns.
    fn complete(
        &self,
        row: Object<'_>,
        change: &Change<'_>,
        is_deleted: bool,
    ) -> Result<Box<RawValue>, Reject> {
        let deleted = to_raw_value(&is_deleted)?;
        let mut row: Object<'_> = row;
        for added in &self.0.added {
            if let Some(value) = change.added(added) {
                row.set(Cow::Borrowed(&added.field), value);
            }
        }
        if self.0.keep_deleted {
            row.set(Cow::Borrowed(DELETED_FIELD), &deleted);
        }
        Ok(to_raw_value(&row)?)
    }
}

/// The row with the values that the connector left out as unchanged, from the stored document. One
/// that is not known there either is left out, for a placeholder is no value.
fn completed<'a>(row: &Object<'a>, stored: &Object<'a>) -> Object<'a> {
    let mut completed = Object::default();
    for (name, value) in row.iter() {
        let known = match is_unavailable(value) {
            true => stored.entry(name),
            false => Some(value),
        };
        if let Some(known) = known {
            completed.set(Cow::Owned(name.to_owned()), known);
        }
    }
    completed
}

fn is_without_row(event: &Event<'_, Change<'_>>) -> bool {
    event
        .value
        .as_ref()
        .is_some_and(|change| change.after.is_none())
}

#[cfg(test)]
mod tests;
