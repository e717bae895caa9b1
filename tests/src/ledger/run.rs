//! One run: the parts of a seed, put together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::compare::{Differences, compare};
use super::disturb::{Track, disturb};
use super::events::{Event, Hazards, ID_HEADER, Input, events};
use super::fleet::Fleet;
use super::fold::{Books, Record, fold};
use super::history;
use super::keep::Evidence;
use super::observe::{read_history, read_store, read_topic};
use super::producer::Producer;
use super::recovery::follow;
use super::report::Report;
use super::schedule::{Severity, schedule};
use crate::broker::Broker;
use crate::guests;
use crate::kafka::Topic;
use crate::mongo::Database;
use crate::replica_set::ReplicaSet;
use crate::wait;

/// The size of a run.
#[derive(Clone, Debug)]
pub struct Options {
    pub events: usize,
    /// How long producing them takes, besides the time that the broker is away. The faults happen
    /// meanwhile.
    pub production: Duration,
    pub hosts: usize,
    pub severity: Severity,
    pub hazards: Hazards,
    pub keep: Keep,
}

/// Whether logs, schedule and history are kept, and in which folder.
#[derive(Clone, Debug)]
pub enum Keep {
    Nothing,
    /// Of runs that failed.
    Failed(PathBuf),
    All(PathBuf),
}

/// The processes that all runs share, each with topics and databases of its own.
pub struct Services {
    pub broker: Broker,
    pub store: ReplicaSet,
}

/// Both projections bear the names of their views.
const ACCOUNTS: &str = "accounts";
const STATEMENTS: &str = "statements";
const PROJECTIONS: [&str; 2] = [ACCOUNTS, STATEMENTS];

const PARTITIONS: i32 = 6;

/// A killed broker is let in again only when its session from before is over, by default 9 s.
const BROKER: [(&str, &str); 2] = [
    ("broker.session.timeout.ms", "3000"),
    ("broker.heartbeat.interval.ms", "500"),
];

const MARKS_MAX: usize = 64;

/// How long a run may take besides producing its events. Every wait in it is shorter.
const OVERHEAD_MAX: Duration = Duration::from_secs(400);

impl Options {
    /// The short runs that are part of the tests.
    pub fn brief(hazards: Hazards) -> Self {
        Options {
            events: 3_000,
            production: Duration::from_secs(10),
            hosts: 2,
            severity: Severity::Brief,
            hazards,
            keep: Keep::Nothing,
        }
    }
}

impl Services {
    /// Starts a broker and a replica set, and waits until both answer.
    pub async fn start() -> Self {
        let (broker, store) = tokio::join!(Broker::start(&BROKER), ReplicaSet::start());
        Services { broker, store }
    }
}

/// Runs a seed.
///
/// # Errors
///
/// Where the run comes to no result: what is meant to be broken and mended cannot be, or what was
/// left cannot be read. What a host does wrong is in the report.
pub async fn run(seed: u64, options: &Options, services: &mut Services) -> anyhow::Result<Report> {
    let limit = options.production + OVERHEAD_MAX;
    // Boxed: a whole run is a large future.
    match timeout(limit, Box::pin(run_unbounded(seed, options, services))).await {
        Ok(result) => result,
        Err(_) => anyhow::bail!("it has not ended after {limit:?}"),
    }
}

async fn run_unbounded(
    seed: u64,
    options: &Options,
    services: &mut Services,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let topic = Topic::create_at(&services.broker.brokers(), "ledger", PARTITIONS).await?;
    let database = Database::at(&services.store.watchful_uri(), &topic.name).await?;
    let start = database.now().await?;
    let text = configuration(options, services, &topic);
    let mut fleet = Fleet::start(options.hosts, &text)?;
    let input = Input {
        events: options.events,
        hazards: options.hazards,
    };
    let events = events(seed, &input);
    let planned = schedule(seed, options.events, options.hosts, options.severity);

    wait_for_claims(&database, &mut fleet).await?;
    let (marks, received) = mpsc::channel(MARKS_MAX);
    let producer = Producer::new(&topic)?;
    let track = Track {
        progress: producer.progress(),
        marks,
    };
    let disturbed = disturb(track.clone(), &planned, services, &mut fleet);
    let produced = async {
        // Dropped after its last mark: that is how `follow` knows that it was the last.
        let track = track;
        producer.produce(&events, options.production).await?;
        track.mark(None).await
    };
    let followed = async { anyhow::Ok(follow(&database, &PROJECTIONS, received).await) };
    let ((), (), recovery) = tokio::try_join!(produced, disturbed, followed)?;
    let mut failures = fleet.end().await?;

    let (topic, records) = tokio::task::spawn_blocking(move || {
        let records = read_topic(&topic);
        (topic, records)
    })
    .await?;
    let records = records?;
    check_input(&events, &records)?;
    let books = fold(&records, options.hazards)?;
    let differences = differences(&database, &topic, &records, &books).await?;
    check_ends(&database, &topic, &mut failures).await?;
    let changes = read_history(&database, start, &PROJECTIONS).await?;
    let mut faults = BTreeMap::new();
    for each in &planned {
        *faults.entry(each.fault.kind()).or_default() += 1;
    }
    let report = Report {
        seed,
        events: events.len(),
        parked: books.parked(),
        faults,
        differences,
        verdict: history::check(&changes),
        recovery,
        failures,
        took: started.elapsed(),
    };
    let keep = match &options.keep {
        Keep::All(folder) => Some(folder),
        Keep::Failed(folder) => Some(folder).filter(|_| !report.is_clean()),
        Keep::Nothing => None,
    };
    if let Some(folder) = keep {
        let evidence = Evidence {
            report: &report,
            planned: &planned,
            records: &records,
            changes: &changes,
            configuration: &text,
        };
        let folder = evidence.keep(folder, &fleet, services)?;
        eprintln!("seed {seed}: kept in {}", folder.display());
    }
    database.drop().await?;
    topic.delete().await?;
    Ok(report)
}

