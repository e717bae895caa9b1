//! A broker that does not let a host in, or forbids it something: the projection that needs it
//! stops and says what to grant, the others go on, and it goes on where it stopped, after a restart
//! or by itself.

use std::collections::BTreeMap;

use projectionist_tests::acl::Right;
use projectionist_tests::broker::{Broker, USER};
use projectionist_tests::host::{Config, Host};
use projectionist_tests::kafka::{Record, Topic};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::{guests, wait};
use serde_json::{Value, json};

/// A broker with an authorizer, and a host with the projection `mirror` of one topic and the
/// projection `tally` of another.
struct Scene {
    broker: Broker,
    mirror: Topic,
    tally: Topic,
    database: Database,
}

const PASSWORD: &str = "first";

impl Scene {
    /// Nothing is granted yet.
    async fn new(what: &str) -> Self {
        let broker = Broker::start_guarded(PASSWORD).await;
        let topic = async |what| Topic::create_at(&broker.brokers(), what, 1).await;
        Scene {
            mirror: topic("mirror").await.expect("a topic"),
            tally: topic("tally").await.expect("a topic"),
            database: Database::new(what).await.expect("a database"),
            broker,
        }
    }

    /// Every right that the two projections need.
    fn grant_all(&self) {
        for topic in [&self.mirror, &self.tally] {
            self.grant(Right::ReadTopic(&topic.name));
            self.grant(Right::ReadGroup(&topic.name));
        }
    }

    fn grant(&self, right: Right<'_>) {
        let granted = self.broker.grant(right);
        granted.expect("the broker takes it");
    }

    fn revoke(&self, right: Right<'_>) {
        let revoked = self.broker.revoke(right);
        revoked.expect("it was granted");
    }

    /// The host's configuration, with more for the projection `tally`.
    fn config(&self, password: &str, more: &str) -> Config {
        let mut text = format!(
            "[kafka]\nbrokers = \"{}\"\n[kafka.properties]\n\
             \"security.protocol\" = \"SASL_PLAINTEXT\"\n\"sasl.mechanism\" = \"PLAIN\"\n\
             \"sasl.username\" = \"{USER}\"\n\"sasl.password\" = \"{password}\"\n\
             [stores.main]\nkind = \"mongodb\"\nuri = \"{}\"\ndatabase = \"{}\"\n",
            self.broker.guarded(),
            uri(),
            self.database.name,
        );
        let projections = [("mirror", &self.mirror, ""), ("tally", &self.tally, more)];
        for (name, topic, more) in projections {
            text += &format!(
                "[projections.{name}]\nplugin = \"{}\"\ntopics = [\"{topic}\"]\n\
                 group-id = \"{topic}\"\n{more}\n",
                guests::path(name).display(),
                topic = topic.name,
            );
        }
        Config::new("host", &text).expect("a configuration")
    }

    /// A host, and its configuration, which is to be kept for as long.
    fn host(&self, password: &str) -> (Host, Config) {
        let config = self.config(password, "");
        (Host::start(&config).expect("a host"), config)
    }

    async fn until_documents(&self, view: &str, expected: &[(&str, Value)], host: &Host) {
        let expected: BTreeMap<String, Value> = expected
            .iter()
            .map(|(id, document)| ((*id).to_owned(), document.clone()))
            .collect();
        wait::until("the documents to be right", async || {
            let found = self.database.documents(view).await;
            let found = found.map_err(|error| error.to_string())?;
            if found == expected {
                Ok(())
            } else {
                Err(format!("{found:?}; {}", host.log()))
            }
        })
        .await;
    }

    async fn drop(self) {
        self.database.drop().await.expect("the database goes");
    }
}

fn produce(topic: &Topic, key: &str, value: &Value) {
    let value = value.to_string();
    let record = Record {
        key: Some(key),
        value: Some(value.as_bytes()),
        id: key,
    };
    let produced = topic.produce(std::iter::once(record));
    produced.expect("the event is produced");
}

/// What `tally` makes of one event with the number 1, and of such a one and one with 2.
fn tally_of_one() -> Value {
    json!({ "count": 1, "sum": 1, "chain": 1 })
}

fn tally_of_two() -> Value {
    json!({ "count": 2, "sum": 3, "chain": 33 })
}

