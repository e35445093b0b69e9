//! Memory of the service as a process of its own: idle, and while grants arrive at a steady rate.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use subledger_bench_kit::{
    Labels, Record,
    load::{self, Options},
    process,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    cli::MemoryOptions,
    database::{Database, MASTER_KEY},
    server::Server,
    world::{TEMPLATE, World},
};

/// Bound users.
const USERS: u64 = 10_000;
const MIB: f64 = 1_048_576.0;
/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Connections of the client.
const CONNECTIONS: u64 = 64;
/// How often the service is started until this process has let go of the file.
const STARTS: u32 = 20;
/// The share of the rate that counts as having reached it.
const ENOUGH: f64 = 0.95;
/// What the service says before its address.
const ANNOUNCEMENT: &str = "subledger listens on http://";

pub(crate) async fn run(
    server: &Server,
    labels: &Labels,
    options: &MemoryOptions,
) -> anyhow::Result<Vec<Record>> {
    let database = server.fresh("memory").await?;
    let world = World::new(&database).await?;
    world.bind_users(USERS).await?;
    let key = world.key().await?;
    world.caught_up(&world.log()).await?;
    world.engine.shutdown().await;
    // The last handle goes with it: a SQLite file has one process that writes it.
    drop(world.engine);

    let mut tried = 1;
    let (mut service, address) = loop {
        match start(&options.binary, &database, &world.wechat_url).await {
            Ok(started) => break started,
            Err(error) if tried == STARTS => return Err(error),
            // Connections that are closed in the background may hold the file for a moment more.
            Err(_) => tokio::time::sleep(LOOK).await,
        }
        tried += 1;
    };
    let pid = service.id().context("the service has ended")?;
    tokio::time::sleep(Duration::from_secs_f64(options.idle)).await;
    let idle = process::resident(Some(pid))?;

    let client = Options {
        address: address.parse().context("the service's address")?,
        requests: None,
        path: World::grants_path(),
        key,
        template: TEMPLATE.to_owned(),
        users: USERS,
        run: "memory".to_owned(),
        connections: CONNECTIONS,
        seconds: options.seconds,
        rate: options.rate,
    };
    let mut most = idle;
    let mut ticks = tokio::time::interval(LOOK);
    let load = load::spawn(&client);
    tokio::pin!(load);
    let report = loop {
        tokio::select! {
            report = &mut load => break report?,
            _ = ticks.tick() => most = most.max(process::resident(Some(pid))?),
        }
    };
    service.kill().await.context("ending the service")?;
    let reached = report.measured().rate();
    server.remove("memory").await?;
    let record = |variant: &str, bytes: u64| {
        labels.record("memory", server.name(), variant).value(bytes as f64 / MIB, "MiB")
    };
    // Memory at a lower rate is another figure: it must not pass for the one that was asked for.
    let busy = if reached >= ENOUGH * options.rate as f64 { "busy" } else { "busy-below-rate" };
    let busy = Record {
        operations: report.answered,
        seconds: report.seconds,
        callers: CONNECTIONS,
        latency_us: Some(report.latency_us),
        ..record(busy, most).setting("grants_per_second", format!("{reached:.0}"))
    };
    Ok(vec![record("idle", idle).setting("after_seconds", options.idle), busy])
}

async fn start(binary: &Path, database: &Database, wechat: &str) -> anyhow::Result<(Child, String)> {
    let mut service = Command::new(binary)
        .args(["serve", "--listen", "127.0.0.1:0", "--database", &database.url])
        .env("SUBLEDGER_MASTER_KEY", STANDARD.encode(MASTER_KEY))
        .env("SUBLEDGER_WECHAT_BASE_URL", wechat)
        .env("SUBLEDGER_HTTP_REQUESTS_PER_SECOND", "1000000")
        .env("SUBLEDGER_HTTP_BURST", "1000000")
        .env("SUBLEDGER_LOG_FILTER", "warn")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} could not be started", binary.display()))?;
    let stdout = service.stdout.take().context("the service has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        let Some(rest) = line.strip_prefix(ANNOUNCEMENT) else { continue };
        let address = rest.split_whitespace().next().unwrap_or_default().to_owned();
        // Read on, or the service would block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        return Ok((service, address));
    }
    anyhow::bail!("the service ended before it listened")
}
