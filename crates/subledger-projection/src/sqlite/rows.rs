//! Reads and writes rows through rusqlite: prepared statements, bound and stepped without a hop between threads.

use std::time::Duration;

use rusqlite::{
    Connection, Statement, Transaction, TransactionBehavior, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use subledger_store::{SqliteDatabase, StoreError};

use crate::{
    database::{Param, Step},
    table::{Kind, Table},
    tuples::{Cells, Sheet, Tuples, number},
};

/// How long to wait for another process that writes the file.
const BUSY: Duration = Duration::from_secs(10);
/// More statements than there are tables and ways to use them.
const STATEMENTS: usize = 64;

pub(crate) fn failed(source: rusqlite::Error) -> StoreError {
    StoreError::sort("reading or writing rows of projections", source)
}

/// Opens the file of the read models for writing.
pub(crate) fn open(database: &SqliteDatabase) -> Result<Connection, StoreError> {
    let path = database.views_readers.connect_options().get_filename().to_path_buf();
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Checkpoints are small and many: a large one holds up whoever waits for rows, and commands for the disk.
    connection
        .execute_batch(
            "pragma synchronous = normal; pragma temp_store = memory; pragma cache_size = -32768;
             pragma wal_autocheckpoint = 1024",
        )
        .map_err(failed)?;
    Ok(connection)
}

/// The rows of a generation with these keys, those that exist.
pub(crate) fn load(
    connection: &Connection,
    generation: i64,
    table: Table,
    keys: &Tuples,
) -> Result<Tuples, StoreError> {
    let key = &table.columns()[..table.key_columns()];
    let mut statement = format!("select {} from {} t where t.generation = ?1", table.list("t"), table.name());
    for (place, column) in (2..).zip(key) {
        statement += &format!(" and t.{} = ?{place}", column.name);
    }
    let mut statement = connection.prepare_cached(&statement).map_err(failed)?;
    let columns = table.columns();
    let mut found = Tuples::default();
    for mut cells in keys.iter(key.len()) {
        statement.raw_bind_parameter(1, generation).map_err(failed)?;
        for (place, column) in (2..).zip(key) {
            bind(&mut statement, place, column.kind, &mut cells, table)?;
        }
        let mut rows = statement.raw_query();
        if let Some(row) = rows.next().map_err(failed)? {
            found.bytes.extend_from_slice(&(columns.len() as u16).to_be_bytes());
            for place in 0..columns.len() {
                put(&mut found.bytes, row.get_ref(place).map_err(failed)?);
            }
            found.rows += 1;
        }
    }
    Ok(found)
}

/// Adds a value as a field.
pub(crate) fn put(out: &mut Vec<u8>, value: ValueRef<'_>) {
    let mut field = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    match value {
        ValueRef::Null => out.extend_from_slice(&u32::MAX.to_be_bytes()),
        ValueRef::Integer(int) => field(&int.to_be_bytes()),
        ValueRef::Real(real) => field(&real.to_be_bytes()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => field(bytes),
    }
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
        let mut statement = tx.prepare_cached(step.statement.sqlite).map_err(failed)?;
        let touched = statement.execute(params).map_err(failed)?;
        if step.expect.is_some_and(|expected| expected != touched as u64) {
            drop(statement);
            tx.rollback().map_err(failed)?;
            return Ok(false);
        }
    }
    for sheet in sheets {
        fill(&tx, sheet.table, false, &sheet.fresh)?;
        fill(&tx, sheet.table, true, &sheet.known)?;
    }
    tx.commit().map_err(failed)?;
    Ok(true)
}

/// The numbers of these texts; those that have none are given one if `make`.
pub(crate) fn number_terms(
    connection: &Connection,
    texts: &[&str],
    make: bool,
) -> Result<Vec<(String, i32)>, StoreError> {
    let mut numbers = Vec::with_capacity(texts.len());
    for text in texts {
        if make {
            let insert = "insert into term (text) values (?1) on conflict do nothing";
            connection
                .prepare_cached(insert)
                .and_then(|mut insert| insert.execute([text]))
                .map_err(failed)?;
        }
        let select = "select number from term where text = ?1";
        let mut select = connection.prepare_cached(select).map_err(failed)?;
        let mut rows = select.query([text]).map_err(failed)?;
        if let Some(row) = rows.next().map_err(failed)? {
            numbers.push(((*text).to_owned(), row.get(0).map_err(failed)?));
        }
    }
    Ok(numbers)
}

fn bound(param: &Param) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match param {
        Param::Text(text) => ValueRef::Text(text.as_bytes()),
        Param::MaybeText(text) => {
            text.as_ref().map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()))
        }
        Param::Int(int) => ValueRef::Integer(*int),
        Param::MaybeInt(int) => int.map_or(ValueRef::Null, ValueRef::Integer),
        Param::Bytes(bytes) => ValueRef::Blob(bytes),
    })
}

/// Inserts a row; `known`: or replaces the columns of the one with its key.
fn insert(table: Table, known: bool) -> String {
    let names = table.names();
    let places: Vec<String> = (1..=names.len() + 1).map(|place| format!("?{place}")).collect();
    let insert = format!(
        "insert into {} (generation, {}) values ({})",
        table.name(),
        names.join(", "),
        places.join(", ")
    );
    if known { insert + &table.or_replace() } else { insert }
}

/// Takes each encoded row apart and steps the statement with it.
fn fill(tx: &Transaction<'_>, table: Table, known: bool, tuples: &Tuples) -> Result<(), StoreError> {
    if tuples.rows == 0 {
        return Ok(());
    }
    let mut statement = tx.prepare_cached(&insert(table, known)).map_err(failed)?;
    let columns = table.columns();
    for mut cells in tuples.iter(columns.len() + 1) {
        bind(&mut statement, 1, Kind::Int, &mut cells, table)?;
        for (place, column) in (2..).zip(columns) {
            bind(&mut statement, place, column.kind, &mut cells, table)?;
        }
        statement.raw_execute().map_err(failed)?;
    }
    Ok(())
}

fn bind(
    statement: &mut Statement<'_>,
    place: usize,
    kind: Kind,
    cells: &mut Cells<'_>,
    table: Table,
) -> Result<(), StoreError> {
    let broken = || StoreError::Corrupt(format!("a row of {} was encoded wrongly", table.name()));
    let value = match cells.field().map_err(|_| broken())? {
        None => ValueRef::Null,
        Some(bytes) => match kind {
            Kind::Text => ValueRef::Text(bytes),
            Kind::Bytes => ValueRef::Blob(bytes),
            Kind::Small | Kind::Int | Kind::Big | Kind::Term => {
                ValueRef::Integer(number(bytes).ok_or_else(broken)?)
            }
        },
    };
    statement.raw_bind_parameter(place, ToSqlOutput::Borrowed(value)).map_err(failed)
}
