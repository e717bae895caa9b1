//! `make ledger ARGS="--seeds 1..20"`: runs the ledger for some seeds.
//!
//! Prints a line for each run and, at the end, one line of JSON. Ends with 0 where every promise
//! was kept in every run, with 1 where not, and with 130 after Ctrl-C.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use projectionist_tests::ledger::events::Hazards;
use projectionist_tests::ledger::report::Summary;
use projectionist_tests::ledger::schedule::Severity;
use projectionist_tests::ledger::{Keep, Options, Services, run};
use tokio::signal::unix::{SignalKind, signal};

/// Folds transfers while hosts, Kafka and MongoDB fail, and compares the store with the topic.
#[derive(Debug, Parser)]
struct Arguments {
    /// The first and the last seed, as in 1..20.
    #[arg(long, value_parser = seeds, default_value = "1..3", conflicts_with = "seed")]
    seeds: (u64, u64),
    /// A single seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Events of each run.
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// How long producing them takes, besides the time that the broker is away.
    #[arg(long, default_value_t = 50)]
    seconds: u64,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=9))]
    hosts: u8,
    /// The short runs that are part of the tests.
    #[arg(long, conflicts_with_all = ["events", "seconds", "hosts"])]
    brief: bool,
    /// What the input is to be without.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Hazard>,
    /// Keeps logs, schedule and history in target/ledger.
    #[arg(long, num_args = 0..=1, default_missing_value = "failed")]
    keep: Option<Kept>,
    /// A file for the last line.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Hazard {
    Duplicates,
    Poison,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kept {
    /// Of runs that failed.
    Failed,
    All,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    // Whichever comes first, all processes end with what is dropped here.
    tokio::select! {
        code = run_all(&arguments) => code,
        _ = interrupted.recv() => Ok(ExitCode::from(130)),
        _ = terminated.recv() => Ok(ExitCode::from(143)),
    }
}

async fn run_all(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let options = options(arguments);
    let mut services = Services::start().await;
    let mut summary = Summary::default();
    let (first, last) = arguments.seed.map_or(arguments.seeds, |seed| (seed, seed));
    for seed in first..=last {
        let result = run(seed, &options, &mut services).await;
        match &result {
            Ok(report) => {
                println!("{report}");
                for problem in report.problems() {
                    println!("    {problem}");
                }
            }
            Err(error) => println!("seed {seed}: no result: {error:#}"),
        }
        summary.add(seed, result);
    }
    let json = summary.json().to_string();
    if let Some(path) = &arguments.json {
        let written = std::fs::write(path, format!("{json}\n"));
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{json}");
    Ok(if summary.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn options(arguments: &Arguments) -> Options {
    let with = |hazard| !arguments.without.contains(&hazard);
    let hazards = Hazards {
        duplicates: with(Hazard::Duplicates),
        poison: with(Hazard::Poison),
    };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/ledger");
    let keep = match arguments.keep {
        None => Keep::Nothing,
        Some(Kept::Failed) => Keep::Failed(folder.into()),
        Some(Kept::All) => Keep::All(folder.into()),
    };
    if arguments.brief {
        return Options {
            keep,
            ..Options::brief(hazards)
        };
    }
    Options {
        events: arguments.events,
        production: Duration::from_secs(arguments.seconds),
        hosts: usize::from(arguments.hosts),
        severity: Severity::Full,
        hazards,
        keep,
    }
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let range = text.split_once("..").and_then(|(first, last)| {
        let last = last.strip_prefix('=').unwrap_or(last);
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    match range {
        Some((first, last)) if first <= last => Ok((first, last)),
        Some(_) | None => Err("write the first and the last seed, such as 1..20".to_owned()),
    }
}
