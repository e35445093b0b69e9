//! Deleting what was kept long enough. Every statement touches a bounded number of rows and finds them by an index.

use sqlx::PgConnection;

use super::column;
use crate::{
    StoreError,
    error::while_doing,
    rows::{ContentKey, HeldRow, bytes},
};

/// Up to `limit` contents after a key whose message is not known to have ended, by key, and whether it still has queue
/// rows.
pub(crate) async fn open_contents(
    connection: &mut PgConnection,
    after: &ContentKey,
    limit: i64,
) -> Result<Vec<(ContentKey, bool)>, StoreError> {
    let (log, message, index) = after;
    let rows: Vec<(i64, Vec<u8>, i64, bool)> = sqlx::query_as(
        "select c.log::bigint, c.message, c.idx,
                exists (select 1 from queue q where q.log = c.log and q.message = c.message)
         from content c where c.ended_at is null and (c.log, c.message, c.idx) > ($1, $2, $3)
         order by c.log, c.message, c.idx limit $4",
    )
    .bind(log)
    .bind(&message[..])
    .bind(index)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking for contents of ended messages"))?;
    rows.into_iter().map(|(log, message, index, waits)| Ok(((log, bytes(message)?, index), waits))).collect()
}

/// Notes that the messages of these contents have ended.
pub(crate) async fn mark_ended(
    connection: &mut PgConnection,
    keys: &[ContentKey],
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "update content c set ended_at = $4
         from unnest($1::bigint[], $2::bytea[], $3::bigint[]) as w (log, message, idx)
         where c.ended_at is null and c.log = w.log and c.message = w.message and c.idx = w.idx",
    )
    .bind(column(keys, |(log, _, _)| *log))
    .bind(column(keys, |(_, message, _)| &message[..]))
    .bind(column(keys, |(_, _, index)| *index))
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("noting that messages have ended"))?;
    Ok(())
}

/// Deletes up to `limit` contents whose message ended before a moment. Answers how many, and their bytes. Two nodes that
/// delete at once take different rows.
pub(crate) async fn delete_contents(
    connection: &mut PgConnection,
    before: i64,
    limit: i64,
) -> Result<(i64, i64), StoreError> {
    sqlx::query_as(
        "with gone as (
             delete from content where ctid = any (array(
                 select c.ctid from content c
                 where c.ended_at < $1
                   and not exists (select 1 from queue q where q.log = c.log and q.message = c.message)
                 order by c.ended_at limit $2 for update skip locked))
             returning octet_length(sealed) as bytes)
         select count(*), coalesce(sum(bytes), 0)::bigint from gone",
    )
    .bind(before)
    .bind(limit)
    .fetch_one(connection)
    .await
    .map_err(while_doing("deleting old contents"))
}

/// Deletes up to `limit` receipts of any log recorded before a moment. Answers how many, and their bytes. Two nodes that
/// delete at once take different rows.
pub(crate) async fn delete_receipts(
    connection: &mut PgConnection,
    before: i64,
    limit: i64,
) -> Result<(i64, i64), StoreError> {
    sqlx::query_as(
        "with gone as (
             delete from receipt where ctid = any (array(
                 select ctid from receipt where recorded_at < $1
                 order by recorded_at limit $2 for update skip locked))
             returning 32 + octet_length(outcome) as bytes)
         select count(*), coalesce(sum(bytes), 0)::bigint from gone",
    )
    .bind(before)
    .bind(limit)
    .fetch_one(connection)
    .await
    .map_err(while_doing("deleting old receipts"))
}

/// Deletes up to `limit` pushes of any log that came before a moment and are done with. Answers how many, and the bytes of
/// their bodies. Two nodes that delete at once take different rows.
pub(crate) async fn delete_pushes(
    connection: &mut PgConnection,
    before: i64,
    limit: i64,
) -> Result<(i64, i64), StoreError> {
    sqlx::query_as(
        "with gone as (
             delete from push where ctid = any (array(
                 select ctid from push where received_at < $1 and state <> 0 and relay not in (1, 2)
                 order by received_at limit $2 for update skip locked))
             returning octet_length(sealed) as bytes)
         select count(*), coalesce(sum(bytes), 0)::bigint from gone",
    )
    .bind(before)
    .bind(limit)
    .fetch_one(connection)
    .await
    .map_err(while_doing("deleting old pushes"))
}

/// Contents: how many are due and their bytes, how many belong to messages not known to have ended, and when the oldest
/// message ended whose contents stay.
pub(crate) async fn held_contents(connection: &mut PgConnection, before: i64) -> Result<HeldRow, StoreError> {
    sqlx::query_as(
        "select d.rows, d.bytes,
                (select count(*) from content where ended_at is null),
                (select min(ended_at) from content where ended_at >= $1)
         from (select count(*) as rows, coalesce(sum(octet_length(c.sealed)), 0)::bigint as bytes from content c
               where c.ended_at < $1
                 and not exists (select 1 from queue q where q.log = c.log and q.message = c.message)) d",
    )
    .bind(before)
    .fetch_one(connection)
    .await
    .map_err(while_doing("counting old contents"))
}

/// Receipts: how many are due and their bytes, 0, and when the oldest one was recorded that stays.
pub(crate) async fn held_receipts(connection: &mut PgConnection, before: i64) -> Result<HeldRow, StoreError> {
    sqlx::query_as(
        "select d.rows, d.bytes, 0::bigint, (select min(recorded_at) from receipt where recorded_at >= $1)
         from (select count(*) as rows,
                      coalesce(sum(32 + octet_length(outcome)), 0)::bigint
                          as bytes
               from receipt where recorded_at < $1) d",
    )
    .bind(before)
    .fetch_one(connection)
    .await
    .map_err(while_doing("counting old receipts"))
}

/// Pushes: how many are due and the bytes of their bodies, how many wait to be acted on or relayed, and when the oldest came
/// that is done with and stays.
pub(crate) async fn held_pushes(connection: &mut PgConnection, before: i64) -> Result<HeldRow, StoreError> {
    sqlx::query_as(
        "select d.rows, d.bytes,
                (select count(*) from push where state = 0 and state in (0, 3, 4))
                    + (select count(*) from head h join push p on p.log = h.id
                       where p.relay in (1, 2) and p.relay <> 0 and p.state <> 0),
                (select min(received_at) from push
                 where received_at >= $1 and state <> 0 and relay not in (1, 2))
         from (select count(*) as rows, coalesce(sum(octet_length(sealed)), 0)::bigint as bytes from push
               where received_at < $1 and state <> 0 and relay not in (1, 2)) d",
    )
    .bind(before)
    .fetch_one(connection)
    .await
    .map_err(while_doing("counting old pushes"))
}
