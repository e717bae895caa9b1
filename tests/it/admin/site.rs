//! A host that runs the projection `tally`, and requests to it.

use projectionist_tests::guests;
use projectionist_tests::host::{Answer, Config, Host, Request};
use projectionist_tests::kafka::{Record, Topic, brokers};
use projectionist_tests::wait;
use serde_json::Value;

/// A token of each role.
pub(crate) const TOKENS: &str = r#"
[host.tokens.board]
token = "0123456789-board"
role = "read"
[host.tokens.ci]
token = "0123456789-delivery"
role = "deploy"
[host.tokens.duty]
token = "0123456789-on-duty"
role = "operate"
"#;

pub(crate) const BOARD: Option<&str> = Some("0123456789-board");
pub(crate) const CI: Option<&str> = Some("0123456789-delivery");
pub(crate) const DUTY: Option<&str> = Some("0123456789-on-duty");

pub(crate) struct Site {
    pub(crate) host: Host,
    pub(crate) config: Config,
    topic: Topic,
}

impl Site {
    /// `tokens` stands below `[host]`.
    pub(crate) async fn start(what: &str, tokens: &str) -> Self {
        let topic = Topic::create(what, 1).await.expect("a topic");
        let text = format!(
            r#"
{tokens}
[kafka]
brokers = "{}"
[stores.main]
kind = "embedded"
path = "views.db"
[projections.tally]
plugin = "{}"
topics = ["{topic}"]
group-id = "{topic}"
"#,
            brokers(),
            guests::path("tally").display(),
            topic = topic.name
        );
        let config = Config::new("host", &text).expect("a configuration");
        let host = Host::start(&config).expect("a host");
        host.wait_until_ready().await;
        Site {
            host,
            config,
            topic,
        }
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> Answer {
        let request = Request {
            method,
            path,
            token,
            body,
        };
        self.host.request(&request).expect("an answer")
    }

    /// The status, and what the body says.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> (u16, Value) {
        let answer = self.send(method, path, token, body);
        let body = serde_json::from_str(&answer.body);
        (answer.status, body.expect("JSON"))
    }

    /// Produces two numbers of a key whose sum is too large for `tally`: it panics, and logs that.
    pub(crate) fn overflow(&self, key: &str) {
        let value = format!(r#"{{"n":{}}}"#, i64::MAX).into_bytes();
        let records = ["1", "2"].map(|number| Record {
            key: Some(key),
            value: Some(&value),
            id: number,
        });
        let produced = self.topic.produce(records.into_iter());
        produced.expect("events are produced");
    }

    /// A key that is parked, as soon as there is one.
    pub(crate) async fn parked(&self) -> Value {
        wait::until("a parked key", async || {
            let (_, body) = self.get("/parked", BOARD);
            body["parked"].get(0).cloned().ok_or(body)
        })
        .await
    }

    pub(crate) fn get(&self, path: &str, token: Option<&str>) -> (u16, Value) {
        self.ask("GET", path, token, b"")
    }

    /// The plugins that somebody has uploaded. The configuration's own is there from the start.
    pub(crate) fn uploaded(&self) -> Vec<Value> {
        let (_, body) = self.get("/plugins", BOARD);
        let plugins = body["plugins"].as_array().expect("a list").iter();
        let own = "the configuration of host \"host\"";
        plugins
            .filter(|plugin| plugin["uploaded_by"] != own)
            .cloned()
            .collect()
    }

    pub(crate) fn upload(&self, token: Option<&str>, file: &[u8]) -> (u16, Value) {
        self.ask("PUT", "/plugins", token, file)
    }
}
