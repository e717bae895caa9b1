//! Plugins in every language of the kit, as `scripts/languages.sh` has built them.

use std::path::{Path, PathBuf};
use std::process::Command;

use projectionist_tests::host::{Config, Host, binary};
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::{guests, wait};
use serde_json::{Value, json};

/// The languages that this machine could build for. The script has said loudly which it left out.
fn languages() -> Vec<String> {
    let built = std::env::var("PROJECTIONIST_TEST_LANGUAGES")
        .expect("PROJECTIONIST_TEST_LANGUAGES says what was built; run `make test`");
    let languages: Vec<String> = built.split_whitespace().map(str::to_owned).collect();
    assert!(
        !languages.is_empty(),
        "no language could be built; the script says why"
    );
    languages
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn plugin(name: &str, language: &str) -> PathBuf {
    root().join(format!("target/languages/{name}-{language}.wasm"))
}

/// Exit code and all that was printed.
fn projectionist(arguments: &[&str], paths: &[&Path]) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .args(arguments)
        .args(paths)
        .output()
        .expect("the host is built");
    let text = [&*output.stdout, &*output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(text).expect("a text"),
    )
}

#[test]
fn each_template_folds_its_own_fixtures() {
    for language in languages() {
        let project = root().join(format!(".languages/projects/accounts-{language}/accounts"));
        let (code, text) = projectionist(
            &["plugin", "test", "--fixtures"],
            &[&project.join("fixtures"), &plugin("accounts", &language)],
        );
        assert_eq!((code, &*text), (Some(0), "payments: ok\n"), "{language}");
    }
}

#[test]
fn each_template_says_what_it_is() {
    for language in languages() {
        let (code, text) = projectionist(
            &["plugin", "check", "--json"],
            &[&plugin("accounts", &language)],
        );
        assert_eq!(code, Some(0), "{language}: {text}");
        let about: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(about["name"], "accounts");
        let name = match language.as_str() {
            "c" => "C",
            "go" => "Go",
            "js" => "JavaScript",
            "python" => "Python",
            other => panic!("{other} is no language of the kit"),
        };
        assert_eq!(about["language"], name);
    }
}

/// Events for the probe of a language, and what `plugin test --update` makes of them.
struct Probed {
    code: Option<i32>,
    printed: String,
    outcome: Value,
}

fn probe(language: &str, events: &str) -> Probed {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("case.events.jsonl"), events).expect("a file");
    let (code, printed) = projectionist(
        &["plugin", "test", "--update", "--fixtures"],
        &[folder.path(), &plugin("probe", language)],
    );
    let outcome = std::fs::read(folder.path().join("case.expected.json")).expect("a file");
    Probed {
        code,
        printed,
        outcome: serde_json::from_slice(&outcome).expect("JSON"),
    }
}

#[test]
fn what_is_printed_goes_to_the_log_and_spoils_nothing() {
    let event = |lines: usize| {
        let value = json!({"do": "print", "lines": lines});
        json!({"key": format!("k{lines}"), "value": value}).to_string() + "\n"
    };
    for language in languages() {
        let probed = probe(&language, &event(2));
        assert_eq!(probed.code, Some(0), "{language}: {}", probed.printed);
        for line in ["line 0", "line 1", "printed", "logged"] {
            let printed = &probed.printed;
            assert!(printed.contains(line), "{language}: {line}: {printed}");
        }
        // More lines than the log takes, and a heap that grows around them.
        let events: String = (1..300).map(event).collect();
        let probed = probe(&language, &events);
        assert_eq!(probed.code, Some(0), "{language}: {}", probed.printed);
        assert_eq!(probed.outcome["rejected"], Value::Null, "{language}");
        let documents = probed.outcome["documents"]["probe"].as_object();
        assert_eq!(documents.map(serde_json::Map::len), Some(299), "{language}");
    }
}

#[test]
fn a_fold_that_depends_on_how_its_events_are_cut_is_found() {
    assert!(
        languages().contains(&"js".to_owned()),
        "JavaScript is built"
    );
    let events = |deed: &str| {
        let value = json!({"do": deed, "n": 1});
        let event = json!({"key": "k", "value": value}).to_string() + "\n";
        event.repeat(3)
    };
    for deed in ["set", "date", "nan", "undefined", "variable"] {
        let Probed { code, printed, .. } = probe("js", &events(deed));
        assert_eq!(code, Some(1), "{deed}: {printed}");
        for part in [
            "depends on how its events are cut",
            "+++ cut before line ",
            "1 of 1 cases depend",
        ] {
            assert!(printed.contains(part), "{deed}: {part}: {printed}");
        }
        // One cut is enough to show it.
        assert!(!printed.contains(", before line"), "{deed}: {printed}");
    }
    let Probed { code, printed, .. } = probe("js", &events("add"));
    assert_eq!((code, &*printed), (Some(0), "case: updated\n"));
}

