//! The command line: which scenario, on which database, how much of it.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use subledger_bench_kit::{Labels, load};

use crate::server::Server;

/// Measures one scenario once and prints its figures as lines of JSON; `cargo xtask bench` runs them all
#[derive(Debug, Parser)]
#[command(
    name = "subledger-bench",
    after_help = "Examples:\n  subledger-bench --sqlite /tmp/bench executor --callers 256\n  \
                  subledger-bench --postgres postgres://postgres@127.0.0.1:5432/postgres grants --seconds 10\n  \
                  subledger-bench --sqlite /tmp/bench rebuild --events 1000000"
)]
pub(crate) struct Cli {
    /// A folder for SQLite files; what is prepared there is used again
    #[arg(long, global = true, conflicts_with = "postgres")]
    sqlite: Option<PathBuf>,
    /// A PostgreSQL server, as an administrator's URL; databases named bench_… are made on it
    #[arg(long, global = true)]
    postgres: Option<String>,
    /// Which round this is, from 1; a label
    #[arg(long, global = true, default_value_t = 1)]
    round: u32,
    /// Microseconds that were added to every fsync from outside; a label
    #[arg(long, global = true, default_value_t = 0)]
    fsync_extra_us: u64,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Durable commands per second through the executor, with chain and receipts
    Executor(ExecutorOptions),
    /// Grants over HTTP through the service's own router, and the same without the log
    Grants(GrantsOptions),
    /// Pushes of WeChat over HTTP through the service's own router, in secure mode
    Pushes(PushesOptions),
    /// Rebuilding every projection of a log
    Rebuild(RebuildOptions),
    /// From a command's answer to its read models, at a steady rate
    Lag(LagOptions),
    /// Bytes on disk
    Size(SizeOptions),
    /// Memory of the service, idle and at work
    Memory(MemoryOptions),
    /// What the disk and the bare database cost
    Floor(FloorOptions),
    /// The HTTP client of the other scenarios
    #[command(name = load::SUBCOMMAND, hide = true)]
    Load(load::Options),
}

#[derive(Debug, Args)]
pub(crate) struct ExecutorOptions {
    /// Streams, visited in an order that looks random and has a fixed seed
    #[arg(long, default_value_t = 10_000)]
    pub(crate) streams: u64,
    /// Events of each stream before the measurement
    #[arg(long, default_value_t = 10)]
    pub(crate) events: u64,
    /// One stream that begins empty, instead of --streams and --events
    #[arg(long)]
    pub(crate) hot: bool,
    /// Callers, one measurement each, in this order
    #[arg(long, value_delimiter = ',', default_value = "256,64,32,1")]
    pub(crate) callers: Vec<u64>,
    /// Commands of one measurement at most
    #[arg(long, default_value_t = 100_000)]
    pub(crate) commands: u64,
    /// Seconds of one measurement at most
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
}

#[derive(Debug, Args)]
pub(crate) struct GrantsOptions {
    /// Bound users
    #[arg(long, default_value_t = 10_000)]
    pub(crate) users: u64,
    /// Connections, one request under way on each
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: u64,
    /// Seconds of one measurement
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
}

#[derive(Debug, Args)]
pub(crate) struct PushesOptions {
    /// Pushes, each of another user; the measurement ends when all were answered
    #[arg(long, default_value_t = 100_000)]
    pub(crate) pushes: u64,
    /// Connections, one request under way on each
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: u64,
    /// Seconds of the measurement at most
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
}

#[derive(Debug, Args)]
pub(crate) struct RebuildOptions {
    /// Events of the log, at least
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) events: u64,
}

#[derive(Debug, Args)]
pub(crate) struct LagOptions {
    /// Commands per second
    #[arg(long, default_value_t = 5_000)]
    pub(crate) rate: u64,
    /// Seconds to measure
    #[arg(long, default_value_t = 30.0)]
    pub(crate) seconds: f64,
}

#[derive(Debug, Args)]
pub(crate) struct SizeOptions {
    /// Events to weigh
    #[arg(long, default_value_t = 200_000)]
    pub(crate) events: u64,
    /// Grants, each followed by a send, to weigh
    #[arg(long, default_value_t = 5_000)]
    pub(crate) sends: u64,
}

#[derive(Debug, Args)]
pub(crate) struct MemoryOptions {
    /// The service's binary, built for release
    #[arg(long)]
    pub(crate) binary: PathBuf,
    /// Seconds of idleness before it is looked at
    #[arg(long, default_value_t = 10.0)]
    pub(crate) idle: f64,
    /// Grants per second over HTTP
    #[arg(long, default_value_t = 5_000)]
    pub(crate) rate: u64,
    /// Seconds at that rate
    #[arg(long, default_value_t = 30.0)]
    pub(crate) seconds: f64,
}

#[derive(Debug, Args)]
pub(crate) struct FloorOptions {
    /// Durable operations to time
    #[arg(long, default_value_t = 1_000)]
    pub(crate) operations: u32,
}

impl Cli {
    /// The database of the flags.
    pub(crate) fn server(&self) -> anyhow::Result<Server> {
        match (&self.sqlite, &self.postgres) {
            (Some(folder), None) => Ok(Server::Sqlite(folder.clone())),
            (None, Some(url)) => Ok(Server::Postgres(url.clone())),
            _ => bail!("say where to measure: --sqlite FOLDER or --postgres URL"),
        }
    }

    /// What every figure of this run carries.
    pub(crate) fn labels(&self) -> Labels {
        Labels { subject: "subledger", round: self.round, fsync_extra_us: self.fsync_extra_us }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