fn configuration(options: &Options, services: &Services, topic: &Topic) -> String {
    let mut text = format!(
        r#"
[kafka]
brokers = "{brokers}"
[kafka.properties]
"session.timeout.ms" = 6000
"heartbeat.interval.ms" = 1000
[stores.main]
kind = "mongodb"
uri = "{uri}"
database = "{topic}"
"#,
        brokers = services.broker.brokers(),
        uri = services.store.uri(),
        topic = topic.name,
    );
    for projection in PROJECTIONS {
        let plugin = guests::path(&format!("ledger_{projection}"));
        text += &format!(
            r#"
[projections.{projection}]
plugin = "{plugin}"
topics = ["{topic}"]
group-id = "{topic}-{projection}"
"#,
            plugin = plugin.display(),
            topic = topic.name,
        );
        // What is shared folds in one lane.
        if projection == "statements" {
            text += "lanes = 2\n";
        }
        if options.hazards.duplicates {
            text += &format!("dedupe = {{ id = \"header:{ID_HEADER}\", window = 100000 }}\n");
        }
        text += &format!("[projections.{projection}.batch]\nevents = 200\n");
        if options.hazards.poison {
            text += &format!("[projections.{projection}.parking]\non-fault = \"park\"\n");
        }
    }
    text
}

/// Faults must meet hosts that work, and not only hosts that start.
async fn wait_for_claims(database: &Database, fleet: &mut Fleet) -> anyhow::Result<()> {
    wait::until("all partitions to be claimed", async || {
        if let Err(ended) = fleet.check_running() {
            return Ok(Err(ended));
        }
        for projection in PROJECTIONS {
            let checkpoints = database.checkpoints(projection).await;
            let claimed = checkpoints.map_err(|error| error.to_string())?.len();
            if i32::try_from(claimed) != Ok(PARTITIONS) {
                return Err(format!("{projection} has {claimed} of {PARTITIONS}"));
            }
        }
        Ok(Ok(()))
    })
    .await
}

/// What the broker holds must be what was produced: a run whose input is not the seed's proves
/// nothing.
fn check_input(events: &[Event], records: &[Record]) -> anyhow::Result<()> {
    let mut produced: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in events {
        produced.entry(&event.key).or_default().push(&event.id);
    }
    let mut held: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for record in records {
        held.entry(&record.key).or_default().push(&record.id);
    }
    for (key, ids) in &produced {
        let held = held.get(key).map_or(&[][..], Vec::as_slice);
        anyhow::ensure!(
            held == ids.as_slice(),
            "the topic holds other events of key {key} than were produced: {} of {}",
            held.len(),
            ids.len()
        );
    }
    anyhow::ensure!(held.len() == produced.len(), "the topic has foreign keys");
    Ok(())
}

async fn differences(
    database: &Database,
    topic: &Topic,
    records: &[Record],
    books: &Books,
) -> anyhow::Result<Differences> {
    let mut differences = Differences::default();
    let projections = [(ACCOUNTS, &books.accounts), (STATEMENTS, &books.statements)];
    for (projection, expected) in projections {
        let found = read_store(database, projection, topic, records).await?;
        differences.add(compare(projection, expected, &found)?);
    }
    Ok(differences)
}

/// Each checkpoint must be at the end of its partition, neither before nor behind it.
async fn check_ends(
    database: &Database,
    topic: &Topic,
    failures: &mut Vec<String>,
) -> anyhow::Result<()> {
    let ends: BTreeMap<i32, i64> = (0..).zip(topic.ends()?).collect();
    for projection in PROJECTIONS {
        let checkpoints = database.checkpoints(projection).await?.into_iter();
        let nexts: BTreeMap<i32, i64> = checkpoints
            .map(|(partition, checkpoint)| (partition, checkpoint.next))
            .collect();
        if nexts != ends {
            failures.push(format!(
                "the checkpoints of {projection} are at {nexts:?}, and the topic ends at {ends:?}"
            ));
        }
    }
    Ok(())
}
