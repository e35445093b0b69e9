//! What a diagnosis asks; see [`crate::Look`]. Nothing here writes.

use sqlx::SqliteConnection;

use crate::{StoreError, error::while_doing};

/// The version of the library.
pub(crate) async fn version(connection: &mut SqliteConnection) -> Result<String, StoreError> {
    sqlx::query_scalar("select sqlite_version()")
        .fetch_one(connection)
        .await
        .map_err(while_doing("asking for the version"))
}

/// The migrations that were begun, and whether they ended well.
pub(crate) async fn applied(connection: &mut SqliteConnection) -> Result<Vec<(i64, bool)>, StoreError> {
    sqlx::query_as("select version, success from _sqlx_migrations order by version")
        .fetch_all(connection)
        .await
        .map_err(while_doing("reading the schema's version"))
}

/// The canary of the deployment, and its root if that is wrapped as it was before master keys had ids; none without a
/// deployment.
pub(crate) async fn stored_deployment(
    connection: &mut SqliteConnection,
) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
    sqlx::query_as("select canary, secret from deployment where id = 1")
        .fetch_optional(connection)
        .await
        .map_err(while_doing("reading the deployment's secret"))
}
