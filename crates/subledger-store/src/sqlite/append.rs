//! The writes of a batch to the log proper: heads, streams, events.

use sqlx::SqliteConnection;

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{EventWrite, HeadWrite, StreamWrite},
};

/// Moves heads on. Answers how many still stood where they were locked; fewer than all means that the lock was lost.
pub(crate) async fn move_heads(
    connection: &mut SqliteConnection,
    heads: &[HeadWrite],
) -> Result<u64, StoreError> {
    let (json, blob) = JsonRows::of(heads, |row, head| {
        row.int(head.id)
            .int(head.position_before)
            .int(head.epoch_before)
            .int(head.position)
            .int(head.epoch)
            .int(head.streams)
            .int(head.recorded_at)
            .bytes(&head.link.0)
    })
    .into_parts();
    let moved = sqlx::query(
        "update head set
             position = w.value ->> 3, epoch = w.value ->> 4, streams = w.value ->> 5,
             recorded_at = w.value ->> 6, link = substr(?2, w.value ->> 7, w.value ->> 8)
         from json_each(?1) w
         where head.id = w.value ->> 0 and head.position = w.value ->> 1 and head.epoch = w.value ->> 2",
    )
    .bind(json)
    .bind(blob)
    .execute(connection)
    .await
    .map_err(while_doing("moving heads"))?;
    Ok(moved.rows_affected())
}

/// Adds streams.
pub(crate) async fn insert_streams(
    connection: &mut SqliteConnection,
    streams: &[StreamWrite],
) -> Result<(), StoreError> {
    let json = JsonRows::of(streams, |row, stream| {
        row.int(stream.log).int(stream.number).text(stream.name.as_str()).int(stream.version)
    })
    .into_text();
    sqlx::query(
        "insert into stream (log, number, name, version)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3 from json_each(?1)",
    )
    .bind(json)
    .execute(connection)
    .await
    .map_err(while_doing("adding streams"))?;
    Ok(())
}

/// Sets the versions of streams.
pub(crate) async fn move_streams(
    connection: &mut SqliteConnection,
    streams: &[StreamWrite],
) -> Result<(), StoreError> {
    let json =
        JsonRows::of(streams, |row, stream| row.int(stream.log).int(stream.number).int(stream.version))
            .into_text();
    sqlx::query(
        "update stream set version = w.value ->> 2 from json_each(?1) w
         where stream.log = w.value ->> 0 and stream.number = w.value ->> 1",
    )
    .bind(json)
    .execute(connection)
    .await
    .map_err(while_doing("moving streams"))?;
    Ok(())
}

/// Adds events.
pub(crate) async fn insert_events(
    connection: &mut SqliteConnection,
    events: &[EventWrite],
) -> Result<(), StoreError> {
    let (json, blob) = JsonRows::of(events, |row, event| {
        row.int(event.log)
            .int(event.position)
            .int(event.stream)
            .int(event.version)
            .int(i64::from(event.kind))
            .int(i64::from(event.schema))
            .int(event.recorded_at)
            .bytes(event.data.as_bytes())
            .bytes(event.cause.as_bytes())
            .bytes(&event.link.0)
    })
    .into_parts();
    sqlx::query(
        "insert into event (log, position, stream, version, kind, schema, recorded_at, data, cause, link)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
                cast(substr(?2, value ->> 7, value ->> 8) as text),
                cast(substr(?2, value ->> 9, value ->> 10) as text),
                substr(?2, value ->> 11, value ->> 12)
         from json_each(?1)",
    )
    .bind(json)
    .bind(blob)
    .execute(connection)
    .await
    .map_err(while_doing("adding events"))?;
    Ok(())
}
