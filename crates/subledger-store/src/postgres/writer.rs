//! The connection that writes batches.
//!
//! A batch that only touches the log and its snapshots is one statement, which is its own transaction: one round trip. Others are a few
//! statements in one transaction.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection, PgPool, postgres::PgConnectOptions};

use tokio::sync::{mpsc, oneshot};

use super::{append, erasure, push, queue, vault};
use crate::{
    StoreError,
    database::{NotWritten, START_LEASE_MICROS},
    error::while_doing,
    rows::Writes,
};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

struct Order {
    writes: Writes,
    done: oneshot::Sender<Result<(), NotWritten>>,
}

/// A handle to the task that writes. The task ends when it is dropped.
pub(crate) struct Writer {
    orders: mpsc::UnboundedSender<Order>,
}

impl Writer {
    /// Starts the task; it connects with the first batch.
    pub(crate) fn start(pool: &PgPool) -> Self {
        // An executor has one batch written at a time.
        let (orders, mut inbox) = mpsc::unbounded_channel::<Order>();
        let mut line = Line::new(pool);
        tokio::spawn(async move {
            while let Some(Order { writes, done }) = inbox.recv().await {
                let written = line.commit(&writes).await;
                // The executor may have been torn down; what is written stays written.
                let _ = done.send(written);
            }
        });
        Self { orders }
    }

    /// Commits a batch whose heads are not locked.
    pub(crate) fn commit(&self, writes: Writes) -> oneshot::Receiver<Result<(), NotWritten>> {
        let (done, answer) = oneshot::channel();
        // A task that is gone drops the order, and with it the sender of the answer: the receiver tells.
        let _ = self.orders.send(Order { writes, done });
        answer
    }
}

/// A connection that is made when it is needed, and made anew after a failure. Outside the pool: an executor that waited
/// behind readers would stop every command.
pub(crate) struct Line {
    options: Arc<PgConnectOptions>,
    connection: Option<PgConnection>,
}

impl Line {
    pub(crate) fn new(pool: &PgPool) -> Self {
        // Whatever a batch asks for, it asks for by key; a plan made while a table was empty reads it whole later.
        let options = pool.connect_options().as_ref().clone().options([("enable_seqscan", "off")]);
        Self { options: Arc::new(options), connection: None }
    }

    /// The connection.
    pub(crate) async fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let failed = while_doing("connecting to the database");
                let connecting = PgConnection::connect_with(&self.options);
                match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                    Ok(connection) => connection.map_err(failed)?,
                    Err(_) => return Err(failed(sqlx::Error::PoolTimedOut)),
                }
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Forgets the connection: after a failure nobody knows what state it is in.
    pub(crate) fn hang_up(&mut self) {
        self.connection = None;
    }

    async fn commit(&mut self, writes: &Writes) -> Result<(), NotWritten> {
        let written = self.try_commit(writes).await;
        if matches!(written, Err(NotWritten::Failed { .. })) {
            self.hang_up();
        }
        written
    }

    async fn try_commit(&mut self, writes: &Writes) -> Result<(), NotWritten> {
        let connection = self.connection().await?;
        if writes.is_log_and_snapshots() {
            // The statement commits itself, so a connection that breaks leaves open whether it did.
            return append::write_log(connection, writes).await.map_err(|not| match not {
                NotWritten::Failed { error, .. } => NotWritten::Failed { error, committing: true },
                displaced => displaced,
            });
        }
        let begin = while_doing("beginning a batch");
        let mut transaction = connection.begin().await.map_err(begin)?;
        write(&mut transaction, writes).await?;
        let failed = while_doing("committing a batch");
        transaction
            .commit()
            .await
            .map_err(|error| NotWritten::Failed { error: failed(error), committing: true })
    }
}

/// Writes a batch, within a transaction.
pub(crate) async fn write(connection: &mut PgConnection, writes: &Writes) -> Result<(), NotWritten> {
    let now = writes.now;
    if !(writes.heads.is_empty() && writes.checks.is_empty() && writes.receipts.is_empty()) {
        append::write_log(connection, writes).await?;
    }
    macro_rules! write_if_any {
        ($rows:expr, $module:ident::$name:ident($($arg:expr),*)) => {
            if !$rows.is_empty() {
                $module::$name(connection, &$rows, $($arg),*).await?;
            }
        };
    }
    write_if_any!(writes.forget.identities, erasure::forget_identities());
    write_if_any!(writes.forget.users, erasure::forget_users());
    write_if_any!(writes.forget.contents, erasure::forget_contents());
    write_if_any!(writes.pushes.forget, push::forget());
    write_if_any!(writes.identities, vault::keep_identities(now));
    write_if_any!(writes.users, vault::keep_users(now));
    write_if_any!(writes.contents, vault::keep_contents(now));
    write_if_any!(writes.secrets, vault::keep_secrets(now));
    write_if_any!(writes.queue.delete, queue::delete());
    write_if_any!(writes.queue.idle, queue::change(now, START_LEASE_MICROS));
    write_if_any!(writes.queue.insert, queue::insert(now, START_LEASE_MICROS));
    write_if_any!(writes.queue.start, queue::change(now, START_LEASE_MICROS));
    write_if_any!(writes.pushes.insert, push::insert());
    write_if_any!(writes.pushes.settle, push::settle());
    Ok(())
}
