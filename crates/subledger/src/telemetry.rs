//! Logs. To standard error, so that standard output stays the command's answer.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::{
    exit::SettingsError,
    settings::{LogFormat, LogSettings},
};

/// Starts logging. `RUST_LOG` overrides the filter of the settings.
pub(crate) fn start(settings: &LogSettings) -> anyhow::Result<()> {
    let text = std::env::var("RUST_LOG").unwrap_or_else(|_| settings.filter.clone());
    let filter = EnvFilter::try_new(&text)
        .map_err(|error| SettingsError(format!("log.filter {text:?} is not a log filter: {error}")))?;
    let registry = tracing_subscriber::registry().with(filter);
    let colours = std::io::stderr().is_terminal();
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(true);
    let started = match settings.format {
        LogFormat::Text => registry.with(layer.compact()).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    started.map_err(|error| SettingsError(format!("logging could not be started: {error}")).into())
}
