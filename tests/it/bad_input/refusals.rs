//! Documents that MongoDB does not take, because of a declared index or of a user's own.

use std::collections::BTreeMap;

use bson::doc;
use mongodb::IndexModel;
use mongodb::options::IndexOptions;
use projectionist_tests::host::{Config, Host, command, free_address};
use projectionist_tests::kafka::{Record, Topic};
use projectionist_tests::mongo::Database;
use projectionist_tests::{guests, wait};
use serde_json::{Value, json};

use crate::parked::list;
use crate::settings::Settings;

/// A host that mirrors a topic of one partition, with these events.
struct Scene {
    config: Config,
    database: Database,
    host: Host,
}

fn produce(topic: &Topic, events: &[(&str, Value)]) {
    let texts: Vec<(&str, String)> = events
        .iter()
        .map(|(key, value)| (*key, value.to_string()))
        .collect();
    let records = texts.iter().map(|(key, value)| Record {
        key: Some(key),
        value: Some(value.as_bytes()),
        id: key,
    });
    topic.produce(records).expect("the events are produced");
}

impl Scene {
    /// `index` is declared for the gateway.
    async fn new(topic: &Topic, index: &str, unique: Option<&str>) -> Self {
        let gateway = free_address().expect("a port of the loopback is free");
        let settings = Settings {
            plugin: guests::path("mirror").display().to_string(),
            topic: topic.name.clone(),
            projection: "mirror",
            more: format!(
                "[views.mirror]\nindexes = [\"{index}\"]\n[gateway]\nlisten = \"{gateway}\"\n"
            ),
            ..Settings::new("refusals")
        };
        let database = settings.database().await;
        if let Some(field) = unique {
            let index = IndexModel::builder()
                .keys(doc! { field: 1 })
                .options(IndexOptions::builder().unique(true).build())
                .build();
            let made = database.collection("mirror.v1").create_index(index).await;
            made.expect("an empty collection takes any index");
        }
        let config = settings.config();
        let host = Host::start(&config).expect("a host");
        Scene {
            config,
            database,
            host,
        }
    }

    async fn until(&self, stored: i64, documents: &Value) {
        let expected: BTreeMap<String, Value> =
            serde_json::from_value(documents.clone()).expect("documents by their ids");
        wait::until("the documents to be right", async || {
            let stored_now = self.database.stored("mirror").await;
            let found = self.database.documents("mirror").await;
            match (stored_now, found) {
                (Ok(now), Ok(found)) if now == stored && found == expected => Ok(()),
                other => Err(format!("{other:?}; {}", self.host.log())),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_a_declared_index_cannot_hold_parks_its_key_and_names_the_index() {
    let topic = Topic::create("arrays", 1).await.expect("a topic");
    let mut events = vec![
        ("good", json!({"a": [1], "b": 0})),
        ("bad", json!({"a": 1, "b": 1})),
        ("bad", json!({"a": [1], "b": [1]})),
        ("bad", json!({"a": 2, "b": 2})),
        ("good", json!({"a": 0, "b": [1]})),
    ];
    // Of a document, a batch stores what its last event makes. So that this is the one at fault,
    // each part is stored before the next comes.
    produce(&topic, &events[..2]);
    let scene = Scene::new(&topic, "a, b", None).await;
    let documents = json!({"good": {"a": [1], "b": 0}, "bad": {"a": 1, "b": 1}});
    scene.until(2, &documents).await;
    produce(&topic, &events[2..3]);
    scene.until(3, &documents).await;
    produce(&topic, &events[3..]);
    let documents = json!({"good": {"a": 0, "b": [1]}, "bad": {"a": 1, "b": 1}});
    scene.until(5, &documents).await;
    let parked = list(&scene.config);
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!(parked[0]["offset"], 2);
    assert_eq!(parked[0]["events"], 2);
    let detail = parked[0]["reason"]["detail"].as_str().expect("a text");
    for word in ["\"bad\"", "code 171", "by a, b", "mirror.v1"] {
        assert!(detail.contains(word), "{detail}");
    }
    scene.host.wait_until_ready().await;

    // The event itself is given up, and what came behind it is folded.
    let id = parked[0]["id"].as_str().expect("an id");
    for arguments in [
        &["parked", "skip", id, "--reason", "two arrays"][..],
        &["parked", "drain", id],
    ] {
        let done = command(arguments, &scene.config).expect("a command");
        assert_eq!(done.code, Some(0), "{done:?}");
    }
    events.push(("bad", json!({"a": 3, "b": 3})));
    produce(&topic, &events[5..]);
    let documents = json!({"good": {"a": 0, "b": [1]}, "bad": {"a": 3, "b": 3}});
    scene.until(6, &documents).await;
    drop(scene.host);
    scene
        .database
        .drop()
        .await
        .expect("the database is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_index_of_a_users_own_parks_what_breaks_it_until_it_is_gone() {
    let topic = Topic::create("unique", 1).await.expect("a topic");
    let events = [
        ("x", json!({"mail": "x@example.org"})),
        ("y", json!({"mail": "y@example.org"})),
        ("y", json!({"mail": "x@example.org"})),
        ("z", json!({"mail": "z@example.org"})),
    ];
    produce(&topic, &events);
    let scene = Scene::new(&topic, "n", Some("mail")).await;
    let documents = json!({
        "x": events[0].1, "y": events[1].1, "z": events[3].1,
    });
    scene.until(4, &documents).await;
    let parked = list(&scene.config);
    assert_eq!(parked[0]["offset"], 2, "{parked:?}");
    let detail = parked[0]["reason"]["detail"].as_str().expect("a text");
    assert!(detail.contains("mail_1"), "{detail}");

    let view = scene.database.collection("mirror.v1");
    view.drop_index("mail_1").await.expect("it is there");
    let id = parked[0]["id"].as_str().expect("an id");
    let done = command(&["parked", "drain", id], &scene.config).expect("a command");
    assert_eq!(done.code, Some(0), "{done:?}");
    let documents = json!({
        "x": events[0].1, "y": events[2].1, "z": events[3].1,
    });
    scene.until(4, &documents).await;
    drop(scene.host);
    scene
        .database
        .drop()
        .await
        .expect("the database is dropped");
}
