//! A store and its executors, as every scenario without HTTP needs them.

use std::sync::Arc;

use anyhow::{Context, ensure};
use subledger_domain::LogName;
use subledger_store::{Executor, ExecutorConfig, Position, Store, SystemClock};

use crate::database::Database;

/// A store and its executors, with the settings the service has.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) executor: Executor,
}

impl Node {
    pub(crate) async fn open(database: &Database) -> anyhow::Result<Self> {
        let store =
            Store::open(&database.config(), Arc::new(SystemClock)).await.context("opening the store")?;
        let executor = Executor::start(store.clone(), ExecutorConfig::default());
        Ok(Self { store, executor })
    }

    pub(crate) async fn close(self) {
        self.executor.shutdown().await;
        self.store.close().await;
    }

    /// Fails unless the log ends at this position: a figure counts only if everything answered is in the log.
    pub(crate) async fn expect_head(&self, log: &LogName, position: u64) -> anyhow::Result<()> {
        let head = self.store.head(log).await?.position;
        ensure!(head == Position(position), "the log ends at {}, not at {position}", head.0);
        Ok(())
    }
}
