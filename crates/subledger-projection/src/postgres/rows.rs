//! Reads and writes rows in sets: keys and rows go as arrays, one per column, many new rows through `copy … from stdin`.
//!
//! A field of an array and a field of a copied row are the same bytes, so neither is encoded anew.

use sqlx::{
    AssertSqlSafe, Connection, Encode, Executor, PgConnection, PgPool, Postgres, Row as _, Type,
    ValueRef as _,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgRow, PgTypeInfo, types::Oid},
};
use subledger_store::StoreError;

use crate::{
    database::{Step, pg_step},
    table::{Column, Kind, Table},
    tuples::{Sheet, Tuples},
};

/// What a copy begins with: a signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const TRAILER: &[u8] = &[0xff, 0xff];
/// Bytes sent at a time.
const PIECE: usize = 1 << 20;
/// From so many new rows on a copy is worth its extra round trips.
const COPY_FROM_ROWS: usize = 500;
/// Rows in one statement at most.
const ROWS: usize = 10_000;

fn failed(source: sqlx::Error) -> StoreError {
    StoreError::sort("reading or writing rows of projections", source)
}

fn broken(table: Table) -> StoreError {
    StoreError::Corrupt(format!("a row of {} was encoded wrongly", table.name()))
}

/// An array of the fields of one column.
struct Array {
    kind: Kind,
    bytes: Vec<u8>,
}

impl Array {
    /// (type of the elements, type of the array)
    const fn oids(kind: Kind) -> (u32, u32) {
        match kind {
            Kind::Small => (21, 1005),
            Kind::Int | Kind::Term => (23, 1007),
            Kind::Big => (20, 1016),
            Kind::Text => (25, 1009),
            Kind::Bytes => (17, 1001),
        }
    }

    /// One-dimensional, counted from 1, possibly with nulls.
    fn new(kind: Kind, rows: usize) -> Self {
        let mut bytes = Vec::with_capacity(20 + rows * 12);
        for word in [1, 1, Self::oids(kind).0, rows as u32, 1] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        Self { kind, bytes }
    }
}

impl Type<Postgres> for Array {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1016))
    }
}

impl Encode<'_, Postgres> for Array {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(Self::oids(self.kind).1)))
    }
}

/// The columns of rows, in pieces of [`ROWS`].
fn arrays(table: Table, columns: &[Kind], tuples: &Tuples) -> Result<Vec<Vec<Array>>, StoreError> {
    let mut pieces = Vec::new();
    let mut rows = tuples.iter(columns.len());
    let mut left = tuples.rows;
    while left > 0 {
        let take = left.min(ROWS);
        left -= take;
        let mut piece: Vec<Array> = columns.iter().map(|kind| Array::new(*kind, take)).collect();
        for mut row in rows.by_ref().take(take) {
            for array in &mut piece {
                match row.field().map_err(|_| broken(table))? {
                    Some(field) => {
                        array.bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
                        array.bytes.extend_from_slice(field);
                    }
                    None => array.bytes.extend_from_slice(&u32::MAX.to_be_bytes()),
                }
            }
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

fn kinds(columns: &[Column]) -> Vec<Kind> {
    columns.iter().map(|column| column.kind).collect()
}

const fn array_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Small => "smallint[]",
        Kind::Int | Kind::Term => "integer[]",
        Kind::Big => "bigint[]",
        Kind::Text => "text[]",
        Kind::Bytes => "bytea[]",
    }
}

/// `$from::type[], …` for these columns.
fn places(columns: &[Kind], from: usize) -> String {
    let place = |(place, kind): (usize, &Kind)| format!("${place}::{}", array_type(*kind));
    (from..).zip(columns).map(place).collect::<Vec<_>>().join(", ")
}

/// The rows of a generation with these keys, those that exist.
pub(crate) async fn load(
    connection: &mut PgConnection,
    generation: i64,
    table: Table,
    keys: &Tuples,
) -> Result<Tuples, StoreError> {
    let key = &table.columns()[..table.key_columns()];
    let kinds = kinds(key);
    let names: Vec<&str> = key.iter().map(|column| column.name).collect();
    let equal: Vec<String> = names.iter().map(|name| format!("r.{name} = k.{name}")).collect();
    // The limit keeps the planner, who does not know how many keys come, from reading the whole table.
    let statement = format!(
        "select {} from unnest({}) as k ({}) cross join lateral (
             select * from {} r where r.generation = $1 and {} limit 1) t",
        table.list("t"),
        places(&kinds, 2),
        names.join(", "),
        table.name(),
        equal.join(" and ")
    );
    let mut found = Tuples::default();
    for piece in arrays(table, &kinds, keys)? {
        let query = sqlx::query(AssertSqlSafe(statement.clone())).bind(generation);
        let query = piece.into_iter().fold(query, |query, array| query.bind(array));
        for row in query.fetch_all(&mut *connection).await.map_err(failed)? {
            put(&mut found, table.columns().len(), &row, 0)?;
        }
    }
    Ok(found)
}

