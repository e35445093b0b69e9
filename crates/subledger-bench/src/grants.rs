//! Grants over HTTP: the service's own router on loopback, one grant a request, the key checked each time.
//!
//! Three figures. `served` is the service as it runs, read models included. `log-only` is the same with the read models
//! stopped, which tells what they take. `noop` is the same route with the log switched for a no-op: the same layers, key
//! check, strict JSON and answer, but nothing is decided or recorded. It is the one thing here that the service itself
//! does not have: `subledger-http` makes it behind its feature `noop`, because its layers and extractors are private and a
//! copy of them would drift.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use axum::{Router, serve::ListenerExt};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use subledger_bench_kit::{
    Labels, Record,
    load::{self, Options, Report},
    process,
};
use subledger_domain::LogName;
use subledger_http::HttpSettings;
use tokio::net::TcpListener;

use crate::{
    cli::GrantsOptions,
    server::Server,
    world::{TEMPLATE, World},
};

/// Seconds of load before a measurement, so that states are cached and connections to the database are open.
const WARM_UP: f64 = 1.0;
/// How often histograms are folded, as the service does.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    server: &Server,
    labels: &Labels,
    options: &GrantsOptions,
) -> anyhow::Result<Vec<Record>> {
    let database = server.fresh("grants").await?;
    let world = World::new(&database).await?;
    world.bind_users(options.users).await?;
    let key = world.key().await?;
    world.caught_up(&world.log()).await?;
    let metrics = metrics()?;
    // The rate of one key is an operator's setting, not part of the work.
    let settings = HttpSettings { requests_per_second: 0, ..HttpSettings::default() };
    let router = |noop: bool| {
        let make = if noop { subledger_http::noop_router } else { subledger_http::router };
        make(world.engine.clone(), settings.clone(), metrics.clone())
    };
    let (real, without) = (serve(router(false)).await?, serve(router(true)).await?);
    let client = |address, run: &str, path: String, seconds| Options {
        address,
        requests: None,
        path,
        key: key.clone(),
        template: TEMPLATE.to_owned(),
        users: options.users,
        run: run.to_owned(),
        connections: options.connections,
        seconds,
        rate: 0,
    };
    let path = World::grants_path();
    let noop_path = format!("{path}-noop");
    load::spawn(&client(real, "warm", path.clone(), WARM_UP)).await?;
    let mut records = Vec::new();
    let head = async || anyhow::Ok(world.engine.store().head(&world.log()).await?.position.0);
    for variant in ["served", "noop", "log-only"] {
        if variant == "log-only" {
            world.caught_up(&world.log()).await?;
            world.caught_up(&LogName::main()).await?;
            world.engine.projections().shutdown().await;
        }
        let noop = variant == "noop";
        let (address, path) = if noop { (without, &noop_path) } else { (real, &path) };
        let before = head().await?;
        let cpu = process::cpu(None)?;
        let report = load::spawn(&client(address, variant, path.clone(), options.seconds)).await?;
        let cpu = process::cpu(None)?.saturating_sub(cpu);
        let recorded = head().await? - before;
        let expected = if noop { 0 } else { report.answered };
        ensure!(recorded == expected, "{} were answered 200 and {recorded} recorded", report.answered);
        let record = labels.record("grants", server.name(), variant);
        records.push(figure(record, &report, options, cpu));
    }
    world.engine.shutdown().await;
    server.remove("grants").await?;
    Ok(records)
}

fn figure(record: Record, report: &Report, options: &GrantsOptions, cpu: Duration) -> Record {
    let mut record = report.measured().into_record(record, "grants/s");
    record.callers = options.connections;
    record.streams = options.users;
    let share = cpu.as_secs_f64() / report.seconds.max(f64::MIN_POSITIVE);
    record
        .setting("client_cores", format!("{:.2}", report.cpu_share()))
        .setting("server_cores", format!("{share:.2}"))
}

pub(crate) async fn serve(router: Router) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("the server's port")?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// The recorder behind `/metrics`: every request is counted, as in the service.
pub(crate) fn metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder().context("the metrics recorder")?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(METRICS_UPKEEP);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
