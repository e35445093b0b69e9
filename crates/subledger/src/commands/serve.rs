//! `subledger serve`: the service.
//!
//! It stops in order: no new connections, answers to the requests under way, no new claims, outcomes of the calls to WeChat
//! under way, every accepted command on disk, projections, connections. A second interrupt ends it at once, which is safe:
//! what was not recorded is found by its lease.

use std::{future::Future, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use axum::serve::ListenerExt;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use subledger_engine::{Engine, retention::Always};
use subledger_http::HttpSettings;
use tokio::net::TcpListener;

use crate::{
    cli::Serve,
    exit::SettingsError,
    node,
    settings::{Overrides, Settings},
    telemetry,
};

/// How long requests under way may take to end after the first interrupt.
const DRAIN: Duration = Duration::from_secs(10);
/// How often histograms are folded, so that an unread /metrics does not grow.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

pub(super) async fn run(serve: Serve) -> anyhow::Result<ExitCode> {
    let overrides = Overrides { listen: serve.listen, database: serve.common.database };
    let settings = Settings::load(serve.common.config.as_deref(), &overrides)?;
    telemetry::start(&settings.log)?;
    let config = settings.store()?;
    let metrics = install_metrics()?;
    let engine = node::open_engine(&settings, &config).await?;
    engine.store().announce(&format!("process {}", std::process::id())).await?;
    let listener = bind(&settings.listen).await?;
    let address = listener.local_addr()?;
    engine.start_dispatch().await;
    engine.start_push_retry().await;
    engine.start_relay().await;
    engine.start_platforms().await;
    engine.start_quota().await;
    engine.start_retention(settings.retention(), Arc::new(Always)).await;
    println!("subledger listens on http://{address} (API reader: http://{address}/docs)");
    tracing::info!(http.address = %address, "serving");
    serve_http(engine, listener, &settings, metrics, interrupted()).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Serves until `stop`, then drains and shuts the engine down.
pub(super) async fn serve_http(
    engine: Engine,
    listener: TcpListener,
    settings: &Settings,
    metrics: PrometheusHandle,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let http = HttpSettings {
        requests_per_second: settings.http.requests_per_second,
        burst: settings.http.burst,
        user_reports_per_minute: settings.http.user_reports_per_minute,
        token_leases_per_minute: settings.http.token_leases_per_minute,
        ..HttpSettings::default()
    };
    let router = subledger_http::router(engine.clone(), http, metrics);
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    let streams = engine.clone();
    let signal = async move {
        stop.await;
        tracing::info!("stopping: no new connections");
        streams.close_streams();
        let _ = stopping.send(true);
    };
    // An answer is one small write; it must not wait for the acknowledgement of the one before it.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let serving = axum::serve(listener, router).with_graceful_shutdown(signal);
    let overdue = async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = serving.into_future() => ended.context("the HTTP listener failed")?,
        () = overdue => tracing::warn!(drain.seconds = DRAIN.as_secs(), "connections still open; closing them"),
    }
    engine.shutdown().await;
    Ok(())
}

pub(super) async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        SettingsError(format!("cannot listen on {address}: {error}; choose another address with --listen"))
            .into()
    })
}

/// Installs the recorder behind `/metrics`.
pub(super) fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle =
        PrometheusBuilder::new().install_recorder().context("the metrics recorder could not be installed")?;
    subledger_engine::describe_metrics();
    subledger_wechat::describe_metrics();
    subledger_webhook::describe_metrics();
    subledger_projection::describe_metrics();
    subledger_http::describe_metrics();
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

/// Resolves on Ctrl-C or SIGTERM; the next one ends the process at once.
pub(super) async fn interrupted() {
    once().await;
    tokio::spawn(async {
        once().await;
        eprintln!("subledger: interrupted again; ending at once");
        std::process::exit(i32::from(crate::exit::FAILED));
    });
}

async fn once() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
