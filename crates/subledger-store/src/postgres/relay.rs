//! The relay's queue: pushes on their way to the integrator's back end.
//!
//! Leases run on database time. It is read as the time of the statement, which unlike `clock_timestamp()` an index can be
//! searched by; every such statement follows the lock it may have to wait for.

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use subledger_domain::LogName;

use super::{column, push::columns};
use crate::{
    PushFilter, StoreError,
    error::while_doing,
    rows::push::{DueRelay, PushColumns, RelayBounds, RelayWrite, conditions},
};

/// The class of the advisory lock between claims, which take it alone, and ends of leases, which share it: a claim that did
/// not see such an end would have the next push of that subject wait for it for ever.
const RELAY_LOCK: i32 = 0x5ab2;

/// Leases what is due and first of its subject, as far as the bounds go, among the `look` rows that are due the longest and of
/// no log that is full. Rows that are not first lose their time until the one before them has ended. Answers with what was
/// leased, and how many rows were looked at.
pub(crate) async fn claim(
    pool: &PgPool,
    node: &str,
    look: i64,
    bounds: &mut RelayBounds,
    lease: i64,
    _now: i64,
) -> Result<(Vec<PushColumns>, usize), StoreError> {
    let failed = while_doing("claiming pushes to relay");
    let mut transaction = pool.begin().await.map_err(failed)?;
    sqlx::query("select pg_advisory_xact_lock($1, 0)")
        .bind(RELAY_LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let due: Vec<DueRelay> = sqlx::query_as(
        "select p.log::bigint, p.id,
                p.id = (select f.id from push f
                        where f.log = p.log and f.subject = p.subject and f.relay between 1 and 2
                        order by f.relay desc, f.id limit 1),
                h.name
         from push p join head h on h.id = p.log
         where p.relay_due_at <= (extract(epoch from statement_timestamp()) * 1000000)::bigint
           and h.name <> all ($2)
         order by p.relay_due_at, p.id limit $1
         for update of p skip locked",
    )
    .bind(look)
    .bind(bounds.full())
    .fetch_all(&mut *transaction)
    .await
    .map_err(failed)?;
    let looked = due.len();
    let (first, behind) = bounds.sort(due);
    if !behind.is_empty() {
        sqlx::query(
            "update push p set relay_due_at = null from unnest($1::bigint[], $2::bigint[]) as w (log, id)
             where p.log = w.log and p.id = w.id",
        )
        .bind(column(&behind, |(log, _)| *log))
        .bind(column(&behind, |(_, id)| *id))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    }
    let mut claimed = Vec::new();
    if !first.is_empty() {
        claimed = sqlx::query_as(concat!(
            "update push p set relay = 2, relay_node = $3, relay_attempts = p.relay_attempts + 1,
                 relay_due_at = (extract(epoch from statement_timestamp()) * 1000000)::bigint + $4
             from unnest($1::bigint[], $2::bigint[]) as w (log, id), head h
             where p.log = w.log and p.id = w.id and h.id = p.log
             returning ",
            columns!("h.name", "p.sealed")
        ))
        .bind(column(&first, |(log, _)| *log))
        .bind(column(&first, |(_, id)| *id))
        .bind(node)
        .bind(lease)
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok((claimed, looked))
}

/// Ends a lease, and gives the next push of the subject its time. Answers whether the lease still stood.
pub(crate) async fn settle(
    connection: &mut PgConnection,
    (log, id): (i64, i64),
    node: &str,
    end: &RelayWrite,
    _now: i64,
) -> Result<bool, StoreError> {
    let failed = while_doing("settling a relayed push");
    let mut transaction = connection.begin().await.map_err(failed)?;
    sqlx::query("select pg_advisory_xact_lock_shared($1, 0)")
        .bind(RELAY_LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let subject: Option<Vec<u8>> = sqlx::query_scalar(
        "update push set relay = $4, relay_due_at = $5, relay_status = coalesce($6, relay_status),
             relay_attempts = relay_attempts + $7, relay_node = null
         where log = $1 and id = $2 and relay = 2 and relay_node = $3 returning subject",
    )
    .bind(log)
    .bind(id)
    .bind(node)
    .bind(end.relay.number())
    .bind(end.due_at)
    .bind(&end.status)
    .bind(end.attempts)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failed)?;
    let Some(subject) = subject else { return Ok(false) };
    sqlx::query(
        "update push set relay_due_at = (extract(epoch from statement_timestamp()) * 1000000)::bigint
         where log = $1 and relay_due_at is null
           and id = (select f.id from push f
                     where f.log = $1 and f.subject = $2 and f.relay between 1 and 2
                     order by f.relay desc, f.id limit 1)",
    )
    .bind(log)
    .bind(subject)
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(true)
}

/// Has up to `limit` pushes of a log wait again that were given up, after an id. Answers with their ids.
pub(crate) async fn redrive(
    connection: &mut PgConnection,
    log: &LogName,
    filter: &PushFilter,
    after: i64,
    limit: i64,
    _now: i64,
) -> Result<Vec<i64>, StoreError> {
    let conditions = conditions(filter);
    let subject = if filter.subject.is_some() { " and p.subject = $4" } else { "" };
    let sql = format!(
        "update push set relay = 1, relay_attempts = 0,
             relay_since = (extract(epoch from statement_timestamp()) * 1000000)::bigint,
             relay_due_at = (extract(epoch from statement_timestamp()) * 1000000)::bigint
         where ctid = any (array(
             select p.ctid from push p
             where p.log = (select id from head where name = $1) and p.relay = 4 and p.relay <> 0 and p.id > $2
                 {conditions}{subject}
             order by p.id limit $3 for update))
         returning id"
    );
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(log.as_str()).bind(after).bind(limit);
    let query = match &filter.subject {
        Some(subject) => query.bind(subject.as_bytes().to_vec()),
        None => query,
    };
    query.fetch_all(connection).await.map_err(while_doing("relaying pushes again"))
}

/// Has what waits in a log wait until a moment at least. Answers how many.
pub(crate) async fn hold(
    connection: &mut PgConnection,
    log: &LogName,
    until: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "update push set relay_due_at = $2
         where log = (select id from head where name = $1) and relay = 1 and relay <> 0 and relay_due_at < $2",
    )
    .bind(log.as_str())
    .bind(until)
    .execute(connection)
    .await
    .map_err(while_doing("holding pushes back"))?;
    Ok(done.rows_affected())
}

/// When the next push may be taken for relaying, but for those of logs that are full.
pub(crate) async fn next(connection: &mut PgConnection, full: &[&str]) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar(
        "select p.relay_due_at from push p join head h on h.id = p.log
         where p.relay_due_at is not null and h.name <> all ($1)
         order by p.relay_due_at limit 1",
    )
    .bind(full)
    .fetch_optional(connection)
    .await
    .map_err(while_doing("looking for the next push to relay"))
}
