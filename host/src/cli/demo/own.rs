//! `projectionist demo --plugin`: a plugin of the user's own, on the demo's broker and store.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::{PAGE, print_document, progress_bar, run_host};
use crate::app::{Catalogue, open_store};
use crate::cli::output::print_lines;
use crate::cli::{Failure, environment, host_name, runtime, start_logging};
use crate::config::{self, Config, Plugins};
use crate::kafka::mock::{MockBroker, Record};
use crate::kit::events::{self, Event};
use crate::parked::{self, KeyEntry};
use crate::printable::Printable;
use crate::store::Table;

const TOPIC: &str = "events";

/// Documents of each view that are printed, and parked keys.
const SHOWN: usize = 3;

pub(super) fn run(plugin: &Path, events: &Path, partitions: i32) -> Result<(), Failure> {
    let events = read(events)?;
    let plugin = std::path::absolute(plugin).context("cannot find the current folder")?;
    let folder = tempfile::tempdir().context("cannot make a folder for the demo")?;
    let broker = fill_topic(&events, partitions)?;
    let config = config(folder.path(), &plugin, &broker)?;
    start_logging(&config)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        run_host(&config, events.len()).await?;
        tell(&config).await
    })?;
    runtime.shutdown_timeout(Duration::from_secs(2));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Event>, Failure> {
    let wrong = |error: anyhow::Error| Failure::Wrong(error.context(path.display().to_string()));
    let lines = std::fs::read_to_string(path).map_err(|error| wrong(error.into()))?;
    let events = events::read(&lines).map_err(|error| wrong(error.into()))?;
    if events.is_empty() {
        return Err(wrong(anyhow!("it has no events")));
    }
    Ok(events)
}

fn fill_topic(events: &[Event], partitions: i32) -> Result<MockBroker, Failure> {
    let broker = MockBroker::start(TOPIC, partitions).context("cannot start a broker")?;
    let records = events.iter().map(|event| Record {
        key: event.record.key(),
        value: event.record.value(),
        headers: (event.record.headers())
            .map(|header| (header.name, header.value))
            .collect(),
        timestamp_ms: event.record.timestamp_ms,
    });
    let progress = progress_bar("producing", events.len());
    broker
        .produce(TOPIC, records, || progress.inc(1))
        .context("cannot produce the events")?;
    progress.finish();
    Ok(broker)
}

fn config(folder: &Path, plugin: &Path, broker: &MockBroker) -> Result<Config, Failure> {
    const TEXT: &str = r#"
[host]
listen = "127.0.0.1:0"
log = "warn"
[kafka]
brokers = "${DEMO_BROKERS}"
[stores.main]
kind = "embedded"
path = "views.db"
[projections.yours]
plugin = "${DEMO_PLUGIN}"
topics = ["events"]
"#;
    let file = folder.join("demo.toml");
    std::fs::write(&file, TEXT).context("cannot write the demo's configuration")?;
    let variables = [
        ("DEMO_BROKERS".to_owned(), broker.brokers()),
        ("DEMO_PLUGIN".to_owned(), plugin.display().to_string()),
    ];
    let mut config = config::load(&file, variables, &host_name())?;
    config.plugins = Plugins::defaults(environment());
    Ok(config)
}

/// Prints the first documents of each view, and what the plugin did not take.
async fn tell(config: &Config) -> Result<(), Failure> {
    let store = open_store(config.stores["main"].first()).await?;
    let catalogue = Catalogue::load(config)?;
    for view in catalogue.view_names() {
        let Some((_, id)) = catalogue.store_of(&view) else {
            continue;
        };
        let documents = store.scan(&id, None, PAGE).await?;
        for (id, document) in documents.iter().take(SHOWN) {
            print_document(&view, id, document)?;
        }
        let count = match documents.len() {
            0 => "no document".to_owned(),
            1 => "1 document".to_owned(),
            PAGE => format!("{PAGE} documents and perhaps more"),
            documents => format!("{documents} documents"),
        };
        print_lines(&format!("\nview \"{view}\" has {count}"))?;
    }
    let parked = store.entries(Table::ParkedKeys, "", None, SHOWN).await?;
    for entry in &parked {
        let key = KeyEntry::from_entry(entry).context("cannot read what is parked")?;
        let text = key.key.as_deref().map(String::from_utf8_lossy);
        let text = text.map_or_else(
            || "an event without a key".to_owned(),
            |key| format!("key \"{key}\""),
        );
        let events = match key.events {
            1 => "1 event".to_owned(),
            several => format!("{several} events"),
        };
        let parked::Reason { kind, detail, .. } = key.reason;
        let (text, detail) = (Printable(text), Printable(detail));
        print_lines(&format!("\nparked: {text}, {events}: {kind}: {detail}"))?;
    }
    Ok(())
}