/// Waits until the host gives a reason for not being ready that holds all of these words.
async fn until_reason(host: &Host, words: &[&str]) {
    wait::until(&format!("a reason with {words:?}"), async || {
        let readiness = host.readiness().map_err(|error| error.to_string())?;
        let reasons = readiness["reasons"].as_array().cloned().unwrap_or_default();
        let holds = |reason: &Value| {
            let reason = reason.as_str().unwrap_or_default();
            words.iter().all(|word| reason.contains(word))
        };
        if reasons.iter().any(holds) {
            Ok(())
        } else {
            Err(format!("{readiness}; {}", host.log()))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_read_any_more_stops_its_projection_and_no_other() {
    let scene = Scene::new("topic-right").await;
    scene.grant_all();
    let (host, _config) = scene.host(PASSWORD);
    produce(&scene.tally, "k", &json!({ "n": 1 }));
    scene
        .until_documents("tally", &[("k", tally_of_one())], &host)
        .await;

    scene.revoke(Right::ReadTopic(&scene.tally.name));
    until_reason(&host, &["\"tally\" has failed", "Read and Describe"]).await;
    produce(&scene.tally, "k", &json!({ "n": 2 }));
    produce(&scene.mirror, "a", &json!({ "of": "the other" }));
    let other = [("a", json!({ "of": "the other" }))];
    scene.until_documents("mirror", &other, &host).await;
    let status = host.terminate().await.expect("the host ends");
    assert_eq!(status.code(), Some(1), "one of its projections has failed");

    scene.grant(Right::ReadTopic(&scene.tally.name));
    let (host, _config) = scene.host(PASSWORD);
    scene
        .until_documents("tally", &[("k", tally_of_two())], &host)
        .await;
    host.wait_until_ready().await;
    scene.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_read_at_the_start_fails_its_projection_and_no_other() {
    let scene = Scene::new("start-right").await;
    scene.grant_all();
    scene.revoke(Right::ReadTopic(&scene.tally.name));
    produce(&scene.tally, "k", &json!({ "n": 1 }));
    produce(&scene.mirror, "a", &json!({ "of": "the other" }));
    let (host, _config) = scene.host(PASSWORD);
    until_reason(&host, &["\"tally\" has failed", &scene.tally.name]).await;
    let other = [("a", json!({ "of": "the other" }))];
    scene.until_documents("mirror", &other, &host).await;
    let status = host.terminate().await.expect("the host ends");
    assert_eq!(status.code(), Some(1), "one of its projections has failed");

    // Where none is left, there is nothing to run.
    scene.revoke(Right::ReadTopic(&scene.mirror.name));
    let (host, _config) = scene.host(PASSWORD);
    let ended = host.finish().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);

    scene.grant(Right::ReadTopic(&scene.tally.name));
    scene.grant(Right::ReadTopic(&scene.mirror.name));
    let (host, _config) = scene.host(PASSWORD);
    scene
        .until_documents("tally", &[("k", tally_of_one())], &host)
        .await;
    host.wait_until_ready().await;
    scene.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_may_not_be_joined_stops_its_projection_and_no_other() {
    let scene = Scene::new("group-right").await;
    scene.grant_all();
    scene.revoke(Right::ReadGroup(&scene.tally.name));
    produce(&scene.tally, "k", &json!({ "n": 1 }));
    produce(&scene.mirror, "a", &json!({ "of": "the other" }));
    let (host, _config) = scene.host(PASSWORD);
    until_reason(&host, &["\"tally\" has failed", "Read", "group-id"]).await;
    let other = [("a", json!({ "of": "the other" }))];
    scene.until_documents("mirror", &other, &host).await;
    scene.until_documents("tally", &[], &host).await;
    let status = host.terminate().await.expect("the host ends");
    assert_eq!(status.code(), Some(1), "one of its projections has failed");

    scene.grant(Right::ReadGroup(&scene.tally.name));
    let (host, _config) = scene.host(PASSWORD);
    scene
        .until_documents("tally", &[("k", tally_of_one())], &host)
        .await;
    host.wait_until_ready().await;
    scene.drop().await;
}

/// Two ways to miss it: a user who may write to no topic at all may not even begin to send.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_written_to_stops_the_partition_that_sends_and_nothing_else() {
    let scene = Scene::new("write-right").await;
    scene.grant_all();
    let letters = Topic::create_at(&scene.broker.brokers(), "letters", 1).await;
    let letters = letters.expect("a topic");
    scene.grant(Right::DescribeTopic(&letters.name));
    let parking = format!("parking = {{ dead-letter-topic = \"{}\" }}", letters.name);
    let config = scene.config(PASSWORD, &parking);
    produce(&scene.tally, "poison", &json!({ "n": -1 }));
    produce(&scene.tally, "k", &json!({ "n": 1 }));
    produce(&scene.mirror, "a", &json!({ "of": "the other" }));

    let host = Host::start(&config).expect("a host");
    until_reason(&host, &["\"tally\"", "grant", "IDEMPOTENT_WRITE"]).await;
    let other = [("a", json!({ "of": "the other" }))];
    scene.until_documents("mirror", &other, &host).await;
    let status = host.terminate().await.expect("the host ends");
    assert!(status.success(), "a partition stood still, nothing failed");

    // It may send, but not there.
    scene.grant(Right::WriteTopic(&scene.mirror.name));
    let host = Host::start(&config).expect("a host");
    until_reason(&host, &["\"tally\"", &letters.name, "grant", "WRITE"]).await;
    let status = host.terminate().await.expect("the host ends");
    assert!(status.success(), "a partition stood still, nothing failed");
    assert_eq!(letters.ends().expect("ends"), [0]);

    scene.grant(Right::WriteTopic(&letters.name));
    let host = Host::start(&config).expect("a host");
    scene
        .until_documents("tally", &[("k", tally_of_one())], &host)
        .await;
    wait::until("the dead letter", async || {
        match letters.ends().map_err(|error| error.to_string())?[..] {
            [1] => Ok(()),
            ref ends => Err(format!("{ends:?}; {}", host.log())),
        }
    })
    .await;
    host.wait_until_ready().await;
    scene.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_is_named_at_the_start_and_when_it_was_changed() {
    let mut scene = Scene::new("password").await;
    scene.grant_all();
    let (refused, _config) = scene.host("wrong");
    let refused = refused.finish().await;
    // As with a broker that does not answer: one that goes down may look the same.
    assert_eq!(refused.code, Some(69), "{}", refused.stderr);
    let told = "does not let this host in; correct sasl.username, sasl.password";
    assert!(refused.stderr.contains(told), "{}", refused.stderr);

    let (host, _config) = scene.host(PASSWORD);
    produce(&scene.tally, "k", &json!({ "n": 1 }));
    scene
        .until_documents("tally", &[("k", tally_of_one())], &host)
        .await;
    scene.broker.change_password("second").await;
    for projection in ["mirror", "tally"] {
        until_waiting(&host, projection, "credentials-refused").await;
    }
    // Both projections log in with it, so none is left.
    let ended = host.finish().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for projection in ["mirror", "tally"] {
        let failed = ended.stderr.lines().any(|line| {
            line.contains(projection) && line.contains("do not let this host in; correct sasl.")
        });
        assert!(failed, "{projection}: {}", ended.stderr);
    }

    produce(&scene.tally, "k", &json!({ "n": 2 }));
    let (host, _config) = scene.host("second");
    scene
        .until_documents("tally", &[("k", tally_of_two())], &host)
        .await;
    host.wait_until_ready().await;
    scene.drop().await;
}

/// Waits until a projection waits for a reason with this word.
async fn until_waiting(host: &Host, projection: &str, code: &str) {
    wait::until(&format!("{projection} to wait"), async || {
        let readiness = host.readiness().map_err(|error| error.to_string())?;
        let found = &readiness["projections"][projection];
        match found["state"] == "waiting" && found["code"] == code {
            true => Ok(()),
            false => Err(format!("{readiness}; {}", host.log())),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_later_lets_a_projection_go_on_by_itself() {
    let scene = Scene::new("granted").await;
    scene.grant_all();
    scene.revoke(Right::ReadGroup(&scene.tally.name));
    produce(&scene.tally, "k", &json!({ "n": 1 }));
    let (host, _config) = scene.host(PASSWORD);
    let waits = ["\"tally\" has failed", "group-id", "tried again by itself"];
    until_reason(&host, &waits).await;
    until_waiting(&host, "tally", "kafka-refused").await;
    scene.grant(Right::ReadGroup(&scene.tally.name));
    scene
        .until_documents("tally", &[("k", tally_of_one())], &host)
        .await;
    host.wait_until_ready().await;

    scene.revoke(Right::ReadTopic(&scene.tally.name));
    until_reason(&host, &["\"tally\" has failed", "tried again by itself"]).await;
    produce(&scene.tally, "k", &json!({ "n": 2 }));
    scene.grant(Right::ReadTopic(&scene.tally.name));
    scene
        .until_documents("tally", &[("k", tally_of_two())], &host)
        .await;
    host.wait_until_ready().await;
    let status = host.terminate().await.expect("the host ends");
    assert!(status.success(), "nothing is wrong any more");
    scene.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_after_the_start_lets_a_projection_begin_by_itself() {
    let scene = Scene::new("granted-late").await;
    scene.grant_all();
    scene.revoke(Right::ReadTopic(&scene.tally.name));
    produce(&scene.tally, "k", &json!({ "n": 1 }));
    let (host, _config) = scene.host(PASSWORD);
    until_reason(&host, &["\"tally\" has failed", &scene.tally.name]).await;
    scene.grant(Right::ReadTopic(&scene.tally.name));
    scene
        .until_documents("tally", &[("k", tally_of_one())], &host)
        .await;
    host.wait_until_ready().await;
    scene.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_may_be_sent_later_are_sent_by_itself() {
    let scene = Scene::new("write-later").await;
    scene.grant_all();
    let letters = Topic::create_at(&scene.broker.brokers(), "letters", 1).await;
    let letters = letters.expect("a topic");
    scene.grant(Right::DescribeTopic(&letters.name));
    let parking = format!("parking = {{ dead-letter-topic = \"{}\" }}", letters.name);
    let config = scene.config(PASSWORD, &parking);
    produce(&scene.tally, "poison", &json!({ "n": -1 }));
    produce(&scene.tally, "k", &json!({ "n": 1 }));
    let host = Host::start(&config).expect("a host");
    until_reason(
        &host,
        &["\"tally\"", "stands still", "tried again by itself"],
    )
    .await;
    scene.grant(Right::WriteTopic(&letters.name));
    scene
        .until_documents("tally", &[("k", tally_of_one())], &host)
        .await;
    wait::until("the dead letter", async || {
        match letters.ends().map_err(|error| error.to_string())?[..] {
            [1] => Ok(()),
            ref ends => Err(format!("{ends:?}; {}", host.log())),
        }
    })
    .await;
    host.wait_until_ready().await;
    scene.drop().await;
}
