//! The contenders that are programs of this crate: what one would write by hand.
//!
//! Each runs as a process of its own (`bench-native`), until it is ended.

mod cache;
mod input;
mod limit;
mod one_by_one;
mod stamp;
mod transaction;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use mongodb::Client;
use mongodb::options::{Acknowledgment, ClientOptions, WriteConcern};

use crate::fold;
use crate::workload::{Shape, Workload};

pub use limit::limit;
pub use one_by_one::one_by_one;

/// What the program is to do.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Bootstrap servers
    #[arg(long)]
    pub kafka: String,
    #[arg(long)]
    pub topic: String,
    #[arg(long)]
    pub partitions: u32,
    /// Connection string of a replica set
    #[arg(long)]
    pub mongodb: String,
    #[arg(long)]
    pub database: String,
    #[arg(long)]
    pub workload: Workload,
    /// What to compute for each event of the workload `cpu`
    #[arg(long)]
    pub work_rounds: u64,
    #[command(flatten)]
    pub batch: Batch,
}

/// Where a batch ends at the latest.
#[derive(Clone, Copy, Debug, Args)]
pub struct Batch {
    #[arg(id = "batch-events", long, default_value_t = 20_000)]
    pub events: usize,
    #[arg(id = "batch-documents", long, default_value_t = 4_000)]
    pub documents: usize,
    /// Bytes of the events' values
    #[arg(id = "batch-bytes", long, default_value_t = 8 * 1024 * 1024)]
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Program {
    Limit,
    OneByOne,
}

/// Runs until an error; there is no other end.
///
/// # Errors
/// Kafka's and MongoDB's that cannot be tried again.
pub fn run(program: Program, options: &Options) -> anyhow::Result<()> {
    let work_rounds = options.work_rounds;
    match options.workload.shape() {
        Shape::Latest => run_with(program, options, || fold::Latest { work_rounds }),
        Shape::Pairs => run_with(program, options, || fold::Pairs),
        Shape::Aircraft => run_with(program, options, || fold::Fleet),
    }
}

fn run_with<F: fold::Fold>(
    program: Program,
    options: &Options,
    make: impl Fn() -> F,
) -> anyhow::Result<()> {
    match program {
        Program::Limit => limit(options, make),
        Program::OneByOne => one_by_one(options, &make()),
    }
}

/// What both contenders promise for a write, as the host does.
fn write_concern() -> WriteConcern {
    WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .build()
}

async fn connect(options: &Options) -> anyhow::Result<mongodb::Database> {
    let parsed = ClientOptions::parse(&options.mongodb).await;
    let mut parsed = parsed.with_context(|| format!("--mongodb {}", options.mongodb))?;
    parsed.write_concern = Some(write_concern());
    Ok(Client::with_options(parsed)?.database(&options.database))
}
