//! The slow way: a batch alone, with its heads locked from before it is decided until it is committed.
//!
//! It always works, and it is where faults are sorted out: a part that the database refuses is halved until the one command
//! it cannot take is found, a connection that breaks before the commit is replaced, a log that is new is made.

use std::time::Instant;

use sqlx::Connection;
use subledger_domain::LogName;
use tracing::Instrument;

use super::{
    batch::{Batch, Means, Setback},
    job::Job,
    worker::{Worker, fail},
};
use crate::{
    Database, DriverError, StoreError,
    database::{NotWritten, Reads, Session},
    error::while_doing,
    metric_definitions::BATCHES_HALVED,
    postgres,
    rows::LogHead,
};

/// How often a batch is begun anew because the connection broke before its commit, or a log had to be made.
const MAX_RESTARTS: u32 = 3;

/// Why a batch is not in the database. The commands are handed back.
struct Failure {
    error: StoreError,
    /// The commit had begun.
    committing: bool,
    jobs: Vec<Box<dyn Job>>,
}

/// What a batch came to.
enum Attempt {
    /// It is committed, or had nothing to write.
    Done(Batch),
    /// Logs had to be made first; begin anew.
    Again(Vec<Box<dyn Job>>),
}

impl Worker {
    /// Carries a batch out. Answers with the commands that were too much for it.
    pub(super) async fn carry_out_locked(&mut self, jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        let mut leftover = Vec::new();
        // Parts still to be done, last first; a part that the database refuses is halved.
        let mut parts = vec![jobs];
        while let Some(part) = parts.pop() {
            let started = Instant::now();
            let size = part.len();
            let span = tracing::debug_span!("batch", executor = self.label(), batch.commands = size);
            match self.attempt(part).instrument(span).await {
                Ok(mut batch) => {
                    let rest = batch.take_rest();
                    self.close(batch, started);
                    if parts.is_empty() {
                        leftover.extend(rest);
                    } else if !rest.is_empty() {
                        parts.push(rest);
                    }
                }
                Err(Failure { error: StoreError::Database { doing, source }, mut jobs, .. }) if size > 1 => {
                    metrics::counter!(BATCHES_HALVED).increment(1);
                    tracing::warn!(doing, error = %source, batch.commands = size, "a batch is halved");
                    let second = jobs.split_off(size / 2);
                    parts.extend([second, jobs]);
                }
                Err(Failure { error, committing, jobs }) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        batch.commands = size,
                        batch.committing = committing,
                        "commands could not be recorded"
                    );
                    fail(jobs, &error, committing);
                }
            }
        }
        leftover
    }

    async fn attempt(&mut self, mut jobs: Vec<Box<dyn Job>>) -> Result<Batch, Failure> {
        let mut restarts = 0;
        loop {
            let postgres = matches!(self.store.database(), Database::Postgres(_));
            let attempt = if postgres { self.on_postgres(jobs).await } else { self.on_sqlite(jobs).await };
            if attempt.is_err() {
                self.cache.clear();
            }
            match attempt {
                Ok(Attempt::Done(batch)) => return Ok(batch),
                Ok(Attempt::Again(back)) if restarts < MAX_RESTARTS => jobs = back,
                Ok(Attempt::Again(jobs)) => {
                    let error = StoreError::Corrupt("a log that was made is not there".to_owned());
                    return Err(Failure { error, committing: false, jobs });
                }
                // Nothing was committed, so the batch may simply begin anew on another connection. Unless there is none to
                // be had: callers have waited long enough for that.
                Err(Failure {
                    error: StoreError::Unavailable { source, .. },
                    committing: false,
                    jobs: back,
                }) if restarts < MAX_RESTARTS
                    && postgres
                    && !matches!(source, DriverError::Sqlx(sqlx::Error::PoolTimedOut)) =>
                {
                    jobs = back;
                }
                Err(failure) => return Err(failure),
            }
            restarts += 1;
        }
    }

    async fn on_sqlite(&mut self, jobs: Vec<Box<dyn Job>>) -> Result<Attempt, Failure> {
        let Database::Sqlite(database) = self.store.database().clone() else {
            return Ok(Attempt::Again(jobs));
        };
        // The turn to write is the lock: it passes to the writer with the batch.
        let mut turn = match database.writer().await {
            Ok(turn) => turn,
            Err(error) => return Err(Failure { error, committing: false, jobs }),
        };
        let mut batch = match self.decide(turn.session(), jobs).await? {
            Attempt::Done(batch) => batch,
            again @ Attempt::Again(_) => return Ok(again),
        };
        let writes = batch.collect(true);
        if writes.is_empty() {
            return Ok(Attempt::Done(batch));
        }
        settle(batch, self.writer.commit(writes, Some(turn)).done().await)
    }

    async fn on_postgres(&mut self, jobs: Vec<Box<dyn Job>>) -> Result<Attempt, Failure> {
        let Database::Postgres(pool) = self.store.database().clone() else { return Ok(Attempt::Again(jobs)) };
        let begin = while_doing("beginning a batch");
        let (commit, rollback) = (while_doing("committing a batch"), while_doing("leaving a batch"));
        let mut connection = match pool.acquire().await.map_err(begin) {
            Ok(connection) => connection,
            Err(error) => return Err(Failure { error, committing: false, jobs }),
        };
        let mut transaction = match connection.begin().await.map_err(begin) {
            Ok(transaction) => transaction,
            Err(error) => return Err(Failure { error, committing: false, jobs }),
        };
        let mut batch = match self.decide(Session::Postgres(&mut transaction), jobs).await? {
            Attempt::Done(batch) => batch,
            again @ Attempt::Again(_) => return Ok(again),
        };
        let writes = batch.collect(true);
        let written = if writes.is_empty() {
            transaction.rollback().await.map_err(rollback).map_err(NotWritten::from)
        } else {
            match postgres::writer::write(&mut transaction, &writes).await {
                Ok(()) => transaction
                    .commit()
                    .await
                    .map_err(|error| NotWritten::Failed { error: commit(error), committing: true }),
                Err(not) => Err(not),
            }
        };
        settle(batch, written)
    }

    /// Locks the heads and decides. Logs that are missing are made first.
    async fn decide(
        &mut self,
        mut session: Session<'_>,
        jobs: Vec<Box<dyn Job>>,
    ) -> Result<Attempt, Failure> {
        let mut names: Vec<LogName> = jobs.iter().map(|job| job.log().clone()).collect();
        names.sort_unstable();
        names.dedup();
        let heads = match self.lock(&mut session, &names).await {
            Ok(Some(heads)) => heads,
            Ok(None) => return Ok(Attempt::Again(jobs)),
            Err(error) => return Err(Failure { error, committing: false, jobs }),
        };
        let mut batch = Batch::on(heads, &mut self.cache, self.store.clock().now());
        let mut means = Means {
            reads: Reads::Locked(session),
            cache: &mut self.cache,
            vault: self.store.vault(),
            before: None,
            look_up: true,
        };
        let error = match batch.stage(jobs, &mut means).await {
            Ok(()) => return Ok(Attempt::Done(batch)),
            Err(Setback::Lock) => StoreError::Corrupt("a log that was locked is not there".to_owned()),
            Err(Setback::Store(error)) => error,
        };
        Err(Failure { error, committing: false, jobs: batch.jobs })
    }

    /// The heads, locked. `None`: some had to be made, outside of any transaction, so that two nodes that make logs never hold
    /// heads meanwhile.
    async fn lock(
        &self,
        session: &mut Session<'_>,
        names: &[LogName],
    ) -> Result<Option<Vec<LogHead>>, StoreError> {
        let heads = session.lock_heads(names).await?;
        if heads.len() == names.len() {
            return Ok(Some(heads));
        }
        let missing: Vec<LogName> =
            names.iter().filter(|name| !heads.iter().any(|head| head.name == **name)).cloned().collect();
        match self.store.database() {
            Database::Sqlite(_) => session.create_heads(&missing).await?,
            Database::Postgres(pool) => {
                let mut connection = pool.acquire().await.map_err(while_doing("making a log"))?;
                Session::Postgres(&mut connection).create_heads(&missing).await?;
            }
        }
        Ok(None)
    }
}

fn settle(batch: Batch, written: Result<(), NotWritten>) -> Result<Attempt, Failure> {
    match written {
        Ok(()) => Ok(Attempt::Done(batch)),
        Err(NotWritten::Displaced | NotWritten::Repeated) => {
            let error = StoreError::Corrupt("a log's head moved while it was locked".to_owned());
            Err(Failure { error, committing: false, jobs: batch.jobs })
        }
        Err(NotWritten::Failed { error, committing }) => Err(Failure { error, committing, jobs: batch.jobs }),
    }
}
