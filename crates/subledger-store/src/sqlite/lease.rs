//! Leases. Time is what the caller says: there is one process.

use sqlx::SqliteConnection;

use crate::{StoreError, error::while_doing, json_rows::JsonRows, rows::LeaseColumns};

/// Takes the leases with these names (sorted, each once) that are free, run out or the holder's own; (name, token) of each.
pub(crate) async fn acquire(
    connection: &mut SqliteConnection,
    names: &[&str],
    holder: &str,
    ttl: i64,
    now: i64,
) -> Result<Vec<LeaseColumns>, StoreError> {
    sqlx::query_as(
        "insert into lease (name, holder, token, until)
         select value ->> 0, ?2, 1, ?4 + ?3 from json_each(?1) where true
         on conflict (name) do update set
             token = token + (holder <> excluded.holder), holder = excluded.holder, until = excluded.until
             where holder = excluded.holder or until <= ?4
         returning name, token",
    )
    .bind(JsonRows::of(names, |row, name| row.text(name)).into_text())
    .bind(holder)
    .bind(ttl)
    .bind(now)
    .fetch_all(connection)
    .await
    .map_err(while_doing("taking leases"))
}

/// Prolongs a lease, unless it was released or somebody else has it.
pub(crate) async fn renew(
    connection: &mut SqliteConnection,
    name: &str,
    holder: &str,
    token: i64,
    ttl: i64,
    now: i64,
) -> Result<bool, StoreError> {
    let renewed = sqlx::query(
        "update lease set until = ?5 + ?4 where name = ?1 and holder = ?2 and token = ?3 and until > 0",
    )
    .bind(name)
    .bind(holder)
    .bind(token)
    .bind(ttl)
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("renewing a lease"))?;
    Ok(renewed.rows_affected() == 1)
}

/// Ends leases, given as (name, holder, token), that are still as they are believed to be.
pub(crate) async fn release(
    connection: &mut SqliteConnection,
    leases: &[(&str, &str, i64)],
) -> Result<(), StoreError> {
    let json = JsonRows::of(leases, |row, (name, holder, token)| row.text(name).text(holder).int(*token))
        .into_text();
    sqlx::query(
        "update lease set until = 0 from json_each(?1) w
         where name = w.value ->> 0 and holder = w.value ->> 1 and token = w.value ->> 2",
    )
    .bind(json)
    .execute(connection)
    .await
    .map_err(while_doing("releasing leases"))?;
    Ok(())
}
