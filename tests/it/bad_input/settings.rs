//! A host's configuration, and the guest `tally` with what it is expected to make of its events.

use std::collections::BTreeMap;

use projectionist_tests::host::{Config, Finished, Host};
use projectionist_tests::kafka::{Record, Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::{guests, unique, wait};
use serde_json::{Value, json};

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
            plugin: guests::path("tally").display().to_string(),
            topic: topic.name.clone(),
            projection: "tally",
            more: more.to_owned(),
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

/// An event for `tally`: the id, the key, the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) n: i64,
}

pub(crate) fn number(key: &str, n: i64) -> Number {
    Number {
        id: unique("id"),
        key: key.to_owned(),
        n,
    }
}

impl Number {
    fn json(&self) -> Vec<u8> {
        json!({ "id": self.id, "n": self.n })
            .to_string()
            .into_bytes()
    }
}

pub(crate) fn produce(topic: &Topic, numbers: &[Number]) {
    let values: Vec<Vec<u8>> = numbers.iter().map(Number::json).collect();
    let records = numbers.iter().zip(&values).map(|(number, value)| Record {
        key: Some(&number.key),
        value: Some(value),
        id: &number.id,
    });
    topic.produce(records).expect("events are produced");
}

/// What `tally` makes of events, each folded; computed by other code than the guest's.
pub(crate) fn tally(numbers: &[Number]) -> BTreeMap<String, Value> {
    let mut documents: BTreeMap<String, (u64, i64, i64)> = BTreeMap::new();
    for Number { key, n, .. } in numbers {
        let (count, sum, chain) = documents.entry(key.clone()).or_default();
        *count += 1;
        *sum += n;
        *chain = chain.wrapping_mul(31).wrapping_add(*n);
    }
    let document =
        |(key, (count, sum, chain))| (key, json!({ "count": count, "sum": sum, "chain": chain }));
    documents.into_iter().map(document).collect()
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
