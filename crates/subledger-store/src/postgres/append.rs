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

/// The part of both statements that adds rows.
macro_rules! rows {
    () => {
        "s as (
             insert into stream (number, log, name) select * from unnest($1::stream_row[])),
         e as (
             insert into event (position, stream, recorded_at, log, version, kind, schema, data, cause, link)
             select * from unnest($2::event_row[])),
         r as (
             insert into receipt (position, recorded_at, log, key, fingerprint, outcome)
             select * from unnest($3::receipt_row[])),
         n as (
             insert into snapshot (stream, version, log, state)
             select * from unnest($4::snapshot_row[])
             on conflict (log, stream) do update set version = excluded.version, state = excluded.state)"
    };
}

/// For a batch that moves one head and rests on no other, as most do: what the other statement needs to bring heads into order
/// costs as much as several events.
const ONE_LOG: &str = concat!(
    "with moved as (
         update head set position = $8, epoch = $9, streams = $10, recorded_at = $11, link = $12
         where id = $5 and position = $6 and epoch = $7 returning id),
     ",
    rows!(),
    " select 1 / (select count(*) from moved)"
);

/// For any batch. The heads are locked in order of id before they are moved, so that two nodes that write to the same logs never
/// wait for each other in a circle.
const ANY_LOGS: &str = concat!(
    "with w as (
         select * from unnest($5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
                              $10::bigint[], $11::bigint[], $12::bytea[])
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
     ",
    rows!(),
    " select 1 / case when (select count(*) from moved) = $13
         and (select count(*) from unnest($14::bigint[], $15::bigint[], $16::bigint[]) as c (id, position, epoch)
              join head h on h.id = c.id and h.position = c.position and h.epoch = c.epoch) = $17
         then 1 else 0 end"
);

/// Writes heads, streams, events, receipts and snapshots, if every head stands where it is believed to and no receipt is there
/// yet. Otherwise the statement fails and leaves nothing behind.
pub(crate) async fn write_log(connection: &mut PgConnection, writes: &Writes) -> Result<(), NotWritten> {
    let Writes { heads, checks, new_streams, events, receipts, snapshots, .. } = writes;
    let statement = match (heads.as_slice(), checks.as_slice()) {
        ([_], []) => ONE_LOG,
        _ => ANY_LOGS,
    };
    let statement = sqlx::query(statement)
        .bind(composites(new_streams))
        .bind(composites(events))
        .bind(composites(receipts))
        .bind(composites(snapshots));
    let statement = match (heads.as_slice(), checks.as_slice()) {
        ([head], []) => statement
            .bind(head.id)
            .bind(head.position_before)
            .bind(head.epoch_before)
            .bind(head.position)
            .bind(head.epoch)
            .bind(head.streams)
            .bind(head.recorded_at)
            .bind(&head.link.0[..]),
        _ => statement
            .bind(column(heads, |head| head.id))
            .bind(column(heads, |head| head.position_before))
            .bind(column(heads, |head| head.epoch_before))
            .bind(column(heads, |head| head.position))
            .bind(column(heads, |head| head.epoch))
            .bind(column(heads, |head| head.streams))
            .bind(column(heads, |head| head.recorded_at))
            .bind(column(heads, |head| &head.link.0[..]))
            .bind(i64::try_from(heads.len()).unwrap_or(i64::MAX))
            .bind(column(checks, |check| check.id))
            .bind(column(checks, |check| check.position))
            .bind(column(checks, |check| check.epoch))
            .bind(i64::try_from(checks.len()).unwrap_or(i64::MAX)),
    };
    match statement.fetch_one(connection).await {
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
