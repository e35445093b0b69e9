//! Writes sheets of rows in bulk, together with the checkpoints they lead to, on a connection of its own.

use std::sync::Mutex;

use sqlx::Connection as _;
use subledger_store::{Database, SqliteDatabase, Store, StoreError};

use crate::{database::Step, postgres, sheet::Sheet, sqlite};

/// A connection that writes in bulk.
pub(crate) enum Writer {
    /// On a blocking thread while it writes; none after a failure there. The lock is never waited for: it only lets the
    /// builder be shared.
    Sqlite(SqliteDatabase, Option<Mutex<rusqlite::Connection>>),
    Postgres(Box<sqlx::PgConnection>),
}

impl Writer {
    pub(crate) async fn open(store: &Store) -> Result<Self, StoreError> {
        match store.database() {
            Database::Sqlite(database) => {
                let connection = sqlite::bulk::open(database)?;
                Ok(Self::Sqlite(database.clone(), Some(Mutex::new(connection))))
            }
            Database::Postgres(pool) => {
                let sorted = |source| StoreError::sort("waiting for a connection", source);
                // Not given back: it keeps tables of its own.
                let mut connection = pool.acquire().await.map_err(sorted)?.detach();
                postgres::bulk::prepare(&mut connection).await?;
                Ok(Self::Postgres(Box::new(connection)))
            }
        }
    }

    /// Writes sheets and moves checkpoints in one transaction. `false`: a checkpoint did not stand where it was believed to,
    /// and nothing is changed.
    pub(crate) async fn write(&mut self, sheets: Vec<Sheet>, moves: Vec<Step>) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(database, connection) => {
                let Some(Ok(mut writing)) = connection.take().map(Mutex::into_inner) else {
                    return Err(StoreError::Corrupt("the bulk writer was lost".to_owned()));
                };
                // Others in this process take turns here instead of running into a locked file.
                let turn = database.views_writer().await;
                let written = tokio::task::spawn_blocking(move || {
                    let written = sqlite::bulk::write(&mut writing, &sheets, &moves);
                    (writing, written)
                })
                .await;
                drop(turn);
                match written {
                    Ok((writing, written)) => {
                        *connection = Some(Mutex::new(writing));
                        written
                    }
                    Err(error) => Err(StoreError::Corrupt(format!("the bulk writer failed: {error}"))),
                }
            }
            Self::Postgres(connection) => postgres::bulk::write(connection, &sheets, &moves).await,
        }
    }

    /// Closes the connection.
    pub(crate) async fn close(self) {
        if let Self::Postgres(connection) = self {
            let _ = connection.close().await;
        }
    }
}
