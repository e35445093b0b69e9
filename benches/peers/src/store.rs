//! Databases with the tables that postgres-es and sqlite-es document, and frameworks on them.

use std::{
    path::PathBuf,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, anyhow, bail};
use cqrs_es::{Aggregate, AggregateError, DomainEvent};
use postgres_es::{PostgresCqrs, postgres_cqrs};
use sqlite_es::{SqliteCqrs, sqlite_cqrs};
use sqlx::{
    Connection, PgConnection, PgPool, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// A command is tried this often before the run is given up.
const MOST_TRIES: u32 = 1_000;

/// Where databases are made.
#[derive(Debug, Clone)]
pub(crate) enum Server {
    Sqlite(PathBuf),
    Postgres(String),
}

/// A database with the tables of cqrs-es.
#[derive(Clone)]
pub(crate) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The framework, with its stock event store.
pub(crate) enum Framework<A: Aggregate<Services = ()>> {
    Sqlite(SqliteCqrs<A>),
    Postgres(PostgresCqrs<A>),
}

impl Server {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// An empty database of this name, in place of any other.
    pub(crate) async fn fresh(&self, name: &str, pool: u32) -> anyhow::Result<Database> {
        match self {
            Self::Sqlite(folder) => {
                std::fs::create_dir_all(folder)?;
                let path = folder.join(format!("{name}.db"));
                for suffix in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
                }
                // The crate's own pool, but for `synchronous`: with its `normal` a commit may be lost.
                let options = SqliteConnectOptions::from_str(&format!("sqlite://{}", path.display()))?
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(std::time::Duration::from_secs(60))
                    .foreign_keys(true);
                let pool = SqlitePoolOptions::new().max_connections(pool).connect_with(options).await?;
                for sql in SQLITE_TABLES {
                    sqlx::query(sql).execute(&pool).await.context(*sql)?;
                }
                Ok(Database::Sqlite(pool))
            }
            Self::Postgres(admin) => {
                let mut connection = PgConnection::connect(admin).await.context("connecting")?;
                for sql in [
                    format!("drop database if exists {name} with (force)"),
                    format!("create database {name}"),
                ] {
                    sqlx::query(&sql).execute(&mut connection).await.context(sql)?;
                }
                let server = admin.rsplit_once('/').map_or(admin.as_str(), |(server, _)| server);
                let options = PgPoolOptions::new().max_connections(pool);
                let pool = options.connect(&format!("{server}/{name}")).await?;
                for sql in POSTGRES_TABLES {
                    sqlx::query(sql).execute(&pool).await.context(*sql)?;
                }
                Ok(Database::Postgres(pool))
            }
        }
    }
}

impl Database {
    pub(crate) fn framework<A: Aggregate<Services = ()> + 'static>(&self) -> Framework<A> {
        match self {
            Self::Sqlite(pool) => Framework::Sqlite(sqlite_cqrs(pool.clone(), Vec::new(), ())),
            Self::Postgres(pool) => Framework::Postgres(postgres_cqrs(pool.clone(), Vec::new(), ())),
        }
    }

    /// Writes events as the crates write them, many in one transaction: preparation is not what is measured.
    pub(crate) async fn fill<A: Aggregate>(
        &self,
        events: impl Iterator<Item = (String, i64, A::Event)>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(pool) => {
                let mut transaction = pool.begin().await?;
                for (id, sequence, event) in events {
                    sqlx::query("insert into events values (?1, ?2, ?3, ?4, ?5, ?6, '{}')")
                        .bind(A::TYPE)
                        .bind(id)
                        .bind(sequence)
                        .bind(event.event_type())
                        .bind(event.event_version())
                        .bind(serde_json::to_string(&event)?)
                        .execute(&mut *transaction)
                        .await?;
                }
                transaction.commit().await?;
            }
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                for (id, sequence, event) in events {
                    sqlx::query("insert into events values ($1, $2, $3, $4, $5, $6, '{}')")
                        .bind(A::TYPE)
                        .bind(id)
                        .bind(sequence)
                        .bind(event.event_type())
                        .bind(event.event_version())
                        .bind(serde_json::to_value(&event)?)
                        .execute(&mut *transaction)
                        .await?;
                }
                transaction.commit().await?;
                sqlx::query("analyze events").execute(pool).await?;
            }
        }
        Ok(())
    }

    /// Events in the table.
    pub(crate) async fn events(&self) -> anyhow::Result<u64> {
        let sql = "select count(*) from events";
        let count: i64 = match self {
            Self::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await?,
            Self::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await?,
        };
        Ok(u64::try_from(count)?)
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl<A: Aggregate<Services = ()>> Framework<A> {
    /// Carries a command out, again where another got in between; counts the tries that were in vain.
    pub(crate) async fn execute(
        &self,
        id: &str,
        command: impl Fn() -> A::Command,
        in_vain: &AtomicU64,
    ) -> anyhow::Result<()> {
        for _ in 0..MOST_TRIES {
            let done = match self {
                Self::Sqlite(framework) => framework.execute(id, command()).await,
                Self::Postgres(framework) => framework.execute(id, command()).await,
            };
            match done {
                Ok(()) => return Ok(()),
                Err(AggregateError::AggregateConflict) => {}
                Err(error) if error.to_string().contains("database is locked") => {}
                Err(error) => return Err(anyhow!("{error}")),
            }
            in_vain.fetch_add(1, Ordering::Relaxed);
        }
        bail!("{id}: {MOST_TRIES} tries were in vain")
    }
}

/// As in the crate's `migrations/`.
const SQLITE_TABLES: &[&str] = &["create table events (
    aggregate_type text not null, aggregate_id text not null, sequence integer check (sequence >= 0) not null,
    event_type text not null, event_version text not null, payload text not null, metadata text not null,
    primary key (aggregate_type, aggregate_id, sequence)) strict"];

/// As in the crate's `db/init.sql`.
const POSTGRES_TABLES: &[&str] = &["create table events (
    aggregate_type text not null, aggregate_id text not null, sequence bigint check (sequence >= 0) not null,
    event_type text not null, event_version text not null, payload json not null, metadata json not null,
    primary key (aggregate_type, aggregate_id, sequence))"];
