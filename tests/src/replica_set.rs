//! A MongoDB replica set of three processes of a test's own, for tests that break its primary.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;
use mongodb::options::ClientOptions;

use crate::mongod::Mongod;
use crate::wait;

/// Three members, any of which may be primary. They end with their handle.
pub struct ReplicaSet {
    members: Vec<Mongod>,
    client: Client,
}

/// How long to wait for an answer of a member that may be stopped.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

impl ReplicaSet {
    /// Starts the members, and waits until one of them takes writes.
    pub async fn start() -> Self {
        let start = || Mongod::start(&["--replSet", "rs0"]);
        let (a, b, c) = tokio::join!(start(), start(), start());
        let members = vec![a, b, c];
        let hosts = members.iter().zip(0_i32..).map(|(member, id)| {
            let host = member.host();
            doc! { "_id": id, "host": host }
        });
        // A primary that does not answer is replaced after 3 s and not 10, so that tests are short.
        let config = doc! {
            "_id": "rs0",
            "members": hosts.collect::<Vec<Document>>(),
            "settings": { "electionTimeoutMillis": 3000, "heartbeatIntervalMillis": 500 },
        };
        let admin = members[0].direct().await.database("admin");
        let initiated = admin.run_command(doc! { "replSetInitiate": config });
        initiated.await.expect("its first configuration");
        let options = ClientOptions::parse(watchful_uri(&members)).await;
        let client = Client::with_options(options.expect("a valid URI"));
        let set = ReplicaSet {
            members,
            client: client.expect("valid options"),
        };
        set.primary().await;
        set
    }

    /// The connection string of ordinary clients.
    pub fn uri(&self) -> String {
        uri(&self.members)
    }

    /// The connection string of clients that must notice at once that a primary is away.
    pub fn watchful_uri(&self) -> String {
        watchful_uri(&self.members)
    }

    /// A member by its index.
    pub fn member(&mut self, index: usize) -> &mut Mongod {
        &mut self.members[index]
    }

    pub fn members(&self) -> &[Mongod] {
        &self.members
    }

    /// Waits for a primary, and tells its index.
    pub async fn primary(&self) -> usize {
        wait::until("a primary", async || {
            let hello = self.ask(doc! { "hello": 1 }).await?;
            let me = hello.get_str("me").map_err(|error| error.to_string())?;
            let index = self.members.iter().position(|member| member.host() == me);
            index.ok_or_else(|| format!("{me} is no member"))
        })
        .await
    }

    /// Makes the primary a secondary, whoever follows.
    pub async fn step_down(&self) {
        let step_down = doc! { "replSetStepDown": 10, "force": true };
        wait::until("the primary to step down", async || {
            self.ask(step_down.clone()).await.map(drop)
        })
        .await;
    }

    async fn ask(&self, command: Document) -> Result<Document, String> {
        let admin = self.client.database("admin");
        match tokio::time::timeout(ANSWER_TIMEOUT, admin.run_command(command)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }
}

fn uri(members: &[Mongod]) -> String {
    let hosts: Vec<String> = members.iter().map(Mongod::host).collect();
    format!("mongodb://{}/?replicaSet=rs0", hosts.join(","))
}

fn watchful_uri(members: &[Mongod]) -> String {
    let options = "connectTimeoutMS=1000&heartbeatFrequencyMS=500&serverSelectionTimeoutMS=2000";
    format!("{}&{options}", uri(members))
}
