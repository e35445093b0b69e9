//! Automation of the workspace: `cargo xtask test` is what a developer runs and what CI runs.
//!
//! Plain programs, no shell: every step is a command that is printed before it runs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

mod bench;
mod clients;
mod postgres;
mod steps;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Automation of the subledger workspace
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask tidy\n  cargo xtask bench --quick\n  cargo xtask openapi > openapi.json"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Format, tidy, the clients, clippy, every test on both databases, the demo: what CI runs
    Test(steps::Required),
    /// The rules of the workspace that no compiler checks
    Tidy,
    /// Measure everything in rounds, beside the peers, and write docs/benchmarks.md
    Bench(bench::Options),
    /// Print the OpenAPI document
    Openapi,
    /// Start a throw-away PostgreSQL and print its URL; Ctrl-C or end of input removes it
    Postgres,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Test(required) => steps::test(&required),
        Command::Tidy => tidy::check(&steps::root()),
        Command::Bench(options) => bench::run(&options),
        Command::Openapi => steps::openapi(),
        Command::Postgres => postgres::hold(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
