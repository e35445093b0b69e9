//! Looking at a database that may be anything: away, older, newer, sealed under another key. Nothing is changed: no file is
//! made, no migration run, no connection may write.
//!
//! For diagnosis, step by step, so that each step can be told of by itself: [`Look::open`] reaches the database,
//! [`Look::schema`] compares the schema, [`Look::unlock`] tries the master key and gives a store to read with.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use subledger_domain::Timestamp;

use super::{Clock, Inner, Store};
use crate::{
    Database, MasterKey, OpenError, StoreError,
    database::Session,
    error::while_doing,
    postgres,
    rows::keys::wrapped,
    sqlite,
    tail::Tails,
    vault::{KeyRows, Vault},
};

/// What of a database's schema differs from this program's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SchemaFound {
    /// The newest migration of this program.
    pub newest: i64,
    /// The newest one that was carried out; none if the database holds no subledger.
    pub found: Option<i64>,
    /// Migrations of this program that were not carried out.
    pub missing: Vec<i64>,
    /// Migrations that this program does not know: a newer one made them.
    pub unknown: Vec<i64>,
    /// Migrations that began and did not end well.
    pub broken: Vec<i64>,
}

impl SchemaFound {
    /// Whether this program can read the database.
    pub fn fits(&self) -> bool {
        self.found.is_some() && self.missing.is_empty() && self.broken.is_empty()
    }
}

/// How a database does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// `SQLite` or `PostgreSQL`.
    pub product: &'static str,
    /// Its version.
    pub version: String,
    /// How long one small question took, a new connection not counted.
    pub answers_in: Duration,
    /// How long it took to bring a little to the disk, as each commit does; none if that could not be tried.
    pub syncs_in: Option<Duration>,
    /// Bytes it takes: of SQLite the log, the read models and their write-ahead logs, of PostgreSQL the database.
    pub bytes: u64,
    /// Bytes of the write-ahead log, of SQLite.
    pub wal_bytes: Option<u64>,
    /// Bytes free where the file is, of SQLite.
    pub free_bytes: Option<u64>,
    /// Its clock less that of this machine, microseconds; none where they are the same.
    pub clock_ahead: Option<i64>,
}

/// A database that is looked at.
#[derive(Debug, Clone)]
pub struct Look {
    database: Database,
}

impl Look {
    /// Reaches a database.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let database = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Database::Sqlite(sqlite::inspect::open(url).await?),
            Some("postgres" | "postgresql") => Database::Postgres(postgres::inspect::open(url).await?),
            _ => {
                let rule = "the database URL must begin with sqlite:// or postgres://";
                return Err(OpenError::Url(rule.to_owned()));
            }
        };
        Ok(Self { database })
    }

    /// How it does.
    pub async fn facts(&self) -> Result<DatabaseFacts, StoreError> {
        facts(&self.database).await
    }

    /// What of its schema differs.
    pub async fn schema(&self) -> Result<SchemaFound, StoreError> {
        schema(&self.database).await
    }

    /// Tries the master key, and gives a store that reads. Its reads are those of any store; whatever writes is refused by the
    /// database. Only for a schema that fits.
    pub async fn unlock(self, key: &MasterKey, clock: Arc<dyn Clock>) -> Result<Store, OpenError> {
        let mut reader = self.database.reader().await?;
        let mut session = reader.session();
        let Some((canary, legacy)) = session.stored_deployment().await? else {
            return Err(OpenError::Unsupported("the database holds no deployment yet".to_owned()));
        };
        if !legacy.is_empty() {
            let what = "the database's keys are those of an earlier version; any command that opens it brings them up to date";
            return Err(OpenError::Unsupported(what.to_owned()));
        }
        let wrapped = wrapped(session.wrapped_keys().await?)?;
        drop(reader);
        let fitting: BTreeSet<String> = wrapped.iter().map(|key| key.master.clone()).collect();
        let vault = Vault::unlock(key, &KeyRows { canary, wrapped })?.ok_or_else(|| {
            OpenError::WrongMasterKey { given: key.id(), fitting: fitting.into_iter().collect() }
        })?;
        let tails = Arc::new(Tails::new());
        tails.refresh(&self.database).await?;
        let (vault, node) = (Arc::new(vault), Arc::default());
        let inner = Inner { database: self.database, vault, clock, tails, node, tasks: Vec::new() };
        Ok(Store { inner: Arc::new(inner) })
    }
}

