//! One module per command; each prints its own answer.

mod admin;
mod app;
mod audit;
mod authorize;
mod channel;
mod demo;
mod doctor;
mod erase;
mod events;
mod export;
mod import;
mod keys;
mod migrate;
mod platform;
mod projections;
mod pushes;
mod quota;
mod relay;
mod report;
mod retention;
mod sandbox;
mod serve;
mod tokens;
mod verify;

use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use subledger_domain::{AppId, ChannelCode, LogName};
use subledger_engine::{Caller, Engine};
use subledger_projection::Queries;
use subledger_store::{Store, StoreError};

use crate::{
    cli::{Cli, Command, Common},
    exit::SettingsError,
    node,
    settings::{Overrides, Settings},
    telemetry,
};

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Demo(demo) => demo::run(demo).await,
        Command::Serve(serve) => serve::run(serve).await,
        Command::Sandbox(sandbox) => sandbox::run(sandbox).await,
        Command::Migrate(migrate) => migrate::run(migrate).await,
        Command::App(app) => app::run(app).await,
        Command::Channel(channel) => channel::run(channel).await,
        Command::Platform(platform) => platform::run(platform).await,
        Command::Audit(audit) => audit::run(audit).await,
        Command::Import(import) => import::run(import).await,
        Command::Events(events) => events::run(events).await,
        Command::Projections(projections) => projections::run(projections).await,
        Command::Report(report) => report::run(report).await,
        Command::Doctor(doctor) => doctor::run(doctor).await,
        Command::Admin(admin) => admin::run(admin).await,
    }
}

/// Settings of a command that opens the database, with quiet logging.
fn settings(common: &Common) -> anyhow::Result<Settings> {
    let overrides = Overrides { listen: None, database: common.database.clone() };
    let mut settings = Settings::load(common.config.as_deref(), &overrides)?;
    // A command's answer is what it prints; its log speaks only of trouble.
    settings.log.filter = "warn".to_owned();
    telemetry::start(&settings.log)?;
    Ok(settings)
}

/// An engine for one command: it appends and reads, and never hands anything to WeChat by itself.
async fn engine(common: &Common) -> anyhow::Result<Engine> {
    let settings = settings(common)?;
    let config = settings.store()?;
    node::open_engine(&settings, &config).await
}

/// Read models for a command that only reads: brought up to date, unless another process writes the SQLite file and so keeps
/// them up to date itself.
struct Reading {
    queries: Queries,
    store: Store,
    engine: Option<Engine>,
}

impl Reading {
    async fn of(common: &Common, log: &LogName) -> anyhow::Result<Self> {
        let settings = settings(common)?;
        let config = settings.store()?;
        match node::open_engine(&settings, &config).await {
            Ok(engine) => {
                engine.caught_up(log, None).await;
                Ok(Self {
                    queries: engine.queries().clone(),
                    store: engine.store().clone(),
                    engine: Some(engine),
                })
            }
            Err(error) if is_written_elsewhere(&error) => {
                let store = node::open_store(&config).await?;
                Ok(Self { queries: Queries::new(store.clone()), store, engine: None })
            }
            Err(error) => Err(error),
        }
    }

    async fn close(self) {
        if let Some(engine) = self.engine {
            engine.shutdown().await;
        }
    }
}

fn is_written_elsewhere(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<StoreError>());
    causes.any(|cause| matches!(cause, StoreError::WrittenElsewhere(_)))
}

/// The person at the command line, as events name them.
fn operator() -> anyhow::Result<Caller> {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let plain: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(64).collect();
    let name = if plain.is_empty() { "cli".to_owned() } else { plain };
    let name: AppId = name.parse().context("the operator's name")?;
    Ok(Caller::operator(name))
}

/// A log that holds something. A name that was mistyped must not pass for a log in which all is well.
async fn known_log(store: &Store, name: String) -> anyhow::Result<LogName> {
    let log = LogName::new(name);
    if store.head(&log).await?.position.0 == 0 {
        let heads = store.heads().await?;
        let there: Vec<_> =
            heads.iter().filter(|head| head.position.0 > 0).map(|head| head.log.as_str()).collect();
        bail!(
            "there is no log {log}; there are: {}",
            if there.is_empty() { "none".to_owned() } else { there.join(", ") }
        );
    }
    Ok(log)
}

fn no_channel(channel: &ChannelCode) -> anyhow::Error {
    anyhow!("there is no channel {channel}; `subledger channel list` shows those there are")
}

fn channel_code(text: &str) -> anyhow::Result<ChannelCode> {
    text.parse().map_err(|error| SettingsError(format!("--channel: {error}")).into())
}
