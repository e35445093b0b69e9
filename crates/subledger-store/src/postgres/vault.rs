//! Sealed rows. This module never sees what is sealed.

use sqlx::PgConnection;
use subledger_domain::LogName;

use super::column;
use crate::{
    StoreError,
    error::while_doing,
    rows::{SealedRow, bytes},
};

/// Keeps identities; one that is kept already stays.
pub(crate) async fn keep_identities(
    connection: &mut PgConnection,
    rows: &[SealedRow],
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into identity (log, subject, sealed, kept_at)
         select w.log, w.subject, w.sealed, $4
         from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as w (log, subject, sealed) order by 1, 2
         on conflict (log, subject) do nothing",
    )
    .bind(column(rows, |row| row.log))
    .bind(column(rows, |row| &row.key[..]))
    .bind(column(rows, |row| &row.sealed[..]))
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("keeping openids"))?;
    Ok(())
}

/// Keeps users' identities; one that is kept already stays.
pub(crate) async fn keep_users(
    connection: &mut PgConnection,
    rows: &[SealedRow],
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into user_identity (user_ref, sealed, kept_at)
         select w.user_ref, w.sealed, $3 from unnest($1::bytea[], $2::bytea[]) as w (user_ref, sealed) order by 1
         on conflict (user_ref) do nothing",
    )
    .bind(column(rows, |row| &row.key[..]))
    .bind(column(rows, |row| &row.sealed[..]))
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("keeping userids"))?;
    Ok(())
}

/// Keeps contents; what is kept already stays.
pub(crate) async fn keep_contents(
    connection: &mut PgConnection,
    rows: &[SealedRow],
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into content (log, message, idx, sealed, kept_at)
         select w.log, w.message, w.idx, w.sealed, $5
         from unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bytea[]) as w (log, message, idx, sealed)
         on conflict (log, message, idx) do nothing",
    )
    .bind(column(rows, |row| row.log))
    .bind(column(rows, |row| &row.key[..]))
    .bind(column(rows, |row| row.index))
    .bind(column(rows, |row| &row.sealed[..]))
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("keeping contents"))?;
    Ok(())
}

/// Keeps secrets; a reference that is taken is an error.
pub(crate) async fn keep_secrets(
    connection: &mut PgConnection,
    rows: &[(String, Vec<u8>)],
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into secret (reference, sealed, kept_at)
         select w.reference, w.sealed, $3 from unnest($1::text[], $2::bytea[]) as w (reference, sealed)",
    )
    .bind(column(rows, |(reference, _)| reference.as_str()))
    .bind(column(rows, |(_, sealed)| &sealed[..]))
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("keeping secrets"))?;
    Ok(())
}

/// The sealed openids of these subjects.
pub(crate) async fn identities(
    connection: &mut PgConnection,
    log: &LogName,
    subjects: &[[u8; 16]],
) -> Result<Vec<([u8; 16], Vec<u8>)>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "select i.subject, i.sealed from unnest($2::bytea[]) as w (subject)
         join identity i on i.log = (select id from head where name = $1) and i.subject = w.subject",
    )
    .bind(log.as_str())
    .bind(column(subjects, |subject| &subject[..]))
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading openids"))?;
    rows.into_iter().map(|(key, sealed)| Ok((bytes(key)?, sealed))).collect()
}

/// The sealed userids of these references.
pub(crate) async fn users(
    connection: &mut PgConnection,
    users: &[[u8; 16]],
) -> Result<Vec<([u8; 16], Vec<u8>)>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "select u.user_ref, u.sealed from unnest($1::bytea[]) as w (user_ref)
         join user_identity u on u.user_ref = w.user_ref",
    )
    .bind(column(users, |user| &user[..]))
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading userids"))?;
    rows.into_iter().map(|(key, sealed)| Ok((bytes(key)?, sealed))).collect()
}

/// The sealed contents under these (message, index).
pub(crate) async fn contents(
    connection: &mut PgConnection,
    log: &LogName,
    keys: &[([u8; 16], i64)],
) -> Result<Vec<([u8; 16], i64, Vec<u8>)>, StoreError> {
    let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = sqlx::query_as(
        "select c.message, c.idx, c.sealed from unnest($2::bytea[], $3::bigint[]) as w (message, idx)
         join content c on c.log = (select id from head where name = $1)
             and c.message = w.message and c.idx = w.idx",
    )
    .bind(log.as_str())
    .bind(column(keys, |(key, _)| &key[..]))
    .bind(column(keys, |(_, index)| *index))
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading contents"))?;
    rows.into_iter().map(|(key, index, sealed)| Ok((bytes(key)?, index, sealed))).collect()
}

/// The sealed secret under a reference.
pub(crate) async fn secret(
    connection: &mut PgConnection,
    reference: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    sqlx::query_scalar("select sealed from secret where reference = $1")
        .bind(reference)
        .fetch_optional(connection)
        .await
        .map_err(while_doing("reading a secret"))
}

/// The sealed secrets under these references, each with when it was kept.
pub(crate) async fn secrets(
    connection: &mut PgConnection,
    references: &[&str],
) -> Result<Vec<(String, Vec<u8>, i64)>, StoreError> {
    sqlx::query_as("select reference, sealed, kept_at from secret where reference = any ($1::text[])")
        .bind(references)
        .fetch_all(connection)
        .await
        .map_err(while_doing("reading secrets"))
}
