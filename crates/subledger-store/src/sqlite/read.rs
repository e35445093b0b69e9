//! Reads of the log, and of the streams a batch touches.

use sqlx::SqliteConnection;
use subledger_domain::{LogName, StreamName};

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{EventColumns, StreamColumns, StreamEvent, StreamFound, StreamTail},
};

/// Events of a log after a position.
pub(crate) async fn log_events(
    connection: &mut SqliteConnection,
    log: &LogName,
    after: i64,
    limit: i64,
) -> Result<Vec<EventColumns>, StoreError> {
    sqlx::query_as(
        "select e.position, s.name, e.version, e.kind, e.schema, e.recorded_at, e.data, e.cause, e.link
         from event e cross join stream s on s.log = e.log and s.number = e.stream
         where e.log = (select id from head where name = ?1) and e.position > ?2
         order by e.position limit ?3",
    )
    .bind(log.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading a log"))
}

/// Events of a stream after a version.
pub(crate) async fn stream_events(
    connection: &mut SqliteConnection,
    log: &LogName,
    stream: &StreamName,
    after: i64,
    limit: i64,
) -> Result<Vec<EventColumns>, StoreError> {
    sqlx::query_as(
        "select e.position, s.name, e.version, e.kind, e.schema, e.recorded_at, e.data, e.cause, e.link
         from stream s cross join event e on e.log = s.log and e.stream = s.number
         where s.log = (select id from head where name = ?1) and s.name = ?2 and e.version > ?3
         order by e.version limit ?4",
    )
    .bind(log.as_str())
    .bind(stream.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading a stream"))
}

/// (log, position, recorded at) of the events at these places.
pub(crate) async fn times_of(
    connection: &mut SqliteConnection,
    places: &[(&str, i64)],
) -> Result<Vec<(String, i64, i64)>, StoreError> {
    let json = JsonRows::of(places, |row, (log, position)| row.text(log).int(*position)).into_text();
    sqlx::query_as(
        "select h.name, e.position, e.recorded_at
         from json_each(?1) w cross join head h on h.name = w.value ->> 0
         cross join event e on e.log = h.id and e.position = w.value ->> 1",
    )
    .bind(json)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading times of events"))
}

/// The rows of these streams, as (log id, name), with their snapshots. Streams that are unknown are left out.
pub(crate) async fn find_streams(
    connection: &mut SqliteConnection,
    wanted: &[(i64, StreamName)],
) -> Result<Vec<StreamFound>, StoreError> {
    let json = JsonRows::of(wanted, |row, (log, name)| row.int(*log).text(name.as_str())).into_text();
    let rows: Vec<StreamColumns> = sqlx::query_as(
        "select s.log, s.number, s.name, f.version, f.state
         from json_each(?1) w cross join stream s on s.log = w.value ->> 0 and s.name = w.value ->> 1
         left join snapshot f on f.log = s.log and f.stream = s.number",
    )
    .bind(json)
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking for streams"))?;
    Ok(rows.into_iter().map(StreamFound::from_columns).collect())
}

/// The events of these streams after their versions, stream by stream in order of version.
pub(crate) async fn tail_events(
    connection: &mut SqliteConnection,
    streams: &[StreamTail],
) -> Result<Vec<StreamEvent>, StoreError> {
    let json =
        JsonRows::of(streams, |row, tail| row.int(tail.log).int(tail.number).int(tail.after)).into_text();
    sqlx::query_as(
        "select e.log, e.stream, e.version, e.kind, e.schema, e.data
         from json_each(?1) w cross join event e
             on e.log = w.value ->> 0 and e.stream = w.value ->> 1 and e.version > w.value ->> 2
         order by e.log, e.stream, e.version",
    )
    .bind(json)
    .fetch_all(connection)
    .await
    .map_err(while_doing("loading streams"))
}
