//! `projectionist demo`: the whole way on real input, with nothing to install, and every document
//! compared with an independent fold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use flights::FlightEvent;
use flights::expected::{self, Documents};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::output::{print_line, print_lines};
use super::{Failure, host_name, runtime, start_logging};
use crate::app::{App, Catalogue, open_store};
use crate::config::{self, Config, Plugins};
use crate::document;
use crate::kafka::mock::{MockBroker, Record};
use crate::printable::Printable;
use crate::record::NextOffset;
use crate::store::envelope::seal;
use crate::store::{Store, StoredDocument, ViewId};
use crate::telemetry::health::Health;

mod own;

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The folder of the flights example
    #[arg(long, value_name = "DIR", default_value = "examples/flights")]
    example: PathBuf,
    /// How many partitions the topic has
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=64))]
    partitions: i32,
    /// Run this plugin instead of the example's, on events of your own
    #[arg(long, value_name = "FILE", requires = "events")]
    plugin: Option<PathBuf>,
    /// Events, one JSON object a line, as "plugin test" takes them
    #[arg(long, value_name = "FILE", requires = "plugin")]
    events: Option<PathBuf>,
}

const TOPIC: &str = "flights";
const DATA: &str = "data/flights-2013-01.csv.gz";

/// The demo takes seconds; a machine that needs so long is stuck.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Documents read at once.
const PAGE: usize = 1000;

/// Characters of a document that are printed.
const SHOWN: usize = 400;

/// Differences that are printed; all are counted.
const DIFFERENCES_SHOWN: usize = 5;

/// A view's documents by their ids.
type Stored = BTreeMap<String, Value>;

impl Demo {
    pub(super) fn run(self) -> Result<(), Failure> {
        if let (Some(plugin), Some(events)) = (&self.plugin, &self.events) {
            return own::run(plugin, events, self.partitions);
        }
        let events = flights::read(&self.example.join(DATA)).with_context(|| {
            format!(
                "cannot read the flights; run the demo in the project's folder, or name the \
                 example's with --example (tried {})",
                self.example.display()
            )
        })?;
        let folder = tempfile::tempdir().context("cannot make a folder for the demo")?;
        let broker = self.fill_topic(&events)?;
        let config = self.config(&broker, &folder.path().join("views.db"))?;
        start_logging(&config)?;

        let runtime = runtime()?;
        let (aircraft, airports) = runtime.block_on(project(&config, events.len()))?;
        runtime.shutdown_timeout(Duration::from_secs(2));
        verify(&events, &aircraft, &airports)
    }

    fn fill_topic(&self, events: &[FlightEvent]) -> Result<MockBroker, Failure> {
        print_line(&format!(
            "{} real departures from New York's airports in January 2013, as JSON events keyed by \
             tail number, into topic \"{TOPIC}\" with {} partitions of a broker in this process",
            events.len(),
            self.partitions
        ))?;
        let broker = MockBroker::start(TOPIC, self.partitions).context("cannot start a broker")?;
        let values: Vec<Vec<u8>> = events.iter().map(FlightEvent::json).collect();
        let records = events.iter().zip(&values).map(|(event, value)| Record {
            key: event.key.as_deref().map(str::as_bytes),
            value: Some(value),
            headers: vec![(FlightEvent::ID_HEADER, Some(event.id.as_bytes()))],
            timestamp_ms: 0,
        });
        let progress = progress_bar("producing", events.len());
        broker
            .produce(TOPIC, records, || progress.inc(1))
            .context("cannot produce the events")?;
        progress.finish();
        Ok(broker)
    }

    fn config(&self, broker: &MockBroker, store: &Path) -> Result<Config, Failure> {
        let environment = [
            ("DEMO_BROKERS".to_owned(), broker.brokers()),
            ("DEMO_STORE".to_owned(), store.display().to_string()),
        ];
        let file = self.example.join("demo.toml");
        let mut config = config::load(&file, environment, &host_name())?;
        config.plugins = Plugins::defaults(super::environment());
        Ok(config)
    }
}

/// Runs the host until every event is stored, and returns the documents of both views.
async fn project(config: &Config, events: usize) -> Result<(Stored, Stored), Failure> {
    run_host(config, events).await?;
    let store = open_store(config.stores["main"].first()).await?;
    let catalogue = Catalogue::load(config)?;
    let aircraft = read_view(&*store, &catalogue, "aircraft").await?;
    let airports = read_view(&*store, &catalogue, "airports").await?;
    show(&*store, &catalogue, "aircraft", "N14228").await?;
    show(&*store, &catalogue, "airports", "JFK").await?;
    Ok((aircraft, airports))
}

/// Runs the host until every event is stored, and tells how long that took.
async fn run_host(config: &Config, events: usize) -> Result<(), Failure> {
    let app = App::build(config).await?;
    let projections: Vec<String> = config.projections.keys().cloned().collect();
    let health = app.health().clone();
    let stop = CancellationToken::new();
    let running = tokio::spawn(app.run(stop.clone()));
    let stored = wait_until_stored(&health, &projections, events).await;
    stop.cancel();
    running.await.context("the host ended unexpectedly")??;
    let elapsed = stored?;

    let plugins = match projections.len() {
        1 => "1 plugin".to_owned(),
        several => format!("{several} plugins"),
    };
    print_line(&format!(
        "{events} events, each folded by {plugins} and stored exactly once, in {:.2} s: {:.0} \
         events/s (measured from the first claimed partition on)",
        elapsed.as_secs_f64(),
        events as f64 / elapsed.as_secs_f64(),
    ))?;
    Ok(())
}

