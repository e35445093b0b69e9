//! Durable commands per second through the executor.
//!
//! 1, 64 and 256 callers, each submitting its next command when the last is answered; over 10,000 streams and over one
//! hot stream; on SQLite, and on PostgreSQL if `SUBLEDGER_TEST_POSTGRES` names a server. Every command moves
//! a binding, so that states stay small however long a run takes.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use subledger_domain::{
    Evidence, EvidenceSource, LogName, StreamName, SubjectId,
    binding::{Binding, BindingCommand},
};
use subledger_store::{
    Cause, Executor, ExecutorConfig, Known, MasterKey, ReceiptKey, Stage, Stop, Store, StoreConfig,
    StreamRef, Submission, SystemClock, Work,
};

const STREAMS: [(&str, u64); 2] = [("many", 10_000), ("hot", 1)];
const CALLERS: [u64; 3] = [1, 64, 256];

/// Moves a binding to another openid: one event per command, a state that never grows.
struct Move {
    stream: StreamName,
    to: SubjectId,
}

impl Work for Move {
    type Answer = ();
    type Refusal = ();

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Binding>(self.stream.clone())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<()>> {
        let evidence = Evidence::new(EvidenceSource::ClientReport, "report-1", stage.now());
        let ask = BindingCommand::Bind { subject: self.to, evidence };
        stage.ask::<Binding>(&self.stream, ask)?.map(drop).map_err(|_| Stop::Refuse(()))
    }
}

async fn command(executor: &Executor, n: u64, streams: u64) {
    let stream = StreamName::new("binding", &format!("{:032x}", n % streams));
    let work = Move { stream, to: SubjectId::from_bytes(u128::from(n).to_be_bytes()) };
    let cause = Cause { by: "app:bench".into(), command: "bind".into(), request: None };
    let id = format!("bind:bench:{n:016x}");
    let receipt = Some(ReceiptKey { fingerprint: *blake3::hash(id.as_bytes()).as_bytes(), id });
    executor.submit(Submission { log: LogName::new("mp"), receipt, cause, work }).await.unwrap();
}

/// Runs this many commands from this many callers and takes the time.
async fn run(
    executor: &Executor,
    next: &Arc<AtomicU64>,
    callers: u64,
    streams: u64,
    commands: u64,
) -> Duration {
    let end = next.load(Ordering::SeqCst) + commands;
    let started = Instant::now();
    let callers = (0..callers).map(|_| {
        let (executor, next) = (executor.clone(), Arc::clone(next));
        tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::SeqCst);
                if n >= end {
                    return;
                }
                command(&executor, n, streams).await;
            }
        })
    });
    futures::future::join_all(callers).await;
    next.store(end, Ordering::SeqCst);
    started.elapsed()
}

fn bench(criterion: &mut Criterion, database: &str, url: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = StoreConfig {
        url: url.to_owned().into(),
        master_key: MasterKey::from_bytes([7; 32]),
        max_connections: 8,
    };
    let (store, executor) = runtime.block_on(async {
        let store = Store::open(&config, Arc::new(SystemClock)).await.unwrap();
        let executor = Executor::start(store.clone(), ExecutorConfig::default());
        (store, executor)
    });
    let next = Arc::new(AtomicU64::new(0));
    let mut group = criterion.benchmark_group(format!("executor/{database}"));
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(3));
    for (name, streams) in STREAMS {
        for callers in CALLERS {
            let id = BenchmarkId::new(format!("{name}_streams"), format!("{callers}_callers"));
            group.bench_function(id, |bencher| {
                bencher
                    .to_async(&runtime)
                    .iter_custom(|commands| run(&executor, &next, callers, streams, commands));
            });
        }
    }
    group.finish();
    runtime.block_on(async {
        executor.shutdown().await;
        store.close().await;
    });
}

fn sqlite(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    bench(criterion, "sqlite", &format!("sqlite://{}", directory.path().join("bench.db").display()));
}

fn postgres(criterion: &mut Criterion) {
    let Ok(admin) = std::env::var("SUBLEDGER_TEST_POSTGRES") else { return };
    let name = format!("subledger_bench_{}", uuid::Uuid::new_v4().simple());
    let (server, _) = admin.rsplit_once('/').unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let administer = |sql: String| {
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&admin).await.unwrap();
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        });
    };
    administer(format!("create database {name}"));
    bench(criterion, "postgres", &format!("{server}/{name}"));
    administer(format!("drop database {name} with (force)"));
}

criterion_group!(benches, sqlite, postgres);
criterion_main!(benches);
