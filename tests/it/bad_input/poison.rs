//! Events that the plugin cannot take.

use projectionist_tests::host::{Host, command};
use projectionist_tests::kafka::{Record, Topic};
use projectionist_tests::wait;
use serde_json::json;

use crate::parked::{drain_with_lenient, list};
use crate::settings::{
    Number, Settings, before_poison, documents, number, produce, tally, until_stored,
};

#[tokio::test(flavor = "multi_thread")]
async fn poison_first_in_the_middle_and_last_parks_its_keys_and_no_others() {
    let topic = Topic::create("poison", 1).await.expect("a topic");
    let mut numbers = vec![number("first", -1)];
    for n in 0..30 {
        for key in ["first", "middle", "healthy", "last", "well"] {
            let poison = key == "middle" && n == 15;
            numbers.push(number(key, if poison { -n } else { n }));
        }
    }
    numbers.push(number("last", -2));
    produce(&topic, &numbers);
    let settings = Settings::tally(&topic, "");
    let database = settings.database().await;
    let config = settings.config();
    let host = Host::start(&config).expect("a host");
    until_stored(&database, numbers.len()).await;

    assert_eq!(documents(&database).await, tally(&before_poison(&numbers)));
    let parked = list(&config);
    let found: Vec<_> = parked
        .iter()
        .map(|key| (&key["key"], &key["offset"], &key["events"]))
        .map(|(key, offset, events)| json!([key, offset, events]))
        .collect();
    let middle = numbers.iter().position(|number| number.n == -15);
    let expected = [
        json!(["first", 0, 31]),
        json!(["middle", middle.expect("it is there"), 15]),
        json!(["last", numbers.len() - 1, 1]),
    ];
    assert_eq!(found, expected);
    // A parked key is no reason to send users elsewhere.
    host.wait_until_ready().await;

    drain_with_lenient(&config, &["--all"]);
    assert_eq!(documents(&database).await, tally(&numbers));
    assert!(list(&config).is_empty());
    assert!(host.terminate().await.expect("it ends").success());
    database.drop().await.expect("the database is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_behind_a_poison_one_wait_and_are_drained_in_order() {
    const BEHIND: i64 = 10_000;
    let topic = Topic::create("behind", 1).await.expect("a topic");
    let mut numbers: Vec<Number> = vec![number("k", 7), number("k", -1)];
    for n in 0..BEHIND {
        numbers.push(number("k", n));
        numbers.push(number(&format!("other-{}", n % 100), n));
    }
    produce(&topic, &numbers);
    let settings = Settings::tally(&topic, "");
    let database = settings.database().await;
    let config = settings.config();
    let host = Host::start(&config).expect("a host");
    until_stored(&database, numbers.len()).await;
    assert_eq!(documents(&database).await, tally(&before_poison(&numbers)));
    let parked = list(&config);
    assert_eq!(parked[0]["events"], BEHIND + 1);

    // Behind them still: the key's order holds whenever an event arrives.
    numbers.push(number("k", 5));
    produce(&topic, &numbers[numbers.len() - 1..]);
    until_stored(&database, numbers.len()).await;
    assert_eq!(list(&config)[0]["events"], BEHIND + 2);

    let id = parked[0]["id"].as_str().expect("an id");
    drain_with_lenient(&config, &[id]);
    assert_eq!(documents(&database).await, tally(&numbers));

    // Nothing of the key is parked any more, so what comes next is folded at once.
    numbers.push(number("k", 6));
    produce(&topic, &numbers[numbers.len() - 1..]);
    until_stored(&database, numbers.len()).await;
    assert_eq!(documents(&database).await, tally(&numbers));
    let shown = command(&["parked", "show", id], &config).expect("a command");
    assert_eq!(shown.code, Some(1), "{shown:?}");
    drop(host);
    database.drop().await.expect("the database is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_to_be_parked_a_poison_event_stops_its_partition_and_loses_nothing() {
    const GOOD: i64 = 20;
    let mut settings = Settings::new("poison");
    settings.more = "parking = { on-fault = \"stop\" }".to_owned();
    let topic = Topic::create("poison", 2).await.expect("a topic");
    settings.topic.clone_from(&topic.name);
    let flight = |leg: i64| {
        let flight = json!({
            "dep_time": 900, "dep_delay": leg, "origin": "JFK", "dest": "BOS", "distance": 187,
        });
        flight.to_string().into_bytes()
    };
    // One key a partition (by its CRC-32): "a" meets the poison in the middle, "d" does not.
    let mut records: Vec<(&str, Vec<u8>)> = Vec::new();
    for leg in 0..GOOD {
        records.push(("a", flight(leg)));
        records.push(("d", flight(leg)));
    }
    let poison = records
        .iter()
        .position(|(key, _)| *key == "a")
        .expect("it is there")
        + 20;
    records.insert(poison, ("a", b"{\"dep_time\": \"late\"}".to_vec()));
    let produced = records.iter().map(|(key, value)| Record {
        key: Some(key),
        value: Some(value),
        id: "id",
    });
    topic.produce(produced).expect("events are produced");

    let before = records[..poison]
        .iter()
        .filter(|(key, _)| *key == "a")
        .count();
    let before = i64::try_from(before).expect("few events");
    let database = settings.database().await;
    let config = settings.config();
    // The second life meets the same event: nothing was skipped.
    for life in 1..=2 {
        let host = Host::start(&config).expect("a host");
        let reason = wait::until("the partition to stand still", async || {
            let readiness = host.readiness().map_err(|error| error.to_string())?;
            let reasons = readiness["reasons"].to_string();
            if reasons.contains("cannot fold the event at") {
                Ok(reasons)
            } else {
                Err(reasons)
            }
        })
        .await;
        let place = format!("offset {before}: ");
        assert!(reason.contains(&place), "life {life}: {reason}");
        assert!(
            reason.contains("rejected the event") && reason.contains("nothing is lost"),
            "{reason}"
        );
        assert_eq!(host.get("/health/ready").expect("health").0, 503);

        wait::until("the other partition to be stored", async || {
            let stored = database
                .stored("aircraft")
                .await
                .map_err(|error| error.to_string())?;
            if stored == GOOD + before {
                Ok(())
            } else {
                Err(format!("{stored} events"))
            }
        })
        .await;
        let documents = database.documents("aircraft").await.expect("documents");
        assert_eq!(documents["a"]["legs"], before, "life {life}");
        assert_eq!(documents["d"]["legs"], GOOD, "life {life}");
        assert!(host.terminate().await.expect("it ends").success());
    }
    database.drop().await.expect("the database is dropped");
}
