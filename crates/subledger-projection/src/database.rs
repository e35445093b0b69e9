//! The three ways this crate talks to a database: ask, look at a snapshot, write guarded steps.
//!
//! Statements are static text in [`crate::sqlite`] and [`crate::postgres`], or made from the columns of tables and the same for
//! both. Everything above this module is the same code for both databases.
//!
//! Writes are data, not callbacks: a list of [`Step`]s, each of which may name how many rows it must touch. One that touches
//! another number takes the whole transaction back. That is how a checkpoint is compared and moved together with the rows.

use futures::TryStreamExt;
use rusqlite::types::ValueRef;
use sqlx::{
    AssertSqlSafe, Connection, Executor, FromRow, PgConnection, Postgres, Row as _, Sqlite, SqliteConnection,
    Transaction,
    postgres::{PgArguments, PgRow},
    query::{Query, QueryAs},
    sqlite::{SqliteArguments, SqliteRow},
};
use subledger_store::{Database, DriverError, Store, StoreError};

use crate::{postgres, sqlite, table::Kind, tuples::Tuples};

/// The same question for both databases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

/// `statement!(bindings::PAGE)`: the constant of that name in both modules.
macro_rules! statement {
    ($file:ident::$name:ident) => {
        $crate::database::Statement {
            sqlite: $crate::sqlite::$file::$name,
            postgres: $crate::postgres::$file::$name,
        }
    };
}
pub(crate) use statement;

/// A value to bind.
#[derive(Debug, Clone)]
pub(crate) enum Param {
    Text(String),
    MaybeText(Option<String>),
    Int(i64),
    MaybeInt(Option<i64>),
    Bytes(Vec<u8>),
}

impl From<&str> for Param {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Param {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Param {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<&[u8; 16]> for Param {
    fn from(id: &[u8; 16]) -> Self {
        Self::Bytes(id.to_vec())
    }
}

/// Both databases count in `i64`; a position or lot number beyond it cannot exist.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// One statement of a transaction.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) statement: Statement,
    pub(crate) params: Vec<Param>,
    /// How many rows it must touch, if that matters.
    pub(crate) expect: Option<u64>,
}

impl Step {
    /// A step that may touch any number of rows.
    pub(crate) const fn new(statement: Statement, params: Vec<Param>) -> Self {
        Self { statement, params, expect: None }
    }

    /// A step that must touch exactly one row.
    pub(crate) const fn guard(statement: Statement, params: Vec<Param>) -> Self {
        Self { statement, params, expect: Some(1) }
    }
}

/// A row that both drivers can decode.
pub(crate) trait Tuple:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Tuple for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

macro_rules! bind_all {
    ($query:expr, $params:expr) => {{
        let mut query = $query;
        for param in $params {
            query = match param {
                Param::Text(text) => query.bind(text.as_str()),
                Param::MaybeText(text) => query.bind(text.as_deref()),
                Param::Int(int) => query.bind(*int),
                Param::MaybeInt(int) => query.bind(*int),
                Param::Bytes(bytes) => query.bind(bytes.as_slice()),
            };
        }
        query
    }};
}

type SqliteRows<'q, T> = QueryAs<'q, Sqlite, T, SqliteArguments>;
type PgRows<'q, T> = QueryAs<'q, Postgres, T, PgArguments>;

fn sqlite_rows<T: Tuple>(statement: Statement, params: &[Param]) -> SqliteRows<'_, T> {
    bind_all!(sqlx::query_as(statement.sqlite), params)
}

fn pg_rows<T: Tuple>(statement: Statement, params: &[Param]) -> PgRows<'_, T> {
    bind_all!(sqlx::query_as(statement.postgres), params)
}

fn sqlite_step(step: &Step) -> Query<'_, Sqlite, SqliteArguments> {
    bind_all!(sqlx::query(step.statement.sqlite), &step.params)
}

pub(crate) fn pg_step(step: &Step) -> Query<'_, Postgres, PgArguments> {
    bind_all!(sqlx::query(step.statement.postgres), &step.params)
}

/// Asks one question outside any transaction.
pub(crate) async fn ask<T: Tuple>(
    store: &Store,
    doing: &'static str,
    statement: Statement,
    params: &[Param],
) -> Result<Vec<T>, StoreError> {
    let rows = match store.database() {
        Database::Sqlite(db) => sqlite_rows(statement, params).fetch_all(&db.views_readers).await,
        Database::Postgres(pool) => pg_rows(statement, params).fetch_all(pool).await,
    };
    rows.map_err(|source| StoreError::sort(doing, source))
}

