//! Durable commands per second: the binding of our own benchmark, moved from openid to openid.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use subledger_bench_kit::{
    Labels, Order, Record,
    closed_loop::{self, Limit},
};
use subledger_domain::{
    At, Evidence, EvidenceSource, SubjectId, Timestamp,
    binding::{Binding, BindingCommand, BindingEvent, Bound, Moved},
};

use crate::store::{Framework, Server};

/// The seed of the order in which streams are visited, as in ours.
const SEED: u64 = 20_261_123;
/// When everything here happens.
const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Streams, visited in an order that looks random and has a fixed seed
    #[arg(long, default_value_t = 10_000)]
    streams: u64,
    /// Events of each stream before the measurement
    #[arg(long, default_value_t = 10)]
    events: u64,
    /// One stream that begins empty, instead of --streams and --events
    #[arg(long)]
    hot: bool,
    /// Callers, one measurement each, in this order
    #[arg(long, value_delimiter = ',', default_value = "256,64,32,1")]
    callers: Vec<u64>,
    /// Commands of one measurement at most
    #[arg(long, default_value_t = 100_000)]
    commands: u64,
    /// Seconds of one measurement at most
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

fn name(stream: u64) -> String {
    format!("{stream:032x}")
}

fn subject(n: u64) -> SubjectId {
    SubjectId::from_bytes(u128::from(n).to_be_bytes())
}

fn evidence() -> Evidence {
    Evidence::new(EvidenceSource::ClientReport, "report-1", NOW)
}

/// The history that ours is given before it is measured.
fn history(streams: u64, events: u64) -> impl Iterator<Item = (String, i64, BindingEvent)> {
    (1..=events).flat_map(move |sequence| {
        (0..streams).map(move |stream| {
            let n = (sequence - 1) * streams + stream;
            let event = if sequence == 1 {
                BindingEvent::Bound(Bound { subject: subject(n), evidence: evidence() })
            } else {
                let from = subject(n - streams);
                BindingEvent::Moved(Moved { from, subject: subject(n), evidence: evidence() })
            };
            (name(stream), i64::try_from(sequence).unwrap_or(i64::MAX), event)
        })
    })
}

pub(crate) async fn run(
    server: &Server,
    pool: u32,
    labels: &Labels,
    options: &Options,
) -> anyhow::Result<Vec<Record>> {
    let (streams, events) = if options.hot { (1, 0) } else { (options.streams, options.events) };
    let database = server.fresh("peer_executor", pool).await?;
    database.fill::<Binding>(history(streams, events)).await?;
    let framework: Arc<Framework<Binding>> = Arc::new(database.framework());
    let in_vain = Arc::new(AtomicU64::new(0));
    let limit = Limit { operations: options.commands, time: Duration::from_secs_f64(options.seconds) };
    let mut next = streams * events;
    let mut records = Vec::new();
    for &callers in &options.callers {
        let (at_begin, before) = (next / streams, in_vain.load(Ordering::Relaxed));
        let (shared, vain) = (Arc::clone(&framework), Arc::clone(&in_vain));
        let command = move |n| {
            let (framework, in_vain) = (Arc::clone(&shared), Arc::clone(&vain));
            async move {
                let id = name(Order::Shuffled { seed: SEED }.stream(n, streams));
                let ask = || At {
                    now: NOW,
                    command: BindingCommand::Bind { subject: subject(n), evidence: evidence() },
                };
                framework.execute(&id, ask, &in_vain).await
            }
        };
        let measured = closed_loop::run(callers, next, limit, command).await?;
        next += measured.operations;
        let stored = database.events().await?;
        ensure!(stored == next, "{next} were answered and {stored} are in the table");
        let variant = if options.hot { "hot".to_owned() } else { format!("many-{events}") };
        let mut record =
            measured.into_record(labels.record("executor", server.name(), &variant), "commands/s");
        record.callers = callers;
        record.streams = streams;
        record.events_per_stream = at_begin;
        records
            .push(record.setting("in_vain", in_vain.load(Ordering::Relaxed) - before).setting("seed", SEED));
    }
    database.close().await;
    Ok(records)
}
