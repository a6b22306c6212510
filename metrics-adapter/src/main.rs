//! The adapter's command line.

use std::process::ExitCode;

use clap::Parser;
use plimsoll_adapter::cli::Args;

fn main() -> ExitCode {
    Args::parse().run()
}
