//! The two databases behind one face.
//!
//! A [`Session`] is one connection of either kind, inside or outside a transaction. It only forwards: each statement
//! has the same name in [`crate::sqlite`] and [`crate::postgres`].

use sqlx::{PgConnection, PgPool, SqliteConnection, pool::PoolConnection};
use subledger_domain::{DeliveryId, LogName, StreamName};
use tokio::sync::MutexGuard;

pub use crate::sqlite::connect::SqliteDatabase;
use crate::{
    StoreError,
    error::while_doing,
    postgres,
    rows::{
        EventColumns, LeaseColumns, LogHead, QueueColumns, ReceiptRow, SnapshotRow, StreamEvent, StreamFound,
        StreamTail, Writes,
    },
    sqlite,
};

/// Which database a store stands on, for crates that keep their own tables in it.
#[derive(Debug, Clone)]
pub enum Database {
    /// One file, one writer.
    Sqlite(SqliteDatabase),
    /// A server.
    Postgres(PgPool),
}

/// Microseconds that a delivery started without a lease is given before a sweep calls it lost.
const START_LEASE_MICROS: i64 = 60_000_000;

impl Database {
    /// A connection for reading.
    pub(crate) async fn reader(&self) -> Result<Held<'_>, StoreError> {
        let failed = while_doing("waiting for a connection");
        Ok(match self {
            Self::Sqlite(database) => Held::Reader(database.readers.acquire().await.map_err(failed)?),
            Self::Postgres(pool) => Held::Postgres(pool.acquire().await.map_err(failed)?),
        })
    }

    /// A connection for a single writing statement.
    pub(crate) async fn writer(&self) -> Result<Held<'_>, StoreError> {
        Ok(match self {
            Self::Sqlite(database) => Held::Writer(database.writer().await),
            Self::Postgres(pool) => {
                Held::Postgres(pool.acquire().await.map_err(while_doing("waiting for a connection"))?)
            }
        })
    }
}

/// A connection that is held for a while.
pub(crate) enum Held<'a> {
    Reader(PoolConnection<sqlx::Sqlite>),
    Writer(MutexGuard<'a, SqliteConnection>),
    Postgres(PoolConnection<sqlx::Postgres>),
}

impl Held<'_> {
    pub(crate) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Reader(connection) => Session::Sqlite(connection),
            Self::Writer(connection) => Session::Sqlite(connection),
            Self::Postgres(connection) => Session::Postgres(connection),
        }
    }
}

/// One connection.
pub(crate) enum Session<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

/// Declares methods that forward to the function of the same name in both backends.
macro_rules! forward {
    ($($module:ident::$name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Session<'_> {
            $(
                pub(crate) async fn $name(&mut self, $($arg: $type),*) -> Result<$answer, StoreError> {
                    match self {
                        Self::Sqlite(connection) => sqlite::$module::$name(connection, $($arg),*).await,
                        Self::Postgres(connection) => postgres::$module::$name(connection, $($arg),*).await,
                    }
                }
            )*
        }
    };
}

