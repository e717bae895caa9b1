//! What is wrong is told in full, what is right is read in full, and secrets stay secrets.

mod guide;
mod secrets;
mod variables;

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Right, and nothing more than it must be.
const SMALLEST: &str = r#"
[kafka]
brokers = "localhost:9092"

[stores.main]
kind = "mongodb"
uri = "mongodb://localhost:27017/?replicaSet=rs0"
database = "readmodels"

[projections.aircraft]
plugin = "aircraft.wasm"
topics = ["flights"]
"#;

/// Every key, nearly all with values that are not their defaults.
const FULL: &str = include_str!("../fixtures/full.toml");

fn parse_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let path = Path::new("/etc/projectionist/p.toml");
    parse(text, path, environment, "host-of-test")
}

fn right(text: &str, environment: &[(&str, &str)]) -> Config {
    parse_with(text, environment).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems as a user sees them, without the folder.
fn wrong(text: &str, environment: &[(&str, &str)]) -> String {
    match parse_with(text, environment) {
        Ok(config) => panic!("nothing is wrong with\n{config:?}"),
        Err(problems) => problems.to_string().replace("/etc/projectionist/", ""),
    }
}

/// Each fixture is a wrong file; beside it lies what is said of it.
macro_rules! wrong_files {
    ($($name:ident,)+) => {$(
        #[test]
        fn $name() {
            let report = wrong(
                include_str!(concat!("../fixtures/", stringify!($name), ".toml")),
                &[],
            );
            let expected = include_str!(concat!("../fixtures/", stringify!($name), ".txt"));
            assert_eq!(report, expected.trim_end());
        }
    )+};
}

wrong_files! {
    an_empty_file,
    broken_syntax,
    unknown_keys,
    missing_keys,
    wrong_types,
    wrong_texts,
    wrong_numbers,
    wrong_names,
    wrong_references,
    wrong_copies,
    reserved_properties,
    contradictions,
    cannot_work,
    told_once,
    wrong_tokens,
    wrong_gateways,
    wrong_readers,
    group_protocols,
    static_names,
    tables_that_are_none,
}

#[test]
fn the_smallest_configuration_gets_all_defaults() {
    let config = right(SMALLEST, &[]);

    assert_eq!(config.host.name, "host-of-test");
    assert_eq!(config.host.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.host.log, "info");
    assert_eq!(config.host.log_format, LogFormat::Text);
    assert_eq!(config.host.startup_timeout, Duration::from_secs(30));
    assert_eq!(config.host.drain_timeout, Duration::from_secs(20));
    assert_eq!(config.kafka.brokers, ["localhost:9092"]);
    assert_eq!(config.kafka.session_timeout(), Duration::from_secs(45));
    assert_eq!(config.kafka.group_protocol, GroupProtocol::Classic);
    assert!(!config.kafka.static_membership);
    assert_eq!(config.gateway, Gateway::default());
    assert_eq!(config.gateway.listen, None);
    assert!(config.views.is_empty());
    assert_eq!(config.plugins, Plugins::defaults([]));
    assert_eq!(config.plugins.compile_timeout, Duration::from_secs(60));
    assert_eq!(config.plugins.compile_memory_bytes, 1 << 30);
    assert_eq!(
        config.projections["aircraft"],
        Projection {
            plugin: PathBuf::from("/etc/projectionist/aircraft.wasm"),
            topics: vec!["flights".to_owned()],
            store: "main".to_owned(),
            views: ViewNames::Plugins,
            group_id: "projectionist-aircraft".to_owned(),
            cache_bytes_max: 32 * 1024 * 1024,
            lanes: 1,
            without_key: WithoutKey::Project,
            placement: None,
            config: PluginConfig::default(),
            messages: Messages::default(),
            batch: Batch::default(),
            queue: Queue::default(),
            limits: Limits::default(),
            dedupe: None,
            parking: Parking::default(),
            trial: Trial::default(),
        }
    );
}

#[test]
fn every_key_is_read() {
    let config = right(FULL, &[]);

    assert_eq!(config.host.name, "host-1");
    assert_eq!(config.host.listen.to_string(), "127.0.0.2:9000");
    assert_eq!(config.host.log, "warn,projectionist=debug");
    assert_eq!(config.host.log_format, LogFormat::Json);
    assert_eq!(config.host.startup_timeout, Duration::from_secs(90));
    assert_eq!(config.host.drain_timeout, Duration::from_millis(2500));
    assert_eq!(config.kafka.brokers, ["one:9092", "[::1]:9093"]);
    assert_eq!(config.kafka.session_timeout(), Duration::from_secs(6));
    assert!(config.kafka.static_membership);
    assert_eq!(
        config.kafka.properties["socket.keepalive.enable"].expose(),
        "true"
    );
    assert_eq!(
        config.plugins,
        Plugins {
            compile_timeout: Duration::from_secs(150),
            compile_memory_bytes: 512 << 20,
            cache: PathBuf::from("/etc/projectionist/cache"),
            memory_budget_bytes: Some(768 << 20),
            uploads_max: 30,
        }
    );
    assert_eq!(
        config.stores["local"].first().location,
        Location::Embedded {
            path: PathBuf::from("/etc/projectionist/data/readmodels.db")
        }
    );
    let main = &config.stores["main"];
    let copies: Vec<(&str, u32)> = (main.copies.iter())
        .map(|copy| (copy.name.as_str(), copy.weight))
        .collect();
    assert_eq!(copies, [("main", 3), ("east", 1), ("file", 2)]);
    assert_eq!(main.stale_after, Duration::from_secs(2));
    let routing = main.routing.as_ref().expect("a policy");
    assert_eq!(
        routing.policy,
        Path::new("/etc/projectionist/policies/least_time.wasm")
    );
    assert_eq!(routing.config.expose(), &json!({ "unit-us": 100 }));
    let projection = &config.projections["air-craft"];
    assert_eq!(projection.plugin, Path::new("/plugins/aircraft.wasm"));
    assert_eq!(projection.topics, ["flights", "flights.2013"]);
    assert_eq!(projection.store, "local");
    assert_eq!(projection.group_id, "readers");
    assert_eq!(projection.cache_bytes_max, 512_000);
    assert_eq!(projection.lanes, 4);
    assert_eq!(projection.without_key, WithoutKey::Park);
    let names = [("aircraft", "planes"), ("airports", "air-ports")];
    let names = names.map(|(own, name)| (own.to_owned(), name.to_owned()));
    assert_eq!(projection.views, ViewNames::Each(names.into()));
    let placement = Placement {
        policy: PathBuf::from("/etc/projectionist/policies/least-loaded.wasm"),
        move_budget: 9,
        config: PluginConfig::default(),
    };
    assert_eq!(projection.placement, Some(placement));
    assert_eq!(
        *projection.config.expose(),
        json!({
            "miles": 1000.5,
            "hexadecimal": 255,
            "thousand": 1000,
            "airports": ["JFK", { "code": "EWR", "open": true }],
            "since": "2013-01-01",
            "literal": "${NOT_A_VARIABLE}",
        })
    );
    assert_eq!(projection.messages.topics, ["landings", "take-offs"]);
    assert_eq!(
        projection.batch,
        Batch {
            events_max: 100,
            documents_max: 50,
            bytes_max: 1_048_577,
        }
    );
    assert_eq!(
        projection.queue,
        Queue {
            events_max: 200,
            bytes_max: 2 << 20,
            all_bytes_max: 16 << 20,
        }
    );
    assert_eq!(
        projection.limits,
        Limits {
            memory_bytes_max: 64 << 20,
            table_elements_max: 10,
            call_base: Duration::from_millis(10),
            call_per_event: Duration::from_micros(1500),
            call_max: Duration::from_secs(1),
            writes_per_event_max: 2,
            messages_per_event_max: 3,
            crashes_max: 5,
            crash_window: Duration::from_secs(10),
        }
    );
    let dedupe = Dedupe {
        id: IdSource::Header("ce_id".to_owned()),
        window: 5000,
        scope: Scope::Projection,
        without_id: WithoutId::Reject,
    };
    assert_eq!(projection.dedupe, Some(dedupe));
    let parking = Parking {
        on_fault: OnFault::Stop,
        keys_max: 7,
        events_per_key_max: 8,
        bytes_max: 9 << 20,
        dead_letter_topic: Some("flights.dead".to_owned()),
    };
    assert_eq!(projection.parking, parking);
    let trial = Trial {
        events: 500,
        faults_max: 0,
    };
    assert_eq!(projection.trial, trial);
    let gateway = Gateway {
        listen: Some(([127, 0, 0, 2], 9001).into()),
        names: vec!["views.example.org".to_owned()],
        connections_max: 500,
        connections_per_address_max: 300,
        request_timeout: Duration::from_secs(3),
        read_timeout: Duration::from_secs(1),
        wait_max: Duration::from_mins(1),
        idle_timeout: Duration::from_secs(20),
        write_timeout: Duration::from_secs(15),
        streams_max: 50,
        streams_per_client_max: 5,
        stream_lifetime: Duration::from_mins(10),
        cache_bytes_max: Some(16 << 20),
        access_log: true,
        cors_origins: vec![
            "https://app.example.org".to_owned(),
            "http://localhost:3000".to_owned(),
        ],
        rate_limit: Some(RateLimit {
            requests: 100,
            burst: 20,
        }),
        readers: Readers {
            tokens: BTreeMap::new(),
            jwt: Some(Jwt {
                key: JwtKey::Keys(PathBuf::from("/etc/projectionist/keys.json")),
                issuer: Some("https://login.example.org".to_owned()),
                audience: Some("views".to_owned()),
                role_claim: "roles".to_owned(),
            }),
            roles: [(
                "board".to_owned(),
                vec!["aircraft".to_owned(), "airports".to_owned()],
            )]
            .into(),
        },
    };
    assert_eq!(config.gateway, gateway);
    let view = View {
        indexes: vec![
            vec!["carrier".to_owned(), "legs".to_owned()],
            vec!["last.airport".to_owned()],
        ],
    };
    assert_eq!(config.views, [("aircraft".to_owned(), view)].into());
}

#[test]
fn compiled_plugins_lie_in_the_cache_directory_of_service_or_user() {
    let service = ("CACHE_DIRECTORY", "/var/cache/one:/var/cache/two");
    let user = ("XDG_CACHE_HOME", "/home/me/cache");
    let home = ("HOME", "/home/me");
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[service, user, home], "/var/cache/one/plugins"),
        (&[user, home], "/home/me/cache/projectionist/plugins"),
        (&[home], "/home/me/.cache/projectionist/plugins"),
        (
            &[("XDG_CACHE_HOME", "cache"), home],
            "/home/me/.cache/projectionist/plugins",
        ),
    ];
    for (environment, expected) in cases {
        let config = right(SMALLEST, environment);
        assert_eq!(config.plugins.cache, Path::new(expected));
    }
    let nobody = right(SMALLEST, &[]).plugins.cache;
    assert!(nobody.starts_with(std::env::temp_dir()), "{nobody:?}");
}

