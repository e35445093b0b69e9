//! The queue of deliveries.
//!
//! Leases run on database time, so nodes whose clocks differ agree on when one has run out.
//!
//! The table is empty in one minute and holds a broadcast in the next, so the planner's numbers are of another table more often
//! than not. A claim planned for ten rows and run on a thousand once took longer than all patience, while the lane waited for it.
//! Therefore looking for work leaves the planner no choice: the indexes by subject, asked anew for each row (`offset 0` keeps a
//! subquery from becoming a join, `log + 0` hides the indexes that begin with the log; a subject belongs to one log anyway), and
//! rows are changed where they were found.

use sqlx::{PgConnection, PgPool};
use subledger_domain::{DeliveryId, LogName};

use super::column;
use crate::{
    Claimable, StoreError,
    error::while_doing,
    rows::{QueueColumns, QueueInsert, QueueMove, state_number},
};

/// The class of the advisory locks that serialize claims, one per log.
const CLAIM_LOCK: i32 = 0x5ab1;

fn messages<T>(rows: &[T], delivery: impl Fn(&T) -> &DeliveryId) -> Vec<&[u8]> {
    rows.iter().map(|row| &delivery(row).message.as_bytes()[..]).collect()
}

/// Deletes rows.
pub(crate) async fn delete(
    connection: &mut PgConnection,
    rows: &[(i64, DeliveryId)],
) -> Result<(), StoreError> {
    sqlx::query(
        "delete from queue q using unnest($1::bigint[], $2::bytea[], $3::bigint[]) as w (log, message, idx)
         where q.log = w.log and q.message = w.message and q.idx = w.idx",
    )
    .bind(column(rows, |(log, _)| *log))
    .bind(messages(rows, |(_, delivery)| delivery))
    .bind(column(rows, |(_, delivery)| i64::from(delivery.index)))
    .execute(connection)
    .await
    .map_err(while_doing("taking deliveries out of the queue"))?;
    Ok(())
}

/// Adds rows. Those that are started at once get a lease of `lease` microseconds.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    rows: &[QueueInsert],
    now: i64,
    lease: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into queue (log, message, idx, subject, template, state, due_at, expires_at, attempts, bulk,
                            since, lease_until)
         select w.*, $10,
                case w.state when 2 then (extract(epoch from clock_timestamp()) * 1000000)::bigint + $11 end
         from unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bytea[], $5::text[], $6::smallint[],
                     $7::bigint[], $8::bigint[], $9::bigint[], $12::smallint[])
              as w (log, message, idx, subject, template, state, due_at, expires_at, attempts, bulk)",
    )
    .bind(column(rows, |insert| insert.log))
    .bind(messages(rows, |insert| &insert.row.delivery))
    .bind(column(rows, |insert| i64::from(insert.row.delivery.index)))
    .bind(column(rows, |insert| &insert.row.subject.as_bytes()[..]))
    .bind(column(rows, |insert| insert.row.template.as_str()))
    .bind(column(rows, |insert| state_number(insert.state)))
    .bind(column(rows, |insert| insert.row.due_at.micros()))
    .bind(column(rows, |insert| insert.row.expires_at.micros()))
    .bind(column(rows, |insert| i64::from(insert.row.attempts)))
    .bind(now)
    .bind(lease)
    .bind(column(rows, |insert| i16::from(insert.row.bulk)))
    .execute(connection)
    .await
    .map_err(while_doing("queueing deliveries"))?;
    Ok(())
}

/// Moves rows to another state. A started row has its lease begin anew, or gets one of `lease` microseconds if nobody
/// claimed it.
pub(crate) async fn change(
    connection: &mut PgConnection,
    moves: &[QueueMove],
    now: i64,
    lease: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "update queue q set
             state = w.state,
             due_at = coalesce(w.due_at, q.due_at),
             attempts = q.attempts + w.attempts,
             node = case w.state when 2 then q.node end,
             lease_until = case w.state when 2 then
                 (extract(epoch from clock_timestamp()) * 1000000)::bigint + coalesce(q.lease, $8) end,
             since = $7
         from unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::smallint[], $5::bigint[], $6::bigint[])
              as w (log, message, idx, state, due_at, attempts)
         where q.log = w.log and q.message = w.message and q.idx = w.idx",
    )
    .bind(column(moves, |change| change.log))
    .bind(messages(moves, |change| &change.delivery))
    .bind(column(moves, |change| i64::from(change.delivery.index)))
    .bind(column(moves, |change| state_number(change.state)))
    .bind(column(moves, |change| change.due_at))
    .bind(column(moves, |change| change.attempts))
    .bind(now)
    .bind(lease)
    .execute(connection)
    .await
    .map_err(while_doing("moving deliveries in the queue"))?;
    Ok(())
}

