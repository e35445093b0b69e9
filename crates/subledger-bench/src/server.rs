//! Where databases are made: a folder of SQLite files or a PostgreSQL server.
//!
//! A database that takes long to prepare is prepared once under a name and copied for each round, so that every round
//! begins at the same place.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::database::{self, Database};

/// How long the last connection to a SQLite file may take to close.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Where databases are made.
#[derive(Debug, Clone)]
pub(crate) enum Server {
    /// A folder.
    Sqlite(PathBuf),
    /// An administrator's URL.
    Postgres(String),
}

impl Server {
    /// As result lines call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// The database of this name, whether it exists or not.
    pub(crate) fn database(&self, name: &str) -> Database {
        match self {
            Self::Sqlite(folder) => Database::sqlite(folder, name),
            Self::Postgres(admin) => Database::postgres(admin, name),
        }
    }

    /// An empty database of this name, in place of any other.
    pub(crate) async fn fresh(&self, name: &str) -> anyhow::Result<Database> {
        self.remove(name).await?;
        if let Self::Postgres(admin) = self {
            database::administer(admin, &format!("create database bench_{name}")).await?;
        }
        Ok(self.database(name))
    }

    /// A copy of a database that nobody has open.
    pub(crate) async fn copy(&self, from: &str, to: &str) -> anyhow::Result<Database> {
        self.remove(to).await?;
        match self {
            Self::Sqlite(folder) => {
                for path in closed(folder, from).await? {
                    let copy = renamed(&path, from, to);
                    fs::copy(&path, &copy).with_context(|| path.display().to_string())?;
                    // Now, or the system writes it out in the middle of what is measured.
                    File::open(&copy)?.sync_all().with_context(|| copy.display().to_string())?;
                }
            }
            Self::Postgres(admin) => {
                // As files: the default writes all of it to the write-ahead log, and the checkpoint that brings falls into
                // what is measured.
                let sql = format!("create database bench_{to} template bench_{from} strategy file_copy");
                database::administer(admin, &sql).await?;
            }
        }
        Ok(self.database(to))
    }

    /// The database that `fill` makes under this name: made now, or left by an earlier round.
    pub(crate) async fn prepared<F>(&self, name: &str, fill: F) -> anyhow::Result<Database>
    where
        F: AsyncFnOnce(&Database) -> anyhow::Result<()>,
    {
        if !self.exists(name).await? {
            // Under another name until it is whole: what is broken off must not be taken for prepared.
            let making = format!("making_{name}");
            let database = self.fresh(&making).await?;
            fill(&database).await?;
            self.rename(&making, name).await?;
        }
        Ok(self.database(name))
    }

    /// Removes the database of this name, if there is one.
    pub(crate) async fn remove(&self, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(folder) => {
                fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
                for path in files(folder, name)? {
                    match fs::remove_file(&path) {
                        // The connection that is closing was faster.
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        removed => removed.with_context(|| path.display().to_string())?,
                    }
                }
                Ok(())
            }
            Self::Postgres(admin) => {
                database::administer(admin, &format!("drop database if exists bench_{name} with (force)"))
                    .await
            }
        }
    }

    async fn exists(&self, name: &str) -> anyhow::Result<bool> {
        match self {
            Self::Sqlite(folder) => Ok(folder.join(format!("{name}.db")).is_file()),
            Self::Postgres(admin) => database::exists(admin, &format!("bench_{name}")).await,
        }
    }

    async fn rename(&self, from: &str, to: &str) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(folder) => {
                // The main file last: its presence says that all are there.
                let mut paths = closed(folder, from).await?;
                let main = folder.join(format!("{from}.db"));
                paths.sort_by_key(|path| *path == main);
                for path in paths {
                    fs::rename(&path, renamed(&path, from, to))
                        .with_context(|| path.display().to_string())?;
                }
                Ok(())
            }
            Self::Postgres(admin) => {
                let sql = format!("alter database bench_{from} rename to bench_{to}");
                database::administer(admin, &sql).await
            }
        }
    }
}

/// The files of a database: `name.db`, and whatever stands beside it as `name.….db`, `name.db-wal` and so on.
pub(crate) fn files(folder: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let prefix = format!("{name}.");
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.context("reading the folder of the databases")?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The files of a database once its last connection is gone, which a store closes after it has answered: SQLite then removes
/// the write-ahead log and its index.
async fn closed(folder: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let begun = Instant::now();
    loop {
        let found = files(folder, name)?;
        let open = |path: &PathBuf| {
            let name = path.to_string_lossy();
            name.ends_with("-wal") || name.ends_with("-shm")
        };
        let Some(path) = found.iter().find(|path| open(path)) else { return Ok(found) };
        ensure!(begun.elapsed() < PATIENCE, "{} is still in use", path.display());
        tokio::time::sleep(LOOK).await;
    }
}

fn renamed(path: &Path, from: &str, to: &str) -> PathBuf {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{to}{}", file.strip_prefix(from).unwrap_or_default()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(folder: &Path, name: &str) -> Vec<String> {
        let paths = files(folder, name).unwrap();
        let mut names: Vec<_> =
            paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_copy_takes_every_file_and_no_other_database() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.db", "a.views.db", "ab.db"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let server = Server::Sqlite(folder.path().to_owned());
        server.copy("a", "c").await.unwrap();
        assert_eq!(names(folder.path(), "c"), ["c.db", "c.views.db"]);
        server.remove("a").await.unwrap();
        assert_eq!(names(folder.path(), "a"), [""; 0]);
        assert_eq!(names(folder.path(), "ab"), ["ab.db"]);
    }

    #[tokio::test]
    async fn a_copy_waits_until_the_last_connection_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a.db"), "old").unwrap();
        fs::write(path("a.db-wal"), "new").unwrap();
        let server = Server::Sqlite(folder.path().to_owned());
        let closing = async {
            tokio::task::yield_now().await;
            fs::write(path("a.db"), "new").unwrap();
            fs::remove_file(path("a.db-wal")).unwrap();
        };
        let (copied, ()) = tokio::join!(server.copy("a", "c"), closing);
        copied.unwrap();
        assert_eq!(fs::read_to_string(path("c.db")).unwrap(), "new");
    }

    #[tokio::test]
    async fn what_is_prepared_is_made_once_and_not_half() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::Sqlite(folder.path().to_owned());
        let path = |name: &str| folder.path().join(format!("{name}.db"));
        let broken = server.prepared("p", async |_| {
            fs::write(path("making_p"), "half")?;
            anyhow::bail!("broken off")
        });
        broken.await.unwrap_err();
        assert!(!server.exists("p").await.unwrap());
        server.prepared("p", async |_| Ok(fs::write(path("making_p"), "whole")?)).await.unwrap();
        assert_eq!(fs::read_to_string(path("p")).unwrap(), "whole");
        server.prepared("p", async |_| anyhow::bail!("made twice")).await.unwrap();
    }
}
