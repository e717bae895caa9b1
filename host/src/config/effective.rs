//! The configuration in force, as TOML that can be read and used again.
//!
//! Guarantee: without secrets, it parses to the same configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use toml::{Table, Value};

use super::environment::escape;
use super::host::LOG_FORMATS;
use super::kafka::GROUP_PROTOCOLS;
use super::secret::REDACTED;
use super::{
    Batch, Config, Host, Kafka, KeyPath, Limits, Messages, Projection, Queue, Secret, dedupe,
    gateway, parking, placement, plugins, projections, stores, tokens, trial, values, view_names,
    views,
};

pub(super) fn to_toml(config: &Config) -> String {
    let stores = named(&config.stores, stores::to_toml);
    let projections = named(&config.projections, projection);
    let mut root = Table::new();
    root.insert("host".to_owned(), host(&config.host).into());
    root.insert("kafka".to_owned(), kafka(&config.kafka).into());
    root.insert(
        "plugins".to_owned(),
        plugins::to_toml(&config.plugins).into(),
    );
    root.insert("stores".to_owned(), stores.into());
    root.insert("projections".to_owned(), projections.into());
    root.insert(
        "gateway".to_owned(),
        gateway::to_toml(&config.gateway).into(),
    );
    root.insert("views".to_owned(), views::to_toml(&config.views).into());
    for key in &config.hidden {
        hide(&mut root, key);
    }
    toml::to_string(&root).expect("tables of plain values can be written")
}

fn host(host: &Host) -> Table {
    table([
        ("name", text(&host.name)),
        ("listen", text(&host.listen.to_string())),
        ("log", text(&host.log)),
        ("log-format", values::word(&LOG_FORMATS, host.log_format)),
        ("startup-timeout", duration(host.startup_timeout)),
        ("drain-timeout", duration(host.drain_timeout)),
        ("names", texts(&host.names)),
        ("tokens", tokens::to_toml(&host.tokens).into()),
    ])
}

fn kafka(kafka: &Kafka) -> Table {
    let properties = kafka
        .properties
        .iter()
        .map(|(name, value)| (name.clone(), secret(value)));
    table([
        ("brokers", texts(&kafka.brokers)),
        (
            "group-protocol",
            values::word(&GROUP_PROTOCOLS, kafka.group_protocol),
        ),
        ("static-membership", kafka.static_membership.into()),
        ("properties", Value::Table(properties.collect())),
    ])
}

fn projection(projection: &Projection) -> Table {
    let mut entries = table([
        ("plugin", path(&projection.plugin)),
        ("topics", texts(&projection.topics)),
        ("store", text(&projection.store)),
        ("group-id", text(&projection.group_id)),
        ("cache-bytes", size(projection.cache_bytes_max)),
        ("lanes", Value::from(projection.lanes)),
        (
            "without-key",
            values::word(&projections::WITHOUT_KEY, projection.without_key),
        ),
        ("config", json(projection.config.shown())),
        ("messages", messages(&projection.messages).into()),
        ("batch", batch(&projection.batch).into()),
        ("queue", queue(&projection.queue).into()),
        ("limits", limits(&projection.limits).into()),
        ("parking", parking::to_toml(&projection.parking).into()),
        ("trial", trial::to_toml(&projection.trial).into()),
    ]);
    view_names::to_toml(&projection.views, &mut entries);
    if let Some(placement) = &projection.placement {
        entries.insert("placement".to_owned(), placement::to_toml(placement).into());
    }
    if let Some(dedupe) = &projection.dedupe {
        entries.insert("dedupe".to_owned(), dedupe::to_toml(dedupe).into());
    }
    entries
}

fn messages(messages: &Messages) -> Table {
    table([("topics", texts(&messages.topics))])
}

fn batch(batch: &Batch) -> Table {
    table([
        ("events", Value::from(batch.events_max)),
        ("documents", Value::from(batch.documents_max)),
        ("bytes", size(batch.bytes_max)),
    ])
}

fn queue(queue: &Queue) -> Table {
    table([
        ("events", Value::from(queue.events_max)),
        ("bytes", size(queue.bytes_max)),
        ("all-bytes", size(queue.all_bytes_max)),
    ])
}

fn limits(limits: &Limits) -> Table {
    table([
        ("memory", size(limits.memory_bytes_max)),
        ("table-elements", Value::from(limits.table_elements_max)),
        ("call-base", duration(limits.call_base)),
        ("call-per-event", duration(limits.call_per_event)),
        ("call-max", duration(limits.call_max)),
        ("writes-per-event", Value::from(limits.writes_per_event_max)),
        (
            "messages-per-event",
            Value::from(limits.messages_per_event_max),
        ),
        ("crashes", Value::from(limits.crashes_max)),
        ("crash-window", duration(limits.crash_window)),
    ])
}

pub(super) fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn named<T>(items: &BTreeMap<String, T>, to_table: impl Fn(&T) -> Table) -> Table {
    items
        .iter()
        .map(|(name, item)| (name.clone(), to_table(item).into()))
        .collect()
}

pub(super) fn text(text: &str) -> Value {
    Value::String(escape(text))
}

pub(super) fn texts(list: &[String]) -> Value {
    Value::Array(list.iter().map(|item| text(item)).collect())
}

pub(super) fn secret(secret: &Secret) -> Value {
    text(secret.shown())
}

pub(super) fn path(path: &Path) -> Value {
    text(&path.to_string_lossy())
}

pub(super) fn duration(duration: Duration) -> Value {
    Value::String(humantime::format_duration(duration).to_string())
}

/// In the largest unit that loses nothing.
pub(super) fn size(bytes: u64) -> Value {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let exact = units
        .iter()
        .find(|(bits, _)| bytes.is_multiple_of(1 << bits));
    Value::String(match exact {
        Some((bits, unit)) => format!("{}{unit}", bytes >> bits),
        None => format!("{bytes}B"),
    })
}

pub(super) fn json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => unreachable!("TOML, where it comes from, has no null"),
        serde_json::Value::Bool(boolean) => Value::Boolean(*boolean),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Float(number.as_f64().expect("what is no integer is a float")),
        },
        serde_json::Value::String(string) => text(string),
        serde_json::Value::Array(items) => Value::Array(items.iter().map(json).collect()),
        serde_json::Value::Object(entries) => Value::Table(
            entries
                .iter()
                .map(|(name, value)| (name.clone(), json(value)))
                .collect(),
        ),
    }
}

/// Redacts what came through a variable, whatever the key.
fn hide(root: &mut Table, key: &KeyPath) {
    let Some((last, parents)) = key.0.split_last() else {
        return;
    };
    let mut table = root;
    for name in parents {
        match table.get_mut(name) {
            Some(Value::Table(inner)) => table = inner,
            // Inside a list of the plugin's own, which hides its secrets itself.
            _ => return,
        }
    }
    if let Some(value) = table.get_mut(last) {
        *value = Value::String(REDACTED.to_owned());
    }
}
