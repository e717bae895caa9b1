//! Hosts that share a group: static members, the broker's own protocol, topics that grow or go.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use flights::FlightEvent;
use projectionist_tests::broker::Broker;
use projectionist_tests::host::{Config, Host};
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::mongo::{Checkpoint, Database, uri};
use projectionist_tests::{guests, wait};

/// One test's flights, folded by any number of hosts.
struct Scene {
    brokers: String,
    events: Vec<FlightEvent>,
    topic: Topic,
    database: Database,
}

/// The fields of an aircraft that are the same in any order of its events.
const SUMS: [&str; 5] = [
    "legs",
    "cancelled_legs",
    "air_miles",
    "delay_minutes",
    "worst_delay_minutes",
];

/// Longer than any of these tests takes for what it watches.
const LONG_SESSION: &str = "\"session.timeout.ms\" = 60000";

impl Scene {
    async fn new(what: &str, brokers: String) -> Self {
        let data = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../examples/flights/data/flights-2013-01.csv.gz");
        let topic = Topic::create_at(&brokers, what, 4).await;
        Scene {
            brokers,
            events: flights::read(&data).expect("the example's data"),
            topic: topic.expect("a topic"),
            database: Database::new(what).await.expect("a database"),
        }
    }

    /// A host's configuration, with more under `[kafka]` and under `[kafka.properties]`.
    fn config(&self, host: &str, kafka: &str, properties: &str) -> Config {
        let text = format!(
            r#"
[kafka]
brokers = "{}"
{kafka}
[kafka.properties]
{properties}
[stores.main]
kind = "mongodb"
uri = "{}"
database = "{}"
[projections.aircraft]
plugin = "{}"
topics = ["{}"]
group-id = "{}"
batch.events = 200
"#,
            self.brokers,
            uri(),
            self.database.name,
            guests::path("aircraft").display(),
            self.topic.name,
            self.topic.name,
        );
        Config::new(host, &text).expect("a configuration")
    }

    fn produce(&self, events: &[FlightEvent]) {
        let produced = self.topic.produce_flights(events);
        produced.expect("events are produced");
    }

    async fn checkpoints(&self) -> BTreeMap<i32, Checkpoint> {
        let checkpoints = self.database.checkpoints("aircraft").await;
        checkpoints.expect("checkpoints")
    }

    async fn wait_until_stored(&self, events: usize, hosts: &[&Host]) {
        let events = i64::try_from(events).expect("few events");
        wait::until("events to be stored", async || {
            let stored = self.database.stored("aircraft").await;
            let stored = stored.map_err(|error| error.to_string())?;
            let logs: Vec<String> = hosts.iter().map(|host| host.log()).collect();
            if stored >= events {
                Ok(())
            } else {
                Err(format!("{stored} of {events}; {}", logs.join("\n")))
            }
        })
        .await;
    }

    /// Waits until each of the hosts has two of the four partitions.
    async fn wait_until_shared(&self, names: [&str; 2]) -> BTreeMap<i32, Checkpoint> {
        wait::until("the hosts to share the partitions", async || {
            let checkpoints = self.checkpoints().await;
            let of = |name| checkpoints.values().filter(|c| c.owner == name).count();
            if names.map(of) == [2, 2] {
                Ok(checkpoints)
            } else {
                Err(checkpoints)
            }
        })
        .await
    }

    /// Compares what does not depend on the order of events.
    async fn assert_sums(&self) {
        let stored = self.database.documents("aircraft").await;
        let stored = stored.expect("documents");
        let expected = flights::expected::aircraft(&self.events);
        assert_eq!(stored.len(), expected.len());
        for (id, expected) in expected {
            for field in SUMS {
                assert_eq!(stored[&id][field], expected[field], "{field} of {id}");
            }
        }
    }

    async fn assert_documents(&self) {
        let stored = self.database.documents("aircraft").await;
        assert!(
            stored.expect("documents") == flights::expected::aircraft(&self.events),
            "the documents differ"
        );
    }

