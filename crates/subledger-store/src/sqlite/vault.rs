//! Sealed rows. This module never sees what is sealed.

use sqlx::SqliteConnection;
use subledger_domain::LogName;

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{SealedRow, bytes},
    vault::SealedDeployment,
};

/// Keeps a new deployment's secret unless there is one, and answers with the one that is kept.
pub(crate) async fn deployment(
    connection: &mut SqliteConnection,
    fresh: &SealedDeployment,
    now: i64,
) -> Result<SealedDeployment, StoreError> {
    let failed = while_doing("reading the deployment's secret");
    sqlx::query(
        "insert into deployment (id, secret, canary, created_at) values (1, ?1, ?2, ?3)
         on conflict (id) do nothing",
    )
    .bind(&fresh.secret)
    .bind(&fresh.canary)
    .bind(now)
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    let (secret, canary) = sqlx::query_as("select secret, canary from deployment where id = 1")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    Ok(SealedDeployment { secret, canary })
}

/// Keeps identities; one that is kept already stays.
pub(crate) async fn keep_identities(
    connection: &mut SqliteConnection,
    rows: &[SealedRow],
    now: i64,
) -> Result<(), StoreError> {
    let (json, blob) =
        JsonRows::of(rows, |row, sealed| row.int(sealed.log).bytes(&sealed.key).bytes(&sealed.sealed))
            .into_parts();
    sqlx::query(
        "insert into identity (log, subject, sealed, kept_at)
         select value ->> 0, substr(?2, value ->> 1, value ->> 2), substr(?2, value ->> 3, value ->> 4), ?3
         from json_each(?1) where true
         on conflict (log, subject) do nothing",
    )
    .bind(json)
    .bind(blob)
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("keeping openids"))?;
    Ok(())
}

/// Keeps users' identities; one that is kept already stays.
pub(crate) async fn keep_users(
    connection: &mut SqliteConnection,
    rows: &[SealedRow],
    now: i64,
) -> Result<(), StoreError> {
    let (json, blob) =
        JsonRows::of(rows, |row, sealed| row.bytes(&sealed.key).bytes(&sealed.sealed)).into_parts();
    sqlx::query(
        "insert into user_identity (user_ref, sealed, kept_at)
         select substr(?2, value ->> 0, value ->> 1), substr(?2, value ->> 2, value ->> 3), ?3
         from json_each(?1) where true
         on conflict (user_ref) do nothing",
    )
    .bind(json)
    .bind(blob)
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("keeping userids"))?;
    Ok(())
}

/// Keeps contents; what is kept already stays.
pub(crate) async fn keep_contents(
    connection: &mut SqliteConnection,
    rows: &[SealedRow],
    now: i64,
) -> Result<(), StoreError> {
    let (json, blob) = JsonRows::of(rows, |row, sealed| {
        row.int(sealed.log).int(sealed.index).bytes(&sealed.key).bytes(&sealed.sealed)
    })
    .into_parts();
    sqlx::query(
        "insert into content (log, idx, message, sealed, kept_at)
         select value ->> 0, value ->> 1, substr(?2, value ->> 2, value ->> 3),
                substr(?2, value ->> 4, value ->> 5), ?3
         from json_each(?1) where true
         on conflict (log, message, idx) do nothing",
    )
    .bind(json)
    .bind(blob)
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("keeping contents"))?;
    Ok(())
}

/// Keeps secrets; a reference that is taken is an error.
pub(crate) async fn keep_secrets(
    connection: &mut SqliteConnection,
    rows: &[(String, Vec<u8>)],
    now: i64,
) -> Result<(), StoreError> {
    let (json, blob) =
        JsonRows::of(rows, |row, (reference, sealed)| row.text(reference).bytes(sealed)).into_parts();
    sqlx::query(
        "insert into secret (reference, sealed, kept_at)
         select value ->> 0, substr(?2, value ->> 1, value ->> 2), ?3 from json_each(?1)",
    )
    .bind(json)
    .bind(blob)
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("keeping secrets"))?;
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
