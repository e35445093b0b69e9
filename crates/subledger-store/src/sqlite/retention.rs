//! Deleting what was kept long enough. Every statement touches a bounded number of rows and finds them by an index.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

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

/// Deletes up to `limit` receipts of any log recorded before a moment. Answers how many, and their bytes. Receipts are
/// numbered as they come, so the oldest are the first.
pub(crate) async fn delete_receipts(
    connection: &mut SqliteConnection,
    before: i64,
    limit: i64,
) -> Result<(i64, i64), StoreError> {
    let failed = while_doing("deleting old receipts");
    let mut transaction = connection.begin_with("begin immediate").await.map_err(failed)?;
    let due = "with due (number) as
                   (select number from (select number, recorded_at from receipt order by number limit ?2)
                    where recorded_at < ?1)";
    let keys = format!(
        "{due} delete from receipt_key where (prefix, number) in
             (select substr(r.key, 1, 8), r.number from due cross join receipt r on r.number = due.number)"
    );
    let keys = sqlx::query(AssertSqlSafe(keys)).bind(before).bind(limit);
    keys.execute(&mut *transaction).await.map_err(failed)?;
    let rows = format!(
        "{due} delete from receipt where number in (select number from due)
         returning length(key) + length(cast(outcome as blob)) + length(fingerprint)"
    );
    let rows = sqlx::query_scalar(AssertSqlSafe(rows)).bind(before).bind(limit);
    let sizes: Vec<i64> = rows.fetch_all(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok((i64::try_from(sizes.len()).unwrap_or(i64::MAX), sizes.iter().sum()))
}

/// Deletes up to `limit` pushes of any log that came before a moment and are done with. Answers how many, and the bytes of
/// their bodies.
pub(crate) async fn delete_pushes(
    connection: &mut SqliteConnection,
    before: i64,
    limit: i64,
) -> Result<(i64, i64), StoreError> {
    let sizes: Vec<i64> = sqlx::query_scalar(
        "delete from push where place in
             (select place from push indexed by push_age
              where received_at < ?1 and state <> 0 and relay not in (1, 2) order by received_at limit ?2)
         returning length(sealed)",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("deleting old pushes"))?;
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
        "with stays (number, recorded_at) as materialized
             (select number, recorded_at from receipt where recorded_at >= ?1 order by number limit 1)
         select d.rows, d.bytes, 0, (select recorded_at from stays)
         from (select count(*) as rows,
                      coalesce(sum(length(key) + length(cast(outcome as blob)) + length(fingerprint)), 0)
                          as bytes
               from receipt where number < coalesce((select number from stays), 9223372036854775807)) d",
    )
    .bind(before)
    .fetch_one(connection)
    .await
    .map_err(while_doing("counting old receipts"))
}

/// Pushes: how many are due and the bytes of their bodies, how many wait to be acted on or relayed, and when the oldest came
/// that is done with and stays.
pub(crate) async fn held_pushes(
    connection: &mut SqliteConnection,
    before: i64,
) -> Result<HeldRow, StoreError> {
    sqlx::query_as(
        "select d.rows, d.bytes,
                (select count(*) from push indexed by push_odd where state = 0 and state in (0, 3, 4))
                    + (select count(*) from head h cross join push p indexed by push_relay
                       on p.log = h.id and p.relay in (1, 2) and p.relay <> 0 and p.state <> 0),
                (select min(received_at) from push indexed by push_age
                 where received_at >= ?1 and state <> 0 and relay not in (1, 2))
         from (select count(*) as rows, coalesce(sum(length(sealed)), 0) as bytes from push indexed by push_age
               where received_at < ?1 and state <> 0 and relay not in (1, 2)) d",
    )
    .bind(before)
    .fetch_one(connection)
    .await
    .map_err(while_doing("counting old pushes"))
}
