//! Raw looks at a database that is not trusted; see [`crate::Inspector`]. Nothing here writes.

use std::str::FromStr;

use sqlx::{ConnectOptions, PgConnection, PgPool, postgres::PgConnectOptions};

use crate::{
    OpenError, StoreError,
    store::inspect::{RawColumns, RawHead, RawQueue, failed},
};

/// Readers of one inspection.
const READERS: u32 = 4;

/// Opens a pool whose sessions refuse to write.
pub(crate) async fn open(url: &str) -> Result<PgPool, OpenError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| {
            OpenError::Url(
                "the database URL is not of the form postgres://user:password@host/database".to_owned(),
            )
        })?
        .application_name("subledger audit")
        .options([("default_transaction_read_only", "on"), ("jit", "off")])
        .disable_statement_logging();
    super::connect::pool(options, READERS).await
}

/// The newest migration that was carried out.
pub(crate) async fn schema_version(connection: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
        .fetch_one(connection)
        .await
        .map_err(failed())
}

/// All heads, by name.
pub(crate) async fn raw_heads(connection: &mut PgConnection) -> Result<Vec<RawHead>, StoreError> {
    sqlx::query_as("select id::bigint, name, position, link, recorded_at, streams from head order by name")
        .fetch_all(connection)
        .await
        .map_err(failed())
}

/// Logs that have events or queue rows but no head. Hops from log to log instead of reading every row.
pub(crate) async fn headless(connection: &mut PgConnection) -> Result<Vec<i64>, StoreError> {
    sqlx::query_scalar(
        "with recursive
             e (log) as (
                 select min(log) from event
                 union all select (select min(log) from event where log > e.log) from e where e.log is not null),
             q (log) as (
                 select min(log) from queue
                 union all select (select min(log) from queue where log > q.log) from q where q.log is not null)
         select log::bigint from (select log from e union select log from q) found
         where log is not null and not exists (select 1 from head where head.id = found.log) order by log",
    )
        .fetch_all(connection)
        .await
        .map_err(failed())
}

/// The first event beyond a position.
pub(crate) async fn event_beyond(
    connection: &mut PgConnection,
    log: i64,
    position: i64,
) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("select min(position) from event where log = $1 and position > $2")
        .bind(log)
        .bind(position)
        .fetch_one(connection)
        .await
        .map_err(failed())
}

/// The first stream beyond a number.
pub(crate) async fn stream_beyond(
    connection: &mut PgConnection,
    log: i64,
    streams: i64,
) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("select min(number) from stream where log = $1 and number > $2")
        .bind(log)
        .bind(streams)
        .fetch_one(connection)
        .await
        .map_err(failed())
}

/// How many receipts a log has, and how many of them point outside it.
pub(crate) async fn count_receipts(
    connection: &mut PgConnection,
    log: i64,
    position: i64,
) -> Result<(i64, i64), StoreError> {
    sqlx::query_as(
        "select count(*), count(*) filter (where position < 0 or position > $2)
         from receipt where log = $1",
    )
    .bind(log)
    .bind(position)
    .fetch_one(connection)
    .await
    .map_err(failed())
}

/// Receipts that point outside a log, by position.
pub(crate) async fn stray_receipts(
    connection: &mut PgConnection,
    log: i64,
    position: i64,
    limit: i64,
) -> Result<Vec<(Vec<u8>, i64)>, StoreError> {
    sqlx::query_as(
        "select uuid_send(key), position from receipt
         where log = $1 and (position < 0 or position > $2) order by position, key limit $3",
    )
    .bind(log)
    .bind(position)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(failed())
}

/// The queue of a log, in order of delivery.
pub(crate) async fn raw_queue(connection: &mut PgConnection, log: i64) -> Result<Vec<RawQueue>, StoreError> {
    sqlx::query_as(
        "select message, idx::bigint, subject, template, state::bigint, attempts::bigint, expires_at
         from queue where log = $1 order by message, idx",
    )
    .bind(log)
    .fetch_all(connection)
    .await
    .map_err(failed())
}

/// Events of a log after a position.
pub(crate) async fn raw_events(
    connection: &mut PgConnection,
    log: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<RawColumns>, StoreError> {
    sqlx::query_as(
        "select e.position, e.stream, convert_to(s.name, 'UTF8'), e.version::bigint, e.kind::bigint, e.schema::bigint,
                e.recorded_at, convert_to(e.data, 'UTF8'), convert_to(e.cause, 'UTF8'), e.link
         from (select * from event where log = $1 and position > $2 order by position limit $3) e
         left join stream s on s.log = e.log and s.number = e.stream
         order by e.position",
    )
        .bind(log)
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(failed())
}

/// Events of a log up to a position, by stream and version, after one of them. Stream by stream: the index on streams holds those
/// of all logs, and one step in it passes over the others.
pub(crate) async fn raw_events_by_stream(
    connection: &mut PgConnection,
    log: i64,
    up_to: i64,
    stream: i64,
    version: i64,
    limit: i64,
) -> Result<Vec<RawColumns>, StoreError> {
    sqlx::query_as(
        "select e.position, e.stream, convert_to(s.name, 'UTF8'), e.version::bigint, e.kind::bigint, e.schema::bigint,
                e.recorded_at, convert_to(e.data, 'UTF8'), convert_to(e.cause, 'UTF8'), e.link
         from (select e.* from (select generate_series(greatest($2, 1), (select streams from head where id = $1)) as number) n
               cross join lateral (
                   select * from event
                   where log = $1 and stream = n.number
                     and version > case n.number when $2 then $3 else -1 end and position <= $4
                   order by version) e
               limit $5) e
         left join stream s on s.log = e.log and s.number = e.stream
         order by e.stream, e.version",
    )
        .bind(log)
        .bind(stream)
        .bind(version)
        .bind(up_to)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(failed())
}

/// Streams of a log after a number.
pub(crate) async fn raw_streams(
    connection: &mut PgConnection,
    log: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, String)>, StoreError> {
    sqlx::query_as("select number, name from stream where log = $1 and number > $2 order by number limit $3")
        .bind(log)
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(failed())
}