/// The database as it stood at one moment.
pub(crate) enum Snapshot {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Snapshot {
    /// Takes a snapshot. SQLite's begins with the first question.
    pub(crate) async fn take(store: &Store, doing: &'static str) -> Result<Self, StoreError> {
        Self::of(store.database(), doing).await
    }

    /// The same of a database that is no store, because it is only looked at.
    pub(crate) async fn of(database: &Database, doing: &'static str) -> Result<Self, StoreError> {
        let taken = match database {
            Database::Sqlite(db) => db.views_readers.begin().await.map(Self::Sqlite),
            Database::Postgres(pool) => {
                pool.begin_with("begin isolation level repeatable read read only; set local idle_in_transaction_session_timeout = 60000").await.map(Self::Postgres)
            }
        };
        taken.map_err(|source| StoreError::sort(doing, source))
    }

    /// All rows of a question.
    pub(crate) async fn rows<T: Tuple>(
        &mut self,
        doing: &'static str,
        statement: Statement,
        params: &[Param],
    ) -> Result<Vec<T>, StoreError> {
        let rows = match self {
            Self::Sqlite(tx) => sqlite_rows(statement, params).fetch_all(&mut **tx).await,
            Self::Postgres(tx) => pg_rows(statement, params).fetch_all(&mut **tx).await,
        };
        rows.map_err(|source| StoreError::sort(doing, source))
    }

