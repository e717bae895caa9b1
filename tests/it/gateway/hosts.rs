//! The gateways of whole hosts, as processes, on the real broker.

use std::net::SocketAddr;

use projectionist_tests::guests;
use projectionist_tests::host::{Config, Host, command, free_address, program};
use projectionist_tests::kafka::{Record, Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use serde_json::json;

use crate::client::{Answer, Connection};

const PARTITIONS: i32 = 4;

pub(crate) fn config(topic: &Topic, database: &str, gateway: SocketAddr, more: &str) -> Config {
    config_at(&uri(), topic, database, gateway, more)
}

/// A host whose store is a database of this server.
pub(crate) fn config_at(
    uri: &str,
    topic: &Topic,
    database: &str,
    gateway: SocketAddr,
    more: &str,
) -> Config {
    let text = format!(
        r#"
[kafka]
brokers = "{}"
[stores.main]
kind = "mongodb"
uri = "{}"
database = "{database}"
[projections.tally]
plugin = "{}"
topics = ["{topic}"]
group-id = "{topic}"
[views.tally]
indexes = ["sum"]
[gateway]
listen = "{gateway}"
{more}
"#,
        brokers(),
        uri,
        guests::path("tally").display(),
        topic = topic.name
    );
    Config::new(&format!("host-{}", gateway.port()), &text).expect("a configuration")
}

fn get(gateway: SocketAddr, path: &str) -> Answer {
    Connection::open(gateway).get(path, &[])
}

/// Produces a number for each key, and answers the position of the last event of each partition.
pub(crate) fn produce(topic: &Topic, keys: &[String], number: i64) -> String {
    let value = json!({ "n": number }).to_string();
    let records = keys.iter().map(|key| Record {
        key: Some(key),
        value: Some(value.as_bytes()),
        id: key,
    });
    topic.produce(records).expect("events are produced");
    let ends = topic.ends().expect("the partitions have ends");
    let ends = (0..).zip(ends).filter(|(_, end)| *end > 0);
    let places = ends.map(|(partition, end): (i32, i64)| format!("{partition}@{}", end - 1));
    let places: Vec<String> = places.collect();
    format!("{}:{}", topic.name, places.join(","))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_hosts_answers_with_what_both_have_folded() {
    two_hosts("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_changes_no_answer() {
    let metrics = two_hosts("cache-bytes = \"1MiB\"").await;
    // The host that is left owns all partitions.
    let hits = r#"projectionist_gateway_cache_reads_total{projection="tally",outcome="hit"} "#;
    let hits = metrics.lines().find_map(|line| line.strip_prefix(hits));
    let hits: usize = hits.expect("a counter").parse().expect("a number");
    assert!(hits >= READS_OF_ONE - 20, "{hits}");
}

/// Reads of the host that is left, of twenty keys.
const READS_OF_ONE: usize = 100;

/// Has two hosts answer, then one. Answers the metrics of that.
async fn two_hosts(more: &str) -> String {
    let topic = Topic::create("gateways", PARTITIONS)
        .await
        .expect("a topic");
    let database = Database::new("gateways").await.expect("a database");
    let gateways = [(); 2].map(|()| free_address().expect("a port"));
    let configs = gateways.map(|gateway| config(&topic, &database.name, gateway, more));
    let hosts = [0, 1].map(|index| Host::start(&configs[index]).expect("a host"));
    for host in &hosts {
        host.wait_until_ready().await;
    }
    let keys: Vec<String> = (0..20).map(|key| format!("key-{key}")).collect();
    for round in 1..=5_i64 {
        let token = produce(&topic, &keys, round);
        let sum = (1..=round).sum::<i64>();
        for gateway in gateways {
            for key in &keys {
                let path = format!("/views/tally/{key}?after={token}&wait=30s&fields=sum");
                let answer = get(gateway, &path);
                assert_eq!(answer.status, 200, "{answer:?}");
                assert_eq!(answer.json(), json!({ "_id": key, "sum": sum }));
                assert_eq!(answer.header("projectionist-freshness"), Some("fresh"));
            }
            let list = get(gateway, &format!("/views/tally?sum={sum}&after={token}"));
            let documents = list.json()["documents"].as_array().map(Vec::len);
            assert_eq!(documents, Some(keys.len()), "{list:?}");
        }
    }
    // Each goes on where a page of the other has ended.
    let first = get(gateways[0], "/views/tally?limit=12").json();
    let next = first["next"].as_str().expect("a cursor");
    let second = get(gateways[1], &format!("/views/tally?cursor={next}"));
    let rest = second.json()["documents"].as_array().map(Vec::len);
    assert_eq!(rest, Some(keys.len() - 12), "{second:?}");
    // The index is the store's, not the gateway's alone.
    let indexes = database.collection("tally.v1").list_index_names().await;
    let indexes = indexes.expect("a collection");
    assert!(indexes.contains(&"by sum".to_owned()), "{indexes:?}");
    // And where a host has gone, the other one answers for all partitions.
    let [first, second] = hosts;
    first.terminate().await.expect("it ends");
    let token = produce(&topic, &keys, 100);
    let answer = get(
        gateways[1],
        &format!("/views/tally/key-7?after={token}&wait=30s"),
    );
    assert_eq!(
        (answer.status, &answer.json()["sum"]),
        (200, &115.into()),
        "{answer:?}"
    );
    assert!(
        std::net::TcpStream::connect(gateways[0]).is_err(),
        "its port is closed"
    );
    for index in 0..READS_OF_ONE {
        let key = &keys[index % keys.len()];
        let answer = get(gateways[1], &format!("/views/tally/{key}"));
        assert_eq!(
            (answer.status, &answer.json()["sum"]),
            (200, &115.into()),
            "{answer:?}"
        );
    }
    // Every write is seen by the read that asks for it, whatever was kept before.
    for round in 1..=50 {
        let token = produce(&topic, &keys[..1], 1);
        let path = format!("/views/tally/{}?after={token}&wait=30s", keys[0]);
        let plain = format!("/views/tally/{}", keys[0]);
        for path in [&path, &plain, &plain] {
            let answer = get(gateways[1], path);
            let sum = 115 + round;
            assert_eq!(
                (answer.status, &answer.json()["sum"]),
                (200, &sum.into()),
                "{answer:?}"
            );
        }
    }
    let (_, metrics) = second.get("/metrics").expect("an answer");
    let counted = r#"projectionist_gateway_requests_total{route="document",outcome="answered"}"#;
    assert!(metrics.contains(counted), "{metrics}");
    drop(second);
    database.drop().await.expect("it is the test's own");
    metrics
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_does_not_fit_the_views_is_refused() {
    let topic = Topic::create("gateways", 1).await.expect("a topic");
    let gateway = free_address().expect("a port");
    let cases = [
        (
            "[views.tallies]\nindexes = []",
            "views that no projection writes: views.tallies (",
        ),
        ("[views.tallies]\nindexes = []", "); there are tally"),
        (
            "[gateway.roles.some]\nviews = [\"tally\", \"other\"]",
            "gateway.roles.some.views: other",
        ),
        (
            "[gateway.jwt]\njwks = \"none.json\"",
            "none.json (gateway.jwt.jwks) cannot be read",
        ),
    ];
    for (more, words) in cases {
        let config = config(&topic, "unused", gateway, more);
        for arguments in [&["check"][..], &["run"]] {
            let finished = command(arguments, &config).expect("it ends");
            assert_eq!(finished.code, Some(64), "{finished:?}");
            assert!(finished.stderr.contains(words), "{}", finished.stderr);
        }
    }
}

#[test]
fn a_token_is_made_by_a_command() {
    let token = |arguments: [&str; 3]| {
        let output = program().arg("token").args(arguments).output();
        let output = output.expect("the binary; build it with `make build`");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.code(), text)
    };
    assert_eq!(
        token(["flights", "3", "41"]),
        (Some(0), "flights:3@41\n".to_owned())
    );
    for wrong in [
        ["fl ights", "3", "41"],
        ["flights", "-1", "41"],
        ["flights", "3", "x"],
    ] {
        let (code, text) = token(wrong);
        assert_ne!(code, Some(0), "{wrong:?}");
        assert_eq!(text, "", "{wrong:?}");
    }
}
