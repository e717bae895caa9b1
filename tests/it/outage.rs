//! A store that goes away and comes back: the host waits, says so, and goes on by itself.

use std::path::Path;

use projectionist_tests::host::{Config, Host};
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::mongo::Database;
use projectionist_tests::mongod::Mongod;
use projectionist_tests::{guests, wait};

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_that_crashes_and_comes_back_stops_nothing_and_loses_nothing() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/flights/data/flights-2013-01.csv.gz");
    let events = flights::read(&data).expect("the example's data");
    let topic = Topic::create("outage", 2).await.expect("a topic");
    let mut mongod = Mongod::replica_set().await;
    let database = Database::at(&mongod.uri(), "outage")
        .await
        .expect("a database");
    let text = format!(
        r#"
[kafka]
brokers = "{}"
[stores.main]
kind = "mongodb"
uri = "{}"
database = "outage"
[projections.aircraft]
plugin = "{}"
topics = ["{}"]
group-id = "{}"
[projections.aircraft.batch]
events = 200
"#,
        brokers(),
        mongod.uri(),
        guests::path("aircraft").display(),
        topic.name,
        topic.name,
    );
    let config = Config::new("host", &text).expect("a configuration");
    let host = Host::start(&config).expect("a host");
    let (first, second) = events.split_at(events.len() / 2);
    topic.produce_flights(first).expect("events are produced");
    host.wait_until_ready().await;
    wait::until("some progress", async || {
        let stored = database
            .stored("aircraft")
            .await
            .map_err(|error| error.to_string())?;
        if stored > 0 {
            Ok(())
        } else {
            Err(format!("{stored} events"))
        }
    })
    .await;

    mongod.kill();
    topic.produce_flights(second).expect("events are produced");
    wait::until("the host to say what is away", async || {
        let readiness = host.readiness().map_err(|error| error.to_string())?;
        let reasons = readiness["reasons"].to_string();
        let said = reasons.contains("store \\\"main\\\" does not answer");
        if said { Ok(()) } else { Err(reasons) }
    })
    .await;
    mongod.start_again();

    let all = i64::try_from(events.len()).expect("few events");
    wait::until("everything to be stored", async || {
        let stored = database
            .stored("aircraft")
            .await
            .map_err(|error| error.to_string())?;
        if stored == all {
            Ok(())
        } else {
            Err(format!("{stored} of {all}; {}", host.log()))
        }
    })
    .await;
    host.wait_until_ready().await;
    let stored = database.documents("aircraft").await.expect("documents");
    assert!(
        stored == flights::expected::aircraft(&events),
        "the documents differ"
    );
}
