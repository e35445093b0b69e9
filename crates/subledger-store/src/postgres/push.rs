//! Pushes from WeChat. This module never sees what is sealed.

use sqlx::{AssertSqlSafe, PgConnection};
use subledger_domain::LogName;

use super::{Uuid, column};
use crate::{
    PushFilter, PushPage, StoreError,
    error::while_doing,
    rows::{
        push::{PushColumns, PushCount, PushInsert, PushSettle, RelayCount, RelayEdge, conditions},
        signed,
    },
};

/// The columns of a push `p` in a log of this name, `h.name` where its head is `h`.
macro_rules! columns {
    ($log:literal, $sealed:literal) => {
        concat!(
            "p.id, ",
            $log,
            " as log, uuid_send(p.key) as key, p.received_at, p.kind::bigint as kind, p.event, p.subject,
             p.mode::bigint as mode, p.format::bigint as format, p.state::bigint as state, p.effect,
             p.seen::bigint as seen, p.last_seen_at, p.relay::bigint as relay, p.relay_due_at,
             p.relay_attempts::bigint as relay_attempts, p.relay_node, p.relay_status,
             p.relay_since, ",
            $sealed,
            " as sealed"
        )
    };
}
pub(super) use columns;

/// Deletes what subjects sent, as (log id, subject).
pub(crate) async fn forget(
    connection: &mut PgConnection,
    subjects: &[(i64, [u8; 16])],
) -> Result<(), StoreError> {
    sqlx::query(
        "delete from push p using unnest($1::bigint[], $2::bytea[]) as w (log, subject)
         where p.log = w.log and p.subject = w.subject",
    )
    .bind(column(subjects, |(log, _)| *log))
    .bind(column(subjects, |(_, subject)| &subject[..]))
    .execute(connection)
    .await
    .map_err(while_doing("erasing pushes"))?;
    Ok(())
}

/// Keeps pushes; one that is kept already stays, unless the new one comes settled.
pub(crate) async fn insert(connection: &mut PgConnection, rows: &[PushInsert]) -> Result<(), StoreError> {
    sqlx::query(
        "insert into push (received_at, last_seen_at, relay_due_at, key, log, kind, mode, format, state, relay,
                           subject, event, effect, sealed)
         select w.received_at, w.received_at, w.relay_due_at, w.key, w.log, w.kind, w.mode, w.format, w.state,
                w.relay, w.subject, w.event, w.effect, w.sealed
         from unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::bigint[], $5::smallint[], $6::smallint[],
                     $7::smallint[], $8::smallint[], $9::smallint[], $10::bytea[], $11::text[], $12::text[],
                     $13::bytea[]) with ordinality
              as w (received_at, relay_due_at, key, log, kind, mode, format, state, relay, subject, event, effect,
                    sealed, nth)
         order by w.nth
         on conflict (log, key) do update set state = excluded.state, effect = excluded.effect
             where excluded.state <> 0",
    )
    .bind(column(rows, |row| row.received_at))
    .bind(column(rows, |row| row.relay_due_at))
    .bind(column(rows, |row| Uuid(*row.key.as_bytes())))
    .bind(column(rows, |row| row.log))
    .bind(column(rows, |row| row.kind.number()))
    .bind(column(rows, |row| row.mode.number()))
    .bind(column(rows, |row| row.format.number()))
    .bind(column(rows, |row| row.state.number()))
    .bind(column(rows, PushInsert::relay))
    .bind(column(rows, PushInsert::subject))
    .bind(column(rows, |row| row.event.as_str()))
    .bind(column(rows, |row| row.effect.as_deref()))
    .bind(column(rows, |row| &row.sealed[..]))
    .execute(connection)
    .await
    .map_err(while_doing("keeping pushes"))?;
    Ok(())
}

/// Says what became of pushes.
pub(crate) async fn settle(connection: &mut PgConnection, rows: &[PushSettle]) -> Result<(), StoreError> {
    sqlx::query(
        "update push p set state = w.state, effect = w.effect
         from unnest($1::bigint[], $2::uuid[], $3::smallint[], $4::text[]) as w (log, key, state, effect)
         where p.log = w.log and p.key = w.key",
    )
    .bind(column(rows, |row| row.log))
    .bind(column(rows, |row| Uuid(*row.key.as_bytes())))
    .bind(column(rows, |row| row.state.number()))
    .bind(column(rows, |row| row.effect.as_str()))
    .execute(connection)
    .await
    .map_err(while_doing("settling pushes"))?;
    Ok(())
}

/// Notes that a push came once more. Answers whether it is kept.
pub(crate) async fn note_again(
    connection: &mut PgConnection,
    log: &LogName,
    key: &[u8; 16],
    now: i64,
) -> Result<bool, StoreError> {
    let noted = sqlx::query(
        "update push set seen = seen + 1, last_seen_at = greatest(last_seen_at, $3)
         where log = (select id from head where name = $1) and key = $2",
    )
    .bind(log.as_str())
    .bind(Uuid(*key))
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("noting a repeated push"))?;
    Ok(noted.rows_affected() > 0)
}

