//! The executor: the only code that appends.
//!
//! Commands wait in a bounded queue. One task per executor takes what is there, loads what is missing, lets each command
//! decide in order of arrival on the states that the commands before it left, and has everything that was accepted
//! written in one commit, while the next batch is decided. That gives dense positions, one fsync for many commands, and no
//! conflicts on hot streams. A log always goes to the same executor of a node; other nodes are noticed by the head not
//! standing where it was left, which no write survives (`worker.rs`), and then kept out by a lock on it (`locked.rs`).

mod batch;
mod book;
mod cache;
mod job;
mod locked;
mod pushes;
mod worker;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use subledger_domain::LogName;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use self::job::Job;
use crate::{Database, Done, StoreError, Submission, Work, error::SubmitError, store::Store};

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

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self { queue: 4096, batch: 512, cache_bytes: 64 << 20, executors: 2 }
    }
}

/// A handle to the executors of this node. Cheap to clone. When the last handle is dropped the executors finish what
/// waits and end.
#[derive(Clone)]
pub struct Executor {
    inner: Arc<Inner>,
}

struct Inner {
    /// One queue per executor.
    queues: Vec<mpsc::Sender<Box<dyn Job>>>,
    stop: watch::Sender<bool>,
    /// The executors' tasks, until somebody waits for them.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("executors", &self.inner.queues.len()).finish()
    }
}

impl Executor {
    /// Starts the executors of this node. Must be called on a Tokio runtime.
    pub fn start(store: Store, config: ExecutorConfig) -> Self {
        let executors = match store.database() {
            Database::Sqlite(_) => 1,
            Database::Postgres(_) => config.executors.max(1),
        };
        let config = ExecutorConfig { executors, ..config };
        let stop = watch::Sender::new(false);
        let mut queues = Vec::with_capacity(executors);
        let mut tasks = Vec::with_capacity(executors);
        for number in 0..executors {
            let (queue, jobs) = mpsc::channel(config.queue.max(1));
            let worker = worker::Worker::new(number, store.clone(), jobs, stop.subscribe(), &config);
            queues.push(queue);
            tasks.push(tokio::spawn(worker.run()));
        }
        Self { inner: Arc::new(Inner { queues, stop, tasks: Mutex::new(tasks) }) }
    }

    /// Carries a command out: its events, rows and receipt are durable when this returns. Dropping the future does not
    /// take the command back.
    pub async fn submit<W: Work>(
        &self,
        submission: Submission<W>,
    ) -> Result<Done<W::Answer>, SubmitError<W::Refusal>> {
        let queue = &self.inner.queues[self.executor_of(&submission.log)];
        let job::Ticket { job, answer } = job::job(submission).map_err(SubmitError::Fault)?;
        match queue.try_send(job) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(SubmitError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(SubmitError::ShuttingDown),
        }
        // The answer fails to come only if the runtime is torn down under the executor.
        answer.await.unwrap_or_else(|_| {
            let source = StoreError::sort("waiting for the executor", sqlx::Error::WorkerCrashed);
            Err(SubmitError::Store { source, maybe_recorded: true })
        })
    }

    /// Takes no more commands, finishes those that wait, and stops.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // A task that panicked has nothing left to finish.
            let _ = task.await;
        }
    }

    fn executor_of(&self, log: &LogName) -> usize {
        let mut hasher = DefaultHasher::new();
        log.hash(&mut hasher);
        (hasher.finish() % self.inner.queues.len() as u64) as usize
    }
}
