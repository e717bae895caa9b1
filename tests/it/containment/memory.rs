//! A host with four partitions and four lanes, in all of which a plugin takes what it can: its
//! memory stays below a gibibyte, the neighbour's events are stored, and so is what is parked.

use projectionist_tests::host::{Config, Host};
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::{guests, unique, wait};
use rdkafka::producer::{DefaultProducerContext, Producer as _, ThreadedProducer};

use super::send;
use guest::{BIG, Bodies, Ownership};

#[allow(
    dead_code,
    reason = "the other test that makes such guests needs all of it"
)]
#[path = "../plugin_budget/guest.rs"]
mod guest;

/// Each of a key of its own, so that nothing is parked unseen.
const EVENTS: i64 = 24;

const PARTITIONS: usize = 4;

/// What a host with so many partitions and lanes may have.
const HOST_MAX: u64 = 1 << 30;

const MUCH: usize = 120 << 20;

fn greedy() -> [(&'static str, String); 2] {
    [
        (
            "ids",
            guest::get_many([(BIG, 0), (BIG, 10 << 20), (BIG, 0)]),
        ),
        ("memory", guest::fill(BIG, 'x', MUCH) + "unreachable"),
    ]
}

struct Scene {
    neighbour: Topic,
    offender: Topic,
    database: Database,
    host: Host,
    _config: Config,
}

impl Scene {
    async fn start(name: &str, call: String) -> Self {
        let neighbour = Topic::create("neighbour", 1).await.expect("a topic");
        let partitions = i32::try_from(PARTITIONS).expect("a few");
        let offender = Topic::create("offender", partitions)
            .await
            .expect("a topic");
        let database = Database::new("memory").await.expect("a database");
        let bodies = Bodies {
            call,
            ..Bodies::default()
        };
        let bytes = guest::projection(&bodies, MUCH, Ownership::ByKey);
        let folder = tempfile::tempdir().expect("a directory");
        let plugin = folder.path().join("greedy.wasm");
        std::fs::write(&plugin, bytes).expect("a new file");
        let projection = |name: &str, plugin: &std::path::Path, topic: &Topic| {
            format!(
                "[projections.{name}]\nplugin = \"{}\"\ntopics = [\"{}\"]\ngroup-id = \"{}\"\n",
                plugin.display(),
                topic.name,
                unique(name)
            )
        };
        let text = format!(
            "[kafka]\nbrokers = \"{}\"\n[stores.main]\nkind = \"mongodb\"\nuri = \"{}\"\n\
             database = \"{}\"\n{}{}lanes = 4\n",
            brokers(),
            uri(),
            database.name,
            projection("tally", &guests::path("tally"), &neighbour),
            projection("offender", &plugin, &offender),
        );
        let config = Config::new("host", &text).expect("a configuration");
        let host = Host::start(&config).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        host.wait_until_ready().await;
        Scene {
            neighbour,
            offender,
            database,
            host,
            _config: config,
        }
    }

    async fn run(&self) {
        let producer: ThreadedProducer<DefaultProducerContext> = self
            .neighbour
            .client_config()
            .set("linger.ms", "0")
            .create()
            .expect("a producer");
        for number in 0..EVENTS {
            for topic in [&self.offender, &self.neighbour] {
                send(&producer, topic, &format!("key-{number}"), "{\"n\":1}");
            }
        }
        producer.flush(wait::DEADLINE).expect("events are produced");
        for projection in ["tally", "offender"] {
            wait::until("the events to be stored or parked", async || {
                match self.database.stored(projection).await {
                    Ok(EVENTS) => Ok(()),
                    other => Err(format!("{projection}: {other:?} of {EVENTS} events")),
                }
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greedy_plugin_in_sixteen_lanes_leaves_the_host_below_a_gibibyte() {
    for (name, call) in greedy() {
        let scene = Scene::start(name, call).await;
        scene.run().await;
        let peak = scene.host.peak_memory_bytes().expect("it runs") >> 20;
        println!("{name}: {peak} MiB");
        assert!(peak <= HOST_MAX >> 20, "{name}: {peak} MiB");
        let documents = scene.database.documents("tally").await;
        let count = i64::try_from(documents.expect("documents").len());
        assert_eq!(count.expect("few"), EVENTS, "{name}");
        assert!(scene.host.terminate().await.expect("it ends").success());
        scene
            .database
            .drop()
            .await
            .expect("the database is dropped");
    }
}
