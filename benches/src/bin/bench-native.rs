//! A contender of the benchmark in a process of its own: see `projectionist_benches::native`.

use clap::Parser;
use projectionist_benches::native::{Options, Program, run};

/// Makes documents of a topic's events, without Projectionist; `bench` starts it.
#[derive(Debug, Parser)]
struct Arguments {
    program: Program,
    #[command(flatten)]
    options: Options,
}

fn main() -> anyhow::Result<()> {
    let Arguments { program, options } = Arguments::parse();
    run(program, &options)
}
