//! Durable commands per second through the executor.
//!
//! Each command loads the state of its stream, decides, appends one event with its link of the hash chain, writes a
//! receipt, commits durably and answers. Callers run in a closed loop; streams are visited in an order that looks random
//! and has a fixed seed, so that a batch seldom meets a stream twice and every run does the same.

use std::time::Duration;

use subledger_bench_kit::{
    Labels, Order, Record,
    closed_loop::{self, Limit},
};

use crate::{
    cli::ExecutorOptions,
    database::Database,
    node::Node,
    server::Server,
    works::{self, Move, log},
};

/// The seed of the order in which streams are visited.
const SEED: u64 = 20_261_123;
/// Callers while a database is prepared.
const FILLERS: u64 = 256;
/// Commands before the first measurement, so that states are cached as they are in a service that has run for a while:
/// at least this many for each stream.
const WARM_UP: u64 = 2;

pub(crate) async fn run(
    server: &Server,
    labels: &Labels,
    options: &ExecutorOptions,
) -> anyhow::Result<Vec<Record>> {
    let (streams, events) = if options.hot { (1, 0) } else { (options.streams, options.events) };
    let prepared = format!("prepared_{streams}x{events}");
    server.prepared(&prepared, async |database| fill(database, streams, events).await).await?;
    let database = server.copy(&prepared, "executor").await?;
    let settings = database.settings().await?;
    let node = Node::open(&database).await?;
    let mut next = streams * events;
    let mut records = Vec::new();
    let warm_up = Limit { operations: WARM_UP * streams.max(1_000), time: Duration::MAX };
    next += measure(&node, FILLERS, next, streams, warm_up, SEED).await?.operations;
    let limit = Limit { operations: options.commands, time: Duration::from_secs_f64(options.seconds) };
    for &callers in &options.callers {
        let at_begin = next / streams;
        let measured = measure(&node, callers, next, streams, limit, SEED).await?;
        next += measured.operations;
        node.expect_head(&log(), next).await?;
        let variant = if options.hot { "hot".to_owned() } else { format!("many-{events}") };
        let mut record =
            measured.into_record(labels.record("executor", server.name(), &variant), "commands/s");
        record.callers = callers;
        record.streams = streams;
        record.events_per_stream = at_begin;
        for (name, value) in &settings {
            record = record.setting(name, value);
        }
        records.push(record.setting("seed", SEED));
    }
    node.close().await;
    server.remove("executor").await?;
    Ok(records)
}

/// Gives each stream so many events.
async fn fill(database: &Database, streams: u64, events: u64) -> anyhow::Result<()> {
    let node = Node::open(database).await?;
    if events > 0 {
        let all = Limit { operations: streams * events, time: Duration::MAX };
        let executor = node.executor.clone();
        let fill = move |n| {
            let executor = executor.clone();
            async move {
                let stream = Order::InTurn.stream(n, streams);
                works::submit(&executor, n, true, Move { stream, to: n }).await.map(drop)
            }
        };
        closed_loop::run(FILLERS, 0, all, fill).await?;
        node.expect_head(&log(), streams * events).await?;
    }
    node.close().await;
    Ok(())
}

async fn measure(
    node: &Node,
    callers: u64,
    first: u64,
    streams: u64,
    limit: Limit,
    seed: u64,
) -> anyhow::Result<closed_loop::Measured> {
    let executor = node.executor.clone();
    let order = Order::Shuffled { seed };
    let command = move |n| {
        let executor = executor.clone();
        async move {
            let stream = order.stream(n, streams);
            works::submit(&executor, n, true, Move { stream, to: n }).await.map(drop)
        }
    };
    closed_loop::run(callers, first, limit, command).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_round_begins_with_the_same_streams() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::Sqlite(folder.path().to_owned());
        let labels = Labels { subject: "subledger", round: 1, fsync_extra_us: 0 };
        let options = ExecutorOptions {
            streams: 10,
            events: 3,
            hot: false,
            callers: vec![4, 1],
            commands: 20,
            seconds: 60.0,
        };
        for _ in 0..2 {
            let records = run(&server, &labels, &options).await.unwrap();
            assert_eq!(records.len(), 2);
            // 3 and the warm-up of 2,000 commands on ten streams.
            assert_eq!(records[0].events_per_stream, 203);
            assert_eq!((records[0].operations, records[1].callers), (20, 1));
            assert!(records.iter().all(|record| record.value > 0.0 && record.variant == "many-3"));
        }
    }
}
