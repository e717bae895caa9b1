//! Other versions of a plugin on running hosts: activated, tried beside, rolled back.
//!
//! Whole hosts on the real broker and the real MongoDB, with the guest `tally`: each of its
//! documents has a chain over the order of its key's events, so whatever is lost, repeated or out
//! of order shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use projectionist::deployment::{Change, Decision, Deployments, Grounds, Revision};
use projectionist::plugin::{Engine, examine};
use projectionist::registry::Registry;
use projectionist::store::Store;
use projectionist::store::mongo::MongoStore;
use projectionist_tests::host::{Config, Host};
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::tally::{Number, number, produce, tally};
use projectionist_tests::{guests, wait};

const PARTITIONS: i32 = 4;

/// One a second.
const SWAPS: usize = 60;

struct Scene {
    topic: Topic,
    database: Database,
    registry: Registry,
    deployments: Deployments,
    sent: Vec<Number>,
}

impl Scene {
    async fn new(what: &str) -> Self {
        let topic = Topic::create(what, PARTITIONS).await.expect("a topic");
        let database = Database::new(what).await.expect("a database");
        let store = MongoStore::connect(&uri(), &database.name).await;
        let store: Arc<dyn Store> = Arc::new(store.expect("a store"));
        Scene {
            topic,
            database,
            registry: Registry::new(Arc::clone(&store)),
            deployments: Deployments::new(store, "tally".into()),
            sent: Vec::new(),
        }
    }

    /// A host whose configuration names this guest.
    fn config(&self, host: &str, guest: &str) -> Config {
        let text = format!(
            r#"
[kafka]
brokers = "{}"
[stores.main]
kind = "mongodb"
uri = "{}"
database = "{}"
[projections.tally]
plugin = "{}"
topics = ["{}"]
group-id = "{}"
batch.events = 100
"#,
            brokers(),
            uri(),
            self.database.name,
            guests::path(guest).display(),
            self.topic.name,
            self.topic.name,
        );
        Config::new(host, &text).expect("a configuration")
    }

    /// Produces events of these keys in turn.
    fn send(&mut self, events: usize, keys: usize, n: impl Fn(usize) -> i64) {
        let begin = self.sent.len();
        let numbers = (begin..begin + events).map(|i| number(&format!("k{}", i % keys), n(i)));
        let numbers: Vec<Number> = numbers.collect();
        produce(&self.topic, &numbers);
        self.sent.extend(numbers);
    }

    async fn upload(&self, bytes: &[u8]) -> String {
        let engine = Arc::new(Engine::new().expect("an engine"));
        let about = examine(&engine, "a test's", bytes).expect("it is a plugin");
        let saved = self.registry.save(&about, bytes, "a test").await;
        saved.expect("the store is in order").plugin.about.sha256
    }

    async fn decide(&self, decision: Decision) -> Revision {
        let grounds = Grounds {
            by: "a test".to_owned(),
            reason: String::new(),
        };
        let decided = self.deployments.decide(&decision, &grounds).await;
        decided.expect("it is in order")
    }

    async fn until_stored(&self, hosts: &[&Host]) {
        let sent = i64::try_from(self.sent.len()).expect("few events");
        wait::until("the topic to be stored", async || {
            let stored = self.database.stored("tally").await;
            let stored = stored.map_err(|error| error.to_string())?;
            let logs: Vec<String> = hosts.iter().map(|host| host.log()).collect();
            if stored == sent {
                Ok(())
            } else {
                Err(format!("{stored} of {sent}; {}", logs.join("\n")))
            }
        })
        .await;
    }

    async fn assert_right(&self) {
        let stored = self.database.documents("tally").await;
        let stored = stored.expect("documents");
        assert!(stored == tally(&self.sent), "the documents differ");
    }

    /// For each document the partition and the offset of its last event, and who folded that.
    async fn shaped(&self) -> Vec<(i32, i64, String)> {
        let collection = self.database.collection("tally.v1");
        let mut cursor = collection.find(bson::doc! {}).await.expect("it answers");
        let mut shaped = Vec::new();
        while cursor.advance().await.expect("it answers") {
            let document = cursor.deserialize_current().expect("a document");
            let meta = document.get_document("_m").expect("its provenance");
            let at = meta.get_document("at").expect("an event");
            shaped.push((
                at.get_i32("partition").expect("a number"),
                at.get_i64("offset").expect("a number"),
                meta.get_str("plugin").expect("a hash").to_owned(),
            ));
        }
        shaped
    }

    async fn newest(&self) -> Revision {
        let newest = self.deployments.newest().await;
        newest
            .expect("the store is in order")
            .expect("there is one")
    }
}

/// The same plugin under another hash: a custom section more.
fn variant(guest: &str, name: &str) -> Vec<u8> {
    let mut bytes = guests::guest(guest);
    let content = [&[u8::try_from(name.len()).expect("short")], name.as_bytes()].concat();
    bytes.push(0);
    bytes.push(u8::try_from(content.len()).expect("short"));
    bytes.extend(content);
    bytes
}

