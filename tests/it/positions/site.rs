//! A mirror of one topic, and what is seen of it from outside.

use projectionist_tests::host::{Config, Host};
use projectionist_tests::kafka::{Record, Topic};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::{guests, wait};
use serde_json::Value;

pub(crate) struct Site {
    pub(crate) topic: Topic,
    pub(crate) database: Database,
    pub(crate) config: Config,
}

impl Site {
    pub(crate) async fn new(brokers: &str, topic: Topic) -> Self {
        let database = Database::new("positions").await.expect("a database");
        let text = format!(
            r#"
[kafka]
brokers = "{brokers}"
properties = {{ "session.timeout.ms" = 3500, "heartbeat.interval.ms" = 300 }}
[stores.main]
kind = "mongodb"
uri = "{}"
database = "{}"
[projections.mirror]
plugin = "{}"
topics = ["{}"]
group-id = "{}"
"#,
            uri(),
            database.name,
            guests::path("mirror").display(),
            topic.name,
            topic.name,
        );
        Site {
            config: Config::new("host", &text).expect("a configuration"),
            topic,
            database,
        }
    }

    pub(crate) fn start(&self) -> Host {
        Host::start(&self.config).expect("a host")
    }

    /// Produces events of these keys, each in a batch of its own.
    pub(crate) fn produce(&self, keys: &[&str]) {
        for key in keys {
            let record = Record {
                key: Some(key),
                value: Some(br#"{"n":1}"#),
                id: key,
            };
            let produced = self.topic.produce(std::iter::once(record));
            produced.expect("an event is produced");
        }
    }

    /// Waits until the checkpoint is there, and readiness has lag 0.
    pub(crate) async fn until_stored(&self, host: &Host, next: i64) {
        wait::until("the checkpoint to reach the end", async || {
            let stored = self.database.stored("mirror").await;
            let stored = stored.map_err(|error| error.to_string())?;
            let partition = self.partition(host)?;
            let lag_0 = partition["next"] == next && partition["end"] == next;
            match stored == next && lag_0 && partition["state"] == "running" {
                true => Ok(()),
                false => Err(format!("{stored} of {next}; {partition}; {}", host.log())),
            }
        })
        .await;
    }

    /// Waits until the partition stands still for this reason.
    pub(crate) async fn until_stopped(&self, host: &Host, code: &str) -> String {
        wait::until("the partition to stand still", async || {
            let partition = self.partition(host)?;
            match partition["code"] == code && partition["state"] == "stopped" {
                true => Ok(partition["reason"].as_str().unwrap_or_default().to_owned()),
                false => Err(format!("{partition}; {}", host.log())),
            }
        })
        .await
    }

    fn partition(&self, host: &Host) -> Result<Value, String> {
        let readiness = host.readiness().map_err(|error| error.to_string())?;
        let partition = format!("{}/0", self.topic.name);
        Ok(readiness["projections"]["mirror"]["partitions"][partition].clone())
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        let documents = self.database.documents("mirror").await;
        documents.expect("documents").into_keys().collect()
    }

    pub(crate) async fn end(self) {
        self.database.drop().await.expect("the database is dropped");
    }
}
