//! Bulk writes through `copy … from stdin` in the binary format.
//!
//! Rows with new keys are copied straight into their table. Rows that replace others are copied into a table of this
//! connection alone, which writes no log, and go from there in one statement.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use subledger_store::StoreError;

use crate::{
    database::{Step, pg_step},
    sheet::{Sheet, Tuples},
    table::Table,
};

/// What a copy begins with: a signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const TRAILER: &[u8] = &[0xff, 0xff];
/// Bytes sent at a time.
const PIECE: usize = 1 << 20;

fn failed(source: sqlx::Error) -> StoreError {
    StoreError::sort("writing rows of projections", source)
}

/// Prepares a connection that only writes in bulk. Its commits need not wait for the disk: every row can be built again,
/// and the commit that makes them live waits for all that were before it.
pub(crate) async fn prepare(connection: &mut PgConnection) -> Result<(), StoreError> {
    connection.execute("set synchronous_commit = off").await.map_err(failed)?;
    connection.execute("set temp_buffers = '64MB'").await.map_err(failed)?;
    Ok(())
}

/// Writes sheets and moves checkpoints in one transaction; `false`, and nothing written, if one was not where it should be.
pub(crate) async fn write(
    connection: &mut PgConnection,
    sheets: &[Sheet],
    moves: &[Step],
) -> Result<bool, StoreError> {
    let mut tx = connection.begin().await.map_err(failed)?;
    for step in moves {
        let touched = tx.execute(pg_step(step)).await.map_err(failed)?.rows_affected();
        if step.expect.is_some_and(|expected| expected != touched) {
            tx.rollback().await.map_err(failed)?;
            return Ok(false);
        }
    }
    for sheet in sheets {
        if sheet.fresh.rows > 0 {
            copy(&mut tx, sheet.table, sheet.table.name(), &sheet.fresh).await?;
        }
        if sheet.known.rows > 0 {
            replace(&mut tx, sheet.table, &sheet.known).await?;
        }
    }
    tx.commit().await.map_err(failed)?;
    Ok(true)
}

fn names(table: Table) -> Vec<&'static str> {
    table.columns().iter().map(|column| column.name).collect()
}

async fn copy(tx: &mut PgConnection, table: Table, into: &str, tuples: &Tuples) -> Result<(), StoreError> {
    let statement =
        format!("copy {into} (log, generation, {}) from stdin (format binary)", names(table).join(", "));
    let mut copy = tx.copy_in_raw(&statement).await.map_err(failed)?;
    copy.send(HEADER).await.map_err(failed)?;
    for piece in tuples.bytes.chunks(PIECE) {
        copy.send(piece).await.map_err(failed)?;
    }
    copy.send(TRAILER).await.map_err(failed)?;
    copy.finish().await.map_err(failed)?;
    Ok(())
}

async fn replace(tx: &mut PgConnection, table: Table, tuples: &Tuples) -> Result<(), StoreError> {
    let name = table.name();
    let stage = format!("pg_temp.staged_{name}");
    // Names of our own tables and columns only.
    let make =
        format!("create temporary table if not exists staged_{name} (like {name}) on commit delete rows");
    tx.execute(sqlx::raw_sql(AssertSqlSafe(make))).await.map_err(failed)?;
    copy(tx, table, &stage, tuples).await?;
    let columns = names(table);
    let (key, rest) = columns.split_at(table.key_columns());
    let sets: Vec<String> = rest.iter().map(|column| format!("{column} = s.{column}")).collect();
    let keys: Vec<String> = key.iter().map(|column| format!("t.{column} = s.{column}")).collect();
    let update = format!(
        "update {name} t set {} from {stage} s where t.log = s.log and t.generation = s.generation and {}",
        sets.join(", "),
        keys.join(" and ")
    );
    let touched = tx.execute(sqlx::raw_sql(AssertSqlSafe(update))).await.map_err(failed)?.rows_affected();
    if touched != tuples.rows as u64 {
        return Err(StoreError::Corrupt(format!(
            "{touched} of {} rows of {name} were there to be replaced",
            tuples.rows
        )));
    }
    Ok(())
}
