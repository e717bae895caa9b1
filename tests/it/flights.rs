//! The main job on the real broker and the real MongoDB: real flights, hosts as processes.

use std::collections::BTreeMap;
use std::path::Path;

use flights::FlightEvent;
use projectionist_tests::host::{Config, Host, command};
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::{guests, wait};
use rand::RngExt as _;
use serde_json::Value;

const PARTITIONS: i32 = 4;

/// One test's flights: a topic, a database, and a configuration for each host.
struct Flights {
    events: Vec<FlightEvent>,
    topic: Topic,
    database: Database,
}

impl Flights {
    async fn new(what: &str) -> Self {
        let data = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../examples/flights/data/flights-2013-01.csv.gz");
        Flights {
            events: flights::read(&data).expect("the example's data"),
            topic: Topic::create(what, PARTITIONS).await.expect("a topic"),
            database: Database::new(what).await.expect("a database"),
        }
    }

    /// A host's configuration. Small batches make many commits, and so many places to fail at.
    fn config(&self, host: &str) -> Config {
        let (topic, database) = (&self.topic.name, &self.database.name);
        let mut text = format!(
            r#"
[kafka]
brokers = "{}"
[kafka.properties]
"session.timeout.ms" = 3500
"heartbeat.interval.ms" = 300
[stores.main]
kind = "mongodb"
uri = "{}"
database = "{database}"
"#,
            brokers(),
            uri(),
        );
        for projection in ["aircraft", "airports"] {
            text += &format!(
                r#"
[projections.{projection}]
plugin = "{}"
topics = ["{topic}"]
group-id = "{topic}-{projection}"
[projections.{projection}.batch]
events = 200
"#,
                guests::path(projection).display(),
            );
        }
        Config::new(host, &text).expect("a configuration")
    }

    fn produce(&self) {
        self.topic
            .produce_flights(&self.events)
            .expect("flights are produced");
    }

    /// Events stored by both projections.
    async fn stored(&self) -> i64 {
        let stored =
            async |projection| self.database.stored(projection).await.expect("checkpoints");
        stored("aircraft").await + stored("airports").await
    }

    async fn wait_until_stored(&self, hosts: &[&Host]) {
        let all = 2 * i64::try_from(self.events.len()).expect("few events");
        wait::until("all flights to be stored", async || {
            let stored = self.stored().await;
            let logs: Vec<String> = hosts.iter().map(|host| host.log()).collect();
            if stored == all {
                Ok(())
            } else {
                Err(format!("{stored} of {all}; {}", logs.join("\n")))
            }
        })
        .await;
    }

    /// Compares every document with the independent fold.
    async fn verify(&self) {
        let expected = [
            ("aircraft", flights::expected::aircraft(&self.events)),
            ("airports", flights::expected::airports(&self.events)),
        ];
        for (view, expected) in expected {
            let stored = self.database.documents(view).await.expect("documents");
            assert_equal(view, &stored, &expected);
        }
    }

    async fn drop(self) {
        self.database.drop().await.expect("the database is dropped");
    }
}

