//! Reads and writes rows of generations: the one way in which folds meet a database. For threads that may block.

use std::sync::{Arc, Mutex, PoisonError};

use subledger_store::{Database, SqliteDatabase, Store, StoreError};
use tokio::runtime::Handle;

use crate::{
    database::Step,
    postgres, sqlite,
    table::Need,
    terms::Terms,
    tuples::{Sheet, Tuples},
};

/// Access to the rows. Cheap to clone; on SQLite clones share a connection and take turns.
#[derive(Clone)]
pub(crate) struct Hand {
    runtime: Handle,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Sqlite(SqliteDatabase, Arc<Mutex<rusqlite::Connection>>),
    Postgres(sqlx::PgPool),
}

impl Hand {
    /// Must be called within a Tokio runtime.
    pub(crate) fn open(store: &Store) -> Result<Self, StoreError> {
        let place = match store.database() {
            Database::Sqlite(database) => {
                let connection = sqlite::rows::open(database)?;
                Place::Sqlite(database.clone(), Arc::new(Mutex::new(connection)))
            }
            Database::Postgres(pool) => Place::Postgres(pool.clone()),
        };
        Ok(Self { runtime: Handle::current(), place })
    }

    /// The rows of a generation that are needed, as far as they exist. They are of one moment each, not all of one: whoever
    /// folds them learns from [`Self::write`] whether they were of the checkpoint that he believed in.
    pub(crate) fn load(&self, generation: i64, need: &Need) -> Result<Tuples, StoreError> {
        match &self.place {
            Place::Sqlite(_, connection) => {
                // A connection whose user panicked is in no transaction: that was rolled back when it was dropped.
                let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                sqlite::rows::load(&connection, generation, need.table, &need.keys)
            }
            Place::Postgres(pool) => self.runtime.block_on(async {
                let waiting = |source| StoreError::sort("waiting for a connection", source);
                let mut connection = pool.acquire().await.map_err(waiting)?;
                postgres::rows::load(&mut connection, generation, need.table, &need.keys).await
            }),
        }
    }

    /// Writes sheets and moves checkpoints in one transaction. `false`: a checkpoint did not stand where it was believed to,
    /// and nothing is changed.
    pub(crate) fn write(&self, sheets: &[Sheet], moves: &[Step]) -> Result<bool, StoreError> {
        match &self.place {
            Place::Sqlite(database, connection) => {
                // Others in this process take turns here instead of running into a locked file.
                let _turn = self.runtime.block_on(database.views_writer());
                let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                sqlite::rows::write(&mut connection, sheets, moves)
            }
            Place::Postgres(pool) => self.runtime.block_on(postgres::rows::write(pool, sheets, moves)),
        }
    }

    /// Learns the numbers of these texts, giving numbers to those that have none.
    pub(crate) fn number(&self, terms: &mut Terms, texts: &[Arc<str>]) -> Result<(), StoreError> {
        let mut texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        texts.sort_unstable();
        texts.dedup();
        for make in [false, true] {
            texts.retain(|text| terms.number(text).is_none());
            if texts.is_empty() {
                break;
            }
            let numbers = match &self.place {
                Place::Sqlite(database, connection) => {
                    let _turn = self.runtime.block_on(database.views_writer());
                    let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                    sqlite::rows::number_terms(&connection, &texts, make)?
                }
                Place::Postgres(pool) => {
                    self.runtime.block_on(postgres::rows::number_terms(pool, &texts, make))?
                }
            };
            for (text, number) in numbers {
                terms.learn(&text, number);
            }
        }
        Ok(())
    }
}
