//! Bulk writes through rusqlite: one prepared statement per table, bound and stepped without a hop between threads.

use std::time::Duration;

use rusqlite::{
    Connection, Statement, TransactionBehavior, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use subledger_store::{SqliteDatabase, StoreError};

use crate::{
    database::{Param, Step},
    sheet::{Sheet, Tuples},
    table::{Kind, Table},
};

const WRITING: &str = "writing rows of projections";
/// How long to wait for another process that writes the file.
const BUSY: Duration = Duration::from_secs(10);

fn failed(source: rusqlite::Error) -> StoreError {
    StoreError::sort(WRITING, source)
}

/// Opens the file of the read models for writing.
pub(crate) fn open(database: &SqliteDatabase) -> Result<Connection, StoreError> {
    let path = database.views_readers.connect_options().get_filename().to_path_buf();
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection
        .execute_batch(
            "pragma synchronous = normal; pragma temp_store = memory; pragma cache_size = -65536;
             pragma wal_autocheckpoint = 16384",
        )
        .map_err(failed)?;
    Ok(connection)
}

/// Writes sheets and moves checkpoints in one transaction; `false`, and nothing written, if one was not where it should be.
pub(crate) fn write(
    connection: &mut Connection,
    sheets: &[Sheet],
    moves: &[Step],
) -> Result<bool, StoreError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    for step in moves {
        let params = params_from_iter(step.params.iter().map(bound));
        let touched = tx.execute(step.statement.sqlite, params).map_err(failed)?;
        if step.expect.is_some_and(|expected| expected != touched as u64) {
            tx.rollback().map_err(failed)?;
            return Ok(false);
        }
    }
    for sheet in sheets {
        if sheet.fresh.rows > 0 {
            fill(&mut tx.prepare(&insert(sheet.table, false)).map_err(failed)?, sheet.table, &sheet.fresh)?;
        }
        if sheet.known.rows > 0 {
            fill(&mut tx.prepare(&insert(sheet.table, true)).map_err(failed)?, sheet.table, &sheet.known)?;
        }
    }
    tx.commit().map_err(failed)?;
    Ok(true)
}

fn bound(param: &Param) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match param {
        Param::Text(text) => ValueRef::Text(text.as_bytes()),
        Param::MaybeText(text) => {
            text.as_ref().map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()))
        }
        Param::Int(int) => ValueRef::Integer(*int),
        Param::MaybeInt(int) => int.map_or(ValueRef::Null, ValueRef::Integer),
    })
}

/// Inserts a row; `known`: or replaces the columns of the one with its key.
fn insert(table: Table, known: bool) -> String {
    let columns = table.columns();
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let places: Vec<String> = (1..=names.len() + 2).map(|place| format!("?{place}")).collect();
    let mut statement = format!(
        "insert into {} (log, generation, {}) values ({})",
        table.name(),
        names.join(", "),
        places.join(", ")
    );
    if known {
        let (key, rest) = names.split_at(table.key_columns());
        let sets: Vec<String> = rest.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        statement +=
            &format!(" on conflict (log, generation, {}) do update set {}", key.join(", "), sets.join(", "));
    }
    statement
}

/// Takes each encoded row apart and steps the statement with it.
fn fill(statement: &mut Statement<'_>, table: Table, tuples: &Tuples) -> Result<(), StoreError> {
    let broken = || StoreError::Corrupt(format!("a row of {} was encoded wrongly", table.name()));
    let mut rest = tuples.bytes.as_slice();
    let mut take = |length: usize| {
        let (taken, left) = rest.split_at_checked(length)?;
        rest = left;
        Some(taken)
    };
    let columns = table.columns();
    for _ in 0..tuples.rows {
        take(2).ok_or_else(broken)?;
        for place in 0..columns.len() + 2 {
            let length =
                take(4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes).ok_or_else(broken)?;
            let value = match usize::try_from(length) {
                Err(_) => ValueRef::Null,
                Ok(length) => {
                    let bytes = take(length).ok_or_else(broken)?;
                    let kind = match place {
                        0 => Kind::Text,
                        1 => Kind::Int,
                        place => columns[place - 2].kind,
                    };
                    match kind {
                        Kind::Text => ValueRef::Text(bytes),
                        // The first byte is the version of PostgreSQL's binary form.
                        Kind::Json => ValueRef::Text(bytes.get(1..).unwrap_or_default()),
                        Kind::Int | Kind::Flag => ValueRef::Integer(
                            bytes.iter().fold(0, |value, byte| value << 8 | i64::from(*byte)),
                        ),
                    }
                }
            };
            statement.raw_bind_parameter(place + 1, ToSqlOutput::Borrowed(value)).map_err(failed)?;
        }
        statement.raw_execute().map_err(failed)?;
    }
    Ok(())
}
