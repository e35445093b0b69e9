//! The queue of deliveries.
//!
//! Claims are serialized by the one writer. "Database time" is the store's clock here: one file, one machine.

use rusqlite::{Connection, params};
use sqlx::SqliteConnection;
use subledger_domain::{DeliveryId, LogName};

use crate::{
    Claimable, StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{QueueColumns, QueueInsert, QueueMove, state_number},
};

/// Deletes rows.
pub(crate) fn delete(connection: &Connection, rows: &[(i64, DeliveryId)]) -> Result<(), StoreError> {
    let failed = while_doing("taking deliveries out of the queue");
    let mut statement = connection
        .prepare_cached("delete from queue where log = ?1 and message = ?2 and idx = ?3")
        .map_err(failed)?;
    for (log, delivery) in rows {
        statement.execute(params![log, &delivery.message.as_bytes()[..], delivery.index]).map_err(failed)?;
    }
    Ok(())
}

/// Adds rows. Those that are started at once get a lease of `lease` microseconds.
pub(crate) fn insert(
    connection: &Connection,
    rows: &[QueueInsert],
    now: i64,
    lease: i64,
) -> Result<(), StoreError> {
    let failed = while_doing("queueing deliveries");
    let mut statement = connection
        .prepare_cached(
            "insert into queue (log, message, idx, subject, template, state, due_at, expires_at, attempts,
                                bulk, since, lease_until)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?12, ?10, case ?6 when 2 then ?10 + ?11 end)",
        )
        .map_err(failed)?;
    for QueueInsert { log, row, state } in rows {
        statement
            .execute(params![
                log,
                &row.delivery.message.as_bytes()[..],
                row.delivery.index,
                &row.subject.as_bytes()[..],
                row.template.as_str(),
                state_number(*state),
                row.due_at.micros(),
                row.expires_at.micros(),
                row.attempts,
                now,
                lease,
                row.bulk
            ])
            .map_err(failed)?;
    }
    Ok(())
}

/// Moves rows to another state. A started row has its lease begin anew, or gets one of `lease` microseconds if nobody
/// claimed it.
pub(crate) fn change(
    connection: &Connection,
    moves: &[QueueMove],
    now: i64,
    lease: i64,
) -> Result<(), StoreError> {
    let failed = while_doing("moving deliveries in the queue");
    let mut statement = connection
        .prepare_cached(
            "update queue set
                 state = ?4,
                 due_at = coalesce(?5, due_at),
                 attempts = attempts + ?6,
                 node = case ?4 when 2 then node end,
                 lease_until = case ?4 when 2 then ?7 + coalesce(lease, ?8) end,
                 since = ?7
             where log = ?1 and message = ?2 and idx = ?3",
        )
        .map_err(failed)?;
    for change in moves {
        statement
            .execute(params![
                change.log,
                &change.delivery.message.as_bytes()[..],
                change.delivery.index,
                state_number(change.state),
                change.due_at,
                change.attempts,
                now,
                lease
            ])
            .map_err(failed)?;
    }
    Ok(())
}

/// The statement of [`claim`], with what is to be said of the index, and of the rows that count.
macro_rules! claim {
    ($index:literal, $q:literal, $f:literal) => {
        concat!(
            "update queue set state = 1, node = ?4, lease_until = ?2 + ?5, lease = ?5, since = ?2
             where (log, message, idx) in (
                 select q.log, q.message, q.idx from queue q ",
            $index,
            "where q.log = (select id from head where name = ?1) and q.state = 0 and q.due_at <= ?2 ",
            $q,
            "  and not exists (select 1 from queue a
                       where a.log = q.log and a.subject = q.subject and a.state in (1, 2))
                   and not exists (select 1 from queue d
                       where d.log = q.log and d.subject = q.subject and d.template = q.template and d.state = 3)
                   and not exists (select 1 from queue f
                       where f.log = q.log and f.subject = q.subject and f.state = 0 and f.due_at <= q.due_at ",
            $f,
            "      and (f.due_at, f.message, f.idx) < (q.due_at, q.message, q.idx)
                         and not exists (select 1 from queue d
                             where d.log = f.log and d.subject = f.subject and d.template = f.template
                               and d.state = 3))
                 order by q.due_at, q.message, q.idx limit ?3)
             returning message, idx, subject, template, state, due_at, expires_at, attempts, bulk, since, lease_until"
        )
    };
}

/// Leases due rows; see `Store::claim` for the rules.
pub(crate) async fn claim(
    connection: &mut SqliteConnection,
    log: &LogName,
    node: &str,
    now: i64,
    (limit, lease): (i64, i64),
    of: Claimable,
) -> Result<Vec<QueueColumns>, StoreError> {
    sqlx::query_as(match of {
        Claimable::All => claim!("", "", ""),
        // Named, because the planner knows nothing of how many rows either index has.
        Claimable::Singles => claim!("indexed by queue_single ", "and q.bulk = 0 ", "and f.bulk = 0 "),
    })
    .bind(log.as_str())
    .bind(now)
    .bind(limit)
    .bind(node)
    .bind(lease)
    .fetch_all(connection)
    .await
    .map_err(while_doing("claiming deliveries"))
}

/// Gives leased rows back.
pub(crate) async fn unclaim(
    connection: &mut SqliteConnection,
    log: &LogName,
    rows: &[DeliveryId],
    due_at: i64,
    now: i64,
) -> Result<(), StoreError> {
    let (json, blob) = JsonRows::of(rows, |row, delivery| {
        row.int(i64::from(delivery.index)).bytes(delivery.message.as_bytes())
    })
    .into_parts();
    sqlx::query(
        "update queue set state = 0, due_at = ?4, node = null, lease_until = null, since = ?5
         from json_each(?1) w
         where queue.log = (select id from head where name = ?3) and queue.state = 1
           and queue.message = substr(?2, w.value ->> 1, w.value ->> 2) and queue.idx = w.value ->> 0",
    )
    .bind(json)
    .bind(blob)
    .bind(log.as_str())
    .bind(due_at)
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("giving deliveries back"))?;
    Ok(())
}

