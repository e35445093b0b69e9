//! Sealed values, table by table: read in order of their keys, replaced where they are still the same.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};

use super::{Uuid, column as column_of};
use crate::{
    StoreError,
    error::while_doing,
    rows::{
        bytes as bytes_of,
        keys::{KeyValue, Part, Replacement, ResealRow, SealedColumn, SealedValue},
    },
    vault::DataKeyId,
};

/// How many sealed values a column holds.
pub(crate) async fn count(connection: &mut PgConnection, of: &SealedColumn) -> Result<i64, StoreError> {
    let SealedColumn { table, column, .. } = of;
    sqlx::query_scalar(AssertSqlSafe(format!("select count({column}) from {table}")))
        .fetch_one(connection)
        .await
        .map_err(while_doing("counting sealed values"))
}

/// How many of them do not name this key.
pub(crate) async fn count_others(
    connection: &mut PgConnection,
    of: &SealedColumn,
    key: DataKeyId,
) -> Result<i64, StoreError> {
    let SealedColumn { table, column, .. } = of;
    sqlx::query_scalar(AssertSqlSafe(format!(
        "select count(*) from {table} where substring({column} from 1 for 2) <> $1"
    )))
    .bind(&key.to_be_bytes()[..])
    .fetch_one(connection)
    .await
    .map_err(while_doing("counting sealed values"))
}

/// The next sealed values of a column; with `but`, those that do not name this key.
pub(crate) async fn page(
    connection: &mut PgConnection,
    of: &SealedColumn,
    after: Option<&[KeyValue]>,
    but: Option<DataKeyId>,
    limit: i64,
) -> Result<Vec<SealedValue>, StoreError> {
    let failed = while_doing("reading sealed values");
    let SealedColumn { table, column, key, .. } = of;
    let names: Vec<&str> = key.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    let chosen: Vec<String> = key.iter().map(|(name, part)| format!("{name}::{}", type_of(*part))).collect();
    let chosen = chosen.join(", ");
    let marks: Vec<String> = (3..3 + key.len()).map(|n| format!("${n}")).collect();
    let beyond = after.map(|_| format!("and ({names}) > ({})", marks.join(", "))).unwrap_or_default();
    let sql = format!(
        "select {chosen}, {column} from {table}
         where {column} is not null and ($2::bytea is null or substring({column} from 1 for 2) <> $2) {beyond}
         order by {names} limit $1"
    );
    let mut query =
        sqlx::query(AssertSqlSafe(sql)).bind(limit).bind(but.map(|key| key.to_be_bytes().to_vec()));
    for ((_, part), value) in of.key.iter().zip(after.unwrap_or_default()) {
        query = match (part, value) {
            (Part::Digest, value) => query.bind(value.bytes().map(digest).transpose()?),
            (_, KeyValue::Number(number)) => query.bind(*number),
            (_, KeyValue::Text(text)) => query.bind(text.clone()),
            (_, KeyValue::Bytes(bytes)) => query.bind(bytes.clone()),
        };
    }
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(|row| value(of, row).map_err(failed)).collect()
}

fn digest(bytes: &[u8]) -> Result<Uuid, StoreError> {
    bytes_of(bytes.to_vec()).map(Uuid)
}

const fn type_of(part: Part) -> &'static str {
    match part {
        Part::Log | Part::Number => "bigint",
        Part::Text => "text",
        Part::Bytes => "bytea",
        Part::Digest => "uuid",
    }
}

fn value(of: &SealedColumn, row: &PgRow) -> Result<SealedValue, sqlx::Error> {
    let part = |(index, (_, part)): (usize, &(&str, Part))| {
        Ok(match part {
            Part::Log | Part::Number => KeyValue::Number(row.try_get(index)?),
            Part::Text => KeyValue::Text(row.try_get(index)?),
            Part::Bytes => KeyValue::Bytes(row.try_get(index)?),
            Part::Digest => KeyValue::Bytes(row.try_get::<Uuid, _>(index)?.0.to_vec()),
        })
    };
    let key = of.key.iter().enumerate().map(part).collect::<Result<_, sqlx::Error>>()?;
    Ok((key, row.try_get(of.key.len())?))
}

