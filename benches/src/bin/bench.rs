//! `make bench ARGS="--workloads hot --rounds 5"`: measures Projectionist beside others.
//!
//! Prints a table for each case as soon as it is complete, and leaves `report.json` and `plot.svg`.
//! Ends with 0 where all contenders have made the right documents, with 1 where not, and with 130
//! after Ctrl-C.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use projectionist_benches::contender::{ConnectSettings, Contender, Setup};
use projectionist_benches::native::Batch;
use projectionist_benches::report::{Machine, Report, plot, table};
use projectionist_benches::session::{Load, Options, Session};
use projectionist_benches::workload::{Shape, Workload};
use tokio::signal::unix::{SignalKind, signal};

/// Lets several programs make documents of the same events, checks the documents, and compares.
///
/// Each combination of workload, size of values and number of partitions is a case of its own.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Arguments {
    /// Bootstrap servers of the Kafka to use
    #[arg(long, env = "PROJECTIONIST_TEST_KAFKA")]
    kafka: String,
    /// Connection string of the MongoDB replica set to use
    #[arg(long, env = "PROJECTIONIST_TEST_MONGODB")]
    mongodb: String,
    #[arg(long, value_delimiter = ',', default_value = "unique,zipf,hot")]
    workloads: Vec<Workload>,
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "projectionist,limit,kafka-connect,one-by-one"
    )]
    contenders: Vec<Contender>,
    /// Bytes of an event's JSON value
    #[arg(long, value_delimiter = ',', default_value = "200",
          value_parser = clap::value_parser!(u16).range(120..=4_096))]
    value_bytes: Vec<u16>,
    #[arg(long, value_delimiter = ',', default_value = "4",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    partitions: Vec<u32>,
    /// How often each contender runs in each case
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Events of each run; slow contenders get fewer, as the table says
    #[arg(long, default_value_t = 1_000_000, conflicts_with = "seconds",
          value_parser = clap::value_parser!(u64).range(1..=4_000_000_000))]
    events: u64,
    /// How long each run is to take, instead of a number of events
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Steady mode: so many events a second, for the latency (30 seconds unless --seconds is given)
    #[arg(long, conflicts_with = "events", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Lanes of Projectionist (the default is its own)
    #[arg(long)]
    lanes: Option<u32>,
    #[command(flatten)]
    batch: Batch,
    /// Folder with the jars of Kafka Connect and MongoDB's sink; scripts/connect.sh fetches them
    #[arg(long, env = "PROJECTIONIST_CONNECT_JARS")]
    connect_jars: Option<PathBuf>,
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    connect_tasks: u32,
    /// Most events in one bulk write of Kafka Connect
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    connect_poll_records: u32,
    /// Options of Kafka Connect's JVM, separated by blanks
    #[arg(long, default_value = "-Xms1g -Xmx1g", allow_hyphen_values = true)]
    connect_java_options: String,
    /// Where report, plot, logs and configurations go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench"))]
    output: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    // Whichever comes first, all processes end with what is dropped here.
    tokio::select! {
        code = measure(arguments) => code,
        _ = interrupted.recv() => Ok(ExitCode::from(130)),
        _ = terminated.recv() => Ok(ExitCode::from(143)),
    }
}

async fn measure(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let output = arguments.output.clone();
    std::fs::create_dir_all(&output).with_context(|| output.display().to_string())?;
    let mut session = session(arguments).await?;
    let machine = Machine::look(session.client()).await?;
    println!("{}\n", machine.line());
    let cases = session.run(|case| println!("{}", table(case))).await?;
    let right = cases.iter().all(|case| case.is_right());
    let report = Report {
        machine,
        arguments: std::env::args().skip(1).collect(),
        cases,
    };
    let (json, svg) = (output.join("report.json"), output.join("plot.svg"));
    report.write_json(&json)?;
    plot(&report, &svg)?;
    println!("{}\n{}", json.display(), svg.display());
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn session(arguments: Arguments) -> anyhow::Result<Session> {
    let load = match (arguments.rate, arguments.seconds) {
        (Some(rate), seconds) => Load::Steady {
            rate: f64::from(rate),
            seconds: seconds.unwrap_or(30),
        },
        (None, Some(seconds)) => Load::Seconds(seconds),
        (None, None) => Load::Events(arguments.events),
    };
    if let Load::Steady { .. } = load {
        for workload in &arguments.workloads {
            anyhow::ensure!(
                workload.shape() == Shape::Latest,
                "the documents of the workload {} do not say which event was their last, so \
                 that there is no latency to measure; leave it out of --workloads",
                workload.name()
            );
        }
    }
    let options = Options {
        contenders: arguments.contenders,
        workloads: arguments.workloads,
        value_bytes: arguments.value_bytes.into_iter().map(usize::from).collect(),
        partitions: arguments.partitions,
        rounds: arguments.rounds,
        load,
    };
    let setup = Setup {
        kafka: arguments.kafka,
        mongodb: arguments.mongodb,
        batch: arguments.batch,
        lanes: arguments.lanes,
        connect: ConnectSettings {
            jars: arguments.connect_jars,
            tasks: arguments.connect_tasks,
            poll_records: arguments.connect_poll_records,
            java_options: arguments.connect_java_options,
        },
        folder: arguments.output,
    };
    Session::new(setup, options).await
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_do_not_contradict_one_another() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn endpoints_and_nothing_else_must_be_given() {
        let arguments = ["bench", "--kafka", "k:9092", "--mongodb", "mongodb://m"];
        let parsed = Arguments::try_parse_from(arguments).expect("all else has a default");
        assert_eq!((parsed.events, parsed.batch.events), (1_000_000, 20_000));
        assert_eq!(parsed.contenders.len(), 4);
    }
}
