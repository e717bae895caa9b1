//! Who makes documents of the events, and how each is started.

mod connect;
mod native;
mod projectionist;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::expected::Fields;
use crate::native::Batch;
use crate::workload::{Shape, Workload};

pub use connect::Settings as ConnectSettings;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// This project's host: exactly-once, dedupe on
    Projectionist,
    /// A native loop with the same transactions, without Wasm, dedupe and fences
    Limit,
    /// Kafka Connect with MongoDB's sink
    KafkaConnect,
    /// A consumer that stores each event in a transaction of its own
    OneByOne,
}

/// What all runs have in common.
#[derive(Clone, Debug)]
pub struct Setup {
    pub kafka: String,
    pub mongodb: String,
    pub batch: Batch,
    /// For the host's configuration; its own default where it is absent.
    pub lanes: Option<u32>,
    pub connect: ConnectSettings,
    /// Where configurations, logs and caches go.
    pub folder: PathBuf,
}

/// What one run is about.
#[derive(Clone, Debug)]
pub struct Task {
    /// A name that no other run has: of the database, and of consumer groups.
    pub name: String,
    pub topic: String,
    pub partitions: u32,
    pub workload: Workload,
    pub work_rounds: u64,
}

/// A contender at work. Dropping it kills it.
pub struct Running {
    child: Child,
    pub started: Instant,
    log: PathBuf,
}

impl Contender {
    pub fn name(self) -> &'static str {
        match self {
            Contender::Projectionist => "projectionist",
            Contender::Limit => "limit",
            Contender::KafkaConnect => "kafka-connect",
            Contender::OneByOne => "one-by-one",
        }
    }

    /// Whether it can make the documents of a workload at all; the reason why not.
    ///
    /// # Errors
    /// The reason why not.
    pub fn takes(self, workload: Workload) -> Result<(), &'static str> {
        match self {
            Contender::KafkaConnect if workload.shape() == Shape::Pairs => {
                Err("a sink replaces documents, and cannot change two by one event")
            }
            Contender::KafkaConnect if workload.computes() => Err("a sink computes nothing"),
            Contender::KafkaConnect
            | Contender::Projectionist
            | Contender::Limit
            | Contender::OneByOne => Ok(()),
        }
    }

    /// The collection that it keeps documents in. The host has one for each version of a view;
    /// readers use the plain name, which MongoDB resolves, but whose changes it does not tell.
    pub fn collection(self, workload: Workload) -> String {
        let view = workload.shape().view();
        match self {
            Contender::Projectionist => format!("{view}.v1"),
            Contender::Limit | Contender::KafkaConnect | Contender::OneByOne => view.to_owned(),
        }
    }

    /// What can be asked of its documents.
    pub fn fields(self) -> Fields {
        match self {
            Contender::KafkaConnect => Fields::LastValue,
            Contender::Projectionist | Contender::Limit | Contender::OneByOne => Fields::All,
        }
    }

    /// It gets one in so many of the events that the others get, so that its runs take about as
    /// long as theirs.
    pub fn fraction(self) -> u64 {
        match self {
            Contender::OneByOne => 50,
            Contender::Projectionist | Contender::Limit | Contender::KafkaConnect => 1,
        }
    }

    /// Starts it as a process.
    ///
    /// # Errors
    /// Files that cannot be written, a program that is not there.
    pub fn start(self, setup: &Setup, task: &Task) -> anyhow::Result<Running> {
        let folder = setup.folder.join("runs").join(&task.name);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let mut command = match self {
            Contender::Projectionist => projectionist::command(setup, task, &folder)?,
            Contender::Limit => native::command("limit", setup, task)?,
            Contender::OneByOne => native::command("one-by-one", setup, task)?,
            Contender::KafkaConnect => connect::command(setup, task, &folder)?,
        };
        let log = folder.join("log");
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let started = Instant::now();
        let child = command.spawn().with_context(|| {
            let program = command.get_program().to_string_lossy();
            format!("cannot start {program}; `make bench` builds what it runs")
        })?;
        Ok(Running {
            child,
            started,
            log,
        })
    }
}

impl Running {
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// # Errors
    /// That it has ended, with the last lines of its log.
    pub fn alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("it has ended ({status}):\n{}", self.last_lines()),
        }
    }

    /// The end of its log.
    pub fn last_lines(&self) -> String {
        const LINES: usize = 15;
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        format!("{}\n{}", self.log.display(), last.join("\n"))
    }

    /// Asks it to end, and kills it if it does not.
    ///
    /// # Errors
    /// A signal that cannot be sent.
    pub async fn end(mut self) -> anyhow::Result<()> {
        const PATIENCE: Duration = Duration::from_secs(20);
        let id = self.process_id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status()?;
        let asked = Instant::now();
        while sent.success() && asked.elapsed() < PATIENCE {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What is dropped here is killed.
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A program that was built together with this one.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    let path = own.with_file_name(name);
    anyhow::ensure!(
        path.is_file(),
        "there is no {}; build it with `make build`",
        path.display()
    );
    Ok(path)
}

/// A plugin that `make guests` has built.
fn plugin(name: &str) -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(format!("target/wasm32-unknown-unknown/release/{name}.wasm"));
    std::fs::canonicalize(&path)
        .with_context(|| format!("{}; build it with `make guests`", path.display()))
}
