//! The shipped projections on a running host, all beside one another, from Kafka to MongoDB.

use std::collections::BTreeMap;

use projectionist_tests::host::{Config, Host, command};
use projectionist_tests::kafka::{Record, Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::{guests, wait};
use serde_json::{Value, json};

/// The projection `name` of a host, with the plugin of that name.
struct Projection<'a> {
    name: &'a str,
    topic: &'a str,
    config: &'a str,
}

fn config(database: &str, projections: &[Projection<'_>]) -> Config {
    let mut text = format!(
        "[kafka]\nbrokers = \"{}\"\n[stores.main]\nkind = \"mongodb\"\nuri = \"{}\"\n\
         database = \"{database}\"\n",
        brokers(),
        uri(),
    );
    for projection in projections {
        let Projection {
            name,
            topic,
            config,
        } = projection;
        text += &format!(
            "[projections.{name}]\nplugin = \"{}\"\ntopics = [\"{topic}\"]\n\
             group-id = \"{topic}-{name}\"\n[projections.{name}.config]\n{config}\n",
            guests::path(&name.replace('-', "_")).display(),
        );
    }
    Config::new("host", &text).expect("a configuration")
}

/// Events with their keys, in their order; one without a value is a tombstone.
fn produce(topic: &Topic, events: &[(&str, Option<Value>)]) {
    let texts: Vec<(&str, Option<String>)> = events
        .iter()
        .map(|(key, value)| (*key, value.as_ref().map(Value::to_string)))
        .collect();
    let records = texts.iter().map(|(key, value)| Record {
        key: Some(key),
        value: value.as_ref().map(String::as_bytes),
        id: key,
    });
    topic.produce(records).expect("the events are produced");
}

async fn until(database: &Database, host: &Host, view: &str, expected: Value) {
    let expected: BTreeMap<String, Value> =
        serde_json::from_value(expected).expect("documents by their ids");
    wait::until("the documents to be right", async || {
        let found = database.documents(view).await;
        let found = found.map_err(|error| error.to_string())?;
        match found == expected {
            true => Ok(()),
            false => Err(format!("{view}: {found:?}; {}", host.log())),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_makes_its_documents_of_the_same_events_or_of_its_own() {
    let sales = Topic::create("sales", 3).await.expect("a topic");
    let rows = Topic::create("rows", 3).await.expect("a topic");
    let database = Database::new("shipped").await.expect("a database");
    let projection = |name, topic, config| Projection {
        name,
        topic,
        config,
    };
    let config = config(
        &database.name,
        &[
            projection("mirror", &*sales.name, "exclude = [\"price\"]\n"),
            projection(
                "mirror-by-fields",
                &sales.name,
                "id-from = \"value\"\nid = [\"/country\", \"/sku\"]\ntombstones = \"ignore\"\n",
            ),
            projection(
                "count",
                &sales.name,
                "group-by = [\"/country\"]\nsum = { revenue = \"/price\" }\nmax = { dearest = \"/price\" }\n",
            ),
            projection("debezium", &rows.name, "add-fields = [\"op\"]\n"),
        ],
    );
    let host = Host::start(&config).expect("a host");

    let sale = |country: &str, sku: u32, price: Value| {
        Some(json!({"country": country, "sku": sku, "price": price}))
    };
    let envelope = |op: &str, after: Value| Some(json!({"op": op, "before": null, "after": after}));
    produce(
        &sales,
        &[
            ("s-1", sale("DE", 1, json!(30))),
            ("s-2", sale("FR", 1, json!(0.1))),
            ("s-2", sale("FR", 2, json!(0.2))),
            ("s-3", sale("DE", 1, json!(12))),
            ("s-1", None),
        ],
    );
    produce(
        &rows,
        &[
            (
                r#"{"id":1}"#,
                envelope("c", json!({"id": 1, "name": "Anne"})),
            ),
            (
                r#"{"id":2}"#,
                envelope("c", json!({"id": 2, "name": "Sally"})),
            ),
            (
                r#"{"id":1}"#,
                envelope("u", json!({"id": 1, "name": "Anne Marie"})),
            ),
            (r#"{"id":2}"#, envelope("d", json!(null))),
            (r#"{"id":2}"#, None),
        ],
    );

    let mirrored = json!({"s-2": {"country": "FR", "sku": 2}, "s-3": {"country": "DE", "sku": 1}});
    until(&database, &host, "mirror", mirrored).await;
    let counted = json!({
        "DE": {"country": "DE", "count": 2, "revenue": 42, "dearest": 30},
        "FR": {
            "country": "FR", "count": 2, "revenue": {"$numberDecimal": "0.3"},
            "dearest": {"$numberDecimal": "0.2"},
        },
    });
    until(&database, &host, "count", counted).await;
    let table = json!({"1": {"id": 1, "name": "Anne Marie", "__op": "u"}});
    until(&database, &host, "debezium", table).await;
    wait::until("each sale to be a document", async || {
        let found = database.documents("mirror-by-fields").await;
        let found = found.map_err(|error| error.to_string())?;
        let ids: Vec<&str> = found.keys().map(String::as_str).collect();
        match ids == ["DE|1", "FR|1", "FR|2"] {
            true => Ok(()),
            false => Err(format!("{found:?}; {}", host.log())),
        }
    })
    .await;

    // What was stored is read back: decimals go on as decimals.
    produce(&sales, &[("s-4", sale("FR", 3, json!(1.7)))]);
    let counted = json!({
        "DE": {"country": "DE", "count": 2, "revenue": 42, "dearest": 30},
        "FR": {
            "country": "FR", "count": 3, "revenue": 2, "dearest": {"$numberDecimal": "1.7"},
        },
    });
    until(&database, &host, "count", counted).await;

    drop(host);
    database.drop().await.expect("the database is dropped");
}

#[test]
fn a_configuration_that_breaks_the_schema_is_told_whole_before_anything_runs() {
    let wrong = [
        Projection {
            name: "mirror",
            topic: "sales",
            config: "includes = [\"price\"]\nexclude = \"price\"\n",
        },
        Projection {
            name: "count",
            topic: "sales",
            config: "group-by = [\"country\"]\nmissing = \"skip\"\n",
        },
    ];
    let config = config("unused", &wrong);
    for command_name in ["check", "run"] {
        let finished = command(&[command_name], &config).expect("a command");
        assert_eq!(finished.code, Some(64), "{finished:?}");
        let problems = [
            "plugin \"mirror.wasm\" does not take the configuration of projection \"mirror\": ",
            "/exclude: a text is not of type \"array\"",
            "the configuration: unknown key \"includes\"; known here: exclude, include, rename",
            "plugin \"count.wasm\" does not take the configuration of projection \"count\": ",
            "/group-by/0: a text does not match \"^/\"",
            "/missing: a text is not one of \"reject\" or \"ignore\"",
        ];
        for problem in problems {
            assert!(
                finished.stderr.contains(problem),
                "{problem} in {}",
                finished.stderr
            );
        }
    }
}

#[test]
fn a_name_that_no_field_can_have_is_refused_with_its_place() {
    let wrong = [
        ("mirror", "rename = { old = \"_id\" }\n", "config.rename: "),
        ("mirror", "\nrename = { old = \"$x\" }\n", "config.rename: "),
        ("mirror", "rename = { old = \"a.b\" }\n", "has a dot"),
        ("mirror", "rename = { old = \"a\\u0000\" }\n", "has a null"),
        ("mirror", "include = [\"a\", \"_m\"]\n", "config.include: "),
        (
            "mirror-by-fields",
            "id-from = \"position\"\nrename = { old = \"_m\" }\n",
            "config.rename: ",
        ),
        ("debezium", "rename = { old = \"_m\" }\n", "config.rename: "),
        ("count", "count = \"_id\"\n", "belongs to the host"),
        ("count", "sum = { \"$x\" = \"/n\" }\n", "config.sum: "),
    ];
    for (name, config_text, words) in wrong {
        let projection = Projection {
            name,
            topic: "sales",
            config: config_text,
        };
        let finished = command(&["check"], &config("unused", &[projection])).expect("a command");
        assert_eq!(finished.code, Some(64), "{config_text}: {finished:?}");
        let place = "projectionist.toml:";
        for words in [words, place] {
            assert!(finished.stderr.contains(words), "{words}: {finished:?}");
        }
    }
}
