//! From a command's answer to its read models.
//!
//! Taps arrive at a steady rate whatever the service does (an open loop), the read models run beside, and for each command
//! the time from its answer to the end of `wait_for(position)` is taken. A command that is late is late in the figures.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use subledger_bench_kit::{Labels, Latency, Order, Record, floor::micros};
use subledger_domain::TemplateId;
use subledger_projection::{Projections, ProjectionsConfig};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use crate::{
    cli::LagOptions,
    node::Node,
    server::Server,
    works::{self, Tap, log},
    world::TEMPLATE,
};

/// Ledgers that are tapped into.
const LEDGERS: u64 = 10_000;
/// The seed of the order in which they are.
const SEED: u64 = 7;
/// Commands are launched this often, as many as are due.
const TICK: Duration = Duration::from_millis(1);
/// Nothing waits longer than this for its read models.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Times {
    answers: Vec<u32>,
    lags: Vec<u32>,
}

pub(crate) async fn run(
    server: &Server,
    labels: &Labels,
    options: &LagOptions,
) -> anyhow::Result<Vec<Record>> {
    let database = server.fresh("lag").await?;
    let node = Node::open(&database).await?;
    let projections = Projections::start(node.store.clone(), ProjectionsConfig::default());
    let template: TemplateId = TEMPLATE.parse()?;
    let times = Arc::new(Mutex::new(Times::default()));
    let mut commands = JoinSet::new();
    let mut launched = 0_u64;
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while begun.elapsed().as_secs_f64() < options.seconds {
        ticks.tick().await;
        let due = (begun.elapsed().as_secs_f64() * options.rate as f64) as u64;
        while launched < due {
            let (executor, projections) = (node.executor.clone(), projections.clone());
            let subject = Order::Shuffled { seed: SEED }.stream(launched, LEDGERS);
            let work = Tap { subject, n: launched, template: template.clone() };
            let (n, times) = (launched, Arc::clone(&times));
            commands.spawn(async move {
                let called = Instant::now();
                let position = works::submit(&executor, n, true, work).await?;
                let answered = Instant::now();
                projections.wait_for(&log(), position, PATIENCE).await?;
                let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                times.answers.push(micros(answered - called));
                times.lags.push(micros(answered.elapsed()));
                anyhow::Ok(())
            });
            launched += 1;
        }
        while let Some(ended) = commands.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = commands.join_next().await {
        ended??;
    }
    let elapsed = begun.elapsed();
    projections.shutdown().await;
    node.expect_head(&log(), launched).await?;
    node.close().await;
    server.remove("lag").await?;
    let mut times = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
    if times.lags.is_empty() {
        bail!("no command was due within {} s", options.seconds);
    }
    let answers = Latency::of(&mut times.answers);
    let lags = Latency::of(&mut times.lags);
    let p99 = f64::from(u32::try_from(lags.p99).context("a lag of hours")?) / 1_000.0;
    let record = labels.record("lag", server.name(), "answer-to-read-model").value(p99, "ms");
    let record = Record {
        operations: launched,
        seconds: elapsed.as_secs_f64(),
        streams: LEDGERS,
        latency_us: Some(lags),
        ..record
    };
    let record = record
        .setting("commands_per_second", options.rate)
        .setting("answer_p50_us", answers.p50)
        .setting("answer_p99_us", answers.p99);
    Ok(vec![record])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_command_that_was_due_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::Sqlite(folder.path().to_owned());
        let labels = Labels { subject: "subledger", round: 1, fsync_extra_us: 0 };
        let records = run(&server, &labels, &LagOptions { rate: 100, seconds: 0.5 }).await.unwrap();
        assert!((40..=60).contains(&records[0].operations), "{records:?}");
        assert!(records[0].latency_us.unwrap().max > 0);
    }
}
