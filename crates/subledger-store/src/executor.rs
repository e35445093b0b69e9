//! The executor: the only code that appends.

use crate::{Done, Submission, Work, error::SubmitError, store::Store};

/// Bounds of the executor.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// Commands waiting at most; beyond it callers get [`SubmitError::Overloaded`].
    pub queue: usize,
    /// Commands in one batch at most.
    pub batch: usize,
    /// Bytes of cached states at most.
    pub cache_bytes: usize,
    /// Executors on PostgreSQL; SQLite always has one. A log always goes to the same one.
    pub executors: usize,
}

/// A handle to the executors of this node. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    store: Store,
}

impl Executor {
    /// Starts the executors of this node.
    pub fn start(store: Store, config: ExecutorConfig) -> Self {
        Self { store }
    }

    /// Carries a command out: its events, rows and receipt are durable when this returns. Dropping the future does not
    /// take the command back.
    pub async fn submit<W: Work>(
        &self,
        submission: Submission<W>,
    ) -> Result<Done<W::Answer>, SubmitError<W::Refusal>> {
        unimplemented!()
    }

    /// Takes no more commands, finishes those that wait, and stops.
    pub async fn shutdown(&self) {}
}
