//! A projection that does wrong on a running host, beside one that does right: what the misdeed
//! comes to, and what the neighbour feels of it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bson::Document;
use projectionist_tests::host::{Config, Host};
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::{guests, unique, wait};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

#[path = "containment/memory.rs"]
mod memory;

/// To each of the two projections.
const EVENTS: usize = 400;

const PACE: Duration = Duration::from_millis(5);

/// Of the offender. The neighbour has a new one in each event.
const KEYS: usize = 5;

/// Most that the neighbour's p99 may rise: a tenth, and what the machine's own noise comes to. A
/// host that waited for an offender would be late by one of its calls at least, which is stopped
/// after 50 ms here, and then called again for every half of its batch.
const RISE_MAX: f64 = 1.1;
const NOISE_MS: f64 = 100.0;

const TRIES_MAX: usize = 5;

/// What becomes of the offender's events.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// Each is parked.
    Parked,
    /// Each is stored, and the log is cut short.
    Muted,
}

use Outcome::{Muted, Parked};

const MISDEEDS: [(&str, Outcome); 18] = [
    ("trap", Parked),
    ("panic", Parked),
    ("loop", Parked),
    ("memory", Parked),
    ("recursion", Parked),
    ("err", Parked),
    ("reject", Parked),
    ("chatter", Muted),
    ("read-too-much", Parked),
    ("read-nowhere", Parked),
    ("read-no-text", Parked),
    ("undeclared-view", Parked),
    ("wrong-id", Parked),
    ("not-json", Parked),
    ("huge-output", Parked),
    ("twice", Parked),
    ("bad-ends", Parked),
    ("message", Parked),
];

/// A host with `tally`, and with an offender where a misdeed is named.
struct Scene {
    neighbour: Topic,
    offender: Option<Topic>,
    database: Database,
    host: Host,
    _config: Config,
}

impl Scene {
    async fn start(misdeed: Option<&str>) -> Self {
        let neighbour = Topic::create("neighbour", 1).await.expect("a topic");
        let database = Database::new("containment").await.expect("a database");
        let mut text = format!(
            "[kafka]\nbrokers = \"{}\"\n[stores.main]\nkind = \"mongodb\"\nuri = \"{}\"\n\
             database = \"{}\"\n{}",
            brokers(),
            uri(),
            database.name,
            projection("tally", "tally", &neighbour)
        );
        let mut offender = None;
        if let Some(misdeed) = misdeed {
            let topic = Topic::create("offender", 1).await.expect("a topic");
            text += &projection("offender", "misbehaving", &topic);
            text += &format!("config = {{ behaviour = \"{misdeed}\" }}\n");
            offender = Some(topic);
        }
        let config = Config::new("host", &text).expect("a configuration");
        let host = Host::start(&config).expect("a host");
        host.wait_until_ready().await;
        Scene {
            neighbour,
            offender,
            database,
            host,
            _config: config,
        }
    }

    /// Produces to both topics, and answers how long the neighbour's events took to be stored, in
    /// milliseconds.
    async fn run(&self) -> Vec<f64> {
        let start = self.database.now().await.expect("a point in time");
        let producer: ThreadedProducer<DefaultProducerContext> = self
            .neighbour
            .client_config()
            .set("linger.ms", "0")
            .create()
            .expect("a producer");
        let mut produced = BTreeMap::new();
        let mut ticks = tokio::time::interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0..EVENTS {
            ticks.tick().await;
            let key = format!("key-{number}");
            let value = json!({ "id": key, "n": number }).to_string();
            produced.insert(key.clone(), millis_now());
            send(&producer, &self.neighbour, &key, &value);
            if let Some(topic) = &self.offender {
                send(&producer, topic, &format!("key-{}", number % KEYS), &value);
            }
        }
        producer.flush(wait::DEADLINE).expect("events are produced");
        self.until_stored("tally").await;
        if self.offender.is_some() {
            self.until_stored("offender").await;
        }
        let changes = self.database.changes(start, &["tally.v1"]).await;
        let changes = changes.expect("the changes");
        let latencies: Vec<f64> = changes
            .iter()
            .map(|change| stored_at(change) - produced[id(change)])
            .collect();
        assert_eq!(latencies.len(), EVENTS, "one document for each event");
        latencies
    }

    async fn until_stored(&self, projection: &str) {
        let events = i64::try_from(EVENTS).expect("a test has few events");
        wait::until("the events to be stored or parked", async || {
            match self.database.stored(projection).await {
                Ok(stored) if stored == events => Ok(()),
                other => Err(format!("{projection}: {other:?} of {events} events")),
            }
        })
        .await;
    }

