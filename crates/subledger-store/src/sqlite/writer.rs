//! The thread that writes batches.
//!
//! It has a connection of its own and does nothing else, so that the next batch is decided while this one syncs. The other
//! writers of the process are kept out by the lock they share ([`SqliteDatabase::writer`]), which is fairer than SQLite's
//! busy handler.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::oneshot;

use super::{
    append,
    connect::{self, Turn},
    erasure, push, queue,
    receipt::{Filing, Unfiled},
    snapshot, vault,
};
use crate::{
    SqliteDatabase, StoreError,
    database::{NotWritten, START_LEASE_MICROS},
    error::while_doing,
    rows::Writes,
};

/// Statements kept prepared: more than there are.
const STATEMENTS: usize = 64;

struct Order {
    writes: Writes,
    turn: Option<Turn>,
    done: oneshot::Sender<Result<(), NotWritten>>,
}

/// A handle to the thread. The thread ends when it is dropped.
pub(crate) struct Writer {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread; it connects with the first batch.
    pub(crate) fn start(database: SqliteDatabase) -> Self {
        let (orders, inbox) = channel();
        let thread = std::thread::Builder::new().name("subledger-writer".to_owned());
        let thread = thread.spawn(move || run(&database, &inbox)).ok();
        Self { orders: Some(orders), thread }
    }

    /// Commits a batch, waiting for the turn to write unless it was taken before.
    pub(crate) fn commit(
        &self,
        writes: Writes,
        turn: Option<Turn>,
    ) -> oneshot::Receiver<Result<(), NotWritten>> {
        let (done, answer) = oneshot::channel();
        // A thread that is gone drops the order, and with it the sender of the answer: the receiver tells.
        if let Some(orders) = &self.orders {
            let _ = orders.send(Order { writes, turn, done });
        }
        answer
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // At most one batch is under way; a thread that panicked has nothing left to finish.
            let _ = thread.join();
        }
    }
}

fn run(database: &SqliteDatabase, orders: &Receiver<Order>) {
    let mut connection = None;
    while let Ok(Order { writes, turn, done }) = orders.recv() {
        let turn = turn.map_or_else(|| database.wait_for_turn(), Ok);
        let written = match &turn {
            Ok(_) => commit(&mut connection, database, &writes),
            Err(error) => Err(error.again().into()),
        };
        drop(turn);
        if matches!(written, Err(NotWritten::Failed { .. })) {
            // Whatever state a failure left the connection in, the next batch has a new one.
            connection = None;
        }
        // The executor may have been torn down; what is written stays written.
        let _ = done.send(written);
    }
}

fn commit(
    connection: &mut Option<Connection>,
    database: &SqliteDatabase,
    writes: &Writes,
) -> Result<(), NotWritten> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(open(database)?),
    };
    let begin = while_doing("beginning a batch");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(begin)?;
    let unfiled = database.unfiled();
    let filing = match write(&transaction, unfiled, writes) {
        Ok(filing) => filing,
        Err(not) => {
            unfiled.taken_back();
            return Err(not);
        }
    };
    let failed = while_doing("committing a batch");
    transaction.commit().map_err(|error| NotWritten::Failed { error: failed(error), committing: true })?;
    unfiled.committed(filing);
    Ok(())
}

fn open(database: &SqliteDatabase) -> Result<Connection, StoreError> {
    let failed = while_doing("opening the database file");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database.path(), flags).map_err(failed)?;
    connection.busy_timeout(connect::BUSY_TIMEOUT).map_err(failed)?;
    for (name, value) in connect::WRITER_PRAGMAS {
        connection.pragma_update(None, name, value).map_err(failed)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn write(connection: &Connection, unfiled: &Unfiled, writes: &Writes) -> Result<Filing, NotWritten> {
    let now = writes.now;
    let filing = append::write_log(connection, unfiled, writes)?;
    if writes.is_log_only() {
        return Ok(filing);
    }
    snapshot::put_snapshots(connection, &writes.snapshots)?;
    erasure::forget_identities(connection, &writes.forget.identities)?;
    erasure::forget_users(connection, &writes.forget.users)?;
    erasure::forget_contents(connection, &writes.forget.contents)?;
    push::forget(connection, &writes.pushes.forget)?;
    vault::keep_identities(connection, &writes.identities, now)?;
    vault::keep_users(connection, &writes.users, now)?;
    vault::keep_contents(connection, &writes.contents, now)?;
    vault::keep_secrets(connection, &writes.secrets, now)?;
    queue::delete(connection, &writes.queue.delete)?;
    queue::change(connection, &writes.queue.idle, now, START_LEASE_MICROS)?;
    queue::insert(connection, &writes.queue.insert, now, START_LEASE_MICROS)?;
    queue::change(connection, &writes.queue.start, now, START_LEASE_MICROS)?;
    push::insert(connection, &writes.pushes.insert)?;
    push::settle(connection, &writes.pushes.settle)?;
    Ok(filing)
}
