//! Stores and brokers that go away and come back: the host waits, says so, and goes on by itself.

use std::path::Path;

use bson::doc;
use flights::FlightEvent;
use projectionist_tests::broker::Broker;
use projectionist_tests::host::{Config, Host};
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::mongod::Mongod;
use projectionist_tests::{guests, unique, wait};

/// A host that projects flights, in small batches.
struct Scene {
    topic: Topic,
    database: Database,
    host: Host,
    // Removed with the scene.
    _config: Config,
}

impl Scene {
    async fn start(brokers: &str, uri: &str) -> Self {
        let topic = Topic::create_at(brokers, "outage", 2).await;
        let topic = topic.expect("a topic");
        let database = Database::at(uri, &unique("outage")).await;
        let database = database.expect("a database");
        let text = format!(
            r#"
[kafka]
brokers = "{brokers}"
[stores.main]
kind = "mongodb"
uri = "{uri}"
database = "{}"
[projections.aircraft]
plugin = "{}"
topics = ["{}"]
group-id = "{}"
[projections.aircraft.batch]
events = 200
"#,
            database.name,
            guests::path("aircraft").display(),
            topic.name,
            topic.name,
        );
        let config = Config::new("host", &text).expect("a configuration");
        let host = Host::start(&config).expect("a host");
        Scene {
            topic,
            database,
            host,
            _config: config,
        }
    }

    async fn wait_until_stored(&self, events: usize) {
        let events = i64::try_from(events).expect("few events");
        wait::until("events to be stored", async || {
            let stored = self.database.stored("aircraft").await;
            let stored = stored.map_err(|error| error.to_string())?;
            if stored >= events {
                Ok(())
            } else {
                Err(format!("{stored} of {events}; {}", self.host.log()))
            }
        })
        .await;
    }

    async fn wait_until_it_says(&self, reason: &str) {
        wait::until("the host to say what is away", async || {
            let readiness = self.host.readiness().map_err(|error| error.to_string())?;
            let reasons = readiness["reasons"].to_string();
            let said = reasons.contains(reason);
            if said { Ok(()) } else { Err(reasons) }
        })
        .await;
    }

    /// Waits until the store has failed so often, and answers since when it is away.
    async fn wait_until_missed(&self, times: u64) -> String {
        let count = "projectionist_unreachable_total{what=\"store \\\"main\\\"\"} ";
        wait::until("the store to be missed", async || {
            let (_, metrics) = self.host.get("/metrics").map_err(|e| e.to_string())?;
            let counted = metrics.lines().find_map(|line| line.strip_prefix(count));
            let counted = counted.and_then(|number| number.parse::<u64>().ok());
            let readiness = self.host.readiness().map_err(|e| e.to_string())?;
            let since = readiness["unreachable"]["store \"main\""]["since"].as_str();
            match (counted, since) {
                (Some(counted), Some(since)) if counted >= times => Ok(since.to_owned()),
                _ => Err(format!("{counted:?}, {readiness}")),
            }
        })
        .await
    }

    async fn assert_documents(&self, events: &[FlightEvent]) {
        let stored = self.database.documents("aircraft").await;
        assert!(
            stored.expect("documents") == flights::expected::aircraft(events),
            "the documents differ"
        );
    }
}

fn events() -> Vec<FlightEvent> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/flights/data/flights-2013-01.csv.gz");
    flights::read(&data).expect("the example's data")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_that_crashes_and_comes_back_stops_nothing_and_loses_nothing() {
    let events = events();
    let mut mongod = Mongod::replica_set().await;
    let scene = Scene::start(&brokers(), &mongod.uri()).await;
    let (first, second) = events.split_at(events.len() / 2);
    let produced = scene.topic.produce_flights(first);
    produced.expect("events are produced");
    scene.host.wait_until_ready().await;
    scene.wait_until_stored(1).await;

    mongod.kill();
    let produced = scene.topic.produce_flights(second);
    produced.expect("events are produced");
    scene
        .wait_until_it_says("store \\\"main\\\" does not answer")
        .await;
    mongod.start_again();

    scene.wait_until_stored(events.len()).await;
    scene.host.wait_until_ready().await;
    scene.assert_documents(&events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_steps_down_stops_nothing_and_loses_nothing() {
    let events = events();
    let mongod = Mongod::replica_set().await;
    let scene = Scene::start(&brokers(), &mongod.uri()).await;
    let produced = scene.topic.produce_flights(&events);
    produced.expect("events are produced");
    scene.wait_until_stored(1).await;

    let admin = mongod.client().await.database("admin");
    let step_down = doc! { "replSetStepDown": 3, "force": true };
    admin.run_command(step_down).await.expect("it steps down");

    scene.wait_until_stored(events.len()).await;
    scene.host.wait_until_ready().await;
    scene.assert_documents(&events).await;
}

/// The server answers all the time, and stores nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_out_and_readiness_says_since_when() {
    let events = events();
    let mongod = Mongod::replica_set().await;
    let scene = Scene::start(&brokers(), &mongod.uri()).await;
    let (first, second) = events.split_at(events.len() / 2);
    let produced = scene.topic.produce_flights(first);
    produced.expect("events are produced");
    scene.wait_until_stored(first.len()).await;

    let admin = mongod.client().await.database("admin");
    let full = doc! {
        "configureFailPoint": "failCommand", "mode": "alwaysOn",
        "data": {
            "failCommands": ["insert", "update"], "appName": "projectionist", "errorCode": 14031,
        },
    };
    admin.run_command(full).await.expect("a fail point");
    let produced = scene.topic.produce_flights(second);
    produced.expect("events are produced");
    let since = scene.wait_until_missed(1).await;
    // The server has been asked more than once meanwhile whether it is there.
    assert_eq!(scene.wait_until_missed(5).await, since);

    let healed = doc! { "configureFailPoint": "failCommand", "mode": "off" };
    admin.run_command(healed).await.expect("a fail point");
    scene.wait_until_stored(events.len()).await;
    scene.host.wait_until_ready().await;
    let over = "projectionist_unreachable_since_timestamp_seconds{what=\"store \\\"main\\\"\"} 0\n";
    let (_, metrics) = scene.host.get("/metrics").expect("metrics");
    assert!(metrics.contains(over), "{metrics}");
    scene.assert_documents(&events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_crashes_and_comes_back_stops_nothing_and_loses_nothing() {
    let events = events();
    let mut broker = Broker::start(&[]).await;
    let scene = Scene::start(&broker.brokers(), &uri()).await;
    let (first, second) = events.split_at(events.len() / 2);
    let produced = scene.topic.produce_flights(first);
    produced.expect("events are produced");
    scene.host.wait_until_ready().await;
    scene.wait_until_stored(1).await;

    broker.kill();
    scene.wait_until_it_says("Kafka does not answer").await;
    broker.start_again();
    broker.wait_until_it_answers().await;
    let produced = scene.topic.produce_flights(second);
    produced.expect("events are produced");

    scene.wait_until_stored(events.len()).await;
    scene.host.wait_until_ready().await;
    scene.assert_documents(&events).await;
    scene.database.drop().await.expect("the database goes");
}