    /// Hands every row of a question, of columns of these kinds, to `each`, without keeping them.
    pub(crate) async fn each(
        &mut self,
        doing: &'static str,
        statement: &str,
        params: &[Param],
        kinds: &[Kind],
        mut each: impl FnMut(&Tuples) -> Result<(), StoreError> + Send,
    ) -> Result<(), StoreError> {
        let sort = |source| StoreError::sort(doing, source);
        match self {
            Self::Sqlite(tx) => {
                let query = bind_all!(sqlx::query(AssertSqlSafe(statement.to_owned())), params);
                let mut rows = query.fetch(&mut **tx);
                while let Some(row) = rows.try_next().await.map_err(sort)? {
                    each(&of_sqlite(&row, kinds, 0).map_err(sort)?)?;
                }
            }
            Self::Postgres(tx) => {
                let statement = of_postgres(statement);
                let query = bind_all!(sqlx::query(AssertSqlSafe(statement)), params);
                let mut rows = query.fetch(&mut **tx);
                while let Some(row) = rows.try_next().await.map_err(sort)? {
                    let mut tuples = Tuples::default();
                    postgres::rows::put(&mut tuples, kinds.len(), &row, 0)?;
                    each(&tuples)?;
                }
            }
        }
        Ok(())
    }
}

/// A statement that both databases understand but for this: SQLite joins in the order that is written with `cross join … on`.
fn of_postgres(statement: &str) -> String {
    statement.replace("cross join", "join")
}

/// So many columns of a row, from one on, as a row of fields.
fn of_sqlite(row: &SqliteRow, kinds: &[Kind], from: usize) -> Result<Tuples, sqlx::Error> {
    let mut tuples = Tuples::default();
    tuples.bytes.extend_from_slice(&(kinds.len() as u16).to_be_bytes());
    for (place, kind) in (from..).zip(kinds) {
        let value = match kind {
            Kind::Text | Kind::Term => {
                row.try_get::<Option<&str>, _>(place)?.map(|text| ValueRef::Text(text.as_bytes()))
            }
            Kind::Bytes => row.try_get::<Option<&[u8]>, _>(place)?.map(ValueRef::Blob),
            Kind::Small | Kind::Int | Kind::Big => {
                row.try_get::<Option<i64>, _>(place)?.map(ValueRef::Integer)
            }
        };
        sqlite::rows::put(&mut tuples.bytes, value.unwrap_or(ValueRef::Null));
    }
    tuples.rows = 1;
    Ok(tuples)
}

/// Asks one question outside any transaction. A row of its answer is a position, then columns of these kinds.
pub(crate) async fn ask_rows(
    store: &Store,
    doing: &'static str,
    statement: String,
    params: &[Param],
    kinds: &[Kind],
) -> Result<Vec<(i64, Tuples)>, StoreError> {
    let sort = |source| StoreError::sort(doing, source);
    match store.database() {
        Database::Sqlite(db) => {
            let query = bind_all!(sqlx::query(AssertSqlSafe(statement)), params);
            let rows = query.fetch_all(&db.views_readers).await.map_err(sort)?;
            rows.iter()
                .map(|row| Ok((row.try_get(0).map_err(sort)?, of_sqlite(row, kinds, 1).map_err(sort)?)))
                .collect()
        }
        Database::Postgres(pool) => {
            let statement = of_postgres(&statement);
            let query = bind_all!(sqlx::query(AssertSqlSafe(statement)), params);
            let rows = query.fetch_all(pool).await.map_err(sort)?;
            rows.iter()
                .map(|row| {
                    let mut tuples = Tuples::default();
                    postgres::rows::put(&mut tuples, kinds.len(), row, 1)?;
                    Ok((row.try_get(0).map_err(sort)?, tuples))
                })
                .collect()
        }
    }
}

/// Carries out a statement that answers with one number.
pub(crate) async fn number(
    store: &Store,
    doing: &'static str,
    statement: Statement,
    params: &[Param],
) -> Result<i64, StoreError> {
    let row: Result<(i64,), _> = match store.database() {
        Database::Sqlite(db) => sqlite_rows(statement, params).fetch_one(&mut *db.views_writer().await).await,
        Database::Postgres(pool) => pg_rows(statement, params).fetch_one(pool).await,
    };
    row.map(|(number,)| number).map_err(|source| StoreError::sort(doing, source))
}

/// Carries steps out in one transaction. `None`: a step did not touch the rows it must, and nothing is changed.
/// Otherwise, how many rows each step touched.
pub(crate) async fn write(
    store: &Store,
    doing: &'static str,
    steps: &[Step],
) -> Result<Option<Vec<u64>>, StoreError> {
    let written = match store.database() {
        Database::Sqlite(db) => write_sqlite(&mut *db.views_writer().await, steps).await,
        Database::Postgres(pool) => match pool.acquire().await {
            Ok(mut connection) => write_postgres(&mut connection, steps).await,
            Err(error) => Err(error),
        },
    };
    written.map_err(|source| StoreError::sort(doing, source))
}

async fn write_sqlite(
    connection: &mut SqliteConnection,
    steps: &[Step],
) -> Result<Option<Vec<u64>>, sqlx::Error> {
    let mut tx = connection.begin_with("begin immediate").await?;
    let mut touched = Vec::with_capacity(steps.len());
    for step in steps {
        let rows = tx.execute(sqlite_step(step)).await?.rows_affected();
        if step.expect.is_some_and(|expected| expected != rows) {
            tx.rollback().await?;
            return Ok(None);
        }
        touched.push(rows);
    }
    tx.commit().await?;
    Ok(Some(touched))
}

async fn write_postgres(
    connection: &mut PgConnection,
    steps: &[Step],
) -> Result<Option<Vec<u64>>, sqlx::Error> {
    let mut tx = connection.begin().await?;
    let mut touched = Vec::with_capacity(steps.len());
    for step in steps {
        let rows = tx.execute(pg_step(step)).await?.rows_affected();
        if step.expect.is_some_and(|expected| expected != rows) {
            tx.rollback().await?;
            return Ok(None);
        }
        touched.push(rows);
    }
    tx.commit().await?;
    Ok(Some(touched))
}

/// Whether the database refused a value: the same write will be refused for ever.
pub(crate) fn is_refusal_of_data(error: &StoreError) -> bool {
    // SQLite: too big, constraint, mismatch; extended codes carry the primary one in the low byte.
    let sqlite = |code: i32| matches!(code & 0xff, 18..=20);
    match error {
        StoreError::Database { source: DriverError::Sqlx(sqlx::Error::Database(error)), .. } => {
            match error.code().as_deref() {
                // PostgreSQL: data exception, integrity constraint violation.
                Some(code) if code.len() == 5 => code.starts_with("22") || code.starts_with("23"),
                Some(code) => code.parse().is_ok_and(sqlite),
                None => false,
            }
        }
        StoreError::Database { source: DriverError::Rusqlite(error), .. } => {
            error.sqlite_error().is_some_and(|error| sqlite(error.extended_code))
        }
        _ => false,
    }
}
