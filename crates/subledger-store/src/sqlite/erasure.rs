//! Forgetting people: deleting sealed rows, and making sure that the file forgets them, too.

use rusqlite::{Connection, params};
use sqlx::SqliteConnection;
use subledger_domain::LogName;

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{ContentKey, bytes},
};

/// Deletes openids, as (log id, subject).
pub(crate) fn forget_identities(connection: &Connection, keys: &[(i64, [u8; 16])]) -> Result<(), StoreError> {
    let failed = while_doing("erasing openids");
    let mut statement =
        connection.prepare_cached("delete from identity where log = ?1 and subject = ?2").map_err(failed)?;
    for (log, subject) in keys {
        statement.execute(params![log, &subject[..]]).map_err(failed)?;
    }
    Ok(())
}

/// Deletes userids.
pub(crate) fn forget_users(connection: &Connection, keys: &[[u8; 16]]) -> Result<(), StoreError> {
    let failed = while_doing("erasing userids");
    let mut statement =
        connection.prepare_cached("delete from user_identity where user_ref = ?1").map_err(failed)?;
    for user in keys {
        statement.execute(params![&user[..]]).map_err(failed)?;
    }
    Ok(())
}

/// Deletes contents.
pub(crate) fn forget_contents(connection: &Connection, keys: &[ContentKey]) -> Result<(), StoreError> {
    let failed = while_doing("erasing contents");
    let mut statement = connection
        .prepare_cached("delete from content where log = ?1 and message = ?2 and idx = ?3")
        .map_err(failed)?;
    for (log, message, index) in keys {
        statement.execute(params![log, &message[..], index]).map_err(failed)?;
    }
    Ok(())
}

/// Which contents of these messages are kept, as (message, index).
pub(crate) async fn kept_contents(
    connection: &mut SqliteConnection,
    log: &LogName,
    messages: &[[u8; 16]],
) -> Result<Vec<([u8; 16], i64)>, StoreError> {
    let (json, blob) = JsonRows::of(messages, |row, message| row.bytes(message)).into_parts();
    let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
        "select c.message, c.idx from json_each(?1) w
         cross join content c on c.log = (select id from head where name = ?3)
             and c.message = substr(?2, w.value ->> 0, w.value ->> 1)",
    )
    .bind(json)
    .bind(blob)
    .bind(log.as_str())
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking for contents"))?;
    rows.into_iter().map(|(message, index)| Ok((bytes(message)?, index))).collect()
}

/// Takes what was deleted out of the file: empties the write-ahead log into it and truncates the log; with `full`, writes
/// the whole file anew first. Answers whether the log is empty: a reader that stands in it keeps it for a moment.
pub(crate) async fn scrub(connection: &mut SqliteConnection, full: bool) -> Result<bool, StoreError> {
    let failed = while_doing("taking deleted rows out of the database file");
    if full {
        sqlx::query("vacuum").execute(&mut *connection).await.map_err(failed)?;
    }
    let (busy, _, _): (i64, i64, i64) =
        sqlx::query_as("pragma wal_checkpoint(truncate)").fetch_one(connection).await.map_err(failed)?;
    Ok(busy == 0)
}
