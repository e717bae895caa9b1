//! What users see of parked events and do about them, on the command line and over HTTP.

use projectionist_tests::host::{Config, Finished, Host, Request, command, free_address};
use projectionist_tests::kafka::Topic;
use projectionist_tests::{guests, wait};
use serde_json::{Value, json};

use crate::settings::{Number, Settings, documents, number, produce, tally, until_stored};

fn run(arguments: &[&str], config: &Config) -> Finished {
    command(&[&["parked"], arguments].concat(), config).expect("a command")
}

/// What is parked, as `parked list --json` tells it.
pub(crate) fn list(config: &Config) -> Vec<Value> {
    let listed = run(&["list", "--json"], config);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let lines = listed.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Drains with the plugin that takes what `tally` rejects.
pub(crate) fn drain_with_lenient(config: &Config, ids: &[&str]) {
    let plugin = guests::path("tally_lenient").display().to_string();
    let arguments = [&["drain", "--with", &plugin, "--wait", "60s"], ids].concat();
    let drained = run(&arguments, config);
    assert_eq!(drained.code, Some(0), "{drained:?}");
}

/// Two parked keys, of three events and of one, and a healthy one.
fn numbers() -> Vec<Number> {
    [("a", 1), ("b", -2), ("c", -3), ("b", 4), ("b", 5), ("a", 6)]
        .map(|(key, n)| number(key, n))
        .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_events_are_listed_shown_drained_and_skipped_by_command() {
    let topic = Topic::create("parked", 1).await.expect("a topic");
    let numbers = numbers();
    produce(&topic, &numbers);
    let settings = Settings::tally(&topic, "");
    let (config, database) = (settings.config(), settings.database().await);
    let host = Host::start(&config).expect("a host");
    until_stored(&database, numbers.len()).await;

    let (b, c) = (
        format!("tally/{}/0/1", topic.name),
        format!("tally/{}/0/2", topic.name),
    );
    let rejected = "the plugin rejected the event";
    let listed = run(&["list"], &config);
    let expected = format!(
        "{b}\tkey \"b\"\t3 events\t{rejected}: -2 is negative\n\
         {c}\tkey \"c\"\t1 event\t{rejected}: -3 is negative\n"
    );
    assert_eq!((listed.code, listed.stdout), (Some(0), expected));

    let shown = run(&["show", &b, "--limit", "2"], &config);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stderr.contains("… and 1 more"), "{shown:?}");
    let events: Vec<Value> = shown
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let found: Vec<_> = events
        .iter()
        .map(|e| json!([e["offset"], e["value"]["n"]]))
        .collect();
    assert_eq!(found, [json!([1, -2]), json!([3, 4])]);
    assert_eq!(events[0]["headers"][0]["value"], numbers[1].id.as_str());

    // With the same plugin it fails again, and says what else there is.
    let drained = run(&["drain", &c], &config);
    assert_eq!(drained.code, Some(1), "{drained:?}");
    assert!(drained.stdout.contains("-3 is negative"), "{drained:?}");
    let way_out = ["1 of 1 keys", "--with a plugin", "parked skip"];
    assert!(
        way_out.iter().all(|words| drained.stderr.contains(words)),
        "{drained:?}"
    );

    let skipped = run(&["skip", &b, "--reason", "a test order"], &config);
    assert_eq!(skipped.code, Some(0), "{skipped:?}");
    let left = "skipped the event at offset 1: 2 events of its key are still parked";
    assert!(skipped.stdout.contains(left), "{skipped:?}");
    let drained = run(&["drain", &b], &config);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert!(drained.stdout.contains("drained"), "{drained:?}");
    drain_with_lenient(&config, &[&c]);

    let kept: Vec<Number> = numbers
        .iter()
        .filter(|number| number.n != -2)
        .cloned()
        .collect();
    assert_eq!(documents(&database).await, tally(&kept));
    let nothing = run(&["list"], &config);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""));
    assert!(nothing.stderr.contains("nothing is parked"), "{nothing:?}");
    let skipped = database.collection("_skipped");
    let skipped = skipped.find_one(bson::doc! {}).await.expect("it answers");
    let skipped = skipped.expect("it is kept");
    let reason = skipped
        .get_document("skipped")
        .and_then(|s| s.get_str("reason"));
    assert_eq!(reason.ok(), Some("a test order"), "{skipped}");
    drop(host);
    database.drop().await.expect("the database is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_about_parked_events_is_told_so() {
    let topic = Topic::create("questions", 1).await.expect("a topic");
    let numbers = numbers();
    produce(&topic, &numbers);
    let mut settings = Settings::tally(&topic, "");
    let (config, database) = (settings.config(), settings.database().await);
    let host = Host::start(&config).expect("a host");
    until_stored(&database, numbers.len()).await;
    assert!(host.terminate().await.expect("it ends").success());

    config.add_file("text.wasm", b"hello").expect("a file");
    let text = config
        .path()
        .with_file_name("text.wasm")
        .display()
        .to_string();
    let b = &format!("tally/{}/0/1", topic.name);
    let nobody = &format!("tally/{}/0/0", topic.name);
    let other = &guests::path("aircraft").display().to_string();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["show", "b"], 2, "write PROJECTION/TOPIC/PARTITION/OFFSET"),
        (&["drain"], 2, "required"),
        (&["show", nobody], 1, "nothing is parked as"),
        (
            &["drain", nobody],
            1,
            "\"projectionist parked list\" shows what is",
        ),
        (
            &["skip", nobody, "--reason", "r"],
            1,
            "nothing is parked as",
        ),
        (
            &["skip", b, "--offset", "2", "--reason", "r"],
            1,
            "has no parked event at offset 2",
        ),
        (
            &["list", "tale"],
            1,
            "there is no projection \"tale\" in the configuration",
        ),
        (&["drain", b, "--with", &text], 64, "is not Wasm"),
        (
            &["drain", b, "--wait", "10ms"],
            1,
            "is carried out as soon as one runs",
        ),
    ];
    for (arguments, code, words) in cases {
        let finished = run(arguments, &config);
        assert_eq!(finished.code, Some(code), "{arguments:?}: {finished:?}");
        assert!(
            finished.stderr.contains(words),
            "{arguments:?}: {finished:?}"
        );
    }
    let waits = run(&["list"], &config);
    assert!(waits.stdout.contains("(to be drained)"), "{waits:?}");

    // A plugin with other views is refused by the owner, and nothing changes.
    let host = Host::start(&config).expect("a host");
    let drained = run(&["drain", b, "--with", other], &config);
    assert_eq!(drained.code, Some(1), "{drained:?}");
    let reason = "its views or its encoding are not those of the projection's own plugin";
    assert!(drained.stdout.contains(reason), "{drained:?}");
    assert_eq!(list(&config).len(), 2);
    drop(host);

    let nobody_there = free_address().expect("an address");
    settings.uri = format!("mongodb://{nobody_there}/?replicaSet=rs0");
    let away = run(&["list"], &settings.config());
    assert_eq!(away.code, Some(69), "{away:?}");
    assert!(away.stderr.contains(&nobody_there.to_string()), "{away:?}");
    database.drop().await.expect("the database is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_events_are_listed_drained_and_skipped_over_http() {
    let topic = Topic::create("parked-http", 1).await.expect("a topic");
    let numbers = numbers();
    produce(&topic, &numbers);
    let settings = Settings::tally(&topic, "");
    let (config, database) = (settings.config(), settings.database().await);
    let host = Host::start(&config).expect("a host");
    until_stored(&database, numbers.len()).await;

    let get = |path: &str| {
        let (status, body) = host.get(path).expect("an answer");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        (status, body)
    };
    let post = |path: &str, body: &str| {
        let (status, body) = host.post(path, body).expect("an answer");
        (status, body)
    };
    let (status, body) = get("/parked");
    assert_eq!(
        (status, body["parked"][0]["events"].as_u64()),
        (200, Some(3))
    );
    let b = &format!("/parked/tally/{}/0/1", topic.name);
    let c = &format!("/parked/tally/{}/0/2", topic.name);
    let (status, body) = get(b);
    assert_eq!(
        (status, &body["first_events"][1]["value"]["n"]),
        (200, &json!(4))
    );
    assert_eq!(body["reason"]["detail"], "-2 is negative");
    let (_, metrics) = host.get("/metrics").expect("metrics");
    let place = format!(
        "{{projection=\"tally\",topic=\"{}\",partition=\"0\"}}",
        topic.name
    );
    for (name, count) in [("parked_keys", 2), ("parked_events", 4)] {
        let line = format!("projectionist_{name}{place} {count}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }

    let wrong = [
        (
            "/parked/tally/nowhere/0/1/drain",
            "",
            404,
            "nothing is parked as",
        ),
        (
            "/parked/tale/t/0/1/drain",
            "",
            404,
            "there is no projection",
        ),
        (
            &*format!("{b}/drain"),
            "{\"plugins\":1}",
            400,
            "unknown field",
        ),
        (&*format!("{b}/skip"), "{}", 400, "missing field `offset`"),
        (
            &*format!("{b}/skip"),
            r#"{"offset":2,"reason":"r"}"#,
            404,
            "no parked event at offset 2",
        ),
    ];
    for (path, body, status, words) in wrong {
        let answer = post(path, body);
        assert_eq!(answer.0, status, "{path}: {answer:?}");
        let error: Value = serde_json::from_str(&answer.1).expect("JSON");
        let error = error["detail"].as_str().expect("a text").to_owned();
        assert!(error.contains(words), "{path}: {error}");
    }

    // Numbers that are none, or out of range, are problems like any others.
    for number in ["x", "-", "2147483648", "1e3", "%ff"] {
        for path in [
            format!("/parked/tally/t/{number}/0"),
            "/parked/tally/t/0/99999999999999999999".to_owned(),
        ] {
            let request = Request {
                method: "GET",
                path: &path,
                ..Request::default()
            };
            let answer = host.request(&request).expect("an answer");
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
            assert!(
                answer.head.contains("application/problem+json"),
                "{path}: {answer:?}"
            );
        }
    }

    let skip = r#"{"offset":1,"reason":"a test order"}"#;
    assert_eq!(post(&format!("{b}/skip"), skip).0, 202);
    until_left(&host, b, Some(2)).await;
    assert_eq!(post(&format!("{b}/drain"), "").0, 202);
    until_left(&host, b, None).await;
    let skip = r#"{"offset":2,"reason":"a test order"}"#;
    assert_eq!(post(&format!("{c}/skip"), skip).0, 202);
    until_left(&host, c, None).await;
    assert_eq!(get("/parked"), (200, json!({ "parked": [] })));
    let kept: Vec<Number> = numbers
        .iter()
        .filter(|number| number.n > 0)
        .cloned()
        .collect();
    assert_eq!(documents(&database).await, tally(&kept));
    drop(host);
    database.drop().await.expect("the database is dropped");
}

/// Waits until so many events of a key are parked.
async fn until_left(host: &Host, path: &str, events: Option<u64>) {
    wait::until("the request to be carried out", async || {
        let (status, body) = host.get(path).map_err(|error| error.to_string())?;
        let found: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
        let done = match events {
            None => status == 404,
            Some(events) => found["events"] == events && found["request"].is_null(),
        };
        if done { Ok(()) } else { Err(body) }
    })
    .await;
}
