//! The relay's queue: pushes on their way to the integrator's back end.
//!
//! Claims and ends of leases are serialized by the one writer. Time is what the caller says: there is one process.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use subledger_domain::LogName;

use super::{bound, packed, push::columns};
use crate::{
    PushFilter, StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::push::{DueRelay, PushColumns, RelayBounds, RelayPlace, RelayWrite, conditions},
};

fn places(rows: &[RelayPlace]) -> String {
    JsonRows::of(rows, |row, (log, id)| row.int(bound(*log, *id))).into_text()
}

fn names(logs: &[&str]) -> String {
    JsonRows::of(logs, |row, log| row.text(log)).into_text()
}

/// Leases what is due and first of its subject, as far as the bounds go, among the `look` rows that are due the longest and of
/// no log that is full. Rows that are not first lose their time until the one before them has ended. Answers with what was
/// leased, and how many rows were looked at.
pub(crate) async fn claim(
    connection: &mut SqliteConnection,
    node: &str,
    look: i64,
    bounds: &mut RelayBounds,
    lease: i64,
    now: i64,
) -> Result<(Vec<PushColumns>, usize), StoreError> {
    let failed = while_doing("claiming pushes to relay");
    let mut transaction = connection.begin_with("begin immediate").await.map_err(failed)?;
    let due: Vec<DueRelay> = sqlx::query_as(
        "select p.log, p.id,
                p.place = (select f.place from push f indexed by push_subject
                           where f.log = p.log and f.subject = p.subject and f.relay between 1 and 2
                           order by f.relay desc, f.place limit 1),
                h.name
         from push p indexed by push_due cross join head h on h.id = p.log
         where p.relay_due_at <= ?1 and h.name not in (select value ->> 0 from json_each(?3)) order by p.relay_due_at, p.place limit ?2",
    )
    .bind(now)
    .bind(look)
    .bind(names(&bounds.full()))
    .fetch_all(&mut *transaction)
    .await
    .map_err(failed)?;
    let looked = due.len();
    let (first, behind) = bounds.sort(due);
    if !behind.is_empty() {
        sqlx::query(
            "update push set relay_due_at = null where place in (select value ->> 0 from json_each(?1))",
        )
        .bind(places(&behind))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    }
    let mut claimed = Vec::new();
    if !first.is_empty() {
        sqlx::query(
            "update push set relay = 2, relay_node = ?2, relay_attempts = relay_attempts + 1, relay_due_at = ?3
             where place in (select value ->> 0 from json_each(?1))",
        )
        .bind(places(&first))
        .bind(node)
        .bind(now.saturating_add(lease))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        claimed = sqlx::query_as(concat!(
            "select ",
            columns!("p.sealed"),
            " from json_each(?1) w cross join push p on p.place = w.value ->> 0 join head h on h.id = p.log"
        ))
        .bind(places(&first))
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok((claimed, looked))
}

/// Ends a lease, and gives the next push of the subject its time. Answers whether the lease still stood.
pub(crate) async fn settle(
    connection: &mut SqliteConnection,
    (log, id): (i64, i64),
    node: &str,
    end: &RelayWrite,
    now: i64,
) -> Result<bool, StoreError> {
    let failed = while_doing("settling a relayed push");
    let mut transaction = connection.begin_with("begin immediate").await.map_err(failed)?;
    let subject: Option<Vec<u8>> = sqlx::query_scalar(
        "update push set relay = ?3, relay_due_at = ?4, relay_status = coalesce(?5, relay_status),
             relay_attempts = relay_attempts + ?6, relay_node = null
         where place = ?1 and relay = 2 and relay_node = ?2 returning subject",
    )
    .bind(packed(log, id)?)
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
        "update push set relay_due_at = ?3
         where relay_due_at is null
           and place = (select f.place from push f indexed by push_subject
                        where f.log = ?1 and f.subject = ?2 and f.relay between 1 and 2
                        order by f.relay desc, f.place limit 1)",
    )
    .bind(log)
    .bind(subject)
    .bind(now)
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(true)
}

/// Has up to `limit` pushes of a log wait again that were given up, after an id. Answers with their ids.
pub(crate) async fn redrive(
    connection: &mut SqliteConnection,
    log: &LogName,
    filter: &PushFilter,
    after: i64,
    limit: i64,
    now: i64,
) -> Result<Vec<i64>, StoreError> {
    let conditions = conditions(filter);
    let subject = if filter.subject.is_some() { " and p.subject = ?5" } else { "" };
    let sql = format!(
        "update push set relay = 1, relay_attempts = 0, relay_since = ?4, relay_due_at = ?4
         where place in (
             select p.place from head h cross join push p indexed by push_relay
                 on p.log = h.id and p.relay = 4 and p.relay <> 0 and p.place > (h.id << 40) + ?2
             where h.name = ?1{conditions}{subject} order by p.place limit ?3)
         returning id"
    );
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(log.as_str()).bind(after).bind(limit).bind(now);
    let query = match &filter.subject {
        Some(subject) => query.bind(subject.as_bytes().to_vec()),
        None => query,
    };
    query.fetch_all(connection).await.map_err(while_doing("relaying pushes again"))
}

/// Has what waits in a log wait until a moment at least. Answers how many.
pub(crate) async fn hold(
    connection: &mut SqliteConnection,
    log: &LogName,
    until: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "update push set relay_due_at = ?2
         where place in (
             select p.place from head h cross join push p indexed by push_relay
                 on p.log = h.id and p.relay = 1 and p.relay <> 0
             where h.name = ?1 and p.relay_due_at < ?2)",
    )
    .bind(log.as_str())
    .bind(until)
    .execute(connection)
    .await
    .map_err(while_doing("holding pushes back"))?;
    Ok(done.rows_affected())
}

/// When the next push may be taken for relaying, but for those of logs that are full.
pub(crate) async fn next(
    connection: &mut SqliteConnection,
    full: &[&str],
) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar(
        "select p.relay_due_at from push p indexed by push_due cross join head h on h.id = p.log
         where p.relay_due_at is not null and h.name not in (select value ->> 0 from json_each(?1))
         order by p.relay_due_at limit 1",
    )
    .bind(names(full))
    .fetch_optional(connection)
    .await
    .map_err(while_doing("looking for the next push to relay"))
}
