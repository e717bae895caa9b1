//! A host's configuration, and what it stores of the events of the guest `tally`.

use std::collections::BTreeMap;

use projectionist_tests::host::{Config, Finished, Host};
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
pub(crate) use projectionist_tests::tally::{Number, number, produce, tally};
use projectionist_tests::{guests, unique, wait};
use serde_json::Value;

/// A host's configuration, right but for what a test replaces.
pub(crate) struct Settings {
    pub(crate) brokers: String,
    pub(crate) uri: String,
    pub(crate) database: String,
    pub(crate) plugin: String,
    pub(crate) topic: String,
    pub(crate) projection: &'static str,
    /// What stands below `[kafka]`.
    pub(crate) properties: &'static str,
    /// What stands below the projection.
    pub(crate) more: String,
}

impl Settings {
    pub(crate) fn new(what: &str) -> Self {
        Settings {
            brokers: brokers(),
            uri: uri(),
            database: unique(what),
            plugin: guests::path("aircraft").display().to_string(),
            topic: unique(what),
            projection: "aircraft",
            properties: "",
            more: String::new(),
        }
    }

    /// The projection `tally` of this topic; `more` stands below it.
    pub(crate) fn tally(topic: &Topic, more: &str) -> Self {
        Settings {
            more: more.to_owned(),
            ..Settings::tally_of(&topic.name)
        }
    }

    /// The projection `tally` of a topic that need not be there.
    pub(crate) fn tally_of(topic: &str) -> Self {
        Settings {
            plugin: guests::path("tally").display().to_string(),
            topic: topic.to_owned(),
            projection: "tally",
            ..Settings::new("tally")
        }
    }

    pub(crate) fn config(&self) -> Config {
        let Settings {
            brokers,
            uri,
            database,
            plugin,
            topic,
            projection,
            properties,
            more,
        } = self;
        let text = format!(
            r#"
[kafka]
brokers = "{brokers}"
{properties}
[stores.main]
kind = "mongodb"
uri = "{uri}"
database = "{database}"
[projections.{projection}]
plugin = "{plugin}"
topics = ["{topic}"]
group-id = "{topic}"
{more}
"#
        );
        Config::new("host", &text).expect("a configuration")
    }

    /// Runs a host that must give up, and returns how.
    pub(crate) async fn run(&self) -> Finished {
        Host::start(&self.config()).expect("a host").finish().await
    }

    pub(crate) async fn database(&self) -> Database {
        Database::named(&self.database).await.expect("a database")
    }
}

/// The events that `tally` takes while every later event of a key waits behind a negative one.
pub(crate) fn before_poison(numbers: &[Number]) -> Vec<Number> {
    let mut parked: Vec<&str> = Vec::new();
    let mut taken = Vec::new();
    for number in numbers {
        if number.n < 0 {
            parked.push(&number.key);
        }
        if !parked.contains(&number.key.as_str()) {
            taken.push(number.clone());
        }
    }
    taken
}

/// Waits until so many events have been folded, parked or dropped.
pub(crate) async fn until_stored(database: &Database, events: usize) {
    let events = i64::try_from(events).expect("a test has few events");
    wait::until("the topic to be stored", async || {
        let stored = database.stored("tally").await;
        match stored.map_err(|error| error.to_string())? {
            stored if stored == events => Ok(()),
            stored => Err(format!("{stored} of {events} events")),
        }
    })
    .await;
}

pub(crate) async fn documents(database: &Database) -> BTreeMap<String, Value> {
    database.documents("tally").await.expect("documents")
}
