//! Secrets reach whom they are meant for, and nobody else.

use serde_json::json;

use super::{SMALLEST, right, wrong};
use crate::config::{Location, REDACTED, Role, Secret, TokenSource};

/// A file whose every secret is the same word.
const SECRETS: &str = r#"
[host]
name = "${SESAME}"
[kafka]
brokers = ["${SESAME}:9092", "open:9092"]
[kafka.properties]
"sasl.username" = "${SESAME}"
"sasl.password" = "sesame"
"ssl.key.password" = 5355414
"ssl.key.pem" = "sesame"
"sasl.oauthbearer.config" = "sesame"
"client.rack" = "rack-1"
[stores.main]
kind = "mongodb"
uri = "mongodb://me:sesame@localhost"
database = "${SESAME}"
[stores.local]
kind = "embedded"
path = "${SESAME}/local.db"
[projections.aircraft]
plugin = "aircraft.wasm"
topics = ["a", "${SESAME}"]
store = "main"
group-id = "${SESAME}"
[projections.aircraft.config]
token = "${SESAME}"
hosts = ["${SESAME}", { name = "x-${SESAME}" }]
region = "eu"
"#;

#[test]
fn secrets_are_read_and_never_shown() {
    let config = right(SECRETS, &[("SESAME", "sesame")]);

    assert_eq!(config.host.name, "sesame");
    assert_eq!(config.kafka.properties["sasl.password"].expose(), "sesame");
    let Location::MongoDb { uri, database } = &config.stores["main"].first().location else {
        panic!("it is a MongoDB");
    };
    assert_eq!(uri.expose(), "mongodb://me:sesame@localhost");
    assert_eq!(database, "sesame");
    let plugin = &config.projections["aircraft"].config;
    assert_eq!(
        *plugin.expose(),
        json!({ "token": "sesame", "hosts": ["sesame", { "name": "x-sesame" }], "region": "eu" })
    );

    let shown = [
        config.to_toml_redacted(),
        format!("{config:?}"),
        format!("{:?}", config.kafka.properties),
        format!("{uri:?} {plugin:?}"),
    ];
    for shown in shown {
        assert!(
            !shown.contains("sesame") && !shown.contains("5355414"),
            "{shown}"
        );
        assert!(shown.contains(REDACTED), "{shown}");
    }
    let effective: toml::Table = config
        .to_toml_redacted()
        .parse()
        .expect("the effective configuration is TOML");
    assert_eq!(
        effective["kafka"]["properties"]["client.rack"].as_str(),
        Some("rack-1")
    );
    assert_eq!(
        effective["projections"]["aircraft"]["config"]["region"].as_str(),
        Some("eu")
    );
}

#[test]
fn problems_never_show_secrets() {
    let file = SECRETS
        .replace(
            "name = \"${SESAME}\"\n[kafka]",
            "listen = \"${SESAME}\"\n[kafka]",
        )
        .replace("\"a\", ", "\"-${SESAME} \", ")
        .replace("mongodb://me", "postgres://me");

    let report = wrong(&file, &[("SESAME", "sesame")]);

    assert!(!report.contains("sesame"), "{report}");
    assert!(
        report.ends_with("3 problems in the configuration"),
        "{report}"
    );
}

#[test]
fn a_host_that_others_reach_needs_a_token_and_never_shows_it() {
    let open = format!("[host]\nlisten = \"0.0.0.0:9464\"\n{SMALLEST}");
    let report = wrong(&open, &[]);
    assert!(report.contains("add [host.tokens.NAME]"), "{report}");

    let token = "[host.tokens.ci]\ntoken = \"sesame-open-yourself\"\nrole = \"deploy\"\n";
    let config = right(&format!("{open}{token}"), &[]);
    let ci = &config.host.tokens["ci"];
    let token = Secret::hidden("sesame-open-yourself".to_owned());
    assert_eq!(ci.token, TokenSource::Text(token));
    assert_eq!(ci.role, Role::Deploy);
    let shown = format!("{config:?}{ci:?}");
    assert!(
        !shown.contains("sesame") && shown.contains(REDACTED),
        "{shown}"
    );
}

#[test]
fn a_gateway_that_others_reach_needs_readers_and_never_shows_their_secrets() {
    let open = format!("{SMALLEST}[gateway]\nlisten = \"0.0.0.0:9465\"\n");
    let report = wrong(&open, &[]);
    assert!(report.contains("add [gateway.tokens.NAME]"), "{report}");

    let secret = "sesame-open-yourself-and-be-quick";
    let readers = [
        format!(
            "[gateway.roles.all]\nviews = [\"*\"]\n[gateway.tokens.ci]\ntoken = \"{secret}\"\n\
             role = \"all\"\n"
        ),
        format!("[gateway.jwt]\nsecret = \"{secret}\"\n"),
    ];
    for readers in readers {
        let config = right(&format!("{open}{readers}"), &[]);
        let shown = format!("{config:?}{:?}", config.gateway);
        assert!(
            !shown.contains("sesame") && shown.contains(REDACTED),
            "{shown}"
        );
    }
}
