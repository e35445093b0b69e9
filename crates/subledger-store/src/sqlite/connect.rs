//! Connections to SQLite: one writer, many readers, one that checkpoints.
//!
//! SQLite lets one connection write at a time; a lock in this process is cheaper and fairer than its busy handler, so
//! the executor, the queue and the projections take turns behind a mutex. `synchronous = full` costs nothing
//! once commits are batched. Automatic checkpoints run inside a commit and cause the worst latencies (p99 of 11–26 ms
//! at 256 callers), so a second connection checkpoints in the background and commits never do.

use std::{
    ops::{Deref, DerefMut},
    path::Path,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

use super::receipt::Unfiled;
use crate::database_file::DatabaseFile;
use crate::{
    OpenError, StoreError,
    database::Session,
    error::while_doing,
    metric_definitions::WAL_BYTES,
    views::{self, Views},
};

/// How long a statement waits for another process that writes the file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the background connection checkpoints.
pub(crate) const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);
/// How often, and after what pause each, the write-ahead log is emptied at the end while something is in the way.
const CLOSE_TRIES: u32 = 50;
const CLOSE_AGAIN: Duration = Duration::from_millis(10);
/// A write-ahead log longer than this is to begin anew. Writers wait while the little is copied that came last.
const WAL_RESTART_BYTES: i64 = 64 << 20;
/// One longer than this has readers in it that are never gone at the right moment: it is waited for them, and writers wait too.
const WAL_FORCE_BYTES: i64 = 256 << 20;
/// Pages after which a commit checkpoints by itself: only if the background connection has died.
const WAL_EMERGENCY_PAGES: &str = "131072";
/// What every connection that writes is set to.
pub(crate) const WRITER_PRAGMAS: [(&str, &str); 6] = [
    ("synchronous", "full"),
    ("wal_autocheckpoint", WAL_EMERGENCY_PAGES),
    // A damaged page is reported when it is read instead of being misread.
    ("cell_size_check", "on"),
    // What is deleted is overwritten, so that an erased person's sealed rows do not linger in free space.
    ("secure_delete", "on"),
    ("temp_store", "memory"),
    ("cache_size", "-65536"),
];

/// A SQLite database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqliteDatabase {
    writer: Arc<Mutex<SqliteConnection>>,
    /// Connections that only read.
    pub readers: SqlitePool,
    views: Views,
    /// Connections that only read, to the file of the read models beside it.
    pub views_readers: SqlitePool,
    file: Arc<DatabaseFile>,
}

/// The right to write a file, with the connection to do it. Ends when it is dropped.
#[derive(Debug)]
pub struct Turn {
    connection: OwnedMutexGuard<SqliteConnection>,
    file: Arc<DatabaseFile>,
    /// Of the file: several stores of a process may be open on it.
    _turn: OwnedMutexGuard<()>,
}

impl Turn {
    /// The connection, for statements of both databases.
    pub(crate) fn session(&mut self) -> Session<'_> {
        Session::Sqlite(&mut self.connection, self.file.unfiled())
    }
}

impl Deref for Turn {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl SqliteDatabase {
    /// Waits for the turn to write. Hold it for one short transaction: while it is held, no command is carried out. Begin with
    /// `begin immediate`.
    ///
    /// Refused while another process writes the file.
    pub async fn writer(&self) -> Result<Turn, StoreError> {
        self.file.claim()?;
        Ok(self.unclaimed().await)
    }

    /// The same for what may be done to a file that another process writes: rows that are derived from the log, guarded by what
    /// they say of themselves. SQLite keeps the two processes apart.
    pub async fn unclaimed(&self) -> Turn {
        let file = Arc::clone(&self.file);
        let turn = Arc::clone(file.turn()).lock_owned().await;
        Turn { connection: Arc::clone(&self.writer).lock_owned().await, file, _turn: turn }
    }

