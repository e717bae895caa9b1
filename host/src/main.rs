//! The binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use projectionist::cli::Arguments;

/// What a batch brings is freed by other threads than took it, and the C library's allocator keeps
/// much of that.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    projectionist::cli::run(Arguments::parse())
}