/// Requeues leases that ran out before "started". Answers how many.
pub(crate) async fn requeue_expired(
    connection: &mut SqliteConnection,
    log: &LogName,
    now: i64,
) -> Result<u64, StoreError> {
    let requeued = sqlx::query(
        "update queue set state = 0, node = null, lease_until = null, since = ?2
         where log = (select id from head where name = ?1) and state = 1 and lease_until <= ?2",
    )
    .bind(log.as_str())
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("requeueing expired leases"))?;
    Ok(requeued.rows_affected())
}

/// Rows whose lease ran out after "started".
pub(crate) async fn lost(
    connection: &mut SqliteConnection,
    log: &LogName,
    now: i64,
    limit: i64,
) -> Result<Vec<QueueColumns>, StoreError> {
    sqlx::query_as(
        "select message, idx, subject, template, state, due_at, expires_at, attempts, bulk, since, lease_until
         from queue
         where log = (select id from head where name = ?1) and state = 2 and lease_until <= ?2
         order by lease_until limit ?3",
    )
    .bind(log.as_str())
    .bind(now)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking for lost deliveries"))
}

/// Waiting rows whose time is over, longest first.
pub(crate) async fn expired(
    connection: &mut SqliteConnection,
    log: &LogName,
    now: i64,
    limit: i64,
) -> Result<Vec<QueueColumns>, StoreError> {
    sqlx::query_as(
        "select message, idx, subject, template, state, due_at, expires_at, attempts, bulk, since, lease_until
         from queue
         where log = (select id from head where name = ?1) and state = 0 and expires_at <= ?2
         order by expires_at limit ?3",
    )
    .bind(log.as_str())
    .bind(now)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking for expired deliveries"))
}

/// The rows of a message.
pub(crate) async fn of_message(
    connection: &mut SqliteConnection,
    log: &LogName,
    message: &[u8; 16],
) -> Result<Vec<QueueColumns>, StoreError> {
    sqlx::query_as(
        "select message, idx, subject, template, state, due_at, expires_at, attempts, bulk, since, lease_until
         from queue where log = (select id from head where name = ?1) and message = ?2 order by idx",
    )
    .bind(log.as_str())
    .bind(&message[..])
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading a message's queue"))
}

/// Rows in doubt after one, in order of delivery.
pub(crate) async fn doubts(
    connection: &mut SqliteConnection,
    log: &LogName,
    after: Option<DeliveryId>,
    limit: i64,
) -> Result<Vec<QueueColumns>, StoreError> {
    let message = after.map_or(Vec::new(), |after| after.message.as_bytes().to_vec());
    sqlx::query_as(
        "select message, idx, subject, template, state, due_at, expires_at, attempts, bulk, since, lease_until
         from queue
         where log = (select id from head where name = ?1) and state = 3 and (message, idx) > (?2, ?3)
         order by message, idx limit ?4",
    )
    .bind(log.as_str())
    .bind(message)
    .bind(after.map_or(-1, |after| i64::from(after.index)))
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading doubts"))
}

/// Rows in doubt since `until` or longer, longest first.
pub(crate) async fn overdue_doubts(
    connection: &mut SqliteConnection,
    log: &LogName,
    until: i64,
    template: Option<&str>,
    limit: i64,
) -> Result<Vec<QueueColumns>, StoreError> {
    sqlx::query_as(
        "select message, idx, subject, template, state, due_at, expires_at, attempts, bulk, since, lease_until
         from queue
         where log = (select id from head where name = ?1) and state = 3 and since <= ?2
           and (?4 is null or template = ?4)
         order by since limit ?3",
    )
    .bind(log.as_str())
    .bind(until)
    .bind(limit)
    .bind(template)
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking for old doubts"))
}

/// How many rows are in each state, apart by whether they are bulk: (state, bulk, rows).
pub(crate) async fn stats(
    connection: &mut SqliteConnection,
    log: &LogName,
) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    sqlx::query_as(
        "select state, bulk, count(*) from queue where log = (select id from head where name = ?1)
         group by state, bulk",
    )
    .bind(log.as_str())
    .fetch_all(connection)
    .await
    .map_err(while_doing("counting the queue"))
}

/// The statement of [`next_due`].
macro_rules! next_due {
    ($index:literal, $of:literal) => {
        concat!(
            "select q.due_at from queue q ",
            $index,
            "where q.log = (select id from head where name = ?1) and q.state = 0 ",
            $of,
            "  and not exists (select 1 from queue a
                   where a.log = q.log and a.subject = q.subject and a.state in (1, 2))
               and not exists (select 1 from queue d
                   where d.log = q.log and d.subject = q.subject and d.template = q.template and d.state = 3)
             order by q.due_at, q.message, q.idx limit 1"
        )
    };
}

/// When the next row that nothing holds back is due.
pub(crate) async fn next_due(
    connection: &mut SqliteConnection,
    log: &LogName,
    of: Claimable,
) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar(match of {
        Claimable::All => next_due!("", ""),
        Claimable::Singles => next_due!("indexed by queue_single ", "and q.bulk = 0 "),
    })
    .bind(log.as_str())
    .fetch_optional(connection)
    .await
    .map_err(while_doing("looking for the next delivery"))
}
