//! Snapshots: a shortcut for long streams.

use sqlx::SqliteConnection;

use crate::{StoreError, error::while_doing, json_rows::JsonRows, rows::SnapshotRow};

/// The snapshots of these streams, as (log id, stream number).
pub(crate) async fn find_snapshots(
    connection: &mut SqliteConnection,
    streams: &[(i64, i64)],
) -> Result<Vec<SnapshotRow>, StoreError> {
    let json = JsonRows::of(streams, |row, (log, number)| row.int(*log).int(*number)).into_text();
    let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(
        "select s.log, s.stream, s.version, s.state
         from json_each(?1) w cross join snapshot s on s.log = w.value ->> 0 and s.stream = w.value ->> 1",
    )
    .bind(json)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading snapshots"))?;
    let snapshot = |(log, stream, version, state)| SnapshotRow { log, stream, version, state };
    Ok(rows.into_iter().map(snapshot).collect())
}

/// Keeps snapshots, each in place of the one before.
pub(crate) async fn put_snapshots(
    connection: &mut SqliteConnection,
    snapshots: &[SnapshotRow],
) -> Result<(), StoreError> {
    let (json, blob) = JsonRows::of(snapshots, |row, snapshot| {
        row.int(snapshot.log).int(snapshot.stream).int(snapshot.version).bytes(snapshot.state.as_bytes())
    })
    .into_parts();
    sqlx::query(
        "insert into snapshot (log, stream, version, state)
         select value ->> 0, value ->> 1, value ->> 2, cast(substr(?2, value ->> 3, value ->> 4) as text)
         from json_each(?1) where true
         on conflict (log, stream) do update set version = excluded.version, state = excluded.state",
    )
    .bind(json)
    .bind(blob)
    .execute(connection)
    .await
    .map_err(while_doing("keeping snapshots"))?;
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
