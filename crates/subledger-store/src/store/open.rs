//! Opening a store: connect, migrate, unlock, start what runs in the background.

use std::sync::Arc;

use secrecy::ExposeSecret;
use sqlx::{Connection, SqliteConnection};
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use super::{Clock, Inner, Store};
use crate::{
    Database, OpenError, SqliteDatabase, StoreConfig,
    error::while_doing,
    postgres, sqlite,
    tail::{self, Tails},
    vault::{SealedDeployment, Vault, WrongKey},
};

pub(super) async fn open(config: &StoreConfig, clock: Arc<dyn Clock>) -> Result<Store, OpenError> {
    let url = config.url.expose_secret();
    let connections = config.max_connections.clamp(2, 100);
    let fresh = Vault::create(&config.master_key)?;
    let now = clock.now().micros();
    let tails = Arc::new(Tails::new());
    let (database, stored, mut tasks): (_, SealedDeployment, Vec<JoinHandle<()>>) =
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {
                let (database, mut checkpoints) = sqlite::connect::connect(url, connections).await?;
                let stored = {
                    // A process that only reads opens a file that another one writes, if there is nothing to bring up to date.
                    let mut writer = database.unclaimed().await;
                    if sqlite::migrate::is_behind(&sqlite::migrate::MIGRATIONS, &mut writer).await {
                        database.claim()?;
                        sqlite::migrate::migrate(&mut writer).await?;
                    }
                    sqlite::vault::deployment(&mut writer, &fresh, now).await?
                };
                crate::views::prepare(&database).await?;
                checkpoints.ping().await.map_err(while_doing("opening the database file"))?;
                let checkpoints = tokio::spawn(checkpoint(checkpoints, database.clone()));
                (Database::Sqlite(database), stored, vec![checkpoints])
            }
            Some("postgres" | "postgresql") => {
                let pool = postgres::connect::connect(url, connections).await?;
                let stored = {
                    let mut connection =
                        pool.acquire().await.map_err(while_doing("connecting to the database"))?;
                    postgres::migrate::migrate(&mut connection).await?;
                    postgres::vault::deployment(&mut connection, &fresh, now).await?
                };
                let database = Database::Postgres(pool.clone());
                let notify = tokio::spawn(postgres::connect::notify(Arc::clone(&tails), pool.clone()));
                let listen = tokio::spawn(postgres::connect::listen(Arc::clone(&tails), pool));
                (database, stored, vec![notify, listen])
            }
            _ => {
                return Err(OpenError::Url(
                    "the database URL must begin with sqlite:// or postgres://".to_owned(),
                ));
            }
        };
    let vault = match Vault::unlock(&config.master_key, &stored)? {
        Ok(vault) => vault,
        Err(WrongKey) => {
            tasks.iter().for_each(JoinHandle::abort);
            return Err(OpenError::WrongMasterKey);
        }
    };
    tails.refresh(&database).await?;
    tasks.push(tokio::spawn(tail::poll(Arc::clone(&tails), database.clone())));
    Ok(Store { inner: Arc::new(Inner { database, vault, clock, tails, tasks }) })
}

/// Checkpoints for ever; see [`sqlite::connect`].
async fn checkpoint(mut connection: SqliteConnection, database: SqliteDatabase) {
    let mut every = tokio::time::interval(sqlite::connect::CHECKPOINT_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Err(error) = sqlite::connect::checkpoint(&mut connection, &database).await {
            tracing::warn!(error = %error, "the write-ahead log could not be checkpointed; it grows until it can");
        }
    }
}
