//! Reads of the past: where a log stood at a moment, and streams up to a position.

use futures::TryStreamExt;
use sqlx::PgConnection;
use subledger_domain::LogName;

use super::column;
use crate::{
    StoreError,
    error::while_doing,
    rows::{EachEvent, EventColumns, PastStream},
};

/// [`EventColumns`] with JSON as text.
type TextColumns = (i64, String, i64, i64, i64, i64, String, String, Vec<u8>);

fn as_bytes(row: TextColumns) -> EventColumns {
    let (position, stream, version, kind, schema, recorded_at, data, cause, link) = row;
    (position, stream, version, kind, schema, recorded_at, data.into_bytes(), cause.into_bytes(), link)
}

/// Position and time of the newest event at or below a position.
pub(crate) async fn at_or_below(
    connection: &mut PgConnection,
    log: &LogName,
    position: i64,
) -> Result<Option<(i64, i64)>, StoreError> {
    sqlx::query_as(
        "select position, recorded_at from event
         where log = (select id from head where name = $1) and position <= $2
         order by position desc limit 1",
    )
    .bind(log.as_str())
    .bind(position)
    .fetch_optional(connection)
    .await
    .map_err(while_doing("looking for a position"))
}

/// The events of these streams after their versions and up to a position, in order of position, one after another.
pub(crate) async fn each_past_event(
    connection: &mut PgConnection,
    log: &LogName,
    streams: &[PastStream],
    until: i64,
    each: EachEvent<'_>,
) -> Result<(), StoreError> {
    let mut rows = sqlx::query_as::<_, TextColumns>(
        "select e.position, s.name, e.version::bigint, e.kind::bigint, e.schema::bigint, e.recorded_at,
                e.data, e.cause, e.link
         from unnest($2::text[], $3::bigint[]) as w (name, after)
         join stream s on s.log = (select id from head where name = $1) and s.name = w.name
         join event e on e.log = s.log and e.stream = s.number and e.version > w.after
         where e.position <= $4
         order by e.position",
    )
    .bind(log.as_str())
    .bind(column(streams, |past| past.stream.as_str()))
    .bind(column(streams, |past| past.after))
    .bind(until)
    .fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(while_doing("reading the past of streams"))? {
        each(as_bytes(row))?;
    }
    Ok(())
}

/// Events of a log at and below a position, newest first.
pub(crate) async fn events_back(
    connection: &mut PgConnection,
    log: &LogName,
    from: i64,
    limit: i64,
) -> Result<Vec<EventColumns>, StoreError> {
    let rows: Vec<TextColumns> = sqlx::query_as(
        "select e.position, s.name, e.version::bigint, e.kind::bigint, e.schema::bigint, e.recorded_at,
                e.data, e.cause, e.link
         from (select * from event
               where log = (select id from head where name = $1) and position <= $2
               order by position desc limit $3) e
         join stream s on s.log = e.log and s.number = e.stream
         order by e.position desc",
    )
    .bind(log.as_str())
    .bind(from)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading a log backwards"))?;
    Ok(rows.into_iter().map(as_bytes).collect())
}

/// Names of streams after `after` and before `end`, by name, byte by byte.
pub(crate) async fn stream_names(
    connection: &mut PgConnection,
    log: &LogName,
    after: &str,
    end: &str,
    limit: i64,
) -> Result<Vec<(String,)>, StoreError> {
    sqlx::query_as(
        "select name from stream
         where log = (select id from head where name = $1) and name > $2 and name < $3
         order by name limit $4",
    )
    .bind(log.as_str())
    .bind(after)
    .bind(end)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("listing streams"))
}