#[test]
fn what_is_no_document_is_told_by_what_it_is() {
    for (deed, reason) in [
        ("promise", "fold returned a Promise (fold cannot be async)"),
        ("map", "fold returned an instance of Map"),
        ("reject", "as asked"),
    ] {
        let event = json!({"key": "k", "value": {"do": deed}}).to_string();
        let probed = probe("js", &event);
        let told = probed.outcome["rejected"][0]["reason"].as_str();
        assert!(
            told.is_some_and(|told| told.contains(reason)),
            "{deed}: {told:?}"
        );
    }
}

/// Values and keys that a whole column, decoded at once, could take for something else.
const ODD: &str = r#"
{"key": "ä€😀", "value": {"cents": 1, "note": "ß\u00e4\n\"|;|\""}}
{"key": "a", "value": {"cents": 1}}
{"key": "a", "text": "1,\"|;|\",2"}
{"key": "b", "text": "{\"cents\":1,\"x\":[{}"}
{"key": "c", "text": "{}]}"}
{"key": "d", "text": " {\"cents\" : 2 } "}
{"key": "e", "text": ""}
{"key": "f", "text": "{\"cents\":3}}"}
{"key": "g", "text": "{\"cents\":NaN}"}
{"value": {"cents": 1}}
{"key": "ä€😀", "value": {"cents": 2}}
{"key": "", "value": {"cents": 4}}
{"key": "h", "value": {"cents": 1}}
{"key": "h"}
{"key": "i"}
{"key": "j", "text": "{\"cents\":5,\"x\":01}"}
{"key": "k", "value": {"cents": 9007199254740991}}
"#;

#[test]
fn odd_keys_and_values_come_to_the_same_in_each_language() {
    let expected = json!({"accounts": {
        "a": {"payments": 1, "cents": 1},
        "d": {"payments": 1, "cents": 2},
        "k": {"payments": 1, "cents": 9_007_199_254_740_991_i64},
        "ä€😀": {"payments": 2, "cents": 3},
    }});
    for language in languages() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("odd.events.jsonl"), ODD).expect("a file");
        let (code, text) = projectionist(
            &["plugin", "test", "--update", "--fixtures"],
            &[folder.path(), &plugin("accounts", &language)],
        );
        assert_eq!(code, Some(0), "{language}: {text}");
        let folded = std::fs::read(folder.path().join("odd.expected.json")).expect("a file");
        let folded: Value = serde_json::from_slice(&folded).expect("JSON");
        assert_eq!(folded["documents"], expected, "{language}");
        let lines = folded["rejected"].as_array().expect("some are rejected");
        let lines: Vec<&Value> = lines.iter().map(|reject| &reject["line"]).collect();
        assert_eq!(
            json!(lines),
            json!([4, 5, 6, 8, 9, 10, 13, 17]),
            "{language}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aircraft_in_every_language_equals_the_independent_fold() {
    let data = root().join("examples/flights/data/flights-2013-01.csv.gz");
    let events = flights::read(&data).expect("the example's data");
    let topic = Topic::create("languages", 4).await.expect("a topic");
    topic
        .produce_flights(&events)
        .expect("flights are produced");

    let mut plugins = vec![("rust".to_owned(), guests::path("aircraft"))];
    plugins.extend(languages().into_iter().map(|language| {
        let file = plugin("aircraft", &language);
        (language, file)
    }));
    let mut text = format!("\n[kafka]\nbrokers = \"{}\"\n", brokers());
    let mut databases = Vec::new();
    for (language, file) in &plugins {
        let database = Database::new(language).await.expect("a database");
        text += &format!(
            r#"
[stores.{language}]
kind = "mongodb"
uri = "{}"
database = "{}"
[projections.aircraft-{language}]
plugin = "{}"
topics = ["{}"]
store = "{language}"
group-id = "{}-{language}"
"#,
            uri(),
            database.name,
            file.display(),
            topic.name,
            topic.name,
        );
        databases.push((language, database));
    }
    let config = Config::new("languages", &text).expect("a configuration");
    let host = Host::start(&config).expect("a host");
    let all = i64::try_from(events.len()).expect("few events");
    let expected = flights::expected::aircraft(&events);
    for (language, database) in &databases {
        let projection = format!("aircraft-{language}");
        wait::until("all flights to be stored", async || {
            let stored = database.stored(&projection).await;
            match stored.map_err(|error| error.to_string())? {
                stored if stored == all => Ok(()),
                stored => Err(format!("{language}: {stored} of {all}; {}", host.log())),
            }
        })
        .await;
        let stored = database.documents("aircraft").await.expect("documents");
        assert_eq!(stored.len(), expected.len(), "{language}");
        for (id, expected) in &expected {
            assert_eq!(stored.get(id), Some(expected), "{language}: {id}");
        }
    }
    drop(host);
    for (_, database) in databases {
        database.drop().await.expect("the database is dropped");
    }
}
