//! Pushes from WeChat. This module never sees what is sealed.

use rusqlite::{Connection, params};
use sqlx::{AssertSqlSafe, SqliteConnection};
use subledger_domain::LogName;

use super::packed;
use crate::{
    PushFilter, PushPage, RelayState, StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{
        push::{PushColumns, PushCount, PushInsert, PushSettle, RelayCount, RelayEdge, conditions, is_odd},
        signed,
    },
};

/// The columns of a push `p` in a log whose head is `h`.
macro_rules! columns {
    ($sealed:literal) => {
        concat!(
            "p.id, h.name as log, p.key, p.received_at, p.kind, p.event, p.subject, p.mode, p.format, p.state,
             p.effect, p.seen, p.last_seen_at, p.relay, p.relay_due_at, p.relay_attempts, p.relay_node,
             p.relay_status, p.relay_since, ",
            $sealed,
            " as sealed"
        )
    };
}
pub(super) use columns;

/// Deletes what subjects sent, as (log id, subject).
pub(crate) fn forget(connection: &Connection, subjects: &[(i64, [u8; 16])]) -> Result<(), StoreError> {
    let failed = while_doing("erasing pushes");
    let mut statement =
        connection.prepare_cached("delete from push where log = ?1 and subject = ?2").map_err(failed)?;
    for (log, subject) in subjects {
        statement.execute(params![log, &subject[..]]).map_err(failed)?;
    }
    Ok(())
}

/// Keeps pushes; one that is kept already stays, unless the new one comes settled.
pub(crate) fn insert(connection: &Connection, rows: &[PushInsert]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let failed = while_doing("keeping pushes");
    let mut number: i64 = connection
        .prepare_cached("select number from push_number")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(failed)?;
    let mut statement = connection
        .prepare_cached(
            "insert into push (place, log, key, subject, received_at, last_seen_at, kind, mode, format, state, relay,
                               relay_due_at, event, effect, sealed)
             values (?1, ?14, ?2, ?3, ?4, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             on conflict (log, key) do update set state = excluded.state, effect = excluded.effect
                 where excluded.state <> 0",
        )
        .map_err(failed)?;
    for row in rows {
        number += 1;
        statement
            .execute(params![
                packed(row.log, number)?,
                &row.key.as_bytes()[..],
                row.subject(),
                row.received_at,
                row.kind.number(),
                row.mode.number(),
                row.format.number(),
                row.state.number(),
                row.relay(),
                row.relay_due_at,
                row.event,
                row.effect,
                row.sealed,
                row.log
            ])
            .map_err(failed)?;
    }
    connection
        .prepare_cached("update push_number set number = ?1")
        .and_then(|mut statement| statement.execute([number]))
        .map_err(failed)?;
    Ok(())
}

/// Says what became of pushes.
pub(crate) fn settle(connection: &Connection, rows: &[PushSettle]) -> Result<(), StoreError> {
    let failed = while_doing("settling pushes");
    let mut statement = connection
        .prepare_cached("update push set state = ?3, effect = ?4 where log = ?1 and key = ?2")
        .map_err(failed)?;
    for row in rows {
        statement
            .execute(params![row.log, &row.key.as_bytes()[..], row.state.number(), row.effect])
            .map_err(failed)?;
    }
    Ok(())
}

/// Notes that a push came once more. Answers whether it is kept.
pub(crate) async fn note_again(
    connection: &mut SqliteConnection,
    log: &LogName,
    key: &[u8; 16],
    now: i64,
) -> Result<bool, StoreError> {
    let noted = sqlx::query(
        "update push set seen = seen + 1, last_seen_at = max(last_seen_at, ?3)
         where log = (select id from head where name = ?1) and key = ?2",
    )
    .bind(log.as_str())
    .bind(&key[..])
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("noting a repeated push"))?;
    Ok(noted.rows_affected() > 0)
}

/// One push with its sealed body.
pub(crate) async fn one(
    connection: &mut SqliteConnection,
    log: &LogName,
    key: &[u8; 16],
) -> Result<Option<PushColumns>, StoreError> {
    sqlx::query_as(concat!(
        "select ",
        columns!("p.sealed"),
        " from head h cross join push p indexed by push_key on p.log = h.id and p.key = ?2 where h.name = ?1"
    ))
    .bind(log.as_str())
    .bind(&key[..])
    .fetch_optional(connection)
    .await
    .map_err(while_doing("reading a push"))
}

