//! Deleting what was kept long enough. Every statement touches a bounded number of rows and finds them by an index.

use sqlx::SqliteConnection;

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{ContentKey, HeldRow, bytes},
};

/// Up to `limit` contents after a key whose message is not known to have ended, by key, and whether it still has queue
/// rows.
pub(crate) async fn open_contents(
    connection: &mut SqliteConnection,
    after: &ContentKey,
    limit: i64,
) -> Result<Vec<(ContentKey, bool)>, StoreError> {
    let (log, message, index) = after;
    let rows: Vec<(i64, Vec<u8>, i64, bool)> = sqlx::query_as(
        "select c.log, c.message, c.idx,
                exists (select 1 from queue q where q.log = c.log and q.message = c.message)
         from content c where c.ended_at is null and (c.log, c.message, c.idx) > (?1, ?2, ?3)
         order by c.log, c.message, c.idx limit ?4",
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
    connection: &mut SqliteConnection,
    keys: &[ContentKey],
    now: i64,
) -> Result<(), StoreError> {
    let (json, blob) =
        JsonRows::of(keys, |row, (log, message, index)| row.int(*log).int(*index).bytes(message))
            .into_parts();
    sqlx::query(
        "update content set ended_at = ?3 where ended_at is null and (log, message, idx) in
             (select value ->> 0, substr(?2, value ->> 2, value ->> 3), value ->> 1 from json_each(?1))",
    )
    .bind(json)
    .bind(blob)
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("noting that messages have ended"))?;
    Ok(())
}

/// Deletes up to `limit` contents whose message ended before a moment. Answers how many, and their bytes.
pub(crate) async fn delete_contents(
    connection: &mut SqliteConnection,
    before: i64,
    limit: i64,
) -> Result<(i64, i64), StoreError> {
    let sizes: Vec<i64> = sqlx::query_scalar(
        "delete from content where (log, message, idx) in
             (select c.log, c.message, c.idx from content c
              where c.ended_at < ?1
                and not exists (select 1 from queue q where q.log = c.log and q.message = c.message)
              order by c.ended_at limit ?2)
         returning length(sealed)",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("deleting old contents"))?;
    Ok((i64::try_from(sizes.len()).unwrap_or(i64::MAX), sizes.iter().sum()))
}

/// Deletes up to `limit` receipts of any log recorded before a moment. Answers how many, and their bytes.
pub(crate) async fn delete_receipts(
    connection: &mut SqliteConnection,
    before: i64,
    limit: i64,
) -> Result<(i64, i64), StoreError> {
    let sizes: Vec<i64> = sqlx::query_scalar(
        "delete from receipt where (log, key) in
             (select log, key from receipt where recorded_at < ?1 order by recorded_at limit ?2)
         returning length(key) + length(cast(outcome as blob)) + length(fingerprint)",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("deleting old receipts"))?;
    Ok((i64::try_from(sizes.len()).unwrap_or(i64::MAX), sizes.iter().sum()))
}

/// Contents: how many are due and their bytes, how many belong to messages not known to have ended, and when the oldest
/// message ended whose contents stay.
pub(crate) async fn held_contents(
    connection: &mut SqliteConnection,
    before: i64,
) -> Result<HeldRow, StoreError> {
    sqlx::query_as(
        "select d.rows, d.bytes,
                (select count(*) from content where ended_at is null),
                (select min(ended_at) from content where ended_at >= ?1)
         from (select count(*) as rows, coalesce(sum(length(c.sealed)), 0) as bytes from content c
               where c.ended_at < ?1
                 and not exists (select 1 from queue q where q.log = c.log and q.message = c.message)) d",
    )
    .bind(before)
    .fetch_one(connection)
    .await
    .map_err(while_doing("counting old contents"))
}

/// Receipts: how many are due and their bytes, 0, and when the oldest one was recorded that stays.
pub(crate) async fn held_receipts(
    connection: &mut SqliteConnection,
    before: i64,
) -> Result<HeldRow, StoreError> {
    sqlx::query_as(
        "select d.rows, d.bytes, 0, (select min(recorded_at) from receipt where recorded_at >= ?1)
         from (select count(*) as rows,
                      coalesce(sum(length(key) + length(cast(outcome as blob)) + length(fingerprint)), 0)
                          as bytes
               from receipt where recorded_at < ?1) d",
    )
    .bind(before)
    .fetch_one(connection)
    .await
    .map_err(while_doing("counting old receipts"))
}
