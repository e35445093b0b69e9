//! A database of its own for each test, and stores on it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use subledger_domain::Timestamp;
use subledger_store::{Clock, Executor, ExecutorConfig, MasterKey, OpenError, Store, StoreConfig};

/// 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_seconds(1_767_225_600);
const ADMIN_VARIABLE: &str = "SUBLEDGER_TEST_POSTGRES";
const REQUIRE_VARIABLE: &str = "SUBLEDGER_REQUIRE_POSTGRES";

/// A clock that moves only when told to.
#[derive(Clone, Default)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub fn advance_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds * Timestamp::MICROS_PER_SECOND, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        START.plus_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A test's database.
#[derive(Clone)]
pub struct Db {
    pub url: String,
    pub clock: TestClock,
}

impl Db {
    pub fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }

    pub fn config(&self) -> StoreConfig {
        StoreConfig {
            url: self.url.clone().into(),
            master_key: MasterKey::from_bytes([7; 32]),
            max_connections: 8,
        }
    }

    pub async fn try_open(&self, config: &StoreConfig) -> Result<Store, OpenError> {
        Store::open(config, Arc::new(self.clock.clone())).await
    }

    pub async fn open(&self) -> Store {
        self.try_open(&self.config()).await.unwrap()
    }

    /// A store and its executors.
    pub async fn node(&self) -> (Store, Executor) {
        let store = self.open().await;
        let executor = Executor::start(store.clone(), ExecutorConfig::default());
        (store, executor)
    }

    /// Runs a statement behind the store's back.
    pub async fn tamper(&self, sql: &str) -> u64 {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_sqlite() {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected()
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected()
        }
    }

    /// Asks for one column of bytes behind the store's back.
    pub async fn bytes(&self, sql: &str) -> Vec<Vec<u8>> {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_sqlite() {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        }
    }

    /// Asks for one number behind the store's back.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_sqlite() {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

/// Runs a test on a SQLite file of its own.
pub fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Db) -> F) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("test.db").display());
    run(test(Db { url, clock: TestClock::default() }));
}

/// Runs a test on a PostgreSQL database of its own, which is dropped afterwards.
pub fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Db) -> F) {
    let Some(admin) = postgres_or_skip() else { return };
    let name = format!("subledger_test_{}", uuid::Uuid::new_v4().simple());
    let url = with_database(&admin, &name);
    run(async {
        administer(&admin, &format!("create database {name}")).await;
        test(Db { url, clock: TestClock::default() }).await;
        administer(&admin, &format!("drop database {name} with (force)")).await;
    });
}

/// The server to test on. Without one the test is skipped, loudly, unless the environment forbids that.
fn postgres_or_skip() -> Option<String> {
    if let Ok(admin) = std::env::var(ADMIN_VARIABLE) {
        return Some(admin);
    }
    let forbidden = std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| value == "1");
    assert!(!forbidden, "{REQUIRE_VARIABLE}=1, but {ADMIN_VARIABLE} names no server");
    eprintln!("SKIPPED: a test on PostgreSQL, because {ADMIN_VARIABLE} names no server");
    None
}

fn with_database(admin: &str, name: &str) -> String {
    let (server, _) = admin.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

async fn administer(admin: &str, sql: &str) {
    let mut connection = PgConnection::connect(admin).await.unwrap();
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}
