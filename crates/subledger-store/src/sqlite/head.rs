//! Head rows: the end of each log, and the lock that makes positions dense.
//!
//! On SQLite the lock is the write transaction itself (`begin immediate`), so a plain select is enough.

use sqlx::SqliteConnection;
use subledger_domain::LogName;

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{HeadColumns, LogHead},
};

fn names(logs: &[LogName]) -> String {
    JsonRows::of(logs, |row, log| row.text(log.as_str())).into_text()
}

/// The heads of these logs, locked, in order of id. Logs that are unknown are left out.
pub(crate) async fn lock_heads(
    connection: &mut SqliteConnection,
    logs: &[LogName],
) -> Result<Vec<LogHead>, StoreError> {
    let rows: Vec<HeadColumns> = sqlx::query_as(
        "select id, name, position, link, epoch, streams, recorded_at
         from head where name in (select value ->> 0 from json_each(?1)) order by id",
    )
    .bind(names(logs))
    .fetch_all(connection)
    .await
    .map_err(while_doing("locking heads"))?;
    rows.into_iter().map(LogHead::from_columns).collect()
}

/// Makes head rows for logs that have none.
pub(crate) async fn create_heads(
    connection: &mut SqliteConnection,
    logs: &[LogName],
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into head (name, link) select value ->> 0, zeroblob(32) from json_each(?1) where true
         on conflict (name) do nothing",
    )
    .bind(names(logs))
    .execute(connection)
    .await
    .map_err(while_doing("making a log"))?;
    Ok(())
}

/// The heads of all logs that hold events, by name.
pub(crate) async fn heads(connection: &mut SqliteConnection) -> Result<Vec<LogHead>, StoreError> {
    let rows: Vec<HeadColumns> = sqlx::query_as(
        "select id, name, position, link, epoch, streams, recorded_at
         from head where position > 0 order by name",
    )
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading heads"))?;
    rows.into_iter().map(LogHead::from_columns).collect()
}

/// The number of a log, if it has one.
pub(crate) async fn log_id(
    connection: &mut SqliteConnection,
    log: &LogName,
) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("select id from head where name = ?1")
        .bind(log.as_str())
        .fetch_optional(connection)
        .await
        .map_err(while_doing("looking for a log"))
}