/// Adds so many columns of a row, from one on, as fields.
pub(crate) fn put(found: &mut Tuples, columns: usize, row: &PgRow, from: usize) -> Result<(), StoreError> {
    found.bytes.extend_from_slice(&(columns as u16).to_be_bytes());
    for place in from..from + columns {
        let value = row.try_get_raw(place).map_err(failed)?;
        if value.is_null() {
            found.bytes.extend_from_slice(&u32::MAX.to_be_bytes());
        } else {
            let bytes = value.as_bytes().map_err(|error| failed(sqlx::Error::Decode(error)))?;
            found.bytes.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            found.bytes.extend_from_slice(bytes);
        }
    }
    found.rows += 1;
    Ok(())
}

/// Writes sheets and moves checkpoints in one transaction; `false`, and nothing written, if one was not where it should be.
///
/// The commit does not wait for the disk: every row can be built again, checkpoints go with their rows, and commits reach the
/// disk in their order.
pub(crate) async fn write(pool: &PgPool, sheets: &[Sheet], moves: &[Step]) -> Result<bool, StoreError> {
    let mut connection = pool.acquire().await.map_err(failed)?;
    let begin = "begin; set local synchronous_commit = off";
    let mut tx = connection.begin_with(begin).await.map_err(failed)?;
    for step in moves {
        let touched = tx.execute(pg_step(step)).await.map_err(failed)?.rows_affected();
        if step.expect.is_some_and(|expected| expected != touched) {
            tx.rollback().await.map_err(failed)?;
            return Ok(false);
        }
    }
    for sheet in sheets {
        if sheet.fresh.rows >= COPY_FROM_ROWS {
            copy(&mut tx, sheet.table, &sheet.fresh).await?;
        } else {
            insert(&mut tx, sheet.table, &sheet.fresh, "").await?;
        }
        insert(&mut tx, sheet.table, &sheet.known, &sheet.table.or_replace()).await?;
    }
    tx.commit().await.map_err(failed)?;
    Ok(true)
}

async fn copy(tx: &mut PgConnection, table: Table, tuples: &Tuples) -> Result<(), StoreError> {
    let names = table.names().join(", ");
    let statement = format!("copy {} (generation, {names}) from stdin (format binary)", table.name());
    let mut copy = tx.copy_in_raw(&statement).await.map_err(failed)?;
    copy.send(HEADER).await.map_err(failed)?;
    for piece in tuples.bytes.chunks(PIECE) {
        copy.send(piece).await.map_err(failed)?;
    }
    copy.send(TRAILER).await.map_err(failed)?;
    copy.finish().await.map_err(failed)?;
    Ok(())
}

async fn insert(
    tx: &mut PgConnection,
    table: Table,
    tuples: &Tuples,
    conflict: &str,
) -> Result<(), StoreError> {
    if tuples.rows == 0 {
        return Ok(());
    }
    let mut kinds = kinds(table.columns());
    kinds.insert(0, Kind::Int);
    let statement = format!(
        "insert into {} (generation, {}) select * from unnest({}){conflict}",
        table.name(),
        table.names().join(", "),
        places(&kinds, 1)
    );
    for piece in arrays(table, &kinds, tuples)? {
        let query = sqlx::query(AssertSqlSafe(statement.clone()));
        let query = piece.into_iter().fold(query, |query, array| query.bind(array));
        query.execute(&mut *tx).await.map_err(failed)?;
    }
    Ok(())
}

/// The numbers of these texts; those that have none are given one if `make`. Waits for the disk: a number that was given is
/// known to other nodes' rows at once.
pub(crate) async fn number_terms(
    pool: &PgPool,
    texts: &[&str],
    make: bool,
) -> Result<Vec<(String, i32)>, StoreError> {
    if make {
        let insert = "insert into term (text) select unnest($1) on conflict do nothing";
        sqlx::query(insert).bind(texts).execute(pool).await.map_err(failed)?;
    }
    let select = "select text, number from term where text = any($1)";
    sqlx::query_as(select).bind(texts).fetch_all(pool).await.map_err(failed)
}