/// Pushes of a log, the newest first, without bodies.
pub(crate) async fn list(
    connection: &mut SqliteConnection,
    log: &LogName,
    filter: &PushFilter,
    page: PushPage,
    limit: i64,
) -> Result<Vec<PushColumns>, StoreError> {
    let (from, to, order) = match page {
        PushPage::Newest => (0, super::MAX_OWN, "desc"),
        PushPage::Before(id) => (0, signed(id).saturating_sub(1), "desc"),
        PushPage::After(id) => (signed(id).saturating_add(1), super::MAX_OWN, "asc"),
    };
    // The rarest condition first; without one, the rows of the log in their own order. There are no statistics to choose by.
    let by = match filter {
        PushFilter { subject: Some(_), .. } => "indexed by push_subject",
        PushFilter { relay: Some(relay), .. } if *relay != RelayState::None => "indexed by push_relay",
        PushFilter { state: Some(state), .. } if is_odd(*state) => "indexed by push_odd",
        PushFilter { kind: Some(_), .. } => "indexed by push_kind",
        _ => "not indexed",
    };
    let conditions = conditions(filter);
    let subject = if filter.subject.is_some() { " and p.subject = ?5" } else { "" };
    let sql = format!(
        "select * from (
             select {} from head h cross join push p {by}
                 on p.log = h.id and p.place >= (h.id << 40) + ?2 and p.place <= (h.id << 40) + ?3
             where h.name = ?1{conditions}{subject} order by p.place {order} limit ?4) page
         order by id desc",
        columns!("x''")
    );
    // Ids that no push can have lie outside the log's own places.
    let (from, to) = (from.min(super::MAX_OWN + 1), to.min(super::MAX_OWN));
    if from > to {
        return Ok(Vec::new());
    }
    let query = sqlx::query_as(AssertSqlSafe(sql)).bind(log.as_str()).bind(from).bind(to).bind(limit);
    let query = match &filter.subject {
        Some(subject) => query.bind(subject.as_bytes().to_vec()),
        None => query,
    };
    query.fetch_all(connection).await.map_err(while_doing("listing pushes"))
}

/// Pushes of all logs that were not acted on, the oldest first, with their sealed bodies.
pub(crate) async fn pending(
    connection: &mut SqliteConnection,
    limit: i64,
) -> Result<Vec<PushColumns>, StoreError> {
    sqlx::query_as(concat!(
        "select ",
        columns!("p.sealed"),
        " from push p indexed by push_odd join head h on h.id = p.log
         where p.state = 0 and p.state in (0, 3, 4) order by p.received_at, p.id limit ?1"
    ))
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking for pushes that were not acted on"))
}

/// How many pushes these subjects sent that are kept.
pub(crate) async fn count_of(
    connection: &mut SqliteConnection,
    log: &LogName,
    subjects: &[[u8; 16]],
) -> Result<i64, StoreError> {
    let (json, blob) = JsonRows::of(subjects, |row, subject| row.bytes(subject)).into_parts();
    sqlx::query_scalar(
        "select count(*) from json_each(?1) w
         cross join push p on p.log = (select id from head where name = ?3)
             and p.subject = substr(?2, w.value ->> 0, w.value ->> 1)",
    )
    .bind(json)
    .bind(blob)
    .bind(log.as_str())
    .fetch_one(connection)
    .await
    .map_err(while_doing("counting pushes"))
}

/// Counts by kind and state.
pub(crate) async fn counts(
    connection: &mut SqliteConnection,
    log: &LogName,
) -> Result<Vec<PushCount>, StoreError> {
    sqlx::query_as(
        "with c (kind, state, pushes) as materialized
             (select kind, state, count(*) from push indexed by push_kind
              where log = (select id from head where name = ?1) group by kind, state)
         select c.kind, c.state, c.pushes,
                (select n.received_at from push n indexed by push_kind
                 where n.log = (select id from head where name = ?1) and n.kind = c.kind
                 order by n.place desc limit 1)
         from c order by c.kind, c.state",
    )
    .bind(log.as_str())
    .fetch_all(connection)
    .await
    .map_err(while_doing("counting pushes"))
}

/// How many pushes wait, are leased or were given up.
pub(crate) async fn relay_counts(
    connection: &mut SqliteConnection,
    log: &LogName,
) -> Result<Vec<RelayCount>, StoreError> {
    sqlx::query_as(
        "select p.relay, count(*) from push p indexed by push_relay
         where p.log = (select id from head where name = ?1) and p.relay in (1, 2, 4) and p.relay <> 0
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
    connection: &mut SqliteConnection,
    log: &LogName,
) -> Result<Vec<RelayEdge>, StoreError> {
    sqlx::query_as(
        "with l (id) as (select id from head where name = ?1)
         select * from (select p.relay, p.received_at, p.relay_status from push p indexed by push_relay
             where p.log = (select id from l) and p.relay = 1 and p.relay <> 0 order by p.place limit 1)
         union all
         select * from (select p.relay, p.received_at, p.relay_status from push p indexed by push_relay
             where p.log = (select id from l) and p.relay = 2 and p.relay <> 0 order by p.place limit 1)
         union all
         select * from (select p.relay, p.received_at, p.relay_status from push p indexed by push_relay
             where p.log = (select id from l) and p.relay = 3 and p.relay <> 0 order by p.place desc limit 1)
         union all
         select * from (select p.relay, p.received_at, p.relay_status from push p indexed by push_relay
             where p.log = (select id from l) and p.relay = 4 and p.relay <> 0 order by p.place desc limit 1)",
    )
    .bind(log.as_str())
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking at pushes to relay"))
}
