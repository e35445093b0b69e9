//! Rebuilding read models: every projection of a log, and balances alone.

use std::time::{Duration, Instant};

use subledger_bench_kit::{
    Labels, Record,
    closed_loop::{self, Limit},
};
use subledger_projection::{rebuild, rebuild_balances};

use crate::{
    cli::RebuildOptions,
    database::Database,
    node::Node,
    server::Server,
    works::{self, JOURNEY_EVENTS, Journey, log},
    world::TEMPLATE,
};

/// Callers while the log is filled.
const FILLERS: u64 = 256;

pub(crate) async fn run(
    server: &Server,
    labels: &Labels,
    options: &RebuildOptions,
) -> anyhow::Result<Vec<Record>> {
    let journeys = options.events.div_ceil(JOURNEY_EVENTS);
    let prepared = format!("prepared_journeys_{journeys}");
    server.prepared(&prepared, async |database| fill(database, journeys).await).await?;
    let database = server.copy(&prepared, "rebuild").await?;
    let node = Node::open(&database).await?;
    let events = node.store.head(&log()).await?.position.0;
    let record = |variant: &str, elapsed: Duration| {
        let rate = events as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let record = labels.record("rebuild", server.name(), variant).value(rate, "events/s");
        Record { operations: events, seconds: elapsed.as_secs_f64(), ..record }
    };
    let begun = Instant::now();
    let balances = rebuild_balances(&node.store, &log()).await?;
    let alone = record("balances", begun.elapsed()).setting("ledgers", balances.ledgers);
    let begun = Instant::now();
    rebuild(&node.store, Some(&[log()]), |_| {}).await?;
    let all = record("all", begun.elapsed());
    node.close().await;
    server.remove("rebuild").await?;
    Ok(vec![all, alone])
}

/// Fills the log with what so many users bring about.
async fn fill(database: &Database, journeys: u64) -> anyhow::Result<()> {
    let node = Node::open(database).await?;
    let executor = node.executor.clone();
    let (template, app) = (TEMPLATE.parse()?, "bench".parse()?);
    let command = move |n| {
        let work = Journey { n, template: Clone::clone(&template), app: Clone::clone(&app) };
        let executor = executor.clone();
        async move { works::submit(&executor, n, false, work).await.map(drop) }
    };
    let all = Limit { operations: journeys, time: Duration::MAX };
    closed_loop::run(FILLERS, 0, all, command).await?;
    node.close().await;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_rebuilt_is_what_was_filled() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::Sqlite(folder.path().to_owned());
        let labels = Labels { subject: "subledger", round: 1, fsync_extra_us: 0 };
        let records = run(&server, &labels, &RebuildOptions { events: 400 }).await.unwrap();
        // 50 users of 8 events, and of every ten one with two more: its denial found a drift and suspended it.
        assert_eq!(records[0].operations, 410);
        assert_eq!(records[1].settings["ledgers"], "50");
    }
}