/// Shows the progress until everything is stored, and returns the time that it took since the
/// group had given this host its first partitions.
async fn wait_until_stored(
    health: &Health,
    projections: &[String],
    events: usize,
) -> anyhow::Result<Duration> {
    let total = events * projections.len();
    let progress = progress_bar("projecting", total);
    let deadline = Instant::now() + TIMEOUT;
    let mut started = None;
    loop {
        let positions: Vec<NextOffset> = projections
            .iter()
            .flat_map(|projection| health.positions(projection).into_values())
            .collect();
        if started.is_none() && !positions.is_empty() {
            started = Some(Instant::now());
        }
        let stored: i64 = positions.iter().map(|next| next.0).sum();
        let stored = usize::try_from(stored).context("positions are not negative")?;
        progress.set_position(stored as u64);
        if stored == total {
            progress.finish();
            return Ok(started.map_or(Duration::ZERO, |started| started.elapsed()));
        }
        let reasons = health.readiness().reasons;
        if let Some(reason) = reasons
            .iter()
            .find(|reason| reason.contains("stands still"))
        {
            bail!("{reason}");
        }
        if Instant::now() > deadline {
            bail!(
                "only {stored} of {total} folds are stored after {} s: {}",
                TIMEOUT.as_secs(),
                reasons.join("; ")
            );
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn read_view(
    store: &dyn Store,
    catalogue: &Catalogue,
    view: &str,
) -> Result<Stored, Failure> {
    let view = view_id(catalogue, view)?;
    let mut documents = Stored::new();
    loop {
        let after = documents.last_key_value().map(|(id, _)| id.clone());
        let page = store.scan(&view, after.as_deref(), PAGE).await?;
        let last = page.len() < PAGE;
        for (id, document) in page {
            let json = document::to_json(&document.body).context("cannot read a document")?;
            let value = serde_json::from_slice(&json).context("cannot read a document")?;
            documents.insert(id.to_string(), value);
        }
        if last {
            return Ok(documents);
        }
    }
}

async fn show(
    store: &dyn Store,
    catalogue: &Catalogue,
    view: &str,
    id: &str,
) -> Result<(), Failure> {
    let view_id = view_id(catalogue, view)?;
    let found = store
        .load(&view_id, &[Arc::from(id)])
        .await?
        .pop()
        .flatten();
    let found = found.ok_or_else(|| anyhow!("view \"{view}\" has no document \"{id}\""))?;
    print_document(view, id, &found)
}

fn print_document(view: &str, id: &str, document: &StoredDocument) -> Result<(), Failure> {
    let json = document::to_json(&seal(id, document)).context("cannot write a document")?;
    let mut text = String::from_utf8(json).context("JSON is UTF-8")?;
    if let Some((cut, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(cut);
        text.push_str(" …");
    }
    print_lines(&format!("\n{view}/{}\n  {text}", Printable(id)))?;
    Ok(())
}

fn view_id(catalogue: &Catalogue, view: &str) -> Result<ViewId, Failure> {
    let (_, id) = catalogue
        .store_of(view)
        .ok_or_else(|| anyhow!("no plugin of the example keeps view \"{view}\""))?;
    Ok(id)
}

/// Compares with an independent fold, which shares no code with the plugins.
fn verify(events: &[FlightEvent], aircraft: &Stored, airports: &Stored) -> Result<(), Failure> {
    let differences = differences("aircraft", aircraft, &expected::aircraft(events))?
        + differences("airports", airports, &expected::airports(events))?;
    print_lines(&format!(
        "\nverified: {} events, {} aircraft, {} airports, {differences} differences",
        events.len(),
        aircraft.len(),
        airports.len(),
    ))?;
    if differences > 0 {
        return Err(Failure::Other(anyhow!(
            "the documents differ from an independent fold of the same events"
        )));
    }
    Ok(())
}

fn differences(view: &str, stored: &Stored, expected: &Documents) -> anyhow::Result<usize> {
    let ids: BTreeSet<&String> = stored.keys().chain(expected.keys()).collect();
    let mut differences = 0;
    for id in ids {
        let (found, wanted) = (stored.get(id), expected.get(id));
        if found == wanted {
            continue;
        }
        differences += 1;
        if differences <= DIFFERENCES_SHOWN {
            print_line(&format!("{view}/{id} differs"))?;
            print_line(&format!("  stored:   {}", text(found)))?;
            print_line(&format!("  expected: {}", text(wanted)))?;
        }
    }
    Ok(differences)
}

fn text(document: Option<&Value>) -> String {
    document.map_or_else(|| "no document".to_owned(), Value::to_string)
}

fn progress_bar(what: &'static str, total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>10} {bar:40} {human_pos}/{human_len}")
        .expect("the template is valid");
    ProgressBar::new(total as u64)
        .with_style(style)
        .with_message(what)
}
