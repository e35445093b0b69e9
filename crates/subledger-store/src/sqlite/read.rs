//! Reads of the log, and of the streams a batch touches.

use sqlx::SqliteConnection;
use subledger_domain::{LogName, StreamName};

use super::MAX_OWN;
use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{EventColumns, StreamColumns, StreamEvent, StreamFound, StreamTail},
};

/// Every so many versions of a stream stand in the index `event_mark`.
const MARK_EVERY: i64 = 64;

/// Events of a log after a position.
pub(crate) async fn log_events(
    connection: &mut SqliteConnection,
    log: &LogName,
    after: i64,
    limit: i64,
) -> Result<Vec<EventColumns>, StoreError> {
    sqlx::query_as(
        "select e.position, s.name, e.version, e.kind, e.schema, e.recorded_at, e.data, e.cause, e.link
         from head h
         cross join event e on e.place > h.id << 40 | ?2 and e.place <= h.id << 40 | ?4
         cross join stream s on s.log = h.id and s.number = e.stream
         where h.name = ?1 order by e.place limit ?3",
    )
    .bind(log.as_str())
    .bind(after.clamp(0, MAX_OWN))
    .bind(limit)
    .bind(MAX_OWN)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading a log"))
}

/// Events of a stream after a version. Found from the newest back; a long stream has marks to start from, so that reading
/// it page by page does not begin at its end each time.
pub(crate) async fn stream_events(
    connection: &mut SqliteConnection,
    log: &LogName,
    stream: &StreamName,
    after: i64,
    limit: i64,
) -> Result<Vec<EventColumns>, StoreError> {
    sqlx::query_as(
        "with recursive
             wanted (log, number, name) as (
                 select s.log, s.number, s.name from head h
                 cross join stream s on s.log = h.id and s.name = ?2 where h.name = ?1),
             mark (place) as (
                 select m.place from wanted w
                 cross join event m on m.stream = w.number and m.version = ?5 and m.version & 63 = 0
                     and m.place between w.log << 40 and w.log << 40 | ?6),
             walk (place, version, back) as (
                 select e.place, e.version, e.back from wanted w cross join event e on e.place = coalesce(
                     (select place from mark),
                     (select w.log << 40 | t.position from stream_tip t where t.stream = w.log << 40 | w.number))
                 where e.version > ?3
                 union all
                 select e.place, e.version, e.back from walk w cross join event e on e.place = w.place - w.back
                 where w.back > 0 and w.version > ?3 + 1)
         select e.position, w.name, e.version, e.kind, e.schema, e.recorded_at, e.data, e.cause, e.link
         from wanted w cross join walk cross join event e on e.place = walk.place
         order by e.version limit ?4",
    )
    .bind(log.as_str())
    .bind(stream.as_str())
    .bind(after.clamp(0, MAX_OWN))
    .bind(limit)
    .bind(mark_at_or_above(after, limit))
    .bind(MAX_OWN)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading a stream"))
}

/// The first version with a mark from which all of a page can be reached by going back.
fn mark_at_or_above(after: i64, limit: i64) -> i64 {
    after.max(0).saturating_add(limit).saturating_add(MARK_EVERY - 1) & !(MARK_EVERY - 1)
}

/// (log, position, recorded at) of the events at these places.
pub(crate) async fn times_of(
    connection: &mut SqliteConnection,
    places: &[(&str, i64)],
) -> Result<Vec<(String, i64, i64)>, StoreError> {
    let json = JsonRows::of(places, |row, (log, position)| row.text(log).int((*position).clamp(0, MAX_OWN)))
        .into_text();
    sqlx::query_as(
        "select h.name, e.position, e.recorded_at
         from json_each(?1) w cross join head h on h.name = w.value ->> 0
         cross join event e on e.place = h.id << 40 | w.value ->> 1",
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
        "with recursive walk (place, version, back, after) as (
             select e.place, e.version, e.back, w.value ->> 2 from json_each(?1) w
             cross join stream_tip t on t.stream = (w.value ->> 0) << 40 | w.value ->> 1
             cross join event e on e.place = (w.value ->> 0) << 40 | t.position
             where t.version > w.value ->> 2
             union all
             select e.place, e.version, e.back, w.after from walk w cross join event e on e.place = w.place - w.back
             where w.back > 0 and w.version > w.after + 1)
         select e.log, e.stream, e.version, e.position, e.kind, e.schema, e.data
         from walk cross join event e on e.place = walk.place
         order by e.log, e.stream, e.version",
    )
    .bind(json)
    .fetch_all(connection)
    .await
    .map_err(while_doing("loading streams"))
}
