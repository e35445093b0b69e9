//! The writes of a batch to the log proper: heads, streams, events.

use rusqlite::{Connection, params};

use super::receipt::insert_receipts;
use crate::{
    StoreError,
    database::NotWritten,
    error::while_doing,
    rows::{EventWrite, HeadCheck, HeadWrite, StreamWrite, Writes},
};

/// Writes heads, streams, events and receipts, if every head stands where it is believed to and no receipt is there yet. On
/// an error the transaction must be taken back.
pub(crate) fn write_log(connection: &Connection, writes: &Writes) -> Result<(), NotWritten> {
    if move_heads(connection, &writes.heads)? != writes.heads.len()
        || !heads_stand(connection, &writes.checks)?
    {
        return Err(NotWritten::Displaced);
    }
    insert_streams(connection, &writes.new_streams)?;
    insert_events(connection, &writes.events)?;
    if !insert_receipts(connection, &writes.receipts)? {
        return Err(NotWritten::Repeated);
    }
    Ok(())
}

/// Moves heads on. Answers how many still stood where they were believed to.
fn move_heads(connection: &Connection, heads: &[HeadWrite]) -> Result<usize, StoreError> {
    let failed = while_doing("moving heads");
    let mut statement = connection
        .prepare_cached(
            "update head set position = ?1, epoch = ?2, streams = ?3, recorded_at = ?4, link = ?5
             where id = ?6 and position = ?7 and epoch = ?8",
        )
        .map_err(failed)?;
    let mut moved = 0;
    for head in heads {
        moved += statement
            .execute(params![
                head.position,
                head.epoch,
                head.streams,
                head.recorded_at,
                &head.link.0[..],
                head.id,
                head.position_before,
                head.epoch_before
            ])
            .map_err(failed)?;
    }
    Ok(moved)
}

/// Whether heads that are not moved stand where they are believed to.
fn heads_stand(connection: &Connection, checks: &[HeadCheck]) -> Result<bool, StoreError> {
    let failed = while_doing("checking heads");
    let mut statement = connection
        .prepare_cached("select 1 from head where id = ?1 and position = ?2 and epoch = ?3")
        .map_err(failed)?;
    for check in checks {
        if !statement.exists(params![check.id, check.position, check.epoch]).map_err(failed)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds streams.
fn insert_streams(connection: &Connection, streams: &[StreamWrite]) -> Result<(), StoreError> {
    let failed = while_doing("adding streams");
    let mut statement = connection
        .prepare_cached("insert into stream (log, number, name) values (?1, ?2, ?3)")
        .map_err(failed)?;
    for stream in streams {
        statement.execute(params![stream.log, stream.number, stream.name.as_str()]).map_err(failed)?;
    }
    Ok(())
}

/// Adds events.
fn insert_events(connection: &Connection, events: &[EventWrite]) -> Result<(), StoreError> {
    let failed = while_doing("adding events");
    let mut statement = connection
        .prepare_cached(
            "insert into event (log, position, stream, version, kind, schema, recorded_at, data, cause, link)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .map_err(failed)?;
    for event in events {
        statement
            .execute(params![
                event.log,
                event.position,
                event.stream,
                event.version,
                event.kind,
                event.schema,
                event.recorded_at,
                event.data,
                &*event.cause,
                &event.link.0[..]
            ])
            .map_err(failed)?;
    }
    Ok(())
}
