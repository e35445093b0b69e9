//! Reads of the log, and of the streams a batch touches.

use sqlx::PgConnection;
use subledger_domain::{LogName, StreamName};

use super::column;
use crate::{
    StoreError,
    error::while_doing,
    rows::{EventColumns, StreamColumns, StreamEvent, StreamFound, StreamTail},
};

/// [`EventColumns`] with JSON as text.
type TextColumns = (i64, String, i64, i64, i64, i64, String, String, Vec<u8>);

fn as_bytes(row: TextColumns) -> EventColumns {
    let (position, stream, version, kind, schema, recorded_at, data, cause, link) = row;
    (position, stream, version, kind, schema, recorded_at, data.into_bytes(), cause.into_bytes(), link)
}

/// Events of a log after a position.
pub(crate) async fn log_events(
    connection: &mut PgConnection,
    log: &LogName,
    after: i64,
    limit: i64,
) -> Result<Vec<EventColumns>, StoreError> {
    let rows: Vec<TextColumns> = sqlx::query_as(
        "select e.position, s.name, e.version::bigint, e.kind::bigint, e.schema::bigint, e.recorded_at,
                e.data, e.cause, e.link
         from (select * from event
               where log = (select id from head where name = $1) and position > $2
               order by position limit $3) e
         join stream s on s.log = e.log and s.number = e.stream
         order by e.position",
    )
    .bind(log.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading a log"))?;
    Ok(rows.into_iter().map(as_bytes).collect())
}

/// Events of a stream after a version.
pub(crate) async fn stream_events(
    connection: &mut PgConnection,
    log: &LogName,
    stream: &StreamName,
    after: i64,
    limit: i64,
) -> Result<Vec<EventColumns>, StoreError> {
    let rows: Vec<TextColumns> = sqlx::query_as(
        "select e.position, s.name, e.version::bigint, e.kind::bigint, e.schema::bigint, e.recorded_at,
                e.data, e.cause, e.link
         from stream s join event e on e.log = s.log and e.stream = s.number
         where s.log = (select id from head where name = $1) and s.name = $2 and e.version > $3
         order by e.version limit $4",
    )
    .bind(log.as_str())
    .bind(stream.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading a stream"))?;
    Ok(rows.into_iter().map(as_bytes).collect())
}

/// (log, position, recorded at) of the events at these places.
pub(crate) async fn times_of(
    connection: &mut PgConnection,
    places: &[(&str, i64)],
) -> Result<Vec<(String, i64, i64)>, StoreError> {
    sqlx::query_as(
        "select h.name, e.position, e.recorded_at
         from unnest($1::text[], $2::bigint[]) as w (log, position)
         join head h on h.name = w.log
         join event e on e.log = h.id and e.position = w.position",
    )
    .bind(column(places, |(log, _)| *log))
    .bind(column(places, |(_, position)| *position))
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading times of events"))
}

/// The rows of these streams, as (log id, name), with their snapshots. Streams that are unknown are left out.
pub(crate) async fn find_streams(
    connection: &mut PgConnection,
    wanted: &[(i64, StreamName)],
) -> Result<Vec<StreamFound>, StoreError> {
    let rows: Vec<StreamColumns> = sqlx::query_as(
        "select s.log::bigint, s.number, s.name, f.version, f.state
         from unnest($1::bigint[], $2::text[]) as w (log, name)
         join stream s on s.log = w.log and s.name = w.name
         left join snapshot f on f.log = s.log and f.stream = s.number",
    )
    .bind(column(wanted, |(log, _)| *log))
    .bind(column(wanted, |(_, name)| name.as_str()))
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking for streams"))?;
    Ok(rows.into_iter().map(StreamFound::from_columns).collect())
}

/// The events of these streams after their versions, those of a stream in order of version.
pub(crate) async fn tail_events(
    connection: &mut PgConnection,
    streams: &[StreamTail],
) -> Result<Vec<StreamEvent>, StoreError> {
    let rows: Vec<(i64, i64, i64, i64, i64, i64, String)> = sqlx::query_as(
        "select e.log::bigint, e.stream, e.version::bigint, e.position, e.kind::bigint, e.schema::bigint, e.data
         from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as w (log, number, after)
         cross join lateral (
             select * from event
             where stream = w.number and log = w.log and version > w.after
             order by version) e",
    )
    .bind(column(streams, |tail| tail.log))
    .bind(column(streams, |tail| tail.number))
    .bind(column(streams, |tail| tail.after))
    .fetch_all(connection)
    .await
    .map_err(while_doing("loading streams"))?;
    let event = |(log, stream, version, position, kind, schema, data): (_, _, _, _, _, _, String)| {
        (log, stream, version, position, kind, schema, data.into_bytes())
    };
    Ok(rows.into_iter().map(event).collect())
}
