//! The host as users run it, with dedupe on.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::{Setup, Task, plugin, program};
use crate::topic::ID_HEADER;
use crate::workload::Shape;

pub(super) fn command(setup: &Setup, task: &Task, folder: &Path) -> anyhow::Result<Command> {
    let path = folder.join("projectionist.toml");
    let text = config(setup, task)?;
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    let mut command = Command::new(program("projectionist")?);
    command
        .args(["run", "--config"])
        .arg(&path)
        // Compiled plugins are kept there from one run to the next, as a user's host does.
        .env("XDG_CACHE_HOME", setup.folder.join("cache"))
        .env_remove("CACHE_DIRECTORY");
    Ok(command)
}

fn config(setup: &Setup, task: &Task) -> anyhow::Result<String> {
    let name = match task.workload.shape() {
        Shape::Latest => "bench_latest",
        Shape::Pairs => "bench_pairs",
        Shape::Aircraft => "aircraft",
    };
    let plugin = plugin(name)?;
    // Free now; whoever takes it in between makes the host's start fail, and the run with it.
    let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let text = |value: &str| serde_json::Value::from(value).to_string();

    let mut config = String::new();
    write!(
        config,
        "[host]\n\
         listen = \"{listen}\"\n\
         log = \"warn\"\n\n\
         [kafka]\n\
         brokers = {brokers}\n\n\
         [stores.main]\n\
         kind = \"mongodb\"\n\
         uri = {uri}\n\
         database = {name}\n\n\
         [projections.bench]\n\
         plugin = {plugin}\n\
         topics = [{topic}]\n\
         group-id = {name}\n",
        brokers = text(&setup.kafka),
        uri = text(&setup.mongodb),
        name = text(&task.name),
        plugin = text(&plugin.to_string_lossy()),
        topic = text(&task.topic),
    )?;
    if let Some(lanes) = setup.lanes {
        writeln!(config, "lanes = {lanes}")?;
    }
    writeln!(
        config,
        "\n[projections.bench.dedupe]\nid = \"header:{ID_HEADER}\""
    )?;
    let batch = setup.batch;
    writeln!(
        config,
        "\n[projections.bench.batch]\nevents = {}\ndocuments = {}\nbytes = {}",
        batch.events, batch.documents, batch.bytes
    )?;
    // It must hold a batch, and be the default where the batch is.
    writeln!(
        config,
        "\n[projections.bench.queue]\nevents = {}\nbytes = {}",
        batch.events * 4,
        batch.bytes * 4
    )?;
    if task.workload.computes() {
        writeln!(
            config,
            "\n[projections.bench.config]\nwork_rounds = {}",
            task.work_rounds
        )?;
    }
    Ok(config)
}
