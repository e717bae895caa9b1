//! A mongod of a test's own, for tests that break it or need it set up wrongly.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use bson::doc;
use mongodb::Client;
use mongodb::options::ClientOptions;
use tempfile::TempDir;

use crate::host::free_address;
use crate::signal;

/// Ends with its handle.
pub struct Mongod {
    process: Child,
    port: u16,
    arguments: Vec<String>,
    /// Data and log.
    folder: TempDir,
}

impl Mongod {
    /// Starts a server with these arguments, and waits until it answers.
    pub async fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("the test needs a temporary folder");
        let port = free_address()
            .expect("a port of the loopback is free")
            .port();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let server = Mongod {
            process: spawn(port, folder.path(), &arguments),
            port,
            arguments,
            folder,
        };
        let hello = doc! { "hello": 1 };
        let admin = server.direct().await.database("admin");
        admin.run_command(hello).await.expect("the server answers");
        server
    }

    /// Starts a replica set of one member, and waits until it takes writes.
    pub async fn replica_set() -> Self {
        let server = Mongod::start(&["--replSet", "rs0"]).await;
        let member = doc! { "_id": 0, "host": server.host() };
        let initiate = doc! { "replSetInitiate": { "_id": "rs0", "members": [member] } };
        let admin = server.direct().await.database("admin");
        admin.run_command(initiate).await.expect("it is its first");
        // Waits for a primary.
        let ping = doc! { "ping": 1 };
        let admin = server.client().await.database("admin");
        let pinged = admin.run_command(ping).await;
        pinged.expect("the only member becomes primary");
        server
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        ended.expect("a child can be killed");
    }

    /// Starts it again, with the same data on the same port.
    pub fn start_again(&mut self) {
        self.process = spawn(self.port, self.folder.path(), &self.arguments);
    }

    /// Sends it a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        signal::send(&self.process, name)
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("mongod.log"));
        log.unwrap_or_else(|error| format!("cannot be read: {error}"))
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn uri(&self) -> String {
        format!("mongodb://{}/?replicaSet=rs0", self.host())
    }

    /// A client that looks from outside at what was stored.
    pub async fn client(&self) -> Client {
        client(&self.uri()).await
    }

    /// A client for a server that is no replica set, or not yet.
    pub(crate) async fn direct(&self) -> Client {
        client(&format!("mongodb://{}/?directConnection=true", self.host())).await
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended {
            eprintln!("the mongod on port {} did not end: {error}", self.port);
        }
    }
}

async fn client(uri: &str) -> Client {
    let mut options = ClientOptions::parse(uri).await.expect("a valid URI");
    options.server_selection_timeout = Some(Duration::from_secs(60));
    Client::with_options(options).expect("valid options")
}

fn spawn(port: u16, folder: &Path, arguments: &[String]) -> Child {
    let binary = crate::endpoint("PROJECTIONIST_TEST_MONGOD");
    let log = File::create(folder.join("mongod.log")).expect("the folder is writable");
    Command::new(binary)
        .args(["--bind_ip", "127.0.0.1", "--nounixsocket"])
        .args(["--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "256"])
        .args(["--setParameter", "enableTestCommands=1"])
        .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
        .args(["--port", &port.to_string()])
        .args(arguments)
        .arg("--dbpath")
        .arg(folder)
        .stdout(log)
        .spawn()
        .expect("PROJECTIONIST_TEST_MONGOD can be started")
}
