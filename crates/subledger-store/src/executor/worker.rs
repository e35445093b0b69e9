//! The task behind an executor: takes what waits, carries it out, answers.
//!
//! There is no timer. While one batch syncs to disk the next one forms in the queue, so batches grow with the load and
//! a lone command never waits for company.
//!
//! The task owns the transaction. No caller can cancel it, and after any failure the cache is dropped: what was staged
//! may or may not have been committed, and only the database knows.

use std::{sync::Arc, time::Instant};

use sqlx::{Acquire, Connection};
use tokio::sync::{mpsc, watch};
use tracing::Instrument;

use super::{
    ExecutorConfig,
    batch::{Outcome, Setback, decide_all},
    book::Book,
    cache::Cache,
    job::{Ending, Job},
};
use crate::{
    Database, Position, Store, StoreError,
    database::Session,
    error::while_doing,
    metric_definitions::{
        BATCH_COMMANDS, BATCH_SECONDS, BATCHES_HALVED, CACHE_BYTES, EVENTS_APPENDED, QUEUE_DEPTH,
    },
};

/// How often a batch is begun anew because the connection broke before its commit, or a log had to be made.
const MAX_RESTARTS: u32 = 3;

pub(super) struct Worker {
    store: Store,
    jobs: mpsc::Receiver<Box<dyn Job>>,
    stop: watch::Receiver<bool>,
    cache: Cache,
    batch: usize,
    label: String,
}

/// Why a batch is not in the database.
struct Failure {
    error: StoreError,
    /// The commit had begun.
    committing: bool,
}

/// What a batch came to.
enum Attempt {
    /// It is committed: how its jobs ended, and its books.
    Done(Box<Outcome>),
    /// Logs had to be made first; begin anew.
    Again,
}

impl Worker {
    pub(super) fn new(
        number: usize,
        store: Store,
        jobs: mpsc::Receiver<Box<dyn Job>>,
        stop: watch::Receiver<bool>,
        config: &ExecutorConfig,
    ) -> Self {
        let executors = config.executors.max(1);
        let cache = Cache::new(config.cache_bytes / executors);
        Self { store, jobs, stop, cache, batch: config.batch.max(1), label: number.to_string() }
    }

    /// Runs until told to stop, or until all handles are gone, and the queue is empty.
    pub(super) async fn run(mut self) {
        let mut waiting: Vec<Box<dyn Job>> = Vec::new();
        let mut stopping = false;
        loop {
            if waiting.is_empty() {
                tokio::select! {
                    biased;
                    taken = self.jobs.recv_many(&mut waiting, self.batch) => {
                        if taken == 0 {
                            return;
                        }
                    }
                    _ = self.stop.wait_for(|stop| *stop), if !stopping => {
                        // Closing the queue refuses new commands; those that wait are still received.
                        stopping = true;
                        self.jobs.close();
                        continue;
                    }
                }
            } else {
                while waiting.len() < self.batch
                    && let Ok(job) = self.jobs.try_recv()
                {
                    waiting.push(job);
                }
            }
            metrics::gauge!(QUEUE_DEPTH, "executor" => self.label.clone()).set(self.jobs.len() as f64);
            waiting = self.carry_out(waiting).await;
        }
    }

    /// Carries out a batch. Answers with the jobs that were too much for it.
    async fn carry_out(&mut self, jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        let mut leftover = Vec::new();
        // Parts still to be done, last first; a part that the database refuses is halved.
        let mut parts = vec![jobs];
        while let Some(mut part) = parts.pop() {
            let started = Instant::now();
            let size = part.len();
            let span = tracing::debug_span!("batch", executor = self.label, batch.commands = size);
            match self.attempt(&mut part).instrument(span).await {
                Ok(outcome) => {
                    let rest = part.split_off(outcome.endings.len());
                    metrics::histogram!(BATCH_COMMANDS).record(part.len() as f64);
                    metrics::histogram!(BATCH_SECONDS).record(started.elapsed().as_secs_f64());
                    self.close(outcome.books);
                    for (job, ending) in part.into_iter().zip(outcome.endings) {
                        job.end(ending);
                    }
                    if parts.is_empty() {
                        leftover.extend(rest);
                    } else if !rest.is_empty() {
                        parts.push(rest);
                    }
                }
                Err(Failure { error: StoreError::Database { doing, source }, committing: _ }) if size > 1 => {
                    metrics::counter!(BATCHES_HALVED).increment(1);
                    tracing::warn!(doing, error = %source, batch.commands = size, "a batch is halved");
                    let second = part.split_off(size / 2);
                    parts.extend([second, part]);
                }
                Err(failure) => {
                    tracing::error!(
                        error = &failure.error as &dyn std::error::Error,
                        batch.commands = size,
                        batch.committing = failure.committing,
                        "commands could not be recorded"
                    );
                    fail(part, &failure.error, failure.committing);
                }
            }
        }
        leftover
    }