/// One push with its sealed body.
pub(crate) async fn one(
    connection: &mut PgConnection,
    log: &LogName,
    key: &[u8; 16],
) -> Result<Option<PushColumns>, StoreError> {
    sqlx::query_as(concat!(
        "select ",
        columns!("h.name", "p.sealed"),
        " from head h join push p on p.log = h.id and p.key = $2 where h.name = $1"
    ))
    .bind(log.as_str())
    .bind(Uuid(*key))
    .fetch_optional(connection)
    .await
    .map_err(while_doing("reading a push"))
}

/// Pushes of a log, the newest first, without bodies.
pub(crate) async fn list(
    connection: &mut PgConnection,
    log: &LogName,
    filter: &PushFilter,
    page: PushPage,
    limit: i64,
) -> Result<Vec<PushColumns>, StoreError> {
    let (compare, from, order) = match page {
        PushPage::Newest => ('<', i64::MAX, "desc"),
        PushPage::Before(id) => ('<', signed(id), "desc"),
        PushPage::After(id) => ('>', signed(id), "asc"),
    };
    let conditions = conditions(filter);
    let subject = if filter.subject.is_some() { " and p.subject = $4" } else { "" };
    let sql = format!(
        "select * from (
             select {} from push p
             where p.log = (select id from head where name = $1) and p.id {compare} $2{conditions}{subject}
             order by p.id {order} limit $3) page
         order by id desc",
        columns!("$1::text", "''::bytea")
    );
    let query = sqlx::query_as(AssertSqlSafe(sql)).bind(log.as_str()).bind(from).bind(limit);
    let query = match &filter.subject {
        Some(subject) => query.bind(subject.as_bytes().to_vec()),
        None => query,
    };
    query.fetch_all(connection).await.map_err(while_doing("listing pushes"))
}

/// Pushes of all logs that were not acted on, the oldest first, with their sealed bodies.
pub(crate) async fn pending(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Vec<PushColumns>, StoreError> {
    sqlx::query_as(concat!(
        "select ",
        columns!("h.name", "p.sealed"),
        " from push p join head h on h.id = p.log
         where p.state = 0 and p.state in (0, 3, 4) order by p.received_at, p.id limit $1"
    ))
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking for pushes that were not acted on"))
}

/// How many pushes these subjects sent that are kept.
pub(crate) async fn count_of(
    connection: &mut PgConnection,
    log: &LogName,
    subjects: &[[u8; 16]],
) -> Result<i64, StoreError> {
    sqlx::query_scalar(
        "select count(*) from push
         where log = (select id from head where name = $1) and subject = any ($2::bytea[])",
    )
    .bind(log.as_str())
    .bind(column(subjects, |subject| &subject[..]))
    .fetch_one(connection)
    .await
    .map_err(while_doing("counting pushes"))
}

/// Counts by kind and state.
pub(crate) async fn counts(
    connection: &mut PgConnection,
    log: &LogName,
) -> Result<Vec<PushCount>, StoreError> {
    sqlx::query_as(
        "select c.kind::bigint, c.state::bigint, c.pushes,
                (select n.received_at from push n where n.log = c.log and n.kind = c.kind order by n.id desc limit 1)
         from (select p.log, p.kind, p.state, count(*) as pushes from push p
               where p.log = (select id from head where name = $1) group by p.log, p.kind, p.state) c
         order by c.kind, c.state",
    )
    .bind(log.as_str())
    .fetch_all(connection)
    .await
    .map_err(while_doing("counting pushes"))
}

/// How many pushes wait, are leased or were given up.
pub(crate) async fn relay_counts(
    connection: &mut PgConnection,
    log: &LogName,
) -> Result<Vec<RelayCount>, StoreError> {
    sqlx::query_as(
        "select p.relay::bigint, count(*) from push p
         where p.log = (select id from head where name = $1) and p.relay in (1, 2, 4) and p.relay <> 0
         group by p.relay",
    )
    .bind(log.as_str())
    .fetch_all(connection)
    .await
    .map_err(while_doing("counting pushes to relay"))
}

/// The oldest push that waits or is leased, and the newest that the back end has or that was given up: those of them that
/// there are.
pub(crate) async fn relay_edges(
    connection: &mut PgConnection,
    log: &LogName,
) -> Result<Vec<RelayEdge>, StoreError> {
    sqlx::query_as(
        "with l (id) as (select id from head where name = $1)
         (select p.relay::bigint, p.received_at, p.relay_status from push p
          where p.log = (select id from l) and p.relay = 1 and p.relay <> 0 order by p.id limit 1)
         union all
         (select p.relay::bigint, p.received_at, p.relay_status from push p
          where p.log = (select id from l) and p.relay = 2 and p.relay <> 0 order by p.id limit 1)
         union all
         (select p.relay::bigint, p.received_at, p.relay_status from push p
          where p.log = (select id from l) and p.relay = 3 and p.relay <> 0 order by p.id desc limit 1)
         union all
         (select p.relay::bigint, p.received_at, p.relay_status from push p
          where p.log = (select id from l) and p.relay = 4 and p.relay <> 0 order by p.id desc limit 1)",
    )
    .bind(log.as_str())
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking at pushes to relay"))
}