/// The statement of [`claim`], with what is to be said of the rows that count.
macro_rules! claim {
    ($q:literal, $o:literal) => {
        concat!(
            "with chosen as materialized (
                 select q.ctid as place from queue q
                 where q.log = (select id from head where name = $1) and q.state = 0 and q.due_at <= $2 ",
            $q,
            "      and not exists (select 1 from queue o
                       where o.subject = q.subject and o.log + 0 = q.log
                         and (o.state in (1, 2)
                           or (o.state = 3 and o.template = q.template)
                           or (o.state = 0 and (o.due_at, o.message, o.idx) < (q.due_at, q.message, q.idx) ",
            $o,
            "                and not exists (select 1 from queue d
                                 where d.subject = o.subject and d.log + 0 = o.log and d.template = o.template
                                   and d.state = 3
                                 offset 0)))
                       offset 0)
                 order by q.due_at, q.message, q.idx limit $3
                 for update of q skip locked)
             update queue q set state = 1, node = $4, since = $2, lease = $5,
                 lease_until = (extract(epoch from clock_timestamp()) * 1000000)::bigint + $5
             where q.ctid = any (array(select place from chosen))
             returning q.message, q.idx, q.subject, q.template, q.state::bigint, q.due_at, q.expires_at,
                       q.attempts::bigint, q.bulk::bigint, q.since, q.lease_until"
        )
    };
}

/// Leases due rows; see `Store::claim` for the rules.
///
/// Claims of one log are serialized by an advisory lock, taken in a statement of its own so that the next one sees what
/// the claim before it committed. Rows that a batch holds at this moment are skipped rather than waited for.
pub(crate) async fn claim(
    pool: &PgPool,
    log: &LogName,
    node: &str,
    now: i64,
    (limit, lease): (i64, i64),
    of: Claimable,
) -> Result<Vec<QueueColumns>, StoreError> {
    let failed = while_doing("claiming deliveries");
    let mut transaction = pool.begin().await.map_err(failed)?;
    sqlx::query(
        "select pg_advisory_xact_lock($1, id), set_config('enable_seqscan', 'off', true),
                set_config('enable_sort', 'off', true)
         from head where name = $2",
    )
    .bind(CLAIM_LOCK)
    .bind(log.as_str())
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    let claimed = sqlx::query_as(match of {
        Claimable::All => claim!("", ""),
        Claimable::Singles => claim!("and q.bulk = 0 ", "and o.bulk = 0 "),
    })
    .bind(log.as_str())
    .bind(now)
    .bind(limit)
    .bind(node)
    .bind(lease)
    .fetch_all(&mut *transaction)
    .await
    .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(claimed)
}