    async fn attempt(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Box<Outcome>, Failure> {
        let mut restarts = 0;
        loop {
            let attempt = self.transact(jobs).await;
            if attempt.is_err() {
                self.cache.clear();
            }
            match attempt {
                Ok(Attempt::Done(outcome)) => return Ok(outcome),
                Ok(Attempt::Again) if restarts < MAX_RESTARTS => {}
                Ok(Attempt::Again) => {
                    let error = StoreError::Corrupt("a log that was made is not there".to_owned());
                    return Err(Failure { error, committing: false });
                }
                // Nothing was committed, so the batch may simply begin anew on another connection. Unless there is none to
                // be had: callers have waited long enough for that.
                Err(Failure { error: StoreError::Unavailable { source, .. }, committing: false })
                    if restarts < MAX_RESTARTS
                        && self.is_postgres()
                        && !matches!(source, sqlx::Error::PoolTimedOut) => {}
                Err(failure) => return Err(failure),
            }
            restarts += 1;
        }
    }

    fn is_postgres(&self) -> bool {
        matches!(self.store.database(), Database::Postgres(_))
    }

    /// One transaction, from locking the heads to the commit.
    async fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Attempt, Failure> {
        let before = |error| Failure { error, committing: false };
        let begin = while_doing("beginning a batch");
        let (commit, rollback) = (while_doing("committing a batch"), while_doing("leaving a batch"));
        let Self { store, cache, .. } = self;
        let now = store.clock().now();
        let vault = store.vault();
        match store.database() {
            Database::Sqlite(database) => {
                let mut writer = database.writer().await;
                let mut transaction =
                    writer.begin_with("begin immediate").await.map_err(begin).map_err(before)?;
                let mut session = Session::Sqlite(&mut transaction);
                match stage(&mut session, cache, vault, jobs, now).await? {
                    Staging::Ready(outcome) => {
                        let committing = |error| Failure { error, committing: true };
                        transaction.commit().await.map_err(commit).map_err(committing)?;
                        Ok(Attempt::Done(outcome))
                    }
                    Staging::NothingToWrite(outcome) => {
                        transaction.rollback().await.map_err(rollback).map_err(before)?;
                        Ok(Attempt::Done(outcome))
                    }
                    Staging::MissingLogs(logs) => {
                        transaction.rollback().await.map_err(rollback).map_err(before)?;
                        Session::Sqlite(&mut writer).create_heads(&logs).await.map_err(before)?;
                        Ok(Attempt::Again)
                    }
                }
            }
            Database::Postgres(pool) => {
                let mut connection = pool.acquire().await.map_err(begin).map_err(before)?;
                let mut transaction = connection.begin().await.map_err(begin).map_err(before)?;
                let mut session = Session::Postgres(&mut transaction);
                match stage(&mut session, cache, vault, jobs, now).await? {
                    Staging::Ready(outcome) => {
                        let committing = |error| Failure { error, committing: true };
                        transaction.commit().await.map_err(commit).map_err(committing)?;
                        Ok(Attempt::Done(outcome))
                    }
                    Staging::NothingToWrite(outcome) => {
                        transaction.rollback().await.map_err(rollback).map_err(before)?;
                        Ok(Attempt::Done(outcome))
                    }
                    Staging::MissingLogs(logs) => {
                        transaction.rollback().await.map_err(rollback).map_err(before)?;
                        // Outside the batch's transaction: two nodes that make logs never hold heads meanwhile.
                        Session::Postgres(&mut connection).create_heads(&logs).await.map_err(before)?;
                        Ok(Attempt::Again)
                    }
                }
            }
        }
    }

    /// After the commit: the cache learns the new states, readers the new heads.
    fn close(&mut self, books: Vec<Book>) {
        let tails = Arc::clone(self.store.tails());
        let mut appended = 0;
        for book in books {
            let before = book.position_before();
            let head = book.close(&mut self.cache);
            if head.position > before {
                appended += head.position - before;
                tails.publish(&head.name, Position(head.position));
            }
        }
        if appended > 0 {
            tails.committed.notify_one();
            metrics::counter!(EVENTS_APPENDED).increment(appended);
        }
        self.cache.shrink();
        metrics::gauge!(CACHE_BYTES, "executor" => self.label.clone()).set(self.cache.bytes() as f64);
    }
}

enum Staging {
    Ready(Box<Outcome>),
    NothingToWrite(Box<Outcome>),
    MissingLogs(Vec<subledger_domain::LogName>),
}

async fn stage(
    session: &mut Session<'_>,
    cache: &mut Cache,
    vault: &crate::vault::Vault,
    jobs: &mut [Box<dyn Job>],
    now: subledger_domain::Timestamp,
) -> Result<Staging, Failure> {
    let before = |error| Failure { error, committing: false };
    let mut outcome = match decide_all(session, cache, vault, jobs, now).await {
        Ok(outcome) => Box::new(outcome),
        Err(Setback::MissingLogs(logs)) => return Ok(Staging::MissingLogs(logs)),
        Err(Setback::Store(error)) => return Err(before(error)),
    };
    let writes = std::mem::take(&mut outcome.writes);
    if writes.is_empty() {
        return Ok(Staging::NothingToWrite(outcome));
    }
    session.write(&writes).await.map_err(before)?;
    Ok(Staging::Ready(outcome))
}

fn fail(jobs: Vec<Box<dyn Job>>, error: &StoreError, committing: bool) {
    // A commit that the database refused in so many words is undone; only silence leaves it open.
    let maybe_recorded = committing && matches!(error, StoreError::Unavailable { .. });
    for job in jobs {
        job.end(Ending::Failed { source: error.again(), maybe_recorded });
    }
}