fn assert_equal(view: &str, stored: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>) {
    assert_eq!(stored.len(), expected.len(), "documents of {view}");
    for (id, expected) in expected {
        assert_eq!(stored.get(id), Some(expected), "{view}/{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flights_in_mongodb_equal_the_independent_fold() {
    let flights = Flights::new("flights").await;
    flights.produce();
    let config = flights.config("host");
    let host = Host::start(&config).expect("a host");
    flights.wait_until_stored(&[&host]).await;
    host.wait_until_ready().await;
    flights.verify().await;

    let (status, metrics) = host.get("/metrics").expect("metrics");
    assert_eq!(status, 200);
    let stored = "projectionist_events_stored_total{projection=\"aircraft\"} 27004";
    assert!(metrics.contains(stored), "{metrics}");
    assert_eq!(host.get("/health/live").expect("health").0, 200);

    let found = command(&["get", "aircraft", "N14228"], &config).expect("a command");
    let document: Value = serde_json::from_str(&found.stdout).expect("JSON");
    assert_eq!(document["_id"], "N14228");
    assert_eq!(
        document["_m"]["at"]["topic"],
        Value::from(flights.topic.name.as_str())
    );
    let listed = command(&["list", "airports", "--limit", "3"], &config).expect("a command");
    assert_eq!(listed.stdout.lines().count(), 3, "{listed:?}");

    drop(host);
    flights.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_again_and_again_stores_everything_exactly_once() {
    const KILLS: usize = 12;
    let flights = Flights::new("killed").await;
    flights.produce();
    let all = 2 * i64::try_from(flights.events.len()).expect("few events");
    let config = flights.config("host");
    for kill in 1..=KILLS {
        // Each life ends at a random place of its share of the work.
        let share =
            all * i64::try_from(kill).expect("few") / i64::try_from(KILLS + 1).expect("few");
        let until = rand::rng().random_range(flights.stored().await..=share.max(1));
        let host = Host::start(&config).expect("a host");
        wait::until("some progress", async || {
            let stored = flights.stored().await;
            if stored >= until {
                Ok(())
            } else {
                Err(format!("{stored} of {until}; {}", host.log()))
            }
        })
        .await;
        host.kill().expect("the host is killed");
    }
    let host = Host::start(&config).expect("a host");
    flights.wait_until_stored(&[&host]).await;
    flights.verify().await;

    let checkpoints = flights
        .database
        .checkpoints("aircraft")
        .await
        .expect("checkpoints");
    assert!(
        checkpoints.values().any(|checkpoint| checkpoint.epoch > 1),
        "the lives claimed one after the other: {checkpoints:?}"
    );
    drop(host);
    flights.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_share_the_partitions_and_the_result_is_the_same() {
    let flights = Flights::new("shared").await;
    let configs = [flights.config("one"), flights.config("two")];
    let hosts = configs
        .each_ref()
        .map(|config| Host::start(config).expect("a host"));
    wait::until(
        "each host to have two partitions of each projection",
        async || {
            let mut partitions = Vec::new();
            for host in &hosts {
                let readiness = host.readiness().map_err(|error| error.to_string())?;
                for projection in ["aircraft", "airports"] {
                    let owned = &readiness["projections"][projection]["partitions"];
                    partitions.push(owned.as_object().map_or(0, serde_json::Map::len));
                }
            }
            if partitions == [2, 2, 2, 2] {
                Ok(())
            } else {
                Err(format!("{partitions:?}"))
            }
        },
    )
    .await;

    flights.produce();
    flights.wait_until_stored(&[&hosts[0], &hosts[1]]).await;
    flights.verify().await;
    for projection in ["aircraft", "airports"] {
        let checkpoints = flights
            .database
            .checkpoints(projection)
            .await
            .expect("checkpoints");
        let mut owners: Vec<&str> = checkpoints.values().map(|c| c.owner.as_str()).collect();
        owners.sort_unstable();
        assert_eq!(owners, ["one", "one", "two", "two"], "{projection}");
    }
    drop(hosts);
    flights.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_hosts_leaves_under_load_and_the_other_goes_on() {
    let flights = Flights::new("leaving").await;
    let configs = [flights.config("one"), flights.config("two")];
    let [one, two] = configs
        .each_ref()
        .map(|config| Host::start(config).expect("a host"));
    one.wait_until_ready().await;
    two.wait_until_ready().await;
    flights.produce();
    wait::until("some progress", async || {
        let stored = flights.stored().await;
        if stored > 0 { Ok(()) } else { Err(stored) }
    })
    .await;
    assert!(one.terminate().await.expect("it ends").success());
    flights.wait_until_stored(&[&two]).await;
    flights.verify().await;
    drop(two);
    flights.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_leaves_nothing_uncommitted() {
    let flights = Flights::new("sigterm").await;
    flights.produce();
    let config = flights.config("host");
    let host = Host::start(&config).expect("a host");
    wait::until("some progress", async || {
        let stored = flights.stored().await;
        if stored > 1000 { Ok(()) } else { Err(stored) }
    })
    .await;
    host.signal("TERM").expect("a signal");
    let finished = host.finish().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(
        !finished.stderr.contains("not drained in time"),
        "{}",
        finished.stderr
    );

    // What the group has committed at the broker is what is stored, to the last event.
    for projection in ["aircraft", "airports"] {
        let group = format!("{}-{projection}", flights.topic.name);
        let committed = flights.topic.committed(&group).expect("committed offsets");
        let checkpoints = flights
            .database
            .checkpoints(projection)
            .await
            .expect("checkpoints");
        for (partition, checkpoint) in checkpoints {
            let index = usize::try_from(partition).expect("a partition");
            assert_eq!(
                committed[index].unwrap_or(0),
                checkpoint.next,
                "{projection}/{partition}"
            );
        }
    }
    let host = Host::start(&config).expect("a host");
    flights.wait_until_stored(&[&host]).await;
    flights.verify().await;
    drop(host);
    flights.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_partitions_another_claims_under_load_claims_them_again_and_goes_on() {
    let flights = Flights::new("rival").await;
    flights.produce();
    let config = flights.config("host");
    let host = Host::start(&config).expect("a host");
    let ends = flights.topic.ends().expect("the topic's ends");
    let checkpoints = flights.database.collection("_checkpoints");
    for round in 1..=3 {
        wait::until("some progress", async || {
            let stored = flights.stored().await;
            if stored >= round * 5000 {
                Ok(())
            } else {
                Err(format!("{stored}; {}", host.log()))
            }
        })
        .await;
        // What a claim by another host does to these checkpoints.
        let claim = bson::doc! { "$inc": { "epoch": 1_i64 }, "$set": { "owner": "rival" } };
        checkpoints
            .update_many(bson::doc! {}, claim)
            .await
            .expect("the rival claims");
        wait::until("the host to have claimed again", async || {
            // A partition that is stored to its end has nothing to notice the rival by.
            for projection in ["aircraft", "airports"] {
                let found = flights.database.checkpoints(projection).await;
                for (partition, found) in found.map_err(|error| error.to_string())? {
                    let end = ends[usize::try_from(partition).expect("a partition")];
                    if found.owner == "rival" && found.next < end {
                        return Err(format!(
                            "{projection}/{partition}: {found:?}; {}",
                            host.log()
                        ));
                    }
                }
            }
            Ok(())
        })
        .await;
    }
    assert!(
        host.log()
            .contains("another host has claimed this partition"),
        "{}",
        host.log()
    );
    flights.wait_until_stored(&[&host]).await;
    flights.verify().await;
    host.wait_until_ready().await;
    drop(host);
    flights.drop().await;
}
