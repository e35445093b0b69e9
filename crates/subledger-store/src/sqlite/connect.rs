//! Connections to SQLite: one writer, many readers, one that checkpoints.
//!
//! SQLite lets one connection write at a time; a lock in this process is cheaper and fairer than its busy handler, so
//! the executor, the queue and the projections share one writer behind a mutex. `synchronous = full` costs nothing
//! once commits are batched. Automatic checkpoints run inside a commit and cause the worst latencies (p99 of 11–26 ms
//! at 256 callers), so a second connection checkpoints in the background and commits never do.

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    OpenError, StoreError,
    error::while_doing,
    metric_definitions::WAL_BYTES,
    views::{self, Views},
};

/// How long a statement waits for another process that writes the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the background connection checkpoints.
pub(crate) const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);
/// A write-ahead log longer than this is restarted, which makes writers wait for the length of one checkpoint.
const WAL_RESTART_BYTES: i64 = 64 << 20;
/// Pages after which a commit checkpoints by itself: only if the background connection has died.
const WAL_EMERGENCY_PAGES: &str = "131072";

/// A SQLite database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqliteDatabase {
    writer: Arc<Mutex<SqliteConnection>>,
    /// Connections that only read.
    pub readers: SqlitePool,
    views: Views,
    /// Connections that only read, to the file of the read models; see [`crate::views`].
    pub views_readers: SqlitePool,
}

impl SqliteDatabase {
    /// The one connection that writes. Hold it for one short transaction: while it is held, no command is carried out.
    /// Begin with `begin immediate`.
    pub async fn writer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.writer.lock().await
    }

    /// The connection that writes the file of the read models. Whoever writes that file through another connection holds
    /// this one meanwhile. It never holds up the log's.
    pub async fn views_writer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.views.writer().await
    }
}

/// Opens the file, making it if missing. Answers with the database and a connection for [`checkpoint`].
pub(crate) async fn connect(
    url: &str,
    max_connections: u32,
) -> Result<(SqliteDatabase, SqliteConnection), OpenError> {
    let failed = while_doing("opening the database file");
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|_| {
            OpenError::Url("the database URL is not of the form sqlite://path/to/file.db".to_owned())
        })?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("wal_autocheckpoint", WAL_EMERGENCY_PAGES)
        // A damaged page is reported when it is read instead of being misread.
        .pragma("cell_size_check", "on")
        .pragma("temp_store", "memory")
        .pragma("cache_size", "-65536")
        .disable_statement_logging();
    if options.get_filename().as_os_str().is_empty() || url.contains(":memory:") {
        return Err(OpenError::Url("the database must be a file: sqlite://path/to/file.db".to_owned()));
    }
    let writer = options.connect().await.map_err(failed)?;
    let checkpoints = options.connect().await.map_err(failed)?;
    let views = views::connect(&options, max_connections).await?;
    let readers = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(max_connections)
        .test_before_acquire(false)
        .connect_lazy_with(options.pragma("query_only", "on").pragma("cache_size", "-8192"));
    let views_readers = views.readers.clone();
    Ok((SqliteDatabase { writer: Arc::new(Mutex::new(writer)), readers, views, views_readers }, checkpoints))
}

/// Copies the write-ahead log into the database file, as far as readers allow; restarts it if it has grown too long.
pub(crate) async fn checkpoint(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let failed = while_doing("checkpointing");
    let (_, pages, _): (i64, i64, i64) =
        sqlx::query_as("pragma wal_checkpoint(passive)").fetch_one(&mut *connection).await.map_err(failed)?;
    let page_bytes: i64 =
        sqlx::query_scalar("pragma page_size").fetch_one(&mut *connection).await.map_err(failed)?;
    let bytes = pages.max(0).saturating_mul(page_bytes);
    metrics::gauge!(WAL_BYTES).set(bytes as f64);
    if bytes > WAL_RESTART_BYTES {
        sqlx::query("pragma wal_checkpoint(restart)").execute(connection).await.map_err(failed)?;
    }
    Ok(())
}

/// Reads every page and every index of the file and says what is damaged.
pub(crate) async fn check(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let found: Vec<String> = sqlx::query_scalar("pragma integrity_check(10)")
        .fetch_all(connection)
        .await
        .map_err(while_doing("checking the database file"))?;
    match found.as_slice() {
        [ok] if ok == "ok" => Ok(()),
        damage => Err(StoreError::Corrupt(damage.join("; "))),
    }
}

/// Waits for the writer and closes all connections.
pub(crate) async fn close(database: &SqliteDatabase) {
    views::close(database).await;
    database.readers.close().await;
    let mut writer = database.writer().await;
    // A clean end leaves no write-ahead log behind; failing to truncate it loses nothing.
    let _ = sqlx::query("pragma wal_checkpoint(truncate)").execute(&mut *writer).await;
    let _ = writer.ping().await;
}
