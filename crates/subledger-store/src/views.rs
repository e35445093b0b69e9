//! The file of the read models beside a SQLite log: `x.db` has `x.views.db`.
//!
//! SQLite lets one connection write a file at a time. In a file of their own, read models never hold up the writer of the
//! log, and a rebuild may write for as long as it likes. Every row can be built again from the log, so commits here wait
//! for no disk (`synchronous = normal`: a power failure takes the newest ones back, and they are applied again). A missing
//! file begins anew by itself; only the log has to be backed up.
//!
//! The one thing that must never be is read models ahead of their log, as after a log was restored from an older backup:
//! they would show what never happened. Opening finds that, and empties them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, MutexGuard};

use crate::{OpenError, SqliteDatabase, StoreError, error::while_doing};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite/views");

/// Pages after which a commit copies the write-ahead log into the file: large, because nothing waits for these commits.
const AUTOCHECKPOINT_PAGES: &str = "8192";

/// Readers of a file that is only looked at.
const LOOKING: u32 = 4;

/// Connections to the file of the read models. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Views {
    writer: Arc<Mutex<SqliteConnection>>,
    pub(crate) readers: SqlitePool,
}

impl Views {
    pub(crate) async fn writer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.writer.lock().await
    }
}

/// Where the read models of a log file are.
pub(crate) fn beside(log: &Path) -> PathBuf {
    let stem = log.file_stem().unwrap_or_default().to_string_lossy();
    let name = match log.extension() {
        Some(extension) => format!("{stem}.views.{}", extension.to_string_lossy()),
        None => format!("{stem}.views"),
    };
    log.with_file_name(name)
}

/// Opens the file beside the log that `options` are of, making it if missing.
pub(crate) async fn connect(
    options: &SqliteConnectOptions,
    max_connections: u32,
) -> Result<Views, OpenError> {
    let options = options
        .clone()
        .filename(beside(options.get_filename()))
        .synchronous(SqliteSynchronous::Normal)
        .pragma("wal_autocheckpoint", AUTOCHECKPOINT_PAGES);
    let writer = options.connect().await.map_err(while_doing("opening the file of the read models"))?;
    let readers = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(max_connections)
        .test_before_acquire(false)
        .connect_lazy_with(options.pragma("query_only", "on").pragma("cache_size", "-16384"));
    Ok(Views { writer: Arc::new(Mutex::new(writer)), readers })
}

/// Opens the file beside the log that `options` are of for reading only. Where there is none, or one whose tables are not
/// those of this version, read models that have not begun take its place, in memory.
pub(crate) async fn look(options: &SqliteConnectOptions) -> Result<Views, OpenError> {
    let failed = while_doing("opening the file of the read models");
    let file = beside(options.get_filename());
    if file.is_file() {
        let options = options.clone().filename(&file);
        let mut writer = options.connect().await.map_err(failed)?;
        if !crate::sqlite::migrate::is_behind(&MIGRATIONS, &mut writer).await {
            let readers = SqlitePoolOptions::new().max_connections(LOOKING).connect_lazy_with(options);
            return Ok(Views { writer: Arc::new(Mutex::new(writer)), readers });
        }
    }
    let memory = SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
    let writer = memory.connect().await.map_err(failed)?;
    // One connection: each has a memory of its own.
    let readers = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(memory)
        .await
        .map_err(failed)?;
    let mut reader = readers.acquire().await.map_err(failed)?;
    crate::sqlite::migrate::run(&MIGRATIONS, &mut reader).await?;
    drop(reader);
    Ok(Views { writer: Arc::new(Mutex::new(writer)), readers })
}

/// Brings the tables up to date, and empties them if they are ahead of the log.
pub(crate) async fn prepare(database: &SqliteDatabase) -> Result<(), OpenError> {
    let mut writer = database.views_writer().await;
    crate::sqlite::migrate::run(&MIGRATIONS, &mut writer).await?;
    let failed = while_doing("comparing the read models with their log");
    // In this order: another process may append and apply meanwhile, and must not look as if it were ahead.
    let views: Vec<(String, i64)> = sqlx::query_as("select log, max(position) from projection group by log")
        .fetch_all(&mut *writer)
        .await
        .map_err(failed)?;
    let heads: Vec<(String, i64)> = sqlx::query_as("select name, position from head")
        .fetch_all(&database.readers)
        .await
        .map_err(failed)?;
    let head = |log: &str| heads.iter().find(|(name, _)| name == log).map_or(0, |(_, position)| *position);
    let ahead = views.iter().find(|(log, position)| *position > head(log));
    if let Some((log, position)) = ahead {
        tracing::warn!(
            log,
            position,
            head = head(log),
            "the read models are ahead of their log, which must be an older copy; building them anew"
        );
        empty(&mut writer).await.map_err(while_doing("emptying the read models"))?;
    }
    Ok(())
}

async fn empty(writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut tx = writer.begin_with("begin immediate").await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "select name from sqlite_schema where type = 'table' and name not glob 'sqlite_*' and name not glob '_sqlx_*'",
    )
    .fetch_all(&mut *tx)
    .await?;
    for table in tables {
        // The names are our own, from the migrations.
        sqlx::query(AssertSqlSafe(format!("delete from \"{table}\""))).execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// Reads every page and every index of the file and says what is damaged.
pub(crate) async fn check(database: &SqliteDatabase) -> Result<(), StoreError> {
    let doing = while_doing("checking the file of the read models");
    let mut reader = database.views_readers.acquire().await.map_err(doing)?;
    match crate::sqlite::connect::check(&mut reader).await {
        Err(StoreError::Corrupt(damage)) => Err(StoreError::Corrupt(format!(
            "the file of the read models (stop the service and delete it, it is built anew): {damage}"
        ))),
        checked => checked,
    }
}

/// Waits for the writer and closes all connections.
pub(crate) async fn close(database: &SqliteDatabase) {
    database.views_readers.close().await;
    let mut writer = database.views_writer().await;
    // A clean end leaves no write-ahead log behind; failing to truncate it loses nothing.
    let _ = sqlx::query("pragma wal_checkpoint(truncate)").execute(&mut *writer).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_models_lie_beside_their_log() {
        let cases = [
            ("/var/lib/subledger.db", "/var/lib/subledger.views.db"),
            ("subledger.sqlite", "subledger.views.sqlite"),
            ("data/log", "data/log.views"),
            ("a.b.db", "a.b.views.db"),
        ];
        for (log, views) in cases {
            assert_eq!(beside(Path::new(log)), Path::new(views));
        }
    }
}
