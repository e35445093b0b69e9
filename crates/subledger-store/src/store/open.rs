//! Opening a store: connect, migrate, unlock, start what runs in the background.

use std::{collections::BTreeSet, sync::Arc};

use secrecy::ExposeSecret;
use sqlx::{Connection, SqliteConnection};
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use super::{Clock, Inner, Store};
use crate::{
    Database, OpenError, SqliteDatabase, StoreConfig,
    error::while_doing,
    postgres,
    rows::keys::wrapped,
    sqlite,
    tail::{self, Tails},
    vault::{Fresh, KeyRows, Legacy, Vault, unwrap_legacy},
};

pub(super) async fn open(config: &StoreConfig, clock: Arc<dyn Clock>) -> Result<Store, OpenError> {
    let url = config.url.expose_secret();
    let connections = config.max_connections.clamp(2, 100);
    let fresh = Fresh::create(&config.master_key)?;
    let now = clock.now().micros();
    let tails = Arc::new(Tails::new());
    let (database, mut tasks): (_, Vec<JoinHandle<()>>) = match url.split_once(':').map(|(scheme, _)| scheme)
    {
        Some("sqlite") => {
            let (database, mut checkpoints) = sqlite::connect::connect(url, connections).await?;
            {
                // A process that only reads opens a file that another one writes, if there is nothing to bring up to date.
                let mut writer = database.unclaimed().await;
                if sqlite::migrate::is_behind(&sqlite::migrate::MIGRATIONS, &mut writer).await {
                    database.claim()?;
                    sqlite::migrate::migrate(&mut writer).await?;
                }
            }
            crate::views::prepare(&database).await?;
            checkpoints.ping().await.map_err(while_doing("opening the database file"))?;
            let checkpoints = tokio::spawn(checkpoint(checkpoints, database.clone()));
            (Database::Sqlite(database), vec![checkpoints])
        }
        Some("postgres" | "postgresql") => {
            let pool = postgres::connect::connect(url, connections).await?;
            {
                let mut connection =
                    pool.acquire().await.map_err(while_doing("connecting to the database"))?;
                postgres::migrate::migrate(&mut connection).await?;
            }
            let database = Database::Postgres(pool.clone());
            let notify = tokio::spawn(postgres::connect::notify(Arc::clone(&tails), pool.clone()));
            let listen = tokio::spawn(postgres::connect::listen(Arc::clone(&tails), pool));
            (database, vec![notify, listen])
        }
        _ => {
            return Err(OpenError::Url(
                "the database URL must begin with sqlite:// or postgres://".to_owned(),
            ));
        }
    };
    let vault = match unlock(&database, config, &fresh, now).await {
        Ok(vault) => Arc::new(vault),
        Err(error) => {
            tasks.iter().for_each(JoinHandle::abort);
            return Err(error);
        }
    };
    tails.refresh(&database).await?;
    tasks.push(tokio::spawn(tail::poll(Arc::clone(&tails), database.clone())));
    let node = Arc::default();
    tasks.push(tokio::spawn(super::keys::watch(
        (database.clone(), Arc::clone(&vault), Arc::clone(&tails)),
        Arc::clone(&node),
        Arc::clone(&clock),
    )));
    Ok(Store { inner: Arc::new(Inner { database, vault, clock, tails, node, tasks }) })
}

/// The keys of the deployment in this database, which is made if there is none.
async fn unlock(
    database: &Database,
    config: &StoreConfig,
    fresh: &Fresh,
    now: i64,
) -> Result<Vault, OpenError> {
    let master = &config.master_key;
    let wrong = |fitting| OpenError::WrongMasterKey { given: master.id(), fitting };
    let mut writer = database.unclaimed().await?;
    let mut session = writer.session();
    let (canary, legacy) = session.deployment(fresh, now).await?;
    if !legacy.is_empty() {
        let root = unwrap_legacy(master, &Legacy(legacy))?.ok_or_else(|| wrong(Vec::new()))?;
        session.adopt(&root, now).await?;
    }
    let wrapped = wrapped(session.wrapped_keys().await?)?;
    let fitting: BTreeSet<String> = wrapped.iter().map(|key| key.master.clone()).collect();
    let unlocked = Vault::unlock(master, &KeyRows { canary, wrapped })?;
    unlocked.ok_or_else(|| wrong(fitting.into_iter().collect()))
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
