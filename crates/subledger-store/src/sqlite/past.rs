//! Reads of the past: where a log stood at a moment, and streams up to a position.

use futures::TryStreamExt;
use sqlx::SqliteConnection;
use subledger_domain::LogName;

use super::MAX_OWN;
use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{EachEvent, EventColumns, PastStream},
};

/// Position and time of the newest event at or below a position.
pub(crate) async fn at_or_below(
    connection: &mut SqliteConnection,
    log: &LogName,
    position: i64,
) -> Result<Option<(i64, i64)>, StoreError> {
    sqlx::query_as(
        "select e.position, e.recorded_at from head h
         cross join event e on e.place > h.id << 40 and e.place <= h.id << 40 | ?2
         where h.name = ?1 order by e.place desc limit 1",
    )
    .bind(log.as_str())
    .bind(position.clamp(0, MAX_OWN))
    .fetch_optional(connection)
    .await
    .map_err(while_doing("looking for a position"))
}

/// The events of these streams after their versions and up to a position, in order of position, one after another.
pub(crate) async fn each_past_event(
    connection: &mut SqliteConnection,
    log: &LogName,
    streams: &[PastStream],
    until: i64,
    each: EachEvent<'_>,
) -> Result<(), StoreError> {
    let json = JsonRows::of(streams, |row, past| row.text(past.stream.as_str()).int(past.after)).into_text();
    let mut rows = sqlx::query_as::<_, EventColumns>(
        "with recursive
             wanted (log, number, name, after) as (
                 select s.log, s.number, s.name, w.value ->> 1 from json_each(?2) w
                 cross join stream s on s.log = (select id from head where name = ?1) and s.name = w.value ->> 0),
             walk (place, version, back, name, after) as (
                 select e.place, e.version, e.back, w.name, w.after from wanted w
                 cross join stream_tip t on t.stream = w.log << 40 | w.number
                 cross join event e on e.place = w.log << 40 | t.position
                 where t.version > w.after
                 union all
                 select e.place, e.version, e.back, w.name, w.after from walk w
                 cross join event e on e.place = w.place - w.back
                 where w.back > 0 and w.version > w.after + 1)
         select e.position, w.name, e.version, e.kind, e.schema, e.recorded_at, e.data, e.cause, e.link
         from walk w cross join event e on e.place = w.place
         where w.place & ?4 <= ?3
         order by w.place",
    )
    .bind(log.as_str())
    .bind(json)
    .bind(until)
    .bind(MAX_OWN)
    .fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(while_doing("reading the past of streams"))? {
        each(row)?;
    }
    Ok(())
}

/// Events of a log at and below a position, newest first.
pub(crate) async fn events_back(
    connection: &mut SqliteConnection,
    log: &LogName,
    from: i64,
    limit: i64,
) -> Result<Vec<EventColumns>, StoreError> {
    sqlx::query_as(
        "select e.position, s.name, e.version, e.kind, e.schema, e.recorded_at, e.data, e.cause, e.link
         from head h
         cross join event e on e.place > h.id << 40 and e.place <= h.id << 40 | ?2
         cross join stream s on s.log = h.id and s.number = e.stream
         where h.name = ?1 order by e.place desc limit ?3",
    )
    .bind(log.as_str())
    .bind(from.clamp(0, MAX_OWN))
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading a log backwards"))
}

/// Names of streams after `after` and before `end`, by name, byte by byte.
pub(crate) async fn stream_names(
    connection: &mut SqliteConnection,
    log: &LogName,
    after: &str,
    end: &str,
    limit: i64,
) -> Result<Vec<(String,)>, StoreError> {
    sqlx::query_as(
        "select name from stream
         where log = (select id from head where name = ?1) and name > ?2 and name < ?3
         order by name limit ?4",
    )
    .bind(log.as_str())
    .bind(after)
    .bind(end)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("listing streams"))
}
