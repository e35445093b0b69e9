//! That a value which somebody else has replaced meanwhile is left alone, on both databases.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::*;
use crate::{
    MasterKey, StoreConfig, SystemClock,
    rows::keys::{KeyValue, Replacement},
};

async fn check(url: String) {
    let config =
        StoreConfig { url: url.into(), master_key: MasterKey::from_bytes([7; 32]), max_connections: 2 };
    let store = Store::open(&config, Arc::new(SystemClock)).await.unwrap();
    let of = SEALED.iter().find(|of| of.tag == "secret").unwrap();
    let key = vec![KeyValue::Text("ref".to_owned())];
    let row = |done_at| ("secret".to_owned(), 1, None, 0, 0, 0, 0, 0, done_at);
    let insert = "insert into secret (reference, sealed, kept_at) values ('ref', $1, 1)";
    match &store.inner.database {
        crate::Database::Sqlite(database) => {
            let mut turn = database.unclaimed().await;
            sqlx::query(insert).bind(&b"read"[..]).execute(&mut *turn).await.unwrap();
        }
        crate::Database::Postgres(pool) => {
            sqlx::query(insert).bind(&b"read"[..]).execute(pool).await.unwrap();
        }
    }
    let replace = async |old: &[u8], new: &[u8]| {
        let rows = [Replacement { key: key.clone(), old: old.to_vec(), new: new.to_vec() }];
        let mut writer = store.inner.database.unclaimed().await.unwrap();
        let replaced = writer.session().replace_sealed(of, &rows, &row(None)).await.unwrap();
        let kept = writer.session().secret("ref").await.unwrap().unwrap();
        (replaced, kept)
    };
    assert_eq!(replace(b"stale", b"mine").await, (0, b"read".to_vec()));
    assert_eq!(replace(b"read", b"mine").await, (1, b"mine".to_vec()));
    assert_eq!(replace(b"read", b"other").await, (0, b"mine".to_vec()));
    // What was noted with it counts what was replaced, and nothing else.
    let noted = store.inner.database.reader().await.unwrap().session().progress().await.unwrap();
    assert_eq!(noted.len(), 1);
    store.close().await;
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn a_value_replaced_meanwhile_is_left_alone_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    run(check(format!("sqlite://{}", folder.path().join("test.db").display())));
}

#[test]
fn a_value_replaced_meanwhile_is_left_alone_on_postgres() {
    let Ok(admin) = std::env::var("SUBLEDGER_TEST_POSTGRES") else {
        assert!(
            std::env::var("SUBLEDGER_REQUIRE_POSTGRES").is_err(),
            "SUBLEDGER_TEST_POSTGRES names no server"
        );
        return;
    };
    run(async {
        let name = format!("subledger_test_{}", uuid::Uuid::new_v4().simple());
        let mut connection = PgConnection::connect(&admin).await.unwrap();
        let statement = AssertSqlSafe(format!("create database {name}"));
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        check(format!("{}/{name}", admin.rsplit_once('/').unwrap().0)).await;
        let statement = AssertSqlSafe(format!("drop database {name} with (force)"));
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    });
}