/// Gives leased rows back.
pub(crate) async fn unclaim(
    connection: &mut PgConnection,
    log: &LogName,
    rows: &[DeliveryId],
    due_at: i64,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "update queue q set state = 0, due_at = $4, node = null, lease_until = null, since = $5
         from unnest($1::bytea[], $2::bigint[]) as w (message, idx)
         where q.log = (select id from head where name = $3) and q.state = 1
           and q.message = w.message and q.idx = w.idx",
    )
    .bind(messages(rows, |delivery| delivery))
    .bind(column(rows, |delivery| i64::from(delivery.index)))
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
    connection: &mut PgConnection,
    log: &LogName,
    now: i64,
) -> Result<u64, StoreError> {
    let requeued = sqlx::query(
        "update queue set state = 0, node = null, lease_until = null, since = $2
         where log = (select id from head where name = $1) and state = 1
           and lease_until <= (extract(epoch from clock_timestamp()) * 1000000)::bigint",
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
    connection: &mut PgConnection,
    log: &LogName,
    _now: i64,
    limit: i64,
) -> Result<Vec<QueueColumns>, StoreError> {
    sqlx::query_as(
        "select message, idx, subject, template, state::bigint, due_at, expires_at, attempts::bigint, bulk::bigint,
                since, lease_until
         from queue
         where log = (select id from head where name = $1) and state = 2
           and lease_until <= (extract(epoch from clock_timestamp()) * 1000000)::bigint
         order by lease_until limit $2",
    )
    .bind(log.as_str())
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking for lost deliveries"))
}

/// Waiting rows whose time is over, longest first.
pub(crate) async fn expired(
    connection: &mut PgConnection,
    log: &LogName,
    now: i64,
    limit: i64,
) -> Result<Vec<QueueColumns>, StoreError> {
    sqlx::query_as(
        "select message, idx, subject, template, state::bigint, due_at, expires_at, attempts::bigint, bulk::bigint,
                since, lease_until
         from queue
         where log = (select id from head where name = $1) and state = 0 and expires_at <= $2
         order by expires_at limit $3",
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
    connection: &mut PgConnection,
    log: &LogName,
    message: &[u8; 16],
) -> Result<Vec<QueueColumns>, StoreError> {
    sqlx::query_as(
        "select message, idx, subject, template, state::bigint, due_at, expires_at, attempts::bigint, bulk::bigint,
                since, lease_until
         from queue where log = (select id from head where name = $1) and message = $2 order by idx",
    )
    .bind(log.as_str())
    .bind(&message[..])
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading a message's queue"))
}

/// Rows in doubt after one, in order of delivery.
pub(crate) async fn doubts(
    connection: &mut PgConnection,
    log: &LogName,
    after: Option<DeliveryId>,
    limit: i64,
) -> Result<Vec<QueueColumns>, StoreError> {
    let message = after.map_or(Vec::new(), |after| after.message.as_bytes().to_vec());
    sqlx::query_as(
        "select message, idx, subject, template, state::bigint, due_at, expires_at, attempts::bigint, bulk::bigint,
                since, lease_until
         from queue
         where log = (select id from head where name = $1) and state = 3 and (message, idx) > ($2, $3)
         order by message, idx limit $4",
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
    connection: &mut PgConnection,
    log: &LogName,
    until: i64,
    template: Option<&str>,
    limit: i64,
) -> Result<Vec<QueueColumns>, StoreError> {
    sqlx::query_as(
        "select message, idx, subject, template, state::bigint, due_at, expires_at, attempts::bigint, bulk::bigint,
                since, lease_until
         from queue
         where log = (select id from head where name = $1) and state = 3 and since <= $2
           and ($4::text is null or template = $4)
         order by since limit $3",
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
    connection: &mut PgConnection,
    log: &LogName,
) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    sqlx::query_as(
        "select state::bigint, bulk::bigint, count(*) from queue
         where log = (select id from head where name = $1) group by state, bulk",
    )
    .bind(log.as_str())
    .fetch_all(connection)
    .await
    .map_err(while_doing("counting the queue"))
}

/// The statement of [`next_due`].
macro_rules! next_due {
    ($of:literal) => {
        concat!(
            "select q.due_at from queue q
             where q.log = (select id from head where name = $1) and q.state = 0 ",
            $of,
            "  and not exists (select 1 from queue o
                   where o.subject = q.subject and o.log + 0 = q.log
                     and (o.state in (1, 2) or (o.state = 3 and o.template = q.template))
                   offset 0)
             order by q.due_at, q.message, q.idx limit 1"
        )
    };
}

/// When the next row that nothing holds back is due.
pub(crate) async fn next_due(
    connection: &mut PgConnection,
    log: &LogName,
    of: Claimable,
) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar(match of {
        Claimable::All => next_due!(""),
        Claimable::Singles => next_due!("and q.bulk = 0 "),
    })
    .bind(log.as_str())
    .fetch_optional(connection)
    .await
    .map_err(while_doing("looking for the next delivery"))
}
