//! Snapshots: a shortcut for long streams.

use rusqlite::{Connection, params};
use sqlx::SqliteConnection;

use crate::{StoreError, error::while_doing, rows::SnapshotRow};

/// Keeps snapshots, each in place of the one before.
pub(crate) fn put_snapshots(connection: &Connection, snapshots: &[SnapshotRow]) -> Result<(), StoreError> {
    let failed = while_doing("keeping snapshots");
    let mut statement = connection
        .prepare_cached(
            "insert into snapshot (log, stream, version, state) values (?1, ?2, ?3, ?4)
             on conflict (log, stream) do update set version = excluded.version, state = excluded.state",
        )
        .map_err(failed)?;
    for snapshot in snapshots {
        statement
            .execute(params![snapshot.log, snapshot.stream, snapshot.version, snapshot.state])
            .map_err(failed)?;
    }
    Ok(())
}

/// Deletes all snapshots.
pub(crate) async fn drop_snapshots(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("delete from snapshot")
        .execute(connection)
        .await
        .map_err(while_doing("dropping snapshots"))?;
    Ok(())
}
