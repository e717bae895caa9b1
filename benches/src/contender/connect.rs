//! Kafka Connect, standalone, with MongoDB's sink connector.
//!
//! The settings are the best that were found: see `docs/performance.md`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Setup, Task};

#[derive(Clone, Debug)]
pub struct Settings {
    /// The jars of Kafka Connect and of the connector; `scripts/connect.sh` fetches them.
    pub jars: Option<PathBuf>,
    /// How many consumers and writers share the partitions.
    pub tasks: u32,
    /// Most events in one bulk write.
    pub poll_records: u32,
    /// Options of the JVM, separated by blanks.
    pub java_options: String,
}

pub(super) fn command(setup: &Setup, task: &Task, folder: &Path) -> anyhow::Result<Command> {
    let settings = &setup.connect;
    let jars = settings.jars.as_ref().context(
        "Kafka Connect's jars are not there: name their folder with --connect-jars, \
         or leave the contender out with --contenders",
    )?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok::<PathBuf, anyhow::Error>(path)
    };
    let worker = write("worker.properties", worker(setup, folder)?)?;
    let sink = write("sink.properties", sink(setup, task)?)?;
    let log4j = write("log4j2.properties", LOG4J.to_owned())?;
    let mut command = Command::new("java");
    command
        .args(settings.java_options.split_whitespace())
        .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
        .arg("-cp")
        .arg(jars.join("*"))
        .arg("org.apache.kafka.connect.cli.ConnectStandalone")
        .arg(worker)
        .arg(sink);
    Ok(command)
}

fn worker(setup: &Setup, folder: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    write!(
        text,
        "bootstrap.servers={}\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n\
         offset.storage.file.filename={}\n\
         offset.flush.interval.ms=1000\n\
         listeners=http://127.0.0.1:0\n\
         plugin.discovery=only_scan\n\
         connector.client.config.override.policy=All\n",
        setup.kafka,
        folder.join("offsets").display()
    )?;
    Ok(text)
}

fn sink(setup: &Setup, task: &Task) -> anyhow::Result<String> {
    let view = task.workload.shape().view();
    let Settings {
        tasks,
        poll_records,
        ..
    } = &setup.connect;
    let mut text = String::new();
    write!(
        text,
        "name={name}\n\
         connector.class=com.mongodb.kafka.connect.MongoSinkConnector\n\
         tasks.max={tasks}\n\
         topics={topic}\n\
         connection.uri={uri}\n\
         database={name}\n\
         collection={view}\n\
         document.id.strategy=com.mongodb.kafka.connect.sink.processor.id.strategy.ProvidedInValueStrategy\n\
         writemodel.strategy=com.mongodb.kafka.connect.sink.writemodel.strategy.ReplaceOneDefaultStrategy\n\
         bulk.write.ordered=false\n\
         max.batch.size=0\n\
         consumer.override.max.poll.records={poll_records}\n\
         consumer.override.fetch.min.bytes=1\n\
         consumer.override.max.partition.fetch.bytes=8388608\n\
         consumer.override.fetch.max.bytes=67108864\n",
        name = task.name,
        topic = task.topic,
        uri = setup.mongodb,
    )?;
    Ok(text)
}

/// All goes to standard output, which is the run's log.
const LOG4J: &str = "\
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %-5p %m (%c)%n
";
