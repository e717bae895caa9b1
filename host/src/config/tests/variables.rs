//! The environment sets keys and fills in values.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{SMALLEST, right, wrong};
use crate::config::Location;

#[test]
fn variables_set_keys() {
    let config = right(
        SMALLEST,
        &[
            ("PROJECTIONIST__HOST__NAME", "5"),
            ("PROJECTIONIST__HOST__DRAIN_TIMEOUT", "3s"),
            ("PROJECTIONIST__KAFKA__BROKERS", "a:1,b:2"),
            (
                "PROJECTIONIST__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS",
                "9000",
            ),
            ("PROJECTIONIST__STORES__SPARE_ONE__KIND", "embedded"),
            ("PROJECTIONIST__STORES__SPARE_ONE__PATH", "spare.db"),
            ("PROJECTIONIST__PROJECTIONS__AIRCRAFT__STORE", "main"),
            ("PROJECTIONIST__PROJECTIONS__AIRCRAFT__CACHE_BYTES", "4096"),
            ("PROJECTIONIST__PROJECTIONS__AIRCRAFT__TOPICS", "['x', 'y']"),
            (
                "PROJECTIONIST__PROJECTIONS__AIRCRAFT__BATCH",
                "{ events = 7 }",
            ),
            (
                "PROJECTIONIST__PROJECTIONS__AIRCRAFT__BATCH__DOCUMENTS",
                "8",
            ),
            (
                "PROJECTIONIST__PROJECTIONS__AIRPORTS__PLUGIN",
                "airports.wasm",
            ),
            (
                "PROJECTIONIST__PROJECTIONS__AIRPORTS__TOPICS",
                "[\"flights\"]",
            ),
            ("PROJECTIONIST__PROJECTIONS__AIRPORTS__STORE", "spare-one"),
            ("PROJECTIONIST__PROJECTIONS__AIRPORTS__CONFIG__MILES", "5"),
            ("PROJECTIONIST__PROJECTIONS__AIRPORTS__CONFIG__HOME", "JFK"),
            ("PROJECTIONIST_TEST_KAFKA", "is not one of ours"),
        ],
    );

    assert_eq!(config.host.name, "5");
    assert_eq!(config.host.drain_timeout, Duration::from_secs(3));
    assert_eq!(config.kafka.brokers, ["a:1", "b:2"]);
    assert_eq!(config.kafka.session_timeout(), Duration::from_secs(9));
    let spare = Location::Embedded {
        path: PathBuf::from("/etc/projectionist/spare.db"),
    };
    assert_eq!(config.stores["spare-one"].first().location, spare);
    let aircraft = &config.projections["aircraft"];
    assert_eq!(aircraft.cache_bytes_max, 4096);
    assert_eq!(aircraft.topics, ["x", "y"]);
    assert_eq!(aircraft.batch.events_max, 7);
    assert_eq!(aircraft.batch.documents_max, 8);
    let airports = &config.projections["airports"];
    assert_eq!(airports.store, "spare-one");
    assert_eq!(
        *airports.config.expose(),
        json!({ "miles": 5, "home": "JFK" })
    );
}

#[test]
fn a_variable_finds_a_key_however_the_file_spells_it() {
    let file = format!(
        "{SMALLEST}[projections.aircraft.config]\nminMiles = 1\nhome_base = \"JFK\"\n\"a.b\" = 1\n"
    );

    let config = right(
        &file,
        &[
            (
                "PROJECTIONIST__PROJECTIONS__AIRCRAFT__CONFIG__MINMILES",
                "2",
            ),
            (
                "PROJECTIONIST__PROJECTIONS__AIRCRAFT__CONFIG__HOME_BASE",
                "EWR",
            ),
            ("PROJECTIONIST__PROJECTIONS__AIRCRAFT__CONFIG__A_B", "3"),
        ],
    );

    assert_eq!(
        *config.projections["aircraft"].config.expose(),
        json!({ "minMiles": 2, "home_base": "EWR", "a.b": 3 })
    );
}

#[test]
fn wrong_variables_are_problems() {
    let file = format!("{SMALLEST}[projections.aircraft.config]\na-b = 1\na_b = 2\n");

    let report = wrong(
        &file,
        &[
            ("PROJECTIONIST__KAFKA__BROKRES", "a:1"),
            ("PROJECTIONIST__KAFKA__BROKERS__PORT", "1"),
            ("PROJECTIONIST__KAFKA__PROPERTIES__GROUP_ID", "mine"),
            (
                "PROJECTIONIST__PROJECTIONS__AIRCRAFT__BATCH__EVENTS",
                "many",
            ),
            ("PROJECTIONIST__PROJECTIONS__AIRCRAFT__CONFIG__A_B", "3"),
            ("PROJECTIONIST__PROJECTIONS__AIRPORTS__STORE", "${STORE}"),
            ("PROJECTIONIST__host__NAME", "x"),
            ("PROJECTIONIST__HOST____NAME", "x"),
            ("PROJECTIONIST__HOST__LISTEN", "localhost"),
        ],
    );

    let expected = include_str!("../fixtures/wrong_variables.txt");
    assert_eq!(report, expected.trim_end());
}

#[test]
fn missing_variables_are_named() {
    let file = SMALLEST.replace("localhost:27017", "${USER}:${PASSWORD}@localhost");

    assert_eq!(
        wrong(&file, &[("USER", "me")]),
        "p.toml:7:7: stores.main.uri: needs the environment variable \"PASSWORD\", which is not \
         set\n1 problem in the configuration"
    );
}
