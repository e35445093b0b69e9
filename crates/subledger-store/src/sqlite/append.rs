//! The writes of a batch to the log proper: heads, streams, events.

use std::collections::{HashMap, hash_map::Entry};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    packed,
    receipt::{Filing, Unfiled, insert_receipts},
};
use crate::{
    StoreError,
    database::NotWritten,
    error::while_doing,
    rows::{EventWrite, HeadCheck, HeadWrite, StreamWrite, Writes},
};

/// Writes heads, streams, events and receipts, if every head stands where it is believed to and no receipt is there yet. On
/// an error the transaction must be taken back.
pub(crate) fn write_log(
    connection: &Connection,
    unfiled: &Unfiled,
    writes: &Writes,
) -> Result<Filing, NotWritten> {
    if move_heads(connection, &writes.heads)? != writes.heads.len()
        || !heads_stand(connection, &writes.checks)?
    {
        return Err(NotWritten::Displaced);
    }
    insert_streams(connection, &writes.new_streams)?;
    insert_events(connection, &writes.events)?;
    insert_receipts(connection, unfiled, &writes.receipts)?.ok_or(NotWritten::Repeated)
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

/// The newest event of a stream, and whether the database knows the stream already.
struct Tip {
    position: i64,
    version: i64,
    stored: bool,
}

/// Adds events, each with the way back to the one before it in its stream, and moves the tips of their streams. The
/// versions of a stream are 1, 2, 3 …: an event that does not follow is refused.
fn insert_events(connection: &Connection, events: &[EventWrite]) -> Result<(), StoreError> {
    let failed = while_doing("adding events");
    let mut find = connection
        .prepare_cached("select position, version from stream_tip where stream = ?1")
        .map_err(failed)?;
    let mut insert = connection
        .prepare_cached(
            "insert into event (place, stream, version, back, kind, schema, recorded_at, data, cause, link)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .map_err(failed)?;
    let mut tips: HashMap<i64, Tip> = HashMap::with_capacity(events.len());
    for event in events {
        let tip = match tips.entry(packed(event.log, event.stream)?) {
            Entry::Occupied(tip) => tip.into_mut(),
            Entry::Vacant(tip) => {
                let stored = find.query_row([tip.key()], |row| Ok((row.get(0)?, row.get(1)?)));
                let stored = stored.optional().map_err(failed)?;
                let (position, version) = stored.unwrap_or_default();
                tip.insert(Tip { position, version, stored: stored.is_some() })
            }
        };
        if event.version != tip.version + 1 || event.position <= tip.position {
            return Err(StoreError::Corrupt(format!(
                "version {} of stream {} at position {} after version {} at position {}",
                event.version, event.stream, event.position, tip.version, tip.position
            )));
        }
        let back = if tip.version == 0 { 0 } else { event.position - tip.position };
        (tip.position, tip.version) = (event.position, event.version);
        insert
            .execute(params![
                packed(event.log, event.position)?,
                event.stream,
                event.version,
                back,
                event.kind,
                event.schema,
                event.recorded_at,
                event.data,
                &*event.cause,
                &event.link.0[..]
            ])
            .map_err(failed)?;
    }
    move_tips(connection, tips)
}

/// Writes tips in the order of their keys, so that those of one page are written together.
fn move_tips(connection: &Connection, tips: HashMap<i64, Tip>) -> Result<(), StoreError> {
    let failed = while_doing("moving the tips of streams");
    let mut insert = connection
        .prepare_cached("insert into stream_tip (stream, position, version) values (?1, ?2, ?3)")
        .map_err(failed)?;
    let mut update = connection
        .prepare_cached("update stream_tip set position = ?2, version = ?3 where stream = ?1")
        .map_err(failed)?;
    let mut tips: Vec<(i64, Tip)> = tips.into_iter().collect();
    tips.sort_unstable_by_key(|(stream, _)| *stream);
    for (stream, tip) in tips {
        let statement = if tip.stored { &mut update } else { &mut insert };
        statement.execute(params![stream, tip.position, tip.version]).map_err(failed)?;
    }
    Ok(())
}