#[test]
fn the_group_protocol_is_read() {
    let text = SMALLEST.replace("[stores", "group-protocol = \"consumer\"\n[stores");
    let config = right(&text, &[]);

    assert_eq!(config.kafka.group_protocol, GroupProtocol::Consumer);
    assert_eq!(config.kafka.session_timeout(), Duration::from_secs(45));
    assert!(right(&config.to_toml_redacted(), &[]) == config);
}

#[test]
fn the_only_store_is_the_default_and_two_have_none() {
    let two = format!("{SMALLEST}\n[stores.other]\nkind = \"embedded\"\npath = \"o.db\"\n");

    assert_eq!(
        wrong(&two, &[]),
        "p.toml:10:14: projections.aircraft.store: missing; name one of the stores: main, other\n\
         1 problem in the configuration"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let problems = load(Path::new("nowhere/p.toml"), [], "host").expect_err("there is no file");

    assert_eq!(
        problems.to_string(),
        "nowhere/p.toml: cannot be read: No such file or directory (os error 2)\n\
         1 problem in the configuration"
    );
}

#[test]
fn a_loaded_file_has_absolute_paths() {
    let folder = tempfile::tempdir_in(".").expect("a folder for the test");
    let path = folder.path().join("p.toml");
    std::fs::write(&path, SMALLEST).expect("the folder can be written");
    let relative = Path::new(path.file_name().expect("it has a name"));
    let relative = Path::new(folder.path().file_name().expect("it has one, too")).join(relative);

    let config = load(&relative, [], "host").unwrap_or_else(|problems| panic!("{problems}"));

    let plugin = &config.projections["aircraft"].plugin;
    assert!(plugin.is_absolute());
    assert!(plugin.ends_with(relative.with_file_name("aircraft.wasm")));
}

#[test]
fn the_effective_configuration_is_the_same_again() {
    for text in [SMALLEST, FULL] {
        let config = right(text, &[]);
        let again = right(&config.to_toml_redacted(), &[]);
        assert!(again == config, "{again:?}\n{config:?}");
    }
}

proptest! {
    #[test]
    fn any_values_survive_the_round_trip(
        name in "[ -~]{1,20}",
        drain_ms in 1u64..45_000,
        cache_bytes in 1u64..=u64::MAX,
        events in 1u32..=40_000,
        word in "[$\\{}a\"\\\\\n]{0,10}",
        number in any::<i64>(),
        float in proptest::num::f64::NORMAL,
    ) {
        prop_assume!(!name.trim().is_empty());
        let plain = |text: &str| toml::Value::from(text.replace("${", "$${")).to_string();
        let text = format!(
            "[host]\nname = {}\ndrain-timeout = \"{drain_ms}ms\"\n{SMALLEST}\
             cache-bytes = \"{cache_bytes}\"\nbatch.events = {events}\n\
             [projections.aircraft.config]\nword = {}\nnumber = {number}\nfloat = {float:?}\n",
            plain(&name),
            plain(&word),
        );
        let config = right(&text, &[]);
        let again = right(&config.to_toml_redacted(), &[]);

        prop_assert_eq!(&config.host.name, &name);
        prop_assert_eq!(config.host.drain_timeout, Duration::from_millis(drain_ms));
        prop_assert_eq!(config.projections["aircraft"].cache_bytes_max, cache_bytes);
        prop_assert_eq!(
            config.projections["aircraft"].config.expose(),
            &json!({ "word": word, "number": number, "float": float })
        );
        prop_assert!(again == config);
    }

    #[test]
    fn no_text_brings_the_reader_down(text in "[\\[\\]{}=.\"a-c$\n1 ]{0,60}") {
        prop_assert!(parse_with(&text, &[]).is_err(), "nothing without brokers is right");
    }
}
