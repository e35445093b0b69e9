//! Raw looks at a database that is not trusted; see [`crate::Inspector`]. Nothing here writes.

use std::{str::FromStr, sync::Arc};

use sqlx::{
    ConnectOptions, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{MAX_OWN, bound, own};
use crate::{
    OpenError, SqliteDatabase, StoreError,
    store::inspect::{RawColumns, RawHead, RawQueue, failed},
    views,
};

/// Readers of one inspection.
const READERS: u32 = 4;

/// Opens an existing file for reading only.
pub(crate) async fn open(url: &str) -> Result<SqliteDatabase, OpenError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|_| {
            OpenError::Url("the database URL is not of the form sqlite://path/to/file.db".to_owned())
        })?
        .create_if_missing(false)
        .read_only(true)
        .pragma("query_only", "on")
        .pragma("cell_size_check", "on")
        .pragma("cache_size", "-65536")
        .disable_statement_logging();
    if !options.get_filename().is_file() {
        let name = options.get_filename().display().to_string();
        return Err(OpenError::Unsupported(format!("there is no database file {name}")));
    }
    let path = options.get_filename().to_owned();
    let writer = options.connect().await.map_err(failed())?;
    let views = views::look(&options).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .connect_lazy_with(options);
    Ok(SqliteDatabase::read_only(&path, Arc::new(tokio::sync::Mutex::new(writer)), readers, views))
}

/// The newest migration that was carried out.
pub(crate) async fn schema_version(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
        .fetch_one(connection)
        .await
        .map_err(failed())
}

/// All heads, by name.
pub(crate) async fn raw_heads(connection: &mut SqliteConnection) -> Result<Vec<RawHead>, StoreError> {
    sqlx::query_as("select id, name, position, link, recorded_at, streams from head order by name")
        .fetch_all(connection)
        .await
        .map_err(failed())
}

/// Logs that have events or queue rows but no head. Hops from log to log instead of reading every row.
pub(crate) async fn headless(connection: &mut SqliteConnection) -> Result<Vec<i64>, StoreError> {
    sqlx::query_scalar(
        "with recursive
             e (log) as (
                 select min(place) >> 40 from event
                 union all select (select min(place) >> 40 from event where place >= e.log + 1 << 40)
                 from e where e.log is not null),
             q (log) as (
                 select min(log) from queue
                 union all select (select min(log) from queue where log > q.log) from q where q.log is not null)
         select log from (select log from e union select log from q) found
         where log is not null and not exists (select 1 from head where head.id = found.log) order by log",
    )
        .fetch_all(connection)
        .await
        .map_err(failed())
}

/// The first event beyond a position.
pub(crate) async fn event_beyond(
    connection: &mut SqliteConnection,
    log: i64,
    position: i64,
) -> Result<Option<i64>, StoreError> {
    let place: Option<i64> =
        sqlx::query_scalar("select min(place) from event where place > ?1 and place <= ?2")
            .bind(bound(log, position))
            .bind(bound(log, MAX_OWN))
            .fetch_one(connection)
            .await
            .map_err(failed())?;
    Ok(place.map(own))
}

/// The first stream beyond a number.
pub(crate) async fn stream_beyond(
    connection: &mut SqliteConnection,
    log: i64,
    streams: i64,
) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("select min(number) from stream where log = ?1 and number > ?2")
        .bind(log)
        .bind(streams)
        .fetch_one(connection)
        .await
        .map_err(failed())
}

/// How many receipts a log has, and how many of them point outside it.
pub(crate) async fn count_receipts(
    connection: &mut SqliteConnection,
    log: i64,
    position: i64,
) -> Result<(i64, i64), StoreError> {
    sqlx::query_as(
        "select count(*), count(*) filter (where position < 0 or position > ?2)
         from receipt where log = ?1",
    )
    .bind(log)
    .bind(position)
    .fetch_one(connection)
    .await
    .map_err(failed())
}

/// Receipts that point outside a log, by position.
pub(crate) async fn stray_receipts(
    connection: &mut SqliteConnection,
    log: i64,
    position: i64,
    limit: i64,
) -> Result<Vec<(Vec<u8>, i64)>, StoreError> {
    sqlx::query_as(
        "select key, position from receipt
         where log = ?1 and (position < 0 or position > ?2) order by position, key limit ?3",
    )
    .bind(log)
    .bind(position)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(failed())
}

/// The queue of a log, in order of delivery.
pub(crate) async fn raw_queue(
    connection: &mut SqliteConnection,
    log: i64,
) -> Result<Vec<RawQueue>, StoreError> {
    sqlx::query_as(
        "select message, idx, subject, template, state, attempts, expires_at
         from queue where log = ?1 order by message, idx",
    )
    .bind(log)
    .fetch_all(connection)
    .await
    .map_err(failed())
}

/// Events of a log after a position.
pub(crate) async fn raw_events(
    connection: &mut SqliteConnection,
    log: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<RawColumns>, StoreError> {
    sqlx::query_as(
        "select e.position, e.stream, s.name, e.version, e.kind, e.schema, e.recorded_at, e.data, e.cause, e.link
         from event e left join stream s on s.log = ?1 and s.number = e.stream
         where e.place > ?2 and e.place <= ?3 order by e.place limit ?4",
    )
        .bind(log)
        .bind(bound(log, after))
        .bind(bound(log, MAX_OWN))
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(failed())
}

/// Streams of a log after a number.
pub(crate) async fn raw_streams(
    connection: &mut SqliteConnection,
    log: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, String)>, StoreError> {
    sqlx::query_as("select number, name from stream where log = ?1 and number > ?2 order by number limit ?3")
        .bind(log)
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(failed())
}
