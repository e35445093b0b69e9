//! A database of one test, on either kind of server.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// Runs each test on both databases.
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($crate::place::Place::sqlite()).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    if let Some(place) = $crate::place::Place::postgres().await {
                        super::$test(place.clone()).await;
                        place.remove().await;
                    }
                }
            )+
        }
    };
}
pub(crate) use on_both_databases;

/// An empty database of one test.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    admin: Option<String>,
    _folder: Option<Arc<TempDir>>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("subledger.db").display());
        Self { url, admin: None, _folder: Some(Arc::new(folder)) }
    }

    /// None, loudly, where no server is named; a failure where one is required.
    pub(crate) async fn postgres() -> Option<Self> {
        let Ok(admin) = std::env::var("SUBLEDGER_TEST_POSTGRES") else {
            let required = std::env::var("SUBLEDGER_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
            assert!(!required, "SUBLEDGER_TEST_POSTGRES names no server and PostgreSQL is required");
            eprintln!("SKIPPED: a test on PostgreSQL, because SUBLEDGER_TEST_POSTGRES names no server");
            return None;
        };
        let name = format!("http_{}", uuid::Uuid::new_v4().simple());
        let (server, _) = admin.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}");
        let place = Self { url, admin: Some(admin), _folder: None };
        place.administer(&format!("create database {name}")).await;
        Some(place)
    }

    /// Drops a database on a server.
    pub(crate) async fn remove(self) {
        let (_, name) = self.url.rsplit_once('/').unwrap();
        self.administer(&format!("drop database {name} with (force)")).await;
    }

    /// Has the database refuse new rows of these tables, as one does that is full or damaged.
    pub(crate) async fn refuse_rows(&self, tables: &[&str]) {
        for table in tables {
            let refuse = format!("create trigger refuse_{table} before insert on {table}");
            if self.admin.is_some() {
                let raise = "create or replace function refuse() returns trigger language plpgsql
                             as $$ begin raise exception 'refused by a test'; end $$";
                self.execute(raise).await;
                self.execute(&format!("{refuse} for each row execute function refuse()")).await;
            } else {
                self.execute(&format!("{refuse} begin select raise(abort, 'refused by a test'); end")).await;
            }
        }
    }

    /// Has it take them again.
    pub(crate) async fn accept_rows(&self, tables: &[&str]) {
        for table in tables {
            let on = if self.admin.is_some() { format!(" on {table}") } else { String::new() };
            self.execute(&format!("drop trigger refuse_{table}{on}")).await;
        }
    }

    async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.admin.is_some() {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        } else {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
    }

    async fn administer(&self, sql: &str) {
        let mut connection = PgConnection::connect(self.admin.as_ref().unwrap()).await.unwrap();
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    }
}
