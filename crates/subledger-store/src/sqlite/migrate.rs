//! Brings the schema up to date.

use sqlx::{SqliteConnection, migrate::Migrator};

use crate::OpenError;

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// Whether migrations are missing.
pub(crate) async fn is_behind(migrations: &Migrator, connection: &mut SqliteConnection) -> bool {
    let applied: Result<Option<i64>, _> =
        sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
            .fetch_one(connection)
            .await;
    // A file without that table is new.
    applied.ok().flatten().is_none_or(|applied| applied < newest_of(migrations))
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
    newest_of(&MIGRATIONS)
}

fn newest_of(migrations: &Migrator) -> i64 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or(0)
}
