//! The writes of a batch to the log proper: heads, streams, events, receipts, snapshots, in one statement.
//!
//! Rows travel as arrays of the composite types that the migrations make for them: one `unnest` of such an array costs
//! the server half as much as one of an array per column.

use sqlx::{PgConnection, error::BoxDynError, postgres::PgDatabaseError};

use super::{Columns, Composite, column, composites};
use crate::{
    StoreError,
    database::NotWritten,
    error::while_doing,
    rows::{EventWrite, ReceiptRow, StreamWrite, Writes},
};

/// What PostgreSQL says to a division by zero: how the statement below takes itself back.
const DIVISION_BY_ZERO: &str = "22012";
/// What it says to a key that is there already.
const UNIQUE_VIOLATION: &str = "23505";

/// Writes heads, streams, events, receipts and snapshots, if every head stands where it is believed to and no receipt is there yet.
/// Otherwise the statement fails and leaves nothing behind.
///
/// The heads are locked in order of id before they are moved, so that two nodes that write to the same logs never wait for
/// each other in a circle.
pub(crate) async fn write_log(connection: &mut PgConnection, writes: &Writes) -> Result<(), NotWritten> {
    let Writes { heads, checks, new_streams, events, receipts, snapshots, .. } = writes;
    let written = sqlx::query(
        "with w as (
             select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
                                  $6::bigint[], $7::bigint[], $8::bytea[])
                 as w (id, position_before, epoch_before, position, epoch, streams, recorded_at, link)),
         locked as materialized (
             select h.id from head h join w on h.id = w.id
             where h.position = w.position_before and h.epoch = w.epoch_before
             order by h.id for update of h),
         moved as (
             update head h set position = w.position, epoch = w.epoch, streams = w.streams,
                 recorded_at = w.recorded_at, link = w.link
             from w join locked l on l.id = w.id
             where h.id = w.id and h.position = w.position_before and h.epoch = w.epoch_before
             returning h.id),
         s as (
             insert into stream (number, log, name) select * from unnest($9::stream_row[])),
         e as (
             insert into event (position, stream, recorded_at, log, version, kind, schema, data, cause, link)
             select * from unnest($10::event_row[])),
         r as (
             insert into receipt (position, recorded_at, log, key, fingerprint, outcome)
             select * from unnest($11::receipt_row[])),
         n as (
             insert into snapshot (stream, version, log, state)
             select * from unnest($12::snapshot_row[])
             on conflict (log, stream) do update set version = excluded.version, state = excluded.state)
         select 1 / case when (select count(*) from moved) = $13
             and (select count(*) from unnest($14::bigint[], $15::bigint[], $16::bigint[]) as c (id, position, epoch)
                  join head h on h.id = c.id and h.position = c.position and h.epoch = c.epoch) = $17
             then 1 else 0 end",
    )
    .bind(column(heads, |head| head.id))
    .bind(column(heads, |head| head.position_before))
    .bind(column(heads, |head| head.epoch_before))
    .bind(column(heads, |head| head.position))
    .bind(column(heads, |head| head.epoch))
    .bind(column(heads, |head| head.streams))
    .bind(column(heads, |head| head.recorded_at))
    .bind(column(heads, |head| &head.link.0[..]))
    .bind(composites(new_streams))
    .bind(composites(events))
    .bind(composites(receipts))
    .bind(composites(snapshots))
    .bind(i64::try_from(heads.len()).unwrap_or(i64::MAX))
    .bind(column(checks, |check| check.id))
    .bind(column(checks, |check| check.position))
    .bind(column(checks, |check| check.epoch))
    .bind(i64::try_from(checks.len()).unwrap_or(i64::MAX))
    .fetch_one(connection)
    .await;
    match written {
        Ok(_) => Ok(()),
        Err(error) if is(&error, DIVISION_BY_ZERO, None) => Err(NotWritten::Displaced),
        Err(error) if is(&error, UNIQUE_VIOLATION, Some("receipt_pkey")) => Err(NotWritten::Repeated),
        Err(error) => Err(while_doing("writing a batch")(error).into()),
    }
}

impl Composite for StreamWrite {
    const TYPE: &'static str = "stream_row";
    const COLUMNS: i32 = 3;

    fn columns(&self, columns: Columns<'_>) -> Result<(), BoxDynError> {
        columns.bigint(self.number)?.integer(self.log)?.text(self.name.as_str())?;
        Ok(())
    }
}

impl Composite for EventWrite {
    const TYPE: &'static str = "event_row";
    const COLUMNS: i32 = 10;

    fn columns(&self, columns: Columns<'_>) -> Result<(), BoxDynError> {
        columns
            .bigint(self.position)?
            .bigint(self.stream)?
            .bigint(self.recorded_at)?
            .integer(self.log)?
            .integer(self.version)?
            .smallint(self.kind)?
            .smallint(self.schema)?
            .text(&self.data)?
            .text(&self.cause)?
            .bytea(&self.link.0)?;
        Ok(())
    }
}

impl Composite for ReceiptRow {
    const TYPE: &'static str = "receipt_row";
    const COLUMNS: i32 = 6;

    fn columns(&self, columns: Columns<'_>) -> Result<(), BoxDynError> {
        columns
            .bigint(self.position)?
            .bigint(self.recorded_at)?
            .integer(self.log)?
            .uuid(&self.key)?
            .uuid(&self.fingerprint)?
            .text(&self.outcome)?;
        Ok(())
    }
}

fn is(error: &sqlx::Error, code: &str, constraint: Option<&str>) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| {
        error.code() == code && (constraint.is_none() || error.constraint() == constraint)
    })
}

impl From<StoreError> for NotWritten {
    fn from(error: StoreError) -> Self {
        Self::Failed { error, committing: false }
    }
}
