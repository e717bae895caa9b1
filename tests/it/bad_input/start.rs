//! What is wrong at the start: the configuration, the plugin, the services it names.

use std::time::{Duration, Instant};

use bson::doc;
use projectionist_tests::broker::Broker;
use projectionist_tests::host::{Config, Finished, Host, binary, command, free_address};
use projectionist_tests::kafka::Topic;
use projectionist_tests::mongo::Database;
use projectionist_tests::mongod::Mongod;

use crate::settings::Settings;

/// The lines that are not logs.
fn message(finished: &Finished) -> Vec<&str> {
    let is_log = |line: &&str| line.contains(" INFO ") || line.contains(" WARN ");
    finished
        .stderr
        .lines()
        .filter(|line| !is_log(line))
        .collect()
}

#[test]
fn a_wrong_configuration_is_told_whole_and_ends_with_64() {
    let text = r#"
[kafka]
brokers = 9092
[stores.main]
kind = "mongodb"
uri = "mongodb://localhost/?replicaSet=rs0"
database = "views"
[projections.aircraft]
plugin = "aircraft.wasm"
topcis = ["flights"]
[projections.aircraft.limits]
call-max = "soon"
"#;
    let config = Config::new("host", text).expect("a configuration");
    for command_name in ["check", "run"] {
        let finished = command(&[command_name], &config).expect("a command");
        assert_eq!(finished.code, Some(64), "{finished:?}");
        let problems = [
            ":9:11: kafka.brokers: expected a string",
            ":16:1: projections.aircraft.topcis: unknown key; did you mean \"topics\"?",
            ": projections.aircraft.topics: ",
            ":18:12: projections.aircraft.limits.call-max: ",
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
fn a_property_that_librdkafka_does_not_know_is_named() {
    let mut settings = Settings::new("property");
    settings.properties = "[kafka.properties]\n\"sesion.timeout.ms\" = 9000\n";
    let finished = command(&["check"], &settings.config()).expect("a command");
    assert_eq!(finished.code, Some(64), "{finished:?}");
    let text = &finished.stderr;
    assert!(
        text.contains("[kafka.properties]") && text.contains("sesion.timeout.ms"),
        "{text}"
    );
}

#[test]
fn a_configuration_that_does_not_exist_is_named() {
    let config = Config::new("host", "").expect("a configuration");
    std::fs::remove_file(config.path()).expect("the file was there");
    let finished = command(&["check"], &config).expect("a command");
    assert_eq!(finished.code, Some(64), "{finished:?}");
    assert!(
        finished
            .stderr
            .contains("projectionist.toml: cannot be read"),
        "{finished:?}"
    );
}

#[tokio::test]
async fn a_plugin_that_is_none_is_refused_before_anything_runs() {
    let cases: [(&str, &[u8], &str); 4] = [
        ("text.wasm", b"hello, world", "is not Wasm"),
        ("empty.wasm", b"", "is an empty file"),
        (
            "bare.wasm",
            b"\0asm\x01\0\0\0",
            "does not say which interfaces it implements",
        ),
        ("missing.wasm", b"", "cannot be read"),
    ];
    for (name, bytes, reason) in cases {
        let mut settings = Settings::new("plugin");
        settings.plugin = name.to_owned();
        let config = settings.config();
        if name != "missing.wasm" {
            config.add_file(name, bytes).expect("a file");
        }
        let checked = command(&["check"], &config).expect("a command");
        let run = Host::start(&config).expect("a host").finish().await;
        for finished in [checked, run] {
            assert_eq!(finished.code, Some(64), "{name}: {finished:?}");
            let text = message(&finished).join("\n");
            assert!(
                text.contains("projection \"aircraft\"")
                    && text.contains(name)
                    && text.contains(reason),
                "{name}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn a_component_of_another_world_is_refused_by_what_it_exports() {
    let component = wat::parse_str(
        r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
             (func $f (canon lift (core func $i "f"))) (export "hello" (func $f)))"#,
    )
    .expect("a valid component");
    let mut settings = Settings::new("world");
    settings.plugin = "hello.wasm".to_owned();
    let config = settings.config();
    config.add_file("hello.wasm", &component).expect("a file");
    let finished = command(&["check"], &config).expect("a command");
    assert_eq!(finished.code, Some(64), "{finished:?}");
    assert!(
        finished.stderr.contains("is no plugin: it exports hello"),
        "{finished:?}"
    );
    assert!(finished.stderr.contains("hello"), "{finished:?}");
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_named_with_the_way_out() {
    let settings = Settings::new("nowhere");
    let finished = settings.run().await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let text = message(&finished).join("\n");
    let expected = format!(
        "topic \"{}\" does not exist at {}",
        settings.topic, settings.brokers
    );
    assert!(
        text.contains(&expected) && text.contains("--create"),
        "{text}"
    );
    Database::named(&settings.database)
        .await
        .expect("a database")
        .drop()
        .await
        .expect("dropped");
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_is_named_and_ends_with_69() {
    let mut settings = Settings::new("broker");
    settings.brokers = free_address().expect("an address").to_string();
    let finished = settings.run().await;
    assert_eq!(finished.code, Some(69), "{finished:?}");
    let text = message(&finished).join("\n");
    let expected = format!(
        "Kafka at {} does not answer; check kafka.brokers",
        settings.brokers
    );
    assert!(text.contains(&expected), "{text}");
    Database::named(&settings.database)
        .await
        .expect("a database")
        .drop()
        .await
        .expect("dropped");
}

#[tokio::test]
async fn a_mongodb_that_cannot_be_reached_is_named_and_ends_with_69() {
    // The topic is there, so that MongoDB alone is in the way.
    let topic = Topic::create("mongodb", 1).await.expect("a topic");
    let mut settings = Settings::new("mongodb");
    settings.topic.clone_from(&topic.name);
    let address = free_address().expect("an address");
    settings.uri = format!("mongodb://reader:s3cret@{address}/?replicaSet=rs0");
    let finished = settings.run().await;
    assert_eq!(finished.code, Some(69), "{finished:?}");
    let text = message(&finished).join("\n");
    assert!(
        text.contains("store \"main\"") && text.contains(&address.to_string()),
        "{text}"
    );
    assert!(!finished.stderr.contains("s3cret"), "{}", finished.stderr);
}

#[tokio::test]
async fn a_mongodb_that_is_no_replica_set_is_refused_with_the_way_out() {
    let mongod = Mongod::start(&[]).await;
    let mut settings = Settings::new("standalone");
    settings.uri = format!("mongodb://{}/", mongod.host());
    let finished = settings.run().await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let text = message(&finished).join("\n");
    assert!(
        text.contains("store \"main\"") && text.contains(&mongod.host()),
        "{text}"
    );
    assert!(
        text.contains("standalone") && text.contains("--replSet"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_with_another_name_is_kept_from_views_that_hold_its_events_already() {
    let topic = Topic::create("renamed", 1).await.expect("a topic");
    let mut settings = Settings::new("renamed");
    settings.topic.clone_from(&topic.name);
    let config = settings.config();
    let host = Host::start(&config).expect("a host");
    host.wait_until_ready().await;
    assert!(host.terminate().await.expect("it ends").success());

    settings.projection = "aircraft-2";
    let finished = settings.run().await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let text = message(&finished).join("\n");
    assert!(
        text.contains("view \"aircraft\" (version 1) belongs to aircraft/v1/main"),
        "{text}"
    );
    assert!(text.contains("another database"), "{text}");
    let database = Database::named(&settings.database)
        .await
        .expect("a database");
    database.drop().await.expect("the database is dropped");
}

/// A store is named with what its server is set to, and a check leaves nothing there.
#[tokio::test]
async fn a_check_that_connects_tells_what_the_server_is_set_to() {
    let server = Mongod::replica_set().await;
    let topic = Topic::create("checked", 3).await.expect("a topic");
    let mut settings = Settings::new("connect");
    settings.uri = server.uri();
    settings.topic.clone_from(&topic.name);
    let config = settings.config();
    let admin = server.client().await.database("admin");
    for (seconds, advice) in [(300, "set it to 0 on each member"), (0, "")] {
        let set = doc! { "setParameter": 1, "minSnapshotHistoryWindowInSeconds": seconds };
        admin.run_command(set).await.expect("a member is set");
        let finished = command(&["check", "--connect"], &config).expect("a command");
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let expected = format!("answers and keeps versions of documents for {seconds} s");
        let line = finished.stdout.lines().find(|l| l.contains(&expected));
        let line = line.unwrap_or_else(|| panic!("{expected}: {finished:?}"));
        assert!(
            line.contains(&server.host()) && line.contains(advice),
            "{line}"
        );
        let topic = format!("topic \"{}\": 3 partitions", settings.topic);
        assert!(finished.stdout.contains(&topic), "{finished:?}");
    }
    let names = server.client().await.list_database_names().await;
    let names = names.expect("the server answers");
    assert!(!names.contains(&settings.database), "{names:?}");
}

/// What a command says in a shell that may have few open files.
fn with_few_files(files: u32, arguments: &[&str], config: &Config) -> (Option<i32>, String) {
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -n {files}; exec \"$0\" \"$@\""))
        .arg(binary())
        .args(arguments)
        .arg("--config")
        .arg(config.path())
        .stdin(std::process::Stdio::null())
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

#[tokio::test]
async fn a_process_that_may_have_too_few_open_files_is_told_how_many_it_needs() {
    let topic = Topic::create("files", 1).await.expect("a topic");
    let mut settings = Settings::new("files");
    settings.topic.clone_from(&topic.name);
    let config = settings.config();
    for arguments in [&["run"][..], &["check", "--connect"]] {
        let (code, text) = with_few_files(32, arguments, &config);
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.contains("may have 32 open files") && text.contains("ulimit -n"),
            "{text}"
        );
    }
}

#[test]
fn an_option_of_a_uri_that_is_not_built_in_is_named_with_its_key() {
    let mut settings = Settings::new("compressors");
    settings.uri += "&compressors=zlib";
    let config = settings.config();
    for arguments in [&["check"][..], &["check", "--connect"], &["run"]] {
        let finished = command(arguments, &config).expect("a command");
        assert_eq!(finished.code, Some(64), "{finished:?}");
        for words in [": stores.main.uri: ", "sets compressors", "leave it out"] {
            assert!(finished.stderr.contains(words), "{finished:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told_from_one_that_is_away() {
    let topic = Topic::create("plain", 1).await.expect("a topic");
    let mut settings = Settings::new("plain");
    settings.topic.clone_from(&topic.name);
    settings.uri += "&tls=true";
    let config = settings.config();
    for arguments in [&["check", "--connect"][..], &["run"]] {
        let finished = command(arguments, &config).expect("a command");
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let words = "the server answers without TLS, and the URI asks for it";
        assert!(finished.stderr.contains(words), "{finished:?}");
    }
}

#[tokio::test]
async fn a_broker_that_is_stopped_is_told_from_one_that_is_away() {
    let broker = Broker::start(&[]).await;
    let mut settings = Settings::new("stopped");
    settings.brokers = broker.brokers();
    let config = settings.config();
    broker.signal("STOP").expect("a signal");
    for arguments in [&["check", "--connect"][..], &["run"]] {
        let started = Instant::now();
        let finished = command(arguments, &config).expect("a command");
        assert_eq!(finished.code, Some(69), "{finished:?}");
        let words = "accepts connections and answers nothing";
        assert!(finished.stderr.contains(words), "{finished:?}");
        // Less than twice the start-up time-out.
        let took = started.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}: {finished:?}");
    }
    broker.signal("CONT").expect("a signal");
    let database = settings.database().await;
    database.drop().await.expect("it is the test's own");
}
