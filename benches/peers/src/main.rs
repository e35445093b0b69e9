//! The same work over cqrs-es with postgres-es and sqlite-es, as published.
//!
//! What is decided is the same code as ours: the aggregates of `subledger-domain` are aggregates of cqrs-es. What differs is
//! what lies below: its event store, with its own tables, and one transaction per command. It keeps no receipt, no hash
//! chain, no position and, here, no view, so each of its commands does less than ours. A command that lost a race for its
//! stream is tried again, as its documentation tells callers to; tries are counted.

mod executor;
mod grants;
mod store;

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::{Parser, Subcommand};
use subledger_bench_kit::{Labels, load};

use crate::store::Server;

/// Measures one scenario over cqrs-es once and prints its figures as lines of JSON
#[derive(Debug, Parser)]
#[command(
    name = "subledger-peers",
    after_help = "Example:\n  subledger-peers --sqlite /tmp/bench executor --callers 256"
)]
struct Cli {
    /// A folder for SQLite files
    #[arg(long, global = true, conflicts_with = "postgres")]
    sqlite: Option<PathBuf>,
    /// A PostgreSQL server, as an administrator's URL
    #[arg(long, global = true)]
    postgres: Option<String>,
    /// Which round this is, from 1; a label
    #[arg(long, global = true, default_value_t = 1)]
    round: u32,
    /// Microseconds that were added to every fsync from outside; a label
    #[arg(long, global = true, default_value_t = 0)]
    fsync_extra_us: u64,
    /// Connections of the pool; its crates' own pools have 10
    #[arg(long, global = true, default_value_t = 10)]
    pool: u32,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Durable commands per second
    Executor(executor::Options),
    /// Grants over HTTP
    Grants(grants::Options),
    /// The HTTP client of the other scenario
    #[command(name = load::SUBCOMMAND, hide = true)]
    Load(load::Options),
}

/// The allocator that ours has, so that it is not what is compared.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("subledger-peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    if let Scenario::Load(options) = &cli.scenario {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        println!("{}", serde_json::to_string(&runtime.block_on(load::run(options))?)?);
        return Ok(());
    }
    let server = match (&cli.sqlite, &cli.postgres) {
        (Some(folder), None) => Server::Sqlite(folder.clone()),
        (None, Some(url)) => Server::Postgres(url.clone()),
        _ => bail!("say where to measure: --sqlite FOLDER or --postgres URL"),
    };
    let labels = Labels { subject: "cqrs-es", round: cli.round, fsync_extra_us: cli.fsync_extra_us };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let records = runtime.block_on(async {
        match &cli.scenario {
            Scenario::Executor(options) => executor::run(&server, cli.pool, &labels, options).await,
            Scenario::Grants(options) => grants::run(&server, cli.pool, &labels, options).await,
            Scenario::Load(_) => Ok(Vec::new()),
        }
    })?;
    for record in records {
        println!("{}", record.setting("pool", cli.pool).line()?);
    }
    Ok(())
}