    /// The sum of a counter of the offender's.
    fn count(&self, metric: &str) -> usize {
        let (_, metrics) = self.host.get("/metrics").expect("metrics");
        let lines = metrics.lines().filter(|line| {
            line.starts_with(&format!("{metric}{{")) && line.contains("projection=\"offender\"")
        });
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
            .sum()
    }

    async fn end(self) {
        assert!(self.host.terminate().await.expect("it ends").success());
        self.database.drop().await.expect("the database is dropped");
    }
}

fn projection(name: &str, guest: &str, topic: &Topic) -> String {
    format!(
        "[projections.{name}]\nplugin = \"{}\"\ntopics = [\"{}\"]\ngroup-id = \"{}\"\n",
        guests::path(guest).display(),
        topic.name,
        unique(name)
    )
}

fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &Topic,
    key: &str,
    value: &str,
) {
    let record = BaseRecord::to(&topic.name).key(key).payload(value);
    let sent = producer.send(record).map_err(|(error, _)| error);
    sent.expect("a queue with room for a test");
}

fn millis_now() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64() * 1_000.0
}

/// When the server has written it, in milliseconds.
fn stored_at(change: &Document) -> f64 {
    let time = change.get_datetime("wallTime");
    time.expect("MongoDB 6.0 or newer tells it")
        .timestamp_millis() as f64
}

fn id(change: &Document) -> &str {
    let key = change.get_document("documentKey");
    key.and_then(|key| key.get_str("_id"))
        .expect("a document's id")
}

fn p99(mut latencies: Vec<f64>) -> f64 {
    latencies.sort_by(f64::total_cmp);
    latencies[latencies.len() * 99 / 100]
}

/// What `tally` makes of numbers that each have their own key.
fn expected() -> BTreeMap<String, Value> {
    (0..EVENTS)
        .map(|n| {
            let document = json!({ "count": 1, "sum": n, "chain": n });
            (format!("key-{n}"), document)
        })
        .collect()
}

/// The neighbour alone.
async fn alone() -> f64 {
    let scene = Scene::start(None).await;
    let latencies = scene.run().await;
    scene.end().await;
    p99(latencies)
}

async fn beside(misdeed: &str, outcome: Outcome) -> f64 {
    let scene = Scene::start(Some(misdeed)).await;
    let latencies = scene.run().await;
    let documents = scene.database.documents("tally").await;
    assert_eq!(documents.expect("documents"), expected(), "{misdeed}");
    let parked = scene.count("projectionist_events_parked_total");
    match outcome {
        Parked => assert_eq!(parked, EVENTS, "{misdeed}"),
        Muted => {
            assert_eq!(parked, 0, "{misdeed}");
            let dropped = scene.count("projectionist_plugin_log_dropped_total");
            assert!(dropped > 0, "{misdeed}");
        }
    }
    scene.end().await;
    p99(latencies)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_projection_does_its_neighbour_is_right_and_in_time() {
    // The first host finds caches cold: its own, the broker's, the store's.
    alone().await;
    let mut latencies = [alone().await, alone().await, alone().await];
    latencies.sort_by(f64::total_cmp);
    let is_undisturbed = |found: f64, without: f64| found <= without * RISE_MAX + NOISE_MS;
    println!("alone: p99 of {latencies:.0?} ms");
    for (misdeed, outcome) in MISDEEDS {
        let (mut without, mut found) = (latencies[1], beside(misdeed, outcome).await);
        println!("beside {misdeed}: p99 of {found:.0} ms");
        // The machine may do something else by now. Then both again, one right after the other: an
        // offender that holds its neighbour up does so each time, so the best time beside it counts,
        // and the worst without it, which is what the machine does by itself.
        let (mut tries, mut slowest) = (1, 0.0_f64);
        while !is_undisturbed(found, without) && tries < TRIES_MAX {
            let (alone, beside) = (alone().await, beside(misdeed, outcome).await);
            println!("again: p99 of {beside:.0} ms, and {alone:.0} ms alone");
            slowest = slowest.max(alone);
            (without, found) = (slowest, found.min(beside));
            tries += 1;
        }
        assert!(
            is_undisturbed(found, without),
            "{misdeed}: p99 of {found:.0} ms at best, and {without:.0} ms alone at worst, in {tries} tries"
        );
    }
}