/// Replaces values that are still as they were read, and notes how far this has come. Answers with how many were replaced.
pub(crate) async fn replace_sealed(
    connection: &mut PgConnection,
    of: &SealedColumn,
    rows: &[Replacement],
    progress: &ResealRow,
) -> Result<u64, StoreError> {
    let failed = while_doing("replacing sealed values");
    let SealedColumn { table, column, key, .. } = of;
    let arrays: Vec<String> =
        key.iter().enumerate().map(|(n, (_, part))| format!("${}::{}[]", n + 1, type_of(*part))).collect();
    let arrays = arrays.join(", ");
    let (old, new) = (key.len() + 1, key.len() + 2);
    let names: Vec<&str> = key.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    let theirs: Vec<String> = key.iter().map(|(name, _)| format!("t.{name}")).collect();
    let theirs = theirs.join(", ");
    let same = |other: &str| {
        let same: Vec<String> = key.iter().map(|(name, _)| format!("t.{name} = {other}.{name}")).collect();
        same.join(" and ")
    };
    let (wanted, free) = (same("w"), same("free"));
    // Rows that others have locked are left for the next look: who never waits is in no deadlock.
    let sql = format!(
        "with w as materialized (
             select * from unnest({arrays}, ${old}::bytea[], ${new}::bytea[]) as w ({names}, old, new)
         ), free as materialized (
             select {theirs}, w.new from w join {table} t on {wanted} and t.{column} = w.old
             for update of t skip locked
         )
         update {table} t set {column} = free.new from free where {free}"
    );
    let mut transaction = connection.begin().await.map_err(failed)?;
    let replaced = if rows.is_empty() {
        0
    } else {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (index, (_, part)) in key.iter().enumerate() {
            let values = rows.iter().filter_map(|row| row.key.get(index));
            query = match part {
                Part::Log | Part::Number => {
                    query.bind(values.filter_map(KeyValue::number).collect::<Vec<_>>())
                }
                Part::Text => query.bind(values.filter_map(KeyValue::text).collect::<Vec<_>>()),
                Part::Bytes => query.bind(values.filter_map(KeyValue::bytes).collect::<Vec<_>>()),
                Part::Digest => {
                    let digests = values.filter_map(KeyValue::bytes).map(digest);
                    query.bind(digests.collect::<Result<Vec<_>, _>>()?)
                }
            };
        }
        let query = query.bind(column_of(rows, |row| &row.old[..])).bind(column_of(rows, |row| &row.new[..]));
        query.execute(&mut *transaction).await.map_err(failed)?.rows_affected()
    };
    note(&mut transaction, progress, replaced).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(replaced)
}

/// Notes how far a table has come; `more` were replaced besides.
async fn note(connection: &mut PgConnection, progress: &ResealRow, more: u64) -> Result<(), StoreError> {
    let (name, key, position, seen, resealed, damaged, micros, started_at, done_at) = progress;
    let resealed = resealed.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
    sqlx::query(
        "insert into reseal (name, data_key, position, seen, resealed, damaged, micros, started_at, done_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (name) do update set
             data_key = excluded.data_key, position = excluded.position, seen = excluded.seen,
             resealed = excluded.resealed, damaged = excluded.damaged, micros = excluded.micros,
             started_at = excluded.started_at, done_at = excluded.done_at",
    )
    .bind(name)
    .bind(key)
    .bind(position)
    .bind(seen)
    .bind(resealed)
    .bind(damaged)
    .bind(micros)
    .bind(started_at)
    .bind(done_at)
    .execute(connection)
    .await
    .map_err(while_doing("noting how far re-sealing has come"))?;
    Ok(())
}

/// How far the tables have come.
pub(crate) async fn progress(connection: &mut PgConnection) -> Result<Vec<ResealRow>, StoreError> {
    sqlx::query_as(
        "select name, data_key::bigint, position, seen, resealed, damaged, micros, started_at, done_at
         from reseal order by name",
    )
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading how far re-sealing has come"))
}

/// Every log there is, by number.
pub(crate) async fn log_names(connection: &mut PgConnection) -> Result<Vec<(i64, String)>, StoreError> {
    sqlx::query_as("select id::bigint, name from head")
        .fetch_all(connection)
        .await
        .map_err(while_doing("reading the names of logs"))
}
