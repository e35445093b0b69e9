//! The writes of a batch to the log proper: heads, streams, events, receipts, in one statement.

use sqlx::{PgConnection, postgres::PgDatabaseError};

use super::{column, receipt::Uuid};
use crate::{StoreError, database::NotWritten, error::while_doing, rows::Writes};

/// What PostgreSQL says to a division by zero: how the statement below takes itself back.
const DIVISION_BY_ZERO: &str = "22012";
/// What it says to a key that is there already.
const UNIQUE_VIOLATION: &str = "23505";

/// Writes heads, streams, events and receipts, if every head stands where it is believed to and no receipt is there yet.
/// Otherwise the statement fails and leaves nothing behind.
///
/// The heads are locked in order of id before they are moved, so that two nodes that write to the same logs never wait for
/// each other in a circle.
pub(crate) async fn write_log(connection: &mut PgConnection, writes: &Writes) -> Result<(), NotWritten> {
    let Writes { heads, checks, new_streams: streams, events, receipts, .. } = writes;
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
             insert into stream (log, number, name)
             select * from unnest($9::bigint[], $10::bigint[], $11::text[])),
         e as (
             insert into event (log, position, stream, version, kind, schema, recorded_at, data, cause, link)
             select * from unnest($12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::smallint[],
                                  $17::smallint[], $18::bigint[], $19::text[], $20::text[], $21::bytea[])),
         r as (
             insert into receipt (log, key, fingerprint, outcome, position, recorded_at)
             select * from unnest($22::bigint[], $23::uuid[], $24::uuid[], $25::text[], $26::bigint[],
                                  $27::bigint[]))
         select 1 / case when (select count(*) from moved) = $28
             and (select count(*) from unnest($29::bigint[], $30::bigint[], $31::bigint[]) as c (id, position, epoch)
                  join head h on h.id = c.id and h.position = c.position and h.epoch = c.epoch) = $32
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
    .bind(column(streams, |stream| stream.log))
    .bind(column(streams, |stream| stream.number))
    .bind(column(streams, |stream| stream.name.as_str()))
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
    .bind(column(receipts, |receipt| receipt.log))
    .bind(column(receipts, |receipt| Uuid(receipt.key)))
    .bind(column(receipts, |receipt| Uuid(receipt.fingerprint)))
    .bind(column(receipts, |receipt| &*receipt.outcome))
    .bind(column(receipts, |receipt| receipt.position))
    .bind(column(receipts, |receipt| receipt.recorded_at))
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
