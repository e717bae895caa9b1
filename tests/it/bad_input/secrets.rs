//! Secrets, and who gets to see them: nobody, whoever made the text.

use std::process::Output;

use projectionist_tests::host::{Config, program};

use crate::settings::Settings;

/// Of one word, so that no part of it is in a text by chance.
const SECRET: &str = "sesameopenyourself";

fn run(arguments: &[&str], config: &Config) -> Output {
    let mut command = program();
    command
        .args(arguments)
        .arg("--config")
        .arg(config.path())
        .env("KPW", SECRET);
    command.output().expect("a command")
}

fn settings(properties: String) -> Settings {
    let mut settings = Settings::tally_of("secrets");
    settings.properties = format!("[kafka.properties]\n{properties}\n").leak();
    settings
}

#[test]
fn a_property_that_is_refused_is_named_and_its_value_never_shown() {
    let properties = [
        "sasl.passwort",
        "sasl.oauthbearer.client.secret",
        "security.protocol",
        "ssl.truststore.password",
        "sasl.jaas.config",
        "session.timeout.ms",
        "check.crcs",
    ];
    // Written there, or by a variable.
    for value in [SECRET, "${KPW}"] {
        for name in properties {
            let settings = settings(format!("\"{name}\" = \"{value}\""));
            let config = settings.config();
            let commands: [&[&str]; 3] = [&["check"], &["check", "--print"], &["run"]];
            for command in commands {
                let output = run(command, &config);
                assert_eq!(output.status.code(), Some(64), "{name}: {output:?}");
                let text = String::from_utf8_lossy(&output.stderr);
                assert!(text.contains(name), "{name}: {text}");
                assert!(!text.contains(SECRET), "{name}: {text}");
                assert_eq!(output.stdout, b"", "{name}: {output:?}");
            }
        }
    }
}

#[test]
fn a_secret_that_is_taken_is_printed_as_one_and_mangles_nothing() {
    let settings = settings("\"sasl.password\" = \"a\"\n\"sasl.username\" = \"${KPW}\"".into());
    let output = run(&["check", "--print"], &settings.config());
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    for name in ["sasl.password", "sasl.username"] {
        let line = format!("\"{name}\" = \"[redacted]\"");
        assert!(text.contains(&line), "{text}");
    }
    assert!(
        text.contains("startup-timeout") && !text.contains(SECRET),
        "{text}"
    );
}

#[tokio::test]
async fn a_uri_that_the_driver_refuses_shows_no_password() {
    for password in [SECRET, "a"] {
        let mut settings = Settings::tally_of("secrets");
        settings.uri = format!("mongodb://user:{password}@localhost/?journal=maybe");
        let output = run(&["run"], &settings.config());
        assert!(!output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("the URI is not valid"), "{text}");
        assert!(text.contains("journal"), "{text}");
        assert!(!text.contains(SECRET) && !text.contains("***"), "{text}");
    }
}
