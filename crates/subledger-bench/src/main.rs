//! The scenarios of the benchmark report.
//!
//! Each subcommand measures one thing once and prints its figures as lines of JSON ([`subledger_bench_kit::Record`]).
//! `cargo xtask bench` runs them in rounds, beside the peers, and writes the report. They use what the crates offer to
//! everybody: nothing is measured through a side door, with one exception that says so ([`grants`]).

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod cli;
mod database;
mod executor;
mod floor;
mod grants;
mod lag;
mod memory;
mod node;
mod pushes;
mod rebuild;
mod server;
mod size;
mod works;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Scenario};

/// The service's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint(&error);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "a tool for the terminal")]
fn eprint(error: &anyhow::Error) {
    eprintln!("subledger-bench: {error:#}");
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    if let Scenario::Load(options) = &cli.scenario {
        // One thread: a client that used more would take them from the server.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let report = runtime.block_on(subledger_bench_kit::load::run(options))?;
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    let (server, labels) = (cli.server()?, cli.labels());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let records = runtime.block_on(async {
        match &cli.scenario {
            Scenario::Executor(options) => executor::run(&server, &labels, options).await,
            Scenario::Grants(options) => grants::run(&server, &labels, options).await,
            Scenario::Pushes(options) => pushes::run(&server, &labels, options).await,
            Scenario::Rebuild(options) => rebuild::run(&server, &labels, options).await,
            Scenario::Lag(options) => lag::run(&server, &labels, options).await,
            Scenario::Size(options) => size::run(&server, &labels, options).await,
            Scenario::Memory(options) => memory::run(&server, &labels, options).await,
            Scenario::Floor(options) => floor::run(&server, &labels, options).await,
            Scenario::Load(_) => Ok(Vec::new()),
        }
    })?;
    for record in records {
        println!("{}", record.line()?);
    }
    Ok(())
}
