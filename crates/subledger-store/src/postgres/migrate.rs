//! Brings the schema up to date.

use sqlx::{PgConnection, migrate::Migrator};

use crate::OpenError;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Runs the migrations that are missing, under an advisory lock: nodes that start at once wait for each other.
pub(crate) async fn migrate(connection: &mut PgConnection) -> Result<(), OpenError> {
    MIGRATIONS.run_direct(None, connection, false).await.map_err(OpenError::Migrate)
}

/// The version of the newest migration, which every open database has.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The versions of all migrations.
pub(crate) fn known() -> Vec<i64> {
    MIGRATIONS.iter().map(|migration| migration.version).collect()
}
