//! Snapshots: a shortcut for long streams.

use sqlx::PgConnection;

use super::column;
use crate::{StoreError, error::while_doing, rows::SnapshotRow};

/// Keeps snapshots, each in place of the one before.
pub(crate) async fn put_snapshots(
    connection: &mut PgConnection,
    snapshots: &[SnapshotRow],
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into snapshot (log, stream, version, state)
         select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[])
         on conflict (log, stream) do update set version = excluded.version, state = excluded.state",
    )
    .bind(column(snapshots, |snapshot| snapshot.log))
    .bind(column(snapshots, |snapshot| snapshot.stream))
    .bind(column(snapshots, |snapshot| snapshot.version))
    .bind(column(snapshots, |snapshot| snapshot.state.as_str()))
    .execute(connection)
    .await
    .map_err(while_doing("keeping snapshots"))?;
    Ok(())
}

/// Deletes all snapshots.
pub(crate) async fn drop_snapshots(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("delete from snapshot")
        .execute(connection)
        .await
        .map_err(while_doing("dropping snapshots"))?;
    Ok(())
}
