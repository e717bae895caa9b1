//! The binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use projectionist::cli::Arguments;

fn main() -> ExitCode {
    projectionist::cli::run(Arguments::parse())
}