/// Waits until all these hosts run a revision.
async fn until_run(hosts: &[&Host], revision: u64) {
    let words = format!("revision={revision}");
    wait::until("all hosts to change over", async || {
        let logs: Vec<String> = hosts.iter().map(|host| host.log()).collect();
        let told = logs.iter().all(|log| {
            let mut lines = log.lines();
            lines.any(|line| line.contains("another version is to run") && line.contains(&words))
        });
        if told { Ok(()) } else { Err(logs.join("\n")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_every_host_changes_over_and_each_event_is_folded_once_in_its_order() {
    let mut scene = Scene::new("swapping").await;
    let (config_a, config_b) = (scene.config("a", "tally"), scene.config("b", "tally"));
    let mut a = Host::start(&config_a).expect("a host");
    let b = Host::start(&config_b).expect("a host");
    a.wait_until_ready().await;
    b.wait_until_ready().await;
    let first = scene.newest().await;
    assert_eq!((first.number, first.change), (1, Change::Configured));

    // Keys that come once, so that documents of every version stay to be seen.
    let keys = 20_000;
    scene.send(1_000, keys, |i| i as i64);
    let mut order = vec![first.active];
    let mut variants = Vec::new();
    for name in ["one", "two", "three", "four"] {
        variants.push(scene.upload(&variant("tally", name)).await);
    }
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    for plugin in variants.iter().cycle().take(SWAPS) {
        pace.tick().await;
        let revision = scene.decide(Decision::Activate(plugin.clone())).await;
        scene.send(400, keys, |i| i as i64);
        until_run(&[&a, &b], revision.number).await;
        scene.send(200, keys, |i| i as i64);
        order.push(plugin.clone());
    }
    let back = scene.decide(Decision::Rollback).await;
    let before = order[SWAPS - 1].clone();
    assert_eq!(back.active, before);
    scene.send(2_000, keys, |i| i as i64);
    until_run(&[&a, &b], back.number).await;

    // A restart with the same file goes on with what was activated.
    a.end().await.expect("it ends");
    let a = Host::start(&config_a).expect("a host");
    a.wait_until_ready().await;
    scene.send(2_000, keys, |i| i as i64);
    scene.until_stored(&[&a, &b]).await;
    scene.assert_right().await;
    assert_eq!(scene.newest().await, back, "nothing else was decided");

    let shaped = scene.shaped().await;
    let seen: BTreeSet<&String> = shaped.iter().map(|(_, _, plugin)| plugin).collect();
    let variants: BTreeSet<&String> = variants.iter().collect();
    assert_eq!(seen, variants, "the first one's keys have come again since");
    let mut partitions: BTreeMap<i32, Vec<(i64, &String)>> = BTreeMap::new();
    for (partition, offset, plugin) in &shaped {
        let of_it = partitions.entry(*partition).or_default();
        of_it.push((*offset, plugin));
    }
    order.push(before);
    for (partition, mut events) in partitions {
        events.sort_unstable();
        let mut at = 0;
        for (offset, plugin) in events {
            let next = order[at..].iter().position(|known| known == plugin);
            at += next.unwrap_or_else(|| panic!("{partition}/{offset}: {plugin} after {at}"));
        }
    }
    drop((a, b));
    scene.database.drop().await.expect("the database goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_rejects_too_much_is_rolled_back_and_what_it_parked_is_folded() {
    let mut scene = Scene::new("rollback").await;
    let (config_a, config_b) = (
        scene.config("a", "tally_lenient"),
        scene.config("b", "tally_lenient"),
    );
    let a = Host::start(&config_a).expect("a host");
    let b = Host::start(&config_b).expect("a host");
    a.wait_until_ready().await;
    b.wait_until_ready().await;
    let negative = |i: usize| if i.is_multiple_of(5) { -1 } else { i as i64 };
    scene.send(2_000, 200, negative);
    scene.until_stored(&[&a, &b]).await;
    let first = scene.newest().await;

    let strict = scene.upload(&guests::guest("tally")).await;
    let activated = scene.decide(Decision::Activate(strict.clone())).await;
    until_run(&[&a, &b], activated.number).await;
    scene.send(2_000, 200, negative);
    let back = wait::until("a rollback", async || match scene.newest().await {
        newest if newest.change == Change::RolledBack => Ok(newest),
        newest => Err((newest, a.log(), b.log())),
    })
    .await;
    assert_eq!(back.number, activated.number + 1);
    assert_eq!(back.active, first.active);
    assert_eq!(back.withdrawn, Some(strict));
    assert!(back.reason.contains("is negative"), "{}", back.reason);
    assert!(back.by.contains("by itself"), "{}", back.by);
    scene.send(2_000, 200, negative);
    scene.until_stored(&[&a, &b]).await;
    wait::until("nothing to be parked", async || {
        let parked = scene.database.collection("_parked");
        match parked.count_documents(bson::doc! {}).await {
            Ok(0) => Ok(()),
            other => Err((other, a.log(), b.log())),
        }
    })
    .await;
    scene.assert_right().await;
    drop((a, b));
    scene.database.drop().await.expect("the database goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_folds_beside_on_every_host_and_its_report_adds_up() {
    let mut scene = Scene::new("shadow").await;
    let (config_a, config_b) = (scene.config("a", "tally"), scene.config("b", "tally"));
    let a = Host::start(&config_a).expect("a host");
    let b = Host::start(&config_b).expect("a host");
    a.wait_until_ready().await;
    b.wait_until_ready().await;
    let same = scene.upload(&variant("tally", "same")).await;
    let shadowed = scene.decide(Decision::Shadow(Some(same))).await;
    until_run(&[&a, &b], shadowed.number).await;
    scene.send(4_000, 500, |i| i as i64);
    scene.until_stored(&[&a, &b]).await;
    let report = wait::until("the report of all events", async || {
        let report = scene.deployments.report(shadowed.number).await;
        match report.expect("the store is in order") {
            report if report.events == 4_000 => Ok(report),
            report => Err((report, a.log(), b.log())),
        }
    })
    .await;
    assert!(report.documents >= 500, "{report:?}");
    assert_eq!((report.differing, report.faults), (0, 0), "{report:?}");
    scene.assert_right().await;
    drop((a, b));
    scene.database.drop().await.expect("the database goes");
}
