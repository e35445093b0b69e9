//! A database of one test, on either kind of server, and what stands in it as an outsider sees it.

use std::{process::Command, sync::Arc, time::Duration};

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
pub struct Place {
    pub url: String,
    admin: Option<String>,
    _folder: Option<Arc<TempDir>>,
}

impl Place {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("engine.db").display());
        Self { url, admin: None, _folder: Some(Arc::new(folder)) }
    }

    /// None, loudly, where no server is named; a failure where one is required.
    pub async fn postgres() -> Option<Self> {
        let Ok(admin) = std::env::var("SUBLEDGER_TEST_POSTGRES") else {
            let required = std::env::var("SUBLEDGER_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
            assert!(!required, "SUBLEDGER_TEST_POSTGRES names no server and PostgreSQL is required");
            eprintln!("SKIPPED: a test on PostgreSQL, because SUBLEDGER_TEST_POSTGRES names no server");
            return None;
        };
        let name = format!("engine_{}", uuid::Uuid::new_v4().simple());
        let (server, _) = admin.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}");
        let place = Self { url, admin: Some(admin), _folder: None };
        place.administer(&format!("create database {name}")).await;
        Some(place)
    }

    /// Drops a database on a server.
    pub async fn remove(self) {
        let (_, name) = self.url.rsplit_once('/').unwrap();
        self.administer(&format!("drop database {name} with (force)")).await;
    }

    async fn administer(&self, sql: &str) {
        let mut connection = PgConnection::connect(self.admin.as_ref().unwrap()).await.unwrap();
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    }

    /// Runs a statement behind the engine's back.
    pub async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.admin.is_some() {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        } else {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
    }

    /// Runs a statement on the read models behind the engine's back.
    pub async fn views(&self, sql: &str) {
        if self.admin.is_some() {
            return self.execute(sql).await;
        }
        let url = format!("{}.views.db", self.url.strip_suffix(".db").unwrap());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    }

    /// On PostgreSQL, keeps every node from writing to the log of the tests' channel until it is let go. SQLite has one writer,
    /// which waits for nobody; there this does nothing.
    pub async fn hold_head(&self) -> Held {
        let mut connection = None;
        if self.admin.is_some() {
            let mut holder = PgConnection::connect(&self.url).await.unwrap();
            for sql in ["begin", "select 1 from head where name = 'wechatmp123' for update"] {
                sqlx::query(sql).execute(&mut holder).await.unwrap();
            }
            connection = Some(holder);
        }
        Held { connection }
    }

    /// Everything that stands in the database: the bytes of SQLite's files, a dump of every table of PostgreSQL (bytes in
    /// hexadecimal).
    pub fn everything(&self) -> String {
        if self.admin.is_some() {
            let dump = Command::new("pg_dump").args(["--inserts", &self.url]).output();
            let dump = dump.expect("pg_dump, which comes with PostgreSQL, must be on the path");
            assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
            return String::from_utf8(dump.stdout).unwrap();
        }
        let path = self.url.strip_prefix("sqlite://").unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        let views = format!("{}.views.db", path.strip_suffix(".db").unwrap());
        bytes.extend(std::fs::read(&views).unwrap());
        for beside in ["-wal", "-shm", "-journal"] {
            for file in [path, &views] {
                bytes.extend(std::fs::read(format!("{file}{beside}")).unwrap_or_default());
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A log's head that is held.
pub struct Held {
    connection: Option<PgConnection>,
}

impl Held {
    /// Waits until so many connections wait for it.
    pub async fn until_waiting(&mut self, count: i64) {
        let Some(holder) = &mut self.connection else { return };
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
        let begun = std::time::Instant::now();
        loop {
            // Within a transaction the server shows what it showed first.
            sqlx::query("select pg_stat_clear_snapshot()").execute(&mut *holder).await.unwrap();
            if count <= sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *holder).await.unwrap() {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(4), "so many never came to wait: {count}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets it go. Whether it was held.
    pub async fn let_go(self) -> bool {
        let Some(holder) = self.connection else { return false };
        holder.close().await.unwrap();
        true
    }
}
