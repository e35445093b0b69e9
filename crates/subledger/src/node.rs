//! Putting a node together: store, executor, projections, gateway, engine.

use std::sync::Arc;

use subledger_engine::{Engine, gateway::Gateway};
use subledger_projection::{Projections, ProjectionsConfig};
use subledger_store::{Executor, ExecutorConfig, Store, StoreConfig, SystemClock};

use crate::{exit::SettingsError, settings::Settings};

/// Opens the store alone, for commands that only read.
pub(crate) async fn open_store(config: &StoreConfig) -> anyhow::Result<Store> {
    Ok(Store::open(config, Arc::new(SystemClock)).await?)
}

/// Opens the store and starts what works on it. Nothing is handed to WeChat yet.
pub(crate) async fn open_engine(settings: &Settings, config: &StoreConfig) -> anyhow::Result<Engine> {
    let store = open_store(config).await?;
    store.become_writer()?;
    let executor = Executor::start(store.clone(), ExecutorConfig::default());
    let projections = Projections::start(store.clone(), ProjectionsConfig::default());
    let gateway = Gateway::with_tokens(settings.wechat(), store.clone(), settings.tokens()?)
        .map_err(|error| SettingsError(format!("wechat: {error}")))?;
    Ok(Engine::new(store, executor, projections, gateway, settings.engine()?))
}
