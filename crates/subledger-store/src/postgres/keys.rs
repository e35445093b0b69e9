//! The tables of keys. This module never sees a key that is not wrapped. When nodes were seen is told by the server.

use sqlx::{Connection, PgConnection};

use super::{column, connect::KEYS};
use crate::{
    StoreError,
    error::while_doing,
    rows::keys::{DataKeyRow, NodeRow, WrappedRow},
    vault::{DataKeyId, Fresh, WrappedKey},
};

/// Keeps a new deployment's keys unless there is a deployment. Answers with the canary of the one that is kept, and its root
/// if that is wrapped as it was before master keys had ids.
pub(crate) async fn deployment(
    connection: &mut PgConnection,
    Fresh(fresh): &Fresh,
    now: i64,
) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let failed = while_doing("reading the deployment's secret");
    let mut transaction = connection.begin().await.map_err(failed)?;
    let made = sqlx::query(
        "insert into deployment (id, secret, canary, created_at) values (1, ''::bytea, $1, $2)
         on conflict (id) do nothing",
    )
    .bind(&fresh.canary)
    .bind(now)
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    if made.rows_affected() == 1 {
        for key in &fresh.wrapped {
            insert(&mut transaction, key, now).await?;
        }
        // Nothing was ever sealed under the root of this deployment.
        sqlx::query("update data_key set retired_at = $1 where id = 0")
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    let rows = sqlx::query_as("select secret, canary from deployment where id = 1")
        .fetch_one(&mut *transaction)
        .await
        .map(|(secret, canary)| (canary, secret))
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(rows)
}

/// Keeps the root of a deployment from before master keys had ids as a wrapped key, and nothing else of it.
pub(crate) async fn adopt(
    connection: &mut PgConnection,
    root: &WrappedKey,
    now: i64,
) -> Result<(), StoreError> {
    let failed = while_doing("keeping the deployment's secret");
    let mut transaction = connection.begin().await.map_err(failed)?;
    insert(&mut transaction, root, now).await?;
    sqlx::query("update deployment set secret = ''::bytea where id = 1")
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// Adds a data key, wrapped under the only master key.
pub(crate) async fn add_data_key(
    connection: &mut PgConnection,
    key: &WrappedKey,
    now: i64,
) -> Result<(), StoreError> {
    let failed = while_doing("adding a data key");
    let mut transaction = connection.begin().await.map_err(failed)?;
    insert(&mut transaction, key, now).await?;
    sqlx::query("select pg_notify($1, '')").bind(KEYS).execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

async fn insert(connection: &mut PgConnection, key: &WrappedKey, now: i64) -> Result<(), StoreError> {
    let failed = while_doing("adding a data key");
    sqlx::query("insert into data_key (id, created_at) values ($1, $2) on conflict (id) do nothing")
        .bind(i64::from(key.key))
        .bind(now)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    wrap(connection, std::slice::from_ref(key), now).await
}

/// Keeps data keys wrapped under another master key. Those that are kept stay.
pub(crate) async fn wrap(
    connection: &mut PgConnection,
    keys: &[WrappedKey],
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into wrapped_key (master, data_key, sealed, wrapped_at)
         select w.master, w.data_key, w.sealed, $4
         from unnest($1::text[], $2::bigint[], $3::bytea[]) as w (master, data_key, sealed)
         on conflict (master, data_key) do nothing",
    )
    .bind(column(keys, |key| key.master.as_str()))
    .bind(column(keys, |key| i64::from(key.key)))
    .bind(column(keys, |key| &key.sealed[..]))
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("wrapping the data keys"))?;
    Ok(())
}

/// Deletes what is wrapped under other master keys than this one, unless nothing is wrapped under this one.
pub(crate) async fn unwrap_others(connection: &mut PgConnection, keep: &str) -> Result<u64, StoreError> {
    let deleted = sqlx::query(
        "delete from wrapped_key where master <> $1 and exists (select 1 from wrapped_key where master = $1)",
    )
    .bind(keep)
    .execute(connection)
    .await
    .map_err(while_doing("dropping a master key"))?;
    Ok(deleted.rows_affected())
}

/// Every data key under every master key.
pub(crate) async fn wrapped_keys(connection: &mut PgConnection) -> Result<Vec<WrappedRow>, StoreError> {
    sqlx::query_as("select master, data_key::bigint, sealed from wrapped_key order by master, data_key")
        .fetch_all(connection)
        .await
        .map_err(while_doing("reading the keys"))
}

/// The number of the newest data key.
pub(crate) async fn newest(connection: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("select max(id)::bigint from data_key")
        .fetch_one(connection)
        .await
        .map_err(while_doing("reading the keys"))
}

/// The data keys.
pub(crate) async fn data_keys(connection: &mut PgConnection) -> Result<Vec<DataKeyRow>, StoreError> {
    sqlx::query_as("select id::bigint, created_at, retired_at from data_key order by id")
        .fetch_all(connection)
        .await
        .map_err(while_doing("reading the keys"))
}

/// The master keys, each with when it was added.
pub(crate) async fn masters(connection: &mut PgConnection) -> Result<Vec<(String, i64)>, StoreError> {
    sqlx::query_as("select master, min(wrapped_at) from wrapped_key group by master order by 2, 1")
        .fetch_all(connection)
        .await
        .map_err(while_doing("reading the keys"))
}

/// Retires the data keys before this one.
pub(crate) async fn retire(
    connection: &mut PgConnection,
    before: DataKeyId,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query("update data_key set retired_at = $2 where id < $1 and retired_at is null")
        .bind(i64::from(before))
        .bind(now)
        .execute(connection)
        .await
        .map_err(while_doing("retiring data keys"))?;
    Ok(())
}

/// Notes that a node runs, and forgets those that did so a day ago.
pub(crate) async fn note_node(
    connection: &mut PgConnection,
    (node, master, key): (&str, &str, DataKeyId),
    _now: i64,
) -> Result<(), StoreError> {
    const DAY: i64 = 86_400_000_000;
    let failed = while_doing("noting which keys this node knows");
    let mut transaction = connection.begin().await.map_err(failed)?;
    sqlx::query(
        "insert into key_node (node, master, data_key, seen_at) values ($1, $2, $3, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
         on conflict (node) do update set data_key = excluded.data_key, seen_at = excluded.seen_at",
    )
    .bind(node)
    .bind(master)
    .bind(i64::from(key))
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    sqlx::query(
        "delete from key_node where seen_at < (extract(epoch from clock_timestamp()) * 1000000)::bigint - $1",
    )
    .bind(DAY)
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// Forgets a node that stops.
pub(crate) async fn forget_node(connection: &mut PgConnection, node: &str) -> Result<(), StoreError> {
    sqlx::query("delete from key_node where node = $1")
        .bind(node)
        .execute(connection)
        .await
        .map_err(while_doing("taking leave"))?;
    Ok(())
}

/// The nodes that were seen within so many microseconds.
pub(crate) async fn nodes(
    connection: &mut PgConnection,
    within: i64,
    _now: i64,
) -> Result<Vec<NodeRow>, StoreError> {
    sqlx::query_as(
        "select node, master, data_key::bigint from key_node
         where seen_at >= (extract(epoch from clock_timestamp()) * 1000000)::bigint - $1 order by node",
    )
    .bind(within)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading which nodes run"))
}
