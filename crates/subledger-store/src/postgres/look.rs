//! What a diagnosis asks; see [`crate::Look`]. Nothing here writes.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::{StoreError, SystemClock, error::while_doing, rows::unsigned, store::look::ahead};

/// The version of the server.
pub(crate) async fn version(connection: &mut PgConnection) -> Result<String, StoreError> {
    sqlx::query_scalar("select current_setting('server_version')")
        .fetch_one(connection)
        .await
        .map_err(while_doing("asking for the version"))
}

/// The migrations that were begun, and whether they ended well.
pub(crate) async fn applied(connection: &mut PgConnection) -> Result<Vec<(i64, bool)>, StoreError> {
    sqlx::query_as("select version, success from _sqlx_migrations order by version")
        .fetch_all(connection)
        .await
        .map_err(while_doing("reading the schema's version"))
}

/// The canary of the deployment, and its root if that is wrapped as it was before master keys had ids; none without a
/// deployment.
pub(crate) async fn stored_deployment(
    connection: &mut PgConnection,
) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
    sqlx::query_as("select canary, secret from deployment where id = 1")
        .fetch_optional(connection)
        .await
        .map_err(while_doing("reading the deployment's secret"))
}

/// Bytes of the database, and its clock less this machine's in microseconds.
pub(crate) async fn size_and_clock(connection: &mut PgConnection) -> Result<(u64, i64), StoreError> {
    use crate::Clock;
    let failed = while_doing("looking at the server");
    let bytes: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let asked = SystemClock.now();
    let said: i64 = sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    Ok((unsigned(bytes)?, ahead(asked, said, SystemClock.now())))
}

/// How long a commit takes that has something to bring to the disk. A transactional message does, and changes nothing: it
/// stands in the write-ahead log and is read by nobody who does not decode that. `None` where it may not be written.
pub(crate) async fn sync(connection: &mut PgConnection) -> Option<Duration> {
    let mut transaction = connection.begin().await.ok()?;
    sqlx::query("select pg_logical_emit_message(true, 'subledger', 'doctor')")
        .execute(&mut *transaction)
        .await
        .ok()?;
    let began = Instant::now();
    transaction.commit().await.ok()?;
    Some(began.elapsed())
}
