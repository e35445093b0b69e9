//! The writes of a batch to the log proper: heads, streams, events.

use sqlx::PgConnection;

use super::column;
use crate::{
    StoreError,
    error::while_doing,
    rows::{EventWrite, HeadWrite, StreamWrite},
};

/// Moves heads on. Answers how many still stood where they were locked; fewer than all means that the lock was lost.
pub(crate) async fn move_heads(
    connection: &mut PgConnection,
    heads: &[HeadWrite],
) -> Result<u64, StoreError> {
    let moved = sqlx::query(
        "update head set position = w.position, epoch = w.epoch, streams = w.streams,
             recorded_at = w.recorded_at, link = w.link
         from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                     $7::bigint[], $8::bytea[])
              as w (id, position_before, epoch_before, position, epoch, streams, recorded_at, link)
         where head.id = w.id and head.position = w.position_before and head.epoch = w.epoch_before",
    )
    .bind(column(heads, |head| head.id))
    .bind(column(heads, |head| head.position_before))
    .bind(column(heads, |head| head.epoch_before))
    .bind(column(heads, |head| head.position))
    .bind(column(heads, |head| head.epoch))
    .bind(column(heads, |head| head.streams))
    .bind(column(heads, |head| head.recorded_at))
    .bind(column(heads, |head| &head.link.0[..]))
    .execute(connection)
    .await
    .map_err(while_doing("moving heads"))?;
    Ok(moved.rows_affected())
}

/// Adds streams.
pub(crate) async fn insert_streams(
    connection: &mut PgConnection,
    streams: &[StreamWrite],
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into stream (log, number, name, version)
         select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[])",
    )
    .bind(column(streams, |stream| stream.log))
    .bind(column(streams, |stream| stream.number))
    .bind(column(streams, |stream| stream.name.as_str()))
    .bind(column(streams, |stream| stream.version))
    .execute(connection)
    .await
    .map_err(while_doing("adding streams"))?;
    Ok(())
}

/// Sets the versions of streams.
pub(crate) async fn move_streams(
    connection: &mut PgConnection,
    streams: &[StreamWrite],
) -> Result<(), StoreError> {
    sqlx::query(
        "update stream set version = w.version
         from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as w (log, number, version)
         where stream.log = w.log and stream.number = w.number",
    )
    .bind(column(streams, |stream| stream.log))
    .bind(column(streams, |stream| stream.number))
    .bind(column(streams, |stream| stream.version))
    .execute(connection)
    .await
    .map_err(while_doing("moving streams"))?;
    Ok(())
}

/// Adds events.
pub(crate) async fn insert_events(
    connection: &mut PgConnection,
    events: &[EventWrite],
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into event (log, position, stream, version, kind, schema, recorded_at, data, cause, link)
         select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[],
                              $6::smallint[], $7::bigint[], $8::text[], $9::text[], $10::bytea[])",
    )
    .bind(column(events, |event| event.log))
    .bind(column(events, |event| event.position))
    .bind(column(events, |event| event.stream))
    .bind(column(events, |event| event.version))
    .bind(column(events, |event| event.kind))
    .bind(column(events, |event| event.schema))
    .bind(column(events, |event| event.recorded_at))
    .bind(column(events, |event| event.data.as_str()))
    .bind(column(events, |event| &*event.cause))
    .bind(column(events, |event| &event.link.0[..]))
    .execute(connection)
    .await
    .map_err(while_doing("adding events"))?;
    Ok(())
}
