//! A Kafka of a test's own, for tests that break it or need it set up in another way.

use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tempfile::TempDir;

use crate::acl::{self, Right};
use crate::host::free_address;
use crate::wait;

/// One broker, which is its own controller. Ends with its handle.
pub struct Broker {
    process: Child,
    address: SocketAddr,
    /// Where users log in, of a broker that has any.
    guarded: Option<SocketAddr>,
    /// Data, properties and log.
    folder: TempDir,
}

/// Names a cluster. Nothing compares it with that of another one.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// Whom a guarded broker knows.
pub const USER: &str = "projections";

/// The property with the users of a guarded broker.
const USERS: &str = "listener.name.sasl_plaintext.plain.sasl.jaas.config";

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// As the shared broker has them (`scripts/services/kafka.sh`).
const PROPERTIES: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
auto.create.topics.enable=false
group.min.session.timeout.ms=1000
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
";

const LOGGING: &str = "\
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %-5p %m (%c)%n
";

impl Broker {
    /// Starts a broker, and waits until it answers. `properties` are added to those of the shared
    /// one, or replace them.
    pub async fn start(properties: &[(&str, &str)]) -> Self {
        Broker::start_with(properties, None).await
    }

    /// Starts a broker with an authorizer and the user [`USER`], who may do nothing yet and logs in
    /// by SASL/PLAIN at [`Broker::guarded`]. Elsewhere, for the test itself, everything is allowed.
    pub async fn start_guarded(password: &str) -> Self {
        let guarded = free_address().expect("a port of the loopback is free");
        let users = users(password);
        let properties = [
            (
                "authorizer.class.name",
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            ),
            ("super.users", "User:ANONYMOUS"),
            ("sasl.enabled.mechanisms", "PLAIN"),
            (USERS, &users),
        ];
        Broker::start_with(&properties, Some(guarded)).await
    }

    async fn start_with(properties: &[(&str, &str)], guarded: Option<SocketAddr>) -> Self {
        let folder = tempfile::tempdir().expect("the test needs a temporary folder");
        let address = free_address().expect("a port of the loopback is free");
        let controller = free_address().expect("a port of the loopback is free");
        let sasl = guarded.map_or_else(String::new, |at| format!(",SASL_PLAINTEXT://{at}"));
        let mut text = format!(
            "{PROPERTIES}\
             controller.quorum.voters=1@{controller}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}{sasl}\n\
             advertised.listeners=PLAINTEXT://{address}{sasl}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,\
             SASL_PLAINTEXT:SASL_PLAINTEXT\n\
             log.dirs={}\n",
            folder.path().join("data").display()
        );
        // Of two lines for one property, the later one counts.
        for (name, value) in properties {
            writeln!(text, "{name}={value}").expect("a string takes what it gets");
        }
        let write = |name, text| std::fs::write(folder.path().join(name), text);
        write("server.properties", text.as_str()).expect("the folder is writable");
        write("log4j2.properties", LOGGING).expect("the folder is writable");
        format_data(folder.path());
        let broker = Broker {
            process: spawn(folder.path()),
            address,
            guarded,
            folder,
        };
        broker.wait_until_it_answers().await;
        broker
    }

    /// For `kafka.brokers`.
    pub fn brokers(&self) -> String {
        self.address.to_string()
    }

    /// For `kafka.brokers` of a host that has to log in.
    pub fn guarded(&self) -> String {
        let address = self.guarded.expect("the broker has users");
        address.to_string()
    }

    /// Allows something to [`USER`].
    pub fn grant(&self, right: Right<'_>) -> anyhow::Result<()> {
        acl::grant(self.address, USER, right)
    }

    /// Takes back what was granted.
    pub fn revoke(&self, right: Right<'_>) -> anyhow::Result<()> {
        acl::revoke(self.address, USER, right)
    }

    /// Starts it again with another password of [`USER`], and waits until it answers.
    pub async fn change_password(&mut self, password: &str) {
        self.kill();
        let properties = self.folder.path().join("server.properties");
        let changed = std::fs::read_to_string(&properties).and_then(|text| {
            std::fs::write(&properties, format!("{text}{USERS}={}\n", users(password)))
        });
        changed.expect("the properties can be changed");
        self.start_again();
        self.wait_until_it_answers().await;
    }

    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers());
        config
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        ended.expect("a child can be killed");
    }

    /// Sends it a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        crate::signal::send(&self.process, name)
    }

    /// Starts it again, with the same data on the same port, and does not wait for it.
    pub fn start_again(&mut self) {
        self.process = spawn(self.folder.path());
    }

    pub async fn wait_until_it_answers(&self) {
        wait::until("the broker to answer", async || {
            let config = self.client_config();
            let ask = tokio::task::spawn_blocking(move || {
                let client: BaseConsumer = config.create()?;
                client.fetch_metadata(None, ANSWER_TIMEOUT).map(drop)
            });
            match ask.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(format!("{error}; its log ends: {}", self.last_words())),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// The first segment of a topic's partition 0, as it is on the disk.
    pub fn segment(&self, topic: &str) -> Vec<u8> {
        std::fs::read(self.segment_path(topic)).expect("the topic has a segment")
    }

    /// Replaces it, while the broker is down.
    pub fn write_segment(&self, topic: &str, bytes: &[u8]) {
        std::fs::write(self.segment_path(topic), bytes).expect("the segment can be written");
    }

    /// Writes over a part of it, while the broker runs, as a failing disk does.
    pub fn overwrite_segment(&self, topic: &str, place: usize, bytes: &[u8]) {
        let file = File::options().write(true).open(self.segment_path(topic));
        let place = u64::try_from(place).expect("a place in a file");
        let written = file.and_then(|file| file.write_all_at(bytes, place));
        written.expect("the segment can be written");
    }

    fn segment_path(&self, topic: &str) -> PathBuf {
        let folder = self.folder.path().join("data").join(format!("{topic}-0"));
        folder.join("00000000000000000000.log")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("broker.log"));
        log.unwrap_or_else(|error| format!("cannot be read: {error}"))
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<&str>>().join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended {
            eprintln!("the broker at {} did not end: {error}", self.address);
        }
    }
}

/// The value of the property [`USERS`].
fn users(password: &str) -> String {
    format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required \
         user_{USER}=\"{password}\";"
    )
}

/// A broker starts on formatted data only.
fn format_data(folder: &Path) {
    let output = java(folder, "-Xmx64m")
        .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
        .arg(folder.join("server.properties"))
        .output()
        .expect("java can be started");
    assert!(
        output.status.success(),
        "Kafka cannot format its data: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn spawn(folder: &Path) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("broker.log"))
        .expect("the folder is writable");
    java(folder, "-Xmx256m")
        .arg("kafka.Kafka")
        .arg(folder.join("server.properties"))
        .stdout(log)
        .spawn()
        .expect("java can be started")
}

fn java(folder: &Path, heap: &str) -> Command {
    let jars = crate::endpoint("PROJECTIONIST_TEST_KAFKA_JARS");
    let mut java = Command::new("java");
    // The short-lived and the idle need no more than the first compiler.
    java.args([heap, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .arg(format!(
            "-Dlog4j2.configurationFile={}",
            folder.join("log4j2.properties").display()
        ))
        .arg("-cp")
        .arg(format!("{jars}/*"));
    java
}
