//! Snapshots: a shortcut for long streams.

use sqlx::{PgConnection, error::BoxDynError};

use super::{Columns, Composite};
use crate::{StoreError, error::while_doing, rows::SnapshotRow};

/// Written together with the events that lead to it, each in place of the one before.
impl Composite for SnapshotRow {
    const TYPE: &'static str = "snapshot_row";
    const COLUMNS: i32 = 4;

    fn columns(&self, columns: Columns<'_>) -> Result<(), BoxDynError> {
        columns.bigint(self.stream)?.bigint(self.version)?.integer(self.log)?.text(&self.state)?;
        Ok(())
    }
}

/// Deletes all snapshots.
pub(crate) async fn drop_snapshots(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("delete from snapshot")
        .execute(connection)
        .await
        .map_err(while_doing("dropping snapshots"))?;
    Ok(())
}
