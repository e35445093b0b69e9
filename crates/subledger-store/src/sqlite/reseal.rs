//! Sealed values, table by table: read in order of their keys, replaced where they are still the same.

use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection, sqlite::SqliteRow};

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::keys::{KeyValue, Part, Replacement, ResealRow, SealedColumn, SealedValue},
    vault::DataKeyId,
};

/// How many sealed values a column holds.
pub(crate) async fn count(connection: &mut SqliteConnection, of: &SealedColumn) -> Result<i64, StoreError> {
    let SealedColumn { table, column, .. } = of;
    sqlx::query_scalar(AssertSqlSafe(format!("select count({column}) from {table}")))
        .fetch_one(connection)
        .await
        .map_err(while_doing("counting sealed values"))
}

/// How many of them do not name this key.
pub(crate) async fn count_others(
    connection: &mut SqliteConnection,
    of: &SealedColumn,
    key: DataKeyId,
) -> Result<i64, StoreError> {
    let SealedColumn { table, column, .. } = of;
    sqlx::query_scalar(AssertSqlSafe(format!(
        "select count(*) from {table} where substr({column}, 1, 2) <> ?1"
    )))
    .bind(&key.to_be_bytes()[..])
    .fetch_one(connection)
    .await
    .map_err(while_doing("counting sealed values"))
}

/// The next sealed values of a column; with `but`, those that do not name this key.
pub(crate) async fn page(
    connection: &mut SqliteConnection,
    of: &SealedColumn,
    after: Option<&[KeyValue]>,
    but: Option<DataKeyId>,
    limit: i64,
) -> Result<Vec<SealedValue>, StoreError> {
    let failed = while_doing("reading sealed values");
    let SealedColumn { table, column, key, .. } = of;
    let names: Vec<&str> = key.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    let marks: Vec<String> = (3..3 + key.len()).map(|n| format!("?{n}")).collect();
    let beyond = after.map(|_| format!("and ({names}) > ({})", marks.join(", "))).unwrap_or_default();
    let sql = format!(
        "select {names}, {column} from {table}
         where {column} is not null and (?2 is null or substr({column}, 1, 2) <> ?2) {beyond}
         order by {names} limit ?1"
    );
    let mut query =
        sqlx::query(AssertSqlSafe(sql)).bind(limit).bind(but.map(|key| key.to_be_bytes().to_vec()));
    for value in after.unwrap_or_default() {
        query = match value {
            KeyValue::Number(number) => query.bind(*number),
            KeyValue::Text(text) => query.bind(text.clone()),
            KeyValue::Bytes(bytes) => query.bind(bytes.clone()),
        };
    }
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(|row| value(of, row).map_err(failed)).collect()
}

fn value(of: &SealedColumn, row: &SqliteRow) -> Result<SealedValue, sqlx::Error> {
    let part = |(index, (_, part)): (usize, &(&str, Part))| {
        Ok(match part {
            Part::Log | Part::Number => KeyValue::Number(row.try_get(index)?),
            Part::Text => KeyValue::Text(row.try_get(index)?),
            Part::Bytes | Part::Digest => KeyValue::Bytes(row.try_get(index)?),
        })
    };
    let key = of.key.iter().enumerate().map(part).collect::<Result<_, sqlx::Error>>()?;
    Ok((key, row.try_get(of.key.len())?))
}

/// Replaces values that are still as they were read, and notes how far this has come. Answers with how many were replaced.
pub(crate) async fn replace_sealed(
    connection: &mut SqliteConnection,
    of: &SealedColumn,
    rows: &[Replacement],
    progress: &ResealRow,
) -> Result<u64, StoreError> {
    let failed = while_doing("replacing sealed values");
    let SealedColumn { table, column, key, .. } = of;
    let mut place = 0;
    let mut next = |part: Part| match part {
        Part::Log | Part::Number | Part::Text => {
            place += 1;
            format!("value ->> {}", place - 1)
        }
        Part::Bytes | Part::Digest => {
            place += 2;
            format!("substr(?2, value ->> {}, value ->> {})", place - 2, place - 1)
        }
    };
    let keys: Vec<String> = key.iter().map(|(name, part)| format!("{} as {name}", next(*part))).collect();
    let (keys, old, new) = (keys.join(", "), next(Part::Bytes), next(Part::Bytes));
    let same: Vec<String> = key.iter().map(|(name, _)| format!("t.{name} = w.{name}")).collect();
    let same = same.join(" and ");
    let sql = format!(
        "update {table} as t set {column} = w.new
         from (select {keys}, {old} as old, {new} as new from json_each(?1)) w
         where {same} and t.{column} = w.old"
    );
    let (json, blob) = JsonRows::of(rows, |row, replacement| {
        let row = replacement.key.iter().fold(row, |row, value| match value {
            KeyValue::Number(number) => row.int(*number),
            KeyValue::Text(text) => row.text(text),
            KeyValue::Bytes(bytes) => row.bytes(bytes),
        });
        row.bytes(&replacement.old).bytes(&replacement.new)
    })
    .into_parts();
    let mut transaction = connection.begin_with("begin immediate").await.map_err(failed)?;
    let replaced = if rows.is_empty() {
        0
    } else {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(json).bind(blob);
        query.execute(&mut *transaction).await.map_err(failed)?.rows_affected()
    };
    note(&mut transaction, progress, replaced).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(replaced)
}

/// Notes how far a table has come; `more` were replaced besides.
async fn note(connection: &mut SqliteConnection, progress: &ResealRow, more: u64) -> Result<(), StoreError> {
    let (name, key, position, seen, resealed, damaged, micros, started_at, done_at) = progress;
    let resealed = resealed.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
    sqlx::query(
        "insert into reseal (name, data_key, position, seen, resealed, damaged, micros, started_at, done_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
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
pub(crate) async fn progress(connection: &mut SqliteConnection) -> Result<Vec<ResealRow>, StoreError> {
    sqlx::query_as(
        "select name, data_key, position, seen, resealed, damaged, micros, started_at, done_at
         from reseal order by name",
    )
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading how far re-sealing has come"))
}

/// Every log there is, by number.
pub(crate) async fn log_names(connection: &mut SqliteConnection) -> Result<Vec<(i64, String)>, StoreError> {
    sqlx::query_as("select id, name from head")
        .fetch_all(connection)
        .await
        .map_err(while_doing("reading the names of logs"))
}
