//! One module per command; each prints its own answer.

mod admin;
mod app;
mod audit;
mod channel;
mod demo;
mod erase;
mod events;
mod export;
mod migrate;
mod projections;
mod report;
mod retention;
mod sandbox;
mod serve;
mod verify;

use std::process::ExitCode;

use anyhow::Context;
use subledger_domain::{AppId, ChannelCode};
use subledger_engine::{Caller, Engine};

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
        Command::Audit(audit) => audit::run(audit).await,
        Command::Events(events) => events::run(events).await,
        Command::Projections(projections) => projections::run(projections).await,
        Command::Report(report) => report::run(report).await,
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

/// The person at the command line, as events name them.
fn operator() -> anyhow::Result<Caller> {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let plain: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(64).collect();
    let name = if plain.is_empty() { "cli".to_owned() } else { plain };
    let name: AppId = name.parse().context("the operator's name")?;
    Ok(Caller::operator(name))
}

fn channel_code(text: &str) -> anyhow::Result<ChannelCode> {
    text.parse().map_err(|error| SettingsError(format!("--channel: {error}")).into())
}
