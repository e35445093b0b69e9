//! Leases. Time is the server's, read when a row is looked at and not when the transaction began: who waited for the row
//! must not judge it by an older clock.

use sqlx::PgConnection;

use super::column;
use crate::{StoreError, error::while_doing, rows::LeaseColumns};

/// Takes the leases with these names (sorted, each once) that are free, run out or the holder's own; (name, token) of each.
///
/// What somebody else holds is left out before the insert, so that asking again and again locks no row of his.
pub(crate) async fn acquire(
    connection: &mut PgConnection,
    names: &[&str],
    holder: &str,
    ttl: i64,
    _now: i64,
) -> Result<Vec<LeaseColumns>, StoreError> {
    sqlx::query_as(
        "insert into lease as l (name, holder, token, until)
         select w.name, $2, 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint + $3
         from unnest($1::text[]) as w (name)
         left join lease h on h.name = w.name
         where h.name is null or h.holder = $2
             or h.until <= (extract(epoch from clock_timestamp()) * 1000000)::bigint
         order by w.name
         on conflict (name) do update set
             token = l.token + (l.holder <> excluded.holder)::integer,
             holder = excluded.holder,
             until = (extract(epoch from clock_timestamp()) * 1000000)::bigint + $3
             where l.holder = excluded.holder
                 or l.until <= (extract(epoch from clock_timestamp()) * 1000000)::bigint
         returning l.name, l.token",
    )
    .bind(names)
    .bind(holder)
    .bind(ttl)
    .fetch_all(connection)
    .await
    .map_err(while_doing("taking leases"))
}

/// Prolongs a lease, unless it was released or somebody else has it.
pub(crate) async fn renew(
    connection: &mut PgConnection,
    name: &str,
    holder: &str,
    token: i64,
    ttl: i64,
    _now: i64,
) -> Result<bool, StoreError> {
    let renewed = sqlx::query(
        "update lease set until = (extract(epoch from clock_timestamp()) * 1000000)::bigint + $4
         where name = $1 and holder = $2 and token = $3 and until > 0",
    )
    .bind(name)
    .bind(holder)
    .bind(token)
    .bind(ttl)
    .execute(connection)
    .await
    .map_err(while_doing("renewing a lease"))?;
    Ok(renewed.rows_affected() == 1)
}

/// Ends leases, given as (name, holder, token), that are still as they are believed to be.
pub(crate) async fn release(
    connection: &mut PgConnection,
    leases: &[(&str, &str, i64)],
) -> Result<(), StoreError> {
    sqlx::query(
        "update lease l set until = 0
         from unnest($1::text[], $2::text[], $3::bigint[]) as w (name, holder, token)
         where l.name = w.name and l.holder = w.holder and l.token = w.token",
    )
    .bind(column(leases, |(name, ..)| *name))
    .bind(column(leases, |(_, holder, _)| *holder))
    .bind(column(leases, |(.., token)| *token))
    .execute(connection)
    .await
    .map_err(while_doing("releasing leases"))?;
    Ok(())
}