    /// Waits for the turn to write on a thread that is not on a runtime.
    pub(crate) fn wait_for_turn(&self) -> Result<Turn, StoreError> {
        self.file.claim()?;
        let file = Arc::clone(&self.file);
        let turn = Arc::clone(file.turn()).blocking_lock_owned();
        Ok(Turn { connection: Arc::clone(&self.writer).blocking_lock_owned(), file, _turn: turn })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The receipts of the file that wait to be filed.
    pub(crate) fn unfiled(&self) -> &Unfiled {
        self.file.unfiled()
    }

    /// Makes this process the one that writes the file, or says which one is.
    pub fn claim(&self) -> Result<(), StoreError> {
        self.file.claim()
    }

    /// A file that is only looked at: the connection in the writer's place cannot write either.
    pub(crate) fn read_only(
        path: &Path,
        writer: Arc<Mutex<SqliteConnection>>,
        readers: SqlitePool,
        views: Views,
    ) -> Self {
        let views_readers = views.readers.clone();
        Self { writer, readers, views, views_readers, file: DatabaseFile::new(path) }
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
        .disable_statement_logging();
    let options =
        WRITER_PRAGMAS.into_iter().fold(options, |options, (name, value)| options.pragma(name, value));
    if options.get_filename().as_os_str().is_empty() || url.contains(":memory:") {
        return Err(OpenError::Url("the database must be a file: sqlite://path/to/file.db".to_owned()));
    }
    let file = DatabaseFile::new(options.get_filename());
    let writer = options.connect().await.map_err(failed)?;
    let checkpoints = options.connect().await.map_err(failed)?;
    let views = views::connect(&options, max_connections).await?;
    let readers = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(max_connections)
        .test_before_acquire(false)
        .connect_lazy_with(options.pragma("query_only", "on").pragma("cache_size", "-8192"));
    let views_readers = views.readers.clone();
    let writer = Arc::new(Mutex::new(writer));
    Ok((SqliteDatabase { writer, readers, views, views_readers, file }, checkpoints))
}

/// Copies the write-ahead log into the database file, as far as readers allow. If it has grown too long, sees to it that the
/// next commit begins it anew: that commit does so by itself when everything before it is copied.
///
/// What takes long is done while others write: copying, and bringing the copied pages to the disk. What is left to do while
/// nobody may write is to copy the last commits. A checkpoint that restarts the log itself would do all of it in one go, and
/// make the writer drop its page cache besides.
pub(crate) async fn checkpoint(
    connection: &mut SqliteConnection,
    database: &SqliteDatabase,
) -> Result<(), StoreError> {
    let failed = while_doing("checkpointing");
    let (pages, copied) = copy(connection).await?;
    let page_bytes: i64 =
        sqlx::query_scalar("pragma page_size").fetch_one(&mut *connection).await.map_err(failed)?;
    let bytes = pages.max(0).saturating_mul(page_bytes);
    metrics::gauge!(WAL_BYTES).set(bytes as f64);
    if bytes <= WAL_RESTART_BYTES || copied >= pages {
        return Ok(());
    }
    let file = Arc::clone(&database.file);
    let synced = tokio::task::spawn_blocking(move || file.sync()).await;
    // SQLite brings to the disk what is not there: this only saves the time.
    if let Ok(Err(error)) = synced {
        tracing::debug!(error = %error, "the database file could not be synced ahead of a checkpoint");
    }
    let _turn = database.unclaimed().await;
    let (pages, copied) = copy(connection).await?;
    if copied < pages && bytes > WAL_FORCE_BYTES {
        sqlx::query("pragma wal_checkpoint(restart)").execute(connection).await.map_err(failed)?;
    }
    Ok(())
}

/// A checkpoint that waits for nobody: pages in the write-ahead log, and how many of them are copied.
async fn copy(connection: &mut SqliteConnection) -> Result<(i64, i64), StoreError> {
    let (_, pages, copied): (i64, i64, i64) = sqlx::query_as("pragma wal_checkpoint(passive)")
        .fetch_one(connection)
        .await
        .map_err(while_doing("checkpointing"))?;
    Ok((pages, copied))
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
    let mut writer = database.writer.lock().await;
    // A clean end leaves no write-ahead log behind; failing to truncate it loses nothing. The checkpoint in the background may
    // be in the way for a moment.
    for _ in 0..CLOSE_TRIES {
        let truncated = sqlx::query_as("pragma wal_checkpoint(truncate)").fetch_one(&mut *writer).await;
        match truncated {
            Ok((0_i64, _, _)) | Err(_) => break,
            Ok::<(i64, i64, i64), _>(_) => tokio::time::sleep(CLOSE_AGAIN).await,
        }
    }
    let _ = writer.ping().await;
}
