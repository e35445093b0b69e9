//! Head rows: the end of each log, and the lock that makes positions dense.

use sqlx::PgConnection;
use subledger_domain::LogName;

use super::column;
use crate::{
    StoreError,
    error::while_doing,
    rows::{HeadColumns, LogHead},
};

/// The heads of these logs, locked in order of id. Logs that are unknown are left out.
pub(crate) async fn lock_heads(
    connection: &mut PgConnection,
    logs: &[LogName],
) -> Result<Vec<LogHead>, StoreError> {
    let rows: Vec<HeadColumns> = sqlx::query_as(
        "select id::bigint, name, position, link, epoch, streams, recorded_at
         from head where name = any($1) order by id for update",
    )
    .bind(column(logs, |log| log.as_str()))
    .fetch_all(connection)
    .await
    .map_err(while_doing("locking heads"))?;
    rows.into_iter().map(LogHead::from_columns).collect()
}

/// Makes head rows for logs that have none.
pub(crate) async fn create_heads(connection: &mut PgConnection, logs: &[LogName]) -> Result<(), StoreError> {
    sqlx::query(
        "insert into head (name, link) select name, decode(repeat('00', 32), 'hex') from unnest($1::text[]) as w (name)
         order by name on conflict (name) do nothing",
    )
    .bind(column(logs, |log| log.as_str()))
    .execute(connection)
    .await
    .map_err(while_doing("making a log"))?;
    Ok(())
}

/// The heads of all logs that hold events, by name.
pub(crate) async fn heads(connection: &mut PgConnection) -> Result<Vec<LogHead>, StoreError> {
    let rows: Vec<HeadColumns> = sqlx::query_as(
        "select id::bigint, name, position, link, epoch, streams, recorded_at
         from head where position > 0 order by name",
    )
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading heads"))?;
    rows.into_iter().map(LogHead::from_columns).collect()
}

/// The number of a log, if it has one.
pub(crate) async fn log_id(connection: &mut PgConnection, log: &LogName) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("select id::bigint from head where name = $1")
        .bind(log.as_str())
        .fetch_optional(connection)
        .await
        .map_err(while_doing("looking for a log"))
}