    async fn drop(self) {
        self.database.drop().await.expect("the database goes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn static_members_are_restarted_without_moving_a_partition() {
    let scene = Scene::new("static", brokers()).await;
    let config = |name| scene.config(name, "static-membership = true", LONG_SESSION);
    let (one, two) = (config("one"), config("two"));
    let host = Host::start(&one).expect("a host");
    let other = Host::start(&two).expect("a host");
    let before = scene.wait_until_shared(["one", "two"]).await;
    let (first, second) = scene.events.split_at(scene.events.len() / 2);
    scene.produce(first);
    scene.wait_until_stored(first.len(), &[&host, &other]).await;

    let status = host.terminate().await.expect("the host ends");
    assert!(status.success());
    scene.produce(second);
    let host = Host::start(&one).expect("a host");
    scene
        .wait_until_stored(scene.events.len(), &[&host, &other])
        .await;
    host.wait_until_ready().await;

    let after = scene.checkpoints().await;
    for (partition, before) in before {
        let after = &after[&partition];
        assert_eq!(after.owner, before.owner, "of partition {partition}");
        if before.owner == "two" {
            assert_eq!(after.epoch, before.epoch, "of partition {partition}");
        }
    }
    scene.assert_documents().await;
    scene.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_static_member_that_was_killed_does_not_wait_for_its_own_session() {
    let scene = Scene::new("lone", brokers()).await;
    let config = scene.config("lone", "static-membership = true", LONG_SESSION);
    let host = Host::start(&config).expect("a host");
    let (first, second) = scene.events.split_at(scene.events.len() / 2);
    scene.produce(first);
    scene.wait_until_stored(1, &[&host]).await;
    host.kill().expect("it can be killed");

    let started = Instant::now();
    scene.produce(second);
    let host = Host::start(&config).expect("a host");
    scene.wait_until_stored(scene.events.len(), &[&host]).await;
    assert!(
        started.elapsed() < Duration::from_secs(40),
        "the session lasts 60 s"
    );
    scene.assert_documents().await;
    scene.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_static_members_of_one_name_the_first_stops_and_says_why() {
    let scene = Scene::new("twins", brokers()).await;
    let config = || scene.config("twin", "static-membership = true", LONG_SESSION);
    let (one, two) = (config(), config());
    let host = Host::start(&one).expect("a host");
    host.wait_until_ready().await;
    scene.produce(&scene.events);
    let other = Host::start(&two).expect("a host");

    // Its only projection has failed.
    let ended = host.finish().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("kafka.static-membership") && ended.stderr.contains("host.name"),
        "{}",
        ended.stderr
    );
    scene.wait_until_stored(scene.events.len(), &[&other]).await;
    scene.assert_documents().await;
    scene.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_share_partitions_by_the_brokers_own_protocol() {
    let broker = Broker::start(&[
        ("group.consumer.min.session.timeout.ms", "1000"),
        ("group.consumer.session.timeout.ms", "6000"),
        ("group.consumer.min.heartbeat.interval.ms", "500"),
        ("group.consumer.heartbeat.interval.ms", "1000"),
    ])
    .await;
    let scene = Scene::new("kip848", broker.brokers()).await;
    let config = |name| scene.config(name, "group-protocol = \"consumer\"", "");
    let (one, two) = (config("one"), config("two"));
    let host = Host::start(&one).expect("a host");
    let other = Host::start(&two).expect("a host");
    scene.wait_until_shared(["one", "two"]).await;
    let (first, second) = scene.events.split_at(scene.events.len() / 2);
    scene.produce(first);
    scene.wait_until_stored(1, &[&host, &other]).await;
    host.kill().expect("it can be killed");
    scene.produce(second);

    scene.wait_until_stored(scene.events.len(), &[&other]).await;
    let owners = scene.checkpoints().await;
    assert!(owners.values().all(|c| c.owner == "two"), "{owners:?}");
    scene.assert_documents().await;

    let host = Host::start(&one).expect("a host");
    scene.wait_until_shared(["one", "two"]).await;
    let status = host.terminate().await.expect("the host ends");
    assert!(status.success());
    scene.drop().await;
}

/// Half of the keys move to new partitions, while their events in the old ones are still folded.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_topic_that_grows_while_it_is_read_no_event_is_lost_or_folded_twice() {
    let mut scene = Scene::new("growth", brokers()).await;
    let properties = "\"topic.metadata.refresh.interval.ms\" = 500";
    let config = |scene: &Scene, name| scene.config(name, "", properties);
    let (one, two) = (config(&scene, "one"), config(&scene, "two"));
    let host = Host::start(&one).expect("a host");
    let other = Host::start(&two).expect("a host");
    scene.wait_until_shared(["one", "two"]).await;
    let half = scene.events.len() / 2;
    scene.produce(&scene.events[..half]);
    scene.wait_until_stored(1, &[&host, &other]).await;
    scene.topic.grow(8).await.expect("the topic grows");
    scene.produce(&scene.events[half..]);

    let all = scene.events.len();
    scene.wait_until_stored(all, &[&host, &other]).await;
    let checkpoints = scene.checkpoints().await;
    assert_eq!(checkpoints.len(), 8);
    assert!(checkpoints.values().all(|c| c.next > 0), "{checkpoints:?}");
    let logs = host.log() + &other.log();
    assert!(logs.contains("events of the same keys"), "{logs}");
    scene.assert_sums().await;
    for host in [host, other] {
        let status = host.terminate().await.expect("the host ends");
        assert!(status.success());
    }

    // A projection that starts now does not know that the topic was ever smaller.
    scene.database.drop().await.expect("the database goes");
    scene.database = Database::new("late").await.expect("a database");
    let config = config(&scene, "late");
    let host = Host::start(&config).expect("a host");
    scene.wait_until_stored(all, &[&host]).await;
    scene.assert_sums().await;
    scene.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_stops_its_projection_and_no_other() {
    let scene = Scene::new("deleted", brokers()).await;
    let spare = Topic::create("spare", 2).await.expect("a topic");
    let config = scene.config("host", "", "");
    let text = std::fs::read_to_string(config.path()).expect("it was written");
    let more = format!(
        r#"
[projections.airports]
plugin = "{}"
topics = ["{}"]
group-id = "{}"
"#,
        guests::path("airports").display(),
        spare.name,
        spare.name
    );
    std::fs::write(config.path(), text + &more).expect("it can be written");
    let host = Host::start(&config).expect("a host");
    host.wait_until_ready().await;
    let produced = spare.produce_flights(&scene.events[..100]);
    produced.expect("events are produced");

    spare.delete().await.expect("the topic goes");
    wait::until("the host to say so", async || {
        let readiness = host.readiness().map_err(|error| error.to_string())?;
        let reasons = readiness["reasons"].to_string();
        let named = reasons.contains("projection \\\"airports\\\" has failed")
            && reasons.contains(&format!("topic \\\"{}\\\" was deleted", spare.name));
        if named { Ok(()) } else { Err(reasons) }
    })
    .await;

    scene.produce(&scene.events);
    scene.wait_until_stored(scene.events.len(), &[&host]).await;
    scene.assert_documents().await;
    let status = host.terminate().await.expect("the host ends");
    assert_eq!(status.code(), Some(1), "one of its projections has failed");
    scene.drop().await;
}
