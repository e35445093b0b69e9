//! Brings the schema up to date.

use sqlx::{SqliteConnection, migrate::Migrator};

use crate::OpenError;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

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