impl Store {
    /// How the database does.
    pub async fn facts(&self) -> Result<DatabaseFacts, StoreError> {
        facts(&self.inner.database).await
    }

    /// What of the database's schema differs from this program's: another node may have been upgraded since this one opened it.
    pub async fn schema(&self) -> Result<SchemaFound, StoreError> {
        schema(&self.inner.database).await
    }
}

async fn schema(database: &Database) -> Result<SchemaFound, StoreError> {
    let known = match database {
        Database::Sqlite(_) => sqlite::migrate::known(),
        Database::Postgres(_) => postgres::migrate::known(),
    };
    let newest = known.iter().copied().max().unwrap_or(0);
    let applied = match database.reader().await?.session().applied().await {
        Ok(applied) => applied,
        // Without that table it holds nothing of ours.
        Err(StoreError::Database { .. }) => return Ok(SchemaFound { newest, ..SchemaFound::default() }),
        Err(error) => return Err(error),
    };
    let done = |version: &i64| applied.iter().any(|(applied, success)| applied == version && *success);
    Ok(SchemaFound {
        newest,
        found: applied.iter().filter(|(_, success)| *success).map(|(version, _)| *version).max(),
        missing: known.iter().copied().filter(|version| !done(version)).collect(),
        unknown: applied
            .iter()
            .map(|(version, _)| *version)
            .filter(|version| !known.contains(version))
            .collect(),
        broken: applied.iter().filter(|(_, success)| !success).map(|(version, _)| *version).collect(),
    })
}

async fn facts(database: &Database) -> Result<DatabaseFacts, StoreError> {
    let mut held = database.reader().await?;
    let mut session = held.session();
    // The first question may have to make the connection.
    session.version().await?;
    let asked = Instant::now();
    let version = session.version().await?;
    let answers_in = asked.elapsed();
    match database {
        Database::Sqlite(database) => {
            let path = database.path().to_owned();
            let (sizes, free_bytes, syncs_in) =
                tokio::task::spawn_blocking(move || (sizes(&path), free(&path), sync(&path)))
                    .await
                    .map_err(|_| while_doing("looking at the file")(sqlx::Error::WorkerCrashed))?;
            Ok(DatabaseFacts {
                product: "SQLite",
                version,
                answers_in,
                syncs_in,
                bytes: sizes.0,
                wal_bytes: Some(sizes.1),
                free_bytes,
                clock_ahead: None,
            })
        }
        Database::Postgres(_) => {
            let Session::Postgres(connection) = session else {
                return Err(StoreError::Corrupt("two databases at once".to_owned()));
            };
            let (bytes, clock_ahead) = postgres::look::size_and_clock(connection).await?;
            Ok(DatabaseFacts {
                product: "PostgreSQL",
                version,
                answers_in,
                syncs_in: postgres::look::sync(connection).await,
                bytes,
                wal_bytes: None,
                free_bytes: None,
                clock_ahead: Some(clock_ahead),
            })
        }
    }
}

/// The sizes of a file with what lies beside it, and of its write-ahead log alone.
fn sizes(path: &Path) -> (u64, u64) {
    let size = |path: PathBuf| path.metadata().map_or(0, |found| found.len());
    let wal = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push("-wal");
        PathBuf::from(name)
    };
    let views = crate::views::beside(path);
    let log_wal = size(wal(path));
    (size(path.to_owned()) + log_wal + size(wal(&views)) + size(views), log_wal)
}

/// Bytes that are free where a file is.
fn free(path: &Path) -> Option<u64> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// How long it takes to bring a page to the disk that a file is on: in a file of its own, since nothing may be written to the
/// database, and since closing a descriptor of a SQLite file would take its locks from this process.
fn sync(path: &Path) -> Option<Duration> {
    use std::io::Write;
    let name = format!(".subledger-doctor-{}-{:x}", std::process::id(), rand::random::<u64>());
    let probe = path.with_file_name(name);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe).ok()?;
    let timed = file.write_all(&[0; 4096]).and_then(|()| {
        let began = Instant::now();
        file.sync_data().map(|()| began.elapsed())
    });
    drop(file);
    let _ = std::fs::remove_file(&probe);
    timed.ok()
}

/// The clock of a database less that of this machine, from when the question left, what it said, and when the answer came.
pub(crate) const fn ahead(asked: Timestamp, said: i64, answered: Timestamp) -> i64 {
    said - (asked.micros() + (answered.micros() - asked.micros()) / 2)
}
