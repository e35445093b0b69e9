//! Sealed rows. This module never sees what is sealed.

use rusqlite::{Connection, params};
use sqlx::SqliteConnection;
use subledger_domain::LogName;

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{SealedRow, bytes},
};

/// Keeps identities; one that is kept already stays.
pub(crate) fn keep_identities(
    connection: &Connection,
    rows: &[SealedRow],
    now: i64,
) -> Result<(), StoreError> {
    let failed = while_doing("keeping openids");
    let mut statement = connection
        .prepare_cached(
            "insert into identity (log, subject, sealed, kept_at) values (?1, ?2, ?3, ?4)
             on conflict (log, subject) do nothing",
        )
        .map_err(failed)?;
    for row in rows {
        statement.execute(params![row.log, &row.key[..], row.sealed, now]).map_err(failed)?;
    }
    Ok(())
}

/// Keeps users' identities; one that is kept already stays.
pub(crate) fn keep_users(connection: &Connection, rows: &[SealedRow], now: i64) -> Result<(), StoreError> {
    let failed = while_doing("keeping userids");
    let mut statement = connection
        .prepare_cached(
            "insert into user_identity (user_ref, sealed, kept_at) values (?1, ?2, ?3)
             on conflict (user_ref) do nothing",
        )
        .map_err(failed)?;
    for row in rows {
        statement.execute(params![&row.key[..], row.sealed, now]).map_err(failed)?;
    }
    Ok(())
}

/// Keeps contents; what is kept already stays.
pub(crate) fn keep_contents(connection: &Connection, rows: &[SealedRow], now: i64) -> Result<(), StoreError> {
    let failed = while_doing("keeping contents");
    let mut statement = connection
        .prepare_cached(
            "insert into content (log, message, idx, sealed, kept_at) values (?1, ?2, ?3, ?4, ?5)
             on conflict (log, message, idx) do nothing",
        )
        .map_err(failed)?;
    for row in rows {
        statement.execute(params![row.log, &row.key[..], row.index, row.sealed, now]).map_err(failed)?;
    }
    Ok(())
}

/// Keeps secrets; a reference that is taken is an error.
pub(crate) fn keep_secrets(
    connection: &Connection,
    rows: &[(String, Vec<u8>)],
    now: i64,
) -> Result<(), StoreError> {
    let failed = while_doing("keeping secrets");
    let mut statement = connection
        .prepare_cached("insert into secret (reference, sealed, kept_at) values (?1, ?2, ?3)")
        .map_err(failed)?;
    for (reference, sealed) in rows {
        statement.execute(params![reference, sealed, now]).map_err(failed)?;
    }
    Ok(())
}

/// The sealed openids of these subjects.
pub(crate) async fn identities(
    connection: &mut SqliteConnection,
    log: &LogName,
    subjects: &[[u8; 16]],
) -> Result<Vec<([u8; 16], Vec<u8>)>, StoreError> {
    let (json, blob) = JsonRows::of(subjects, |row, subject| row.bytes(subject)).into_parts();
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "select i.subject, i.sealed from json_each(?1) w
         cross join identity i on i.log = (select id from head where name = ?3)
             and i.subject = substr(?2, w.value ->> 0, w.value ->> 1)",
    )
    .bind(json)
    .bind(blob)
    .bind(log.as_str())
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading openids"))?;
    rows.into_iter().map(|(key, sealed)| Ok((bytes(key)?, sealed))).collect()
}

/// The sealed userids of these references.
pub(crate) async fn users(
    connection: &mut SqliteConnection,
    users: &[[u8; 16]],
) -> Result<Vec<([u8; 16], Vec<u8>)>, StoreError> {
    let (json, blob) = JsonRows::of(users, |row, user| row.bytes(user)).into_parts();
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "select u.user_ref, u.sealed from json_each(?1) w
         cross join user_identity u on u.user_ref = substr(?2, w.value ->> 0, w.value ->> 1)",
    )
    .bind(json)
    .bind(blob)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading userids"))?;
    rows.into_iter().map(|(key, sealed)| Ok((bytes(key)?, sealed))).collect()
}

/// The sealed contents under these (message, index).
pub(crate) async fn contents(
    connection: &mut SqliteConnection,
    log: &LogName,
    keys: &[([u8; 16], i64)],
) -> Result<Vec<([u8; 16], i64, Vec<u8>)>, StoreError> {
    let (json, blob) = JsonRows::of(keys, |row, (key, index)| row.int(*index).bytes(key)).into_parts();
    let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = sqlx::query_as(
        "select c.message, c.idx, c.sealed from json_each(?1) w
         cross join content c on c.log = (select id from head where name = ?3)
             and c.message = substr(?2, w.value ->> 1, w.value ->> 2) and c.idx = w.value ->> 0",
    )
    .bind(json)
    .bind(blob)
    .bind(log.as_str())
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading contents"))?;
    rows.into_iter().map(|(key, index, sealed)| Ok((bytes(key)?, index, sealed))).collect()
}

/// The sealed secret under a reference.
pub(crate) async fn secret(
    connection: &mut SqliteConnection,
    reference: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    sqlx::query_scalar("select sealed from secret where reference = ?1")
        .bind(reference)
        .fetch_optional(connection)
        .await
        .map_err(while_doing("reading a secret"))
}

/// The sealed secrets under these references, each with when it was kept.
pub(crate) async fn secrets(
    connection: &mut SqliteConnection,
    references: &[&str],
) -> Result<Vec<(String, Vec<u8>, i64)>, StoreError> {
    sqlx::query_as(
        "select s.reference, s.sealed, s.kept_at from json_each(?1) w cross join secret s on s.reference = w.value ->> 0",
    )
    .bind(JsonRows::of(references, |row, reference| row.text(reference)).into_text())
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading secrets"))
}
