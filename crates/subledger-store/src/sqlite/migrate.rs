//! Brings the schema up to date.

use sqlx::{SqliteConnection, migrate::Migrator};

use crate::OpenError;

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// Whether migrations are missing. One with a smaller number than the newest may be: two were made side by side, and the
/// file was opened with one of them.
pub(crate) async fn is_behind(migrations: &Migrator, connection: &mut SqliteConnection) -> bool {
    let applied: Result<Vec<i64>, _> =
        sqlx::query_scalar("select version from _sqlx_migrations where success").fetch_all(connection).await;
    // A file without that table is new.
    let Ok(applied) = applied else { return true };
    migrations.iter().any(|migration| !applied.contains(&migration.version))
}

/// Runs the migrations that are missing. Two processes that open one new file at once are kept apart by the write lock
/// of the file: the loser finds the work done and tries once more.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    run(&MIGRATIONS, connection).await
}

/// [`migrate`] for any set of migrations.
pub(crate) async fn run(migrations: &Migrator, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    const TRIES: u32 = 5;
    let mut tried = 1;
    loop {
        match migrations.run_direct(None, connection, false).await {
            Ok(()) => return Ok(()),
            Err(
                sqlx::migrate::MigrateError::Execute(_) | sqlx::migrate::MigrateError::ExecuteMigration(..),
            ) if tried < TRIES => {
                tried += 1;
            }
            Err(error) => return Err(OpenError::Migrate(error)),
        }
    }
}

/// The version of the newest migration, which every open database has.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The versions of all migrations.
pub(crate) fn known() -> Vec<i64> {
    MIGRATIONS.iter().map(|migration| migration.version).collect()
}
