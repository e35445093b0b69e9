//! Putting a node together: store, executor, projections, gateway, engine.

use std::{sync::Arc, time::SystemTime};

use subledger_domain::Timestamp;
use subledger_engine::{Engine, gateway::Gateway};
use subledger_projection::{Projections, ProjectionsConfig};
use subledger_store::{Clock, Executor, ExecutorConfig, Store, StoreConfig};

use crate::{exit::SettingsError, settings::Settings};

/// The operating system's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Opens the store alone, for commands that only read.
pub(crate) async fn open_store(config: &StoreConfig) -> anyhow::Result<Store> {
    Ok(Store::open(config, Arc::new(SystemClock)).await?)
}

/// Opens the store and starts what works on it. Nothing is handed to WeChat yet.
pub(crate) async fn open_engine(settings: &Settings, config: &StoreConfig) -> anyhow::Result<Engine> {
    let store = open_store(config).await?;
    let executor = Executor::start(store.clone(), ExecutorConfig::default());
    let projections = Projections::start(store.clone(), ProjectionsConfig::default());
    let gateway = Gateway::new(settings.wechat(), store.clone())
        .map_err(|error| SettingsError(format!("wechat: {error}")))?;
    Ok(Engine::new(store, executor, projections, gateway, settings.engine()))
}