forward! {
    head::lock_heads(logs: &[LogName]) -> Vec<LogHead>;
    head::create_heads(logs: &[LogName]) -> ();
    head::log_id(log: &LogName) -> Option<i64>;
    head::heads() -> Vec<LogHead>;
    read::log_events(log: &LogName, after: i64, limit: i64) -> Vec<EventColumns>;
    read::stream_events(log: &LogName, stream: &StreamName, after: i64, limit: i64) -> Vec<EventColumns>;
    read::recorded_at(places: &[(&str, i64)]) -> Vec<(String, i64, i64)>;
    read::find_streams(wanted: &[(i64, StreamName)]) -> Vec<StreamFound>;
    read::tail_events(streams: &[StreamTail]) -> Vec<StreamEvent>;
    receipt::find_receipts(ids: &[(i64, &str)]) -> Vec<ReceiptRow>;
    receipt::prune_receipts(before: i64, limit: i64) -> u64;
    snapshot::find_snapshots(streams: &[(i64, i64)]) -> Vec<SnapshotRow>;
    snapshot::drop_snapshots() -> ();
    vault::identities(log: &LogName, subjects: &[[u8; 16]]) -> Vec<([u8; 16], Vec<u8>)>;
    vault::users(users: &[[u8; 16]]) -> Vec<([u8; 16], Vec<u8>)>;
    vault::contents(log: &LogName, keys: &[([u8; 16], i64)]) -> Vec<([u8; 16], i64, Vec<u8>)>;
    vault::secret(reference: &str) -> Option<Vec<u8>>;
    vault::erase_identity(log: &LogName, subject: &[u8; 16]) -> bool;
    vault::erase_user(user: &[u8; 16]) -> bool;
    vault::prune_contents(before: i64, limit: i64) -> u64;
    queue::unclaim(log: &LogName, rows: &[DeliveryId], due_at: i64, now: i64) -> ();
    queue::requeue_expired(log: &LogName, now: i64) -> u64;
    queue::lost(log: &LogName, now: i64, limit: i64) -> Vec<QueueColumns>;
    queue::expired(log: &LogName, now: i64, limit: i64) -> Vec<QueueColumns>;
    queue::of_message(log: &LogName, message: &[u8; 16]) -> Vec<QueueColumns>;
    queue::doubts(log: &LogName, after: Option<DeliveryId>, limit: i64) -> Vec<QueueColumns>;
    queue::stats(log: &LogName) -> Vec<(i64, i64)>;
    queue::next_due(log: &LogName) -> Option<i64>;
    connect::check() -> ();
    lease::acquire(names: &[&str], holder: &str, ttl: i64, now: i64) -> Vec<LeaseColumns>;
    lease::renew(name: &str, holder: &str, token: i64, ttl: i64, now: i64) -> bool;
    lease::release(leases: &[(&str, &str, i64)]) -> ();
}

/// Runs a statement in both backends if there is anything to write.
macro_rules! write_if_any {
    ($session:ident, $rows:expr, $module:ident::$name:ident($($arg:expr),*)) => {
        if !$rows.is_empty() {
            match $session {
                Session::Sqlite(connection) => sqlite::$module::$name(connection, &$rows, $($arg),*).await?,
                Session::Postgres(connection) => postgres::$module::$name(connection, &$rows, $($arg),*).await?,
            };
        }
    };
}

impl Session<'_> {
    /// Writes a batch. Only within a transaction in which its heads were locked.
    pub(crate) async fn write(&mut self, writes: &Writes) -> Result<(), StoreError> {
        if !writes.heads.is_empty() {
            let moved = match self {
                Session::Sqlite(connection) => sqlite::append::move_heads(connection, &writes.heads).await?,
                Session::Postgres(connection) => {
                    postgres::append::move_heads(connection, &writes.heads).await?
                }
            };
            if moved != writes.heads.len() as u64 {
                return Err(StoreError::Corrupt("a log's head moved while it was locked".to_owned()));
            }
        }
        let now = writes.now;
        write_if_any!(self, writes.new_streams, append::insert_streams());
        write_if_any!(self, writes.moved_streams, append::move_streams());
        write_if_any!(self, writes.events, append::insert_events());
        write_if_any!(self, writes.receipts, receipt::insert_receipts());
        write_if_any!(self, writes.snapshots, snapshot::put_snapshots());
        write_if_any!(self, writes.identities, vault::keep_identities(now));
        write_if_any!(self, writes.users, vault::keep_users(now));
        write_if_any!(self, writes.contents, vault::keep_contents(now));
        write_if_any!(self, writes.secrets, vault::keep_secrets(now));
        write_if_any!(self, writes.queue.delete, queue::delete());
        write_if_any!(self, writes.queue.idle, queue::change(now, START_LEASE_MICROS));
        write_if_any!(self, writes.queue.insert, queue::insert(now, START_LEASE_MICROS));
        write_if_any!(self, writes.queue.start, queue::change(now, START_LEASE_MICROS));
        Ok(())
    }
}
