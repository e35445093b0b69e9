//! Forgetting people: deleting sealed rows, and making sure that the tables forget them, too.

use sqlx::PgConnection;
use subledger_domain::LogName;

use super::column;
use crate::{
    StoreError,
    error::while_doing,
    rows::{ContentKey, bytes},
};

/// Deletes openids, as (log id, subject).
pub(crate) async fn forget_identities(
    connection: &mut PgConnection,
    keys: &[(i64, [u8; 16])],
) -> Result<(), StoreError> {
    sqlx::query(
        "delete from identity i using unnest($1::bigint[], $2::bytea[]) as w (log, subject)
         where i.log = w.log and i.subject = w.subject",
    )
    .bind(column(keys, |(log, _)| *log))
    .bind(column(keys, |(_, subject)| &subject[..]))
    .execute(connection)
    .await
    .map_err(while_doing("erasing openids"))?;
    Ok(())
}

/// Deletes userids.
pub(crate) async fn forget_users(
    connection: &mut PgConnection,
    users: &[[u8; 16]],
) -> Result<(), StoreError> {
    sqlx::query("delete from user_identity where user_ref = any ($1::bytea[])")
        .bind(column(users, |user| &user[..]))
        .execute(connection)
        .await
        .map_err(while_doing("erasing userids"))?;
    Ok(())
}

/// Deletes contents.
pub(crate) async fn forget_contents(
    connection: &mut PgConnection,
    keys: &[ContentKey],
) -> Result<(), StoreError> {
    sqlx::query(
        "delete from content c using unnest($1::bigint[], $2::bytea[], $3::bigint[]) as w (log, message, idx)
         where c.log = w.log and c.message = w.message and c.idx = w.idx",
    )
    .bind(column(keys, |(log, _, _)| *log))
    .bind(column(keys, |(_, message, _)| &message[..]))
    .bind(column(keys, |(_, _, index)| *index))
    .execute(connection)
    .await
    .map_err(while_doing("erasing contents"))?;
    Ok(())
}

/// Which contents of these messages are kept, as (message, index).
pub(crate) async fn kept_contents(
    connection: &mut PgConnection,
    log: &LogName,
    messages: &[[u8; 16]],
) -> Result<Vec<([u8; 16], i64)>, StoreError> {
    let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
        "select c.message, c.idx from content c
         where c.log = (select id from head where name = $1) and c.message = any ($2::bytea[])",
    )
    .bind(log.as_str())
    .bind(column(messages, |message| &message[..]))
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking for contents"))?;
    rows.into_iter().map(|(message, index)| Ok((bytes(message)?, index))).collect()
}

/// Takes deleted rows out of the tables of the vaults; with `full`, writes these tables anew, which locks them meanwhile.
pub(crate) async fn scrub(connection: &mut PgConnection, full: bool) -> Result<bool, StoreError> {
    let statement = if full {
        "vacuum (full) identity, user_identity, content, push"
    } else {
        "vacuum identity, user_identity, content, push"
    };
    sqlx::query(statement)
        .execute(connection)
        .await
        .map_err(while_doing("taking deleted rows out of the tables"))?;
    Ok(true)
}
