//! One database, and what is asked of it behind the store's back: its size, its settings, its bare commit.

use std::{path::Path, time::Instant};

use anyhow::Context;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use subledger_bench_kit::floor::micros;
use subledger_store::{MasterKey, StoreConfig};

use crate::server;

/// Seals the vaults of every database made here.
pub(crate) const MASTER_KEY: [u8; 32] = [7; 32];

/// One database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    /// As the store takes it.
    pub(crate) url: String,
}

impl Database {
    pub(crate) fn sqlite(folder: &Path, name: &str) -> Self {
        Self { url: format!("sqlite://{}", folder.join(format!("{name}.db")).display()) }
    }

    pub(crate) fn postgres(admin: &str, name: &str) -> Self {
        let server = admin.rsplit_once('/').map_or(admin, |(server, _)| server);
        Self { url: format!("{server}/bench_{name}") }
    }

    /// How the store reaches it.
    pub(crate) fn config(&self) -> StoreConfig {
        StoreConfig {
            url: SecretString::from(self.url.clone()),
            master_key: MasterKey::from_bytes(MASTER_KEY),
            max_connections: 16,
        }
    }

    fn file(&self) -> Option<&Path> {
        self.url.strip_prefix("sqlite://").map(Path::new)
    }

    /// Bytes that tables and indexes take, but for those whose name contains `without`.
    pub(crate) async fn bytes(&self, without: Option<&str>) -> anyhow::Result<i64> {
        // No name is like nothing.
        let except = without.map_or_else(String::new, |name| format!("%{name}%"));
        let Some(file) = self.file() else {
            let sql = "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c \
                       join pg_namespace n on n.oid = c.relnamespace \
                       where n.nspname = 'public' and c.relkind in ('r', 'm') and c.relname not like $1";
            let mut connection = PgConnection::connect(&self.url).await.context("connecting")?;
            return sqlx::query_scalar(sql).bind(&except).fetch_one(&mut connection).await.context("sizes");
        };
        let folder = file.parent().context("the file has no folder")?;
        let name = file.file_stem().context("the file has no name")?.to_string_lossy();
        let mut bytes = 0;
        let files = server::files(folder, &name)?;
        for path in files.iter().filter(|path| path.extension().is_some_and(|kind| kind == "db")) {
            let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await?;
            let sql = "select coalesce(sum(s.pgsize), 0) from dbstat s left join sqlite_schema t using (name) \
                       where coalesce(t.tbl_name, s.name) not like ?1";
            let here: i64 = sqlx::query_scalar(sql).bind(&except).fetch_one(&mut connection).await?;
            bytes += here;
            connection.close().await?;
        }
        Ok(bytes)
    }

    /// What decides how durable a commit is, and the version, in words.
    pub(crate) async fn settings(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        if self.file().is_some() {
            let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
            let version = sqlx::query_scalar("select sqlite_version()").fetch_one(&mut connection).await?;
            return Ok(vec![("version", version), ("durability", "WAL, synchronous=FULL".to_owned())]);
        }
        let mut connection = PgConnection::connect(&self.url).await.context("connecting")?;
        let mut settings = Vec::new();
        for name in ["server_version", "fsync", "synchronous_commit", "wal_sync_method"] {
            let sql = AssertSqlSafe(format!("show {name}"));
            settings.push((name, sqlx::query_scalar(sql).fetch_one(&mut connection).await?));
        }
        Ok(settings)
    }

    /// The times of so many commits of one small row each, by one connection, in microseconds.
    pub(crate) async fn bare_commits(&self, commits: u32) -> anyhow::Result<Vec<u32>> {
        let create = "create table bare (id integer primary key, text text not null)";
        let text = "x".repeat(100);
        let mut times = Vec::new();
        if self.file().is_some() {
            let url = format!("{}?mode=rwc", self.url);
            let mut connection = SqliteConnection::connect(&url).await.context("opening")?;
            for pragma in ["pragma journal_mode = wal", "pragma synchronous = full", create] {
                sqlx::query(pragma).execute(&mut connection).await?;
            }
            for n in 0..commits {
                let begun = Instant::now();
                let insert = sqlx::query("insert into bare values (?1, ?2)").bind(n).bind(&text);
                insert.execute(&mut connection).await?;
                times.push(micros(begun.elapsed()));
            }
        } else {
            let mut connection = PgConnection::connect(&self.url).await.context("connecting")?;
            sqlx::query(create).execute(&mut connection).await?;
            for n in 0..commits {
                let begun = Instant::now();
                let insert = sqlx::query("insert into bare values ($1, $2)").bind(i64::from(n)).bind(&text);
                insert.execute(&mut connection).await?;
                times.push(micros(begun.elapsed()));
            }
        }
        Ok(times)
    }
}

/// Carries out a statement about databases.
pub(crate) async fn administer(admin: &str, sql: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(admin).await.context("connecting as administrator")?;
    let done = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await;
    done.with_context(|| sql.to_owned())?;
    Ok(())
}

/// Whether the server has a database of this name.
pub(crate) async fn exists(admin: &str, name: &str) -> anyhow::Result<bool> {
    let mut connection = PgConnection::connect(admin).await.context("connecting as administrator")?;
    let sql = "select exists (select from pg_database where datname = $1)";
    sqlx::query_scalar(sql).bind(name).fetch_one(&mut connection).await.context("looking for a database")
}
