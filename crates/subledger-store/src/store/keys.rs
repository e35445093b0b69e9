//! Master keys and data keys: which there are, who uses them, and how they are replaced while nodes run.
//!
//! A new master key is first added beside the old one, so that nodes start with either; when every node was started with the
//! new one, the old one is dropped. A new data key is used by all nodes within a moment; see [`super::reseal`] for what was
//! sealed before.
//!
//! All of this touches only the tables of keys, so it may be done from a second process beside the one that writes a SQLite
//! file. One process at a time does it, under a lease.

use std::{sync::Arc, time::Duration};

use subledger_domain::Timestamp;
use thiserror::Error;
use tokio::time::MissedTickBehavior;

use super::{Lease, Store};
use crate::{
    Database, MasterKey, StoreError,
    rows::keys::{number, wrapped},
    tail::Tails,
    vault::{self, Vault},
};

/// How often a running node says which keys it knows.
const PRESENCE_EVERY: Duration = Duration::from_secs(5);
/// A node that was silent for so long does not run.
const PRESENT_FOR: Duration = Duration::from_secs(30);
/// How often it is looked for new data keys. On PostgreSQL this only backs up notifications.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The lease under which keys are replaced, and how long it holds without being renewed.
const LEASE: &str = "keys";
pub(super) const LEASE_FOR: Duration = Duration::from_secs(10);

/// Why keys were not replaced. Nothing is changed.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The new master key is the one in use.
    #[error("the new master key is the one in use ({0}): make another with `subledger admin master-key`")]
    SameKey(String),
    /// Another master key is on its way in.
    #[error("the master key is being replaced by key {0} already: finish that first")]
    UnderWay(String),
    /// Two master keys unlock the deployment; a data key could not be wrapped under both.
    #[error(
        "the master key is being replaced by key {0}: finish that first (`subledger admin rotate-master-key --finish`)"
    )]
    Unfinished(String),
    /// Running nodes would not start again.
    #[error(
        "nodes that were started with another master key than {key} are running: {}. Restart them with key {key} first", nodes.join(", ")
    )]
    InUse {
        /// The master key that would stay.
        key: String,
        /// The nodes, each with the key it was started with.
        nodes: Vec<String>,
    },
    /// Somebody else is at it.
    #[error("another process works on the keys; try again when it is done, or within {} s if it died", LEASE_FOR.as_secs())]
    Busy,
    /// There are as many data keys as there can be.
    #[error("there are 65,535 data keys, and no number is left for another")]
    NoMoreKeys,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A master key that unlocks the deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterKeyState {
    /// Its id.
    pub id: String,
    /// When it was added; of a deployment that is older than ids, when it got one.
    pub added_at: Timestamp,
    /// Whether this process was started with it.
    pub ours: bool,
}

/// A data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyState {
    /// Its number.
    pub id: u16,
    /// When it was made.
    pub created_at: Timestamp,
    /// When nothing was found to be sealed under it any more.
    pub retired_at: Option<Timestamp>,
    /// Whether new values are sealed under it.
    pub current: bool,
}

/// A running node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNode {
    /// Its name.
    pub name: String,
    /// The id of the master key it was started with.
    pub master: String,
    /// The newest data key it knows.
    pub data_key: u16,
}

/// The keys of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// Master keys, the oldest first: one, or two while one replaces the other.
    pub masters: Vec<MasterKeyState>,
    /// Data keys by number.
    pub data_keys: Vec<DataKeyState>,
    /// Nodes that run.
    pub nodes: Vec<KeyNode>,
}

impl MasterKey {
    /// The key's id: eight hexadecimal digits by which people tell master keys apart. They say nothing about the key.
    pub fn id(&self) -> String {
        vault::key_id(self)
    }
}

impl Store {
    /// The id of the master key this process was started with.
    pub fn master_key_id(&self) -> String {
        self.inner.vault.master().id()
    }

    /// The keys there are, and which nodes use them.
    pub async fn key_state(&self) -> Result<KeyState, StoreError> {
        let ours = self.master_key_id();
        let now = self.inner.clock.now().micros();
        let mut reader = self.inner.database.reader().await?;
        let mut session = reader.session();
        let masters = session.masters().await?.into_iter().map(|(id, added_at)| MasterKeyState {
            ours: id == ours,
            id,
            added_at: Timestamp::from_micros(added_at),
        });
        let rows = session.data_keys().await?;
        let newest = rows.last().map(|(id, ..)| *id);
        let data_key = |(id, created_at, retired_at): (i64, i64, Option<i64>)| {
            Ok(DataKeyState {
                id: number(id)?,
                created_at: Timestamp::from_micros(created_at),
                retired_at: retired_at.map(Timestamp::from_micros),
                current: Some(id) == newest,
            })
        };
        let nodes = session.nodes(micros(PRESENT_FOR), now).await?;
        let node = |(name, master, key)| Ok(KeyNode { name, master, data_key: number(key)? });
        Ok(KeyState {
            masters: masters.collect(),
            data_keys: rows.into_iter().map(data_key).collect::<Result<_, StoreError>>()?,
            nodes: nodes.into_iter().map(node).collect::<Result<_, StoreError>>()?,
        })
    }

    /// Adds a master key: from now on nodes start with this one as well as with the one this process was started with.
    /// Answers whether it is new; adding it once more changes nothing.
    pub async fn add_master_key(&self, new: &MasterKey) -> Result<bool, KeyError> {
        let (ours, id) = (self.master_key_id(), new.id());
        if id == ours {
            return Err(KeyError::SameKey(id));
        }
        let lease = self.lease_keys().await?;
        let added = self.wrap_under(new, &ours, &id).await;
        self.lease_release(&[lease]).await?;
        added
    }

    async fn wrap_under(&self, new: &MasterKey, ours: &str, id: &str) -> Result<bool, KeyError> {
        let now = self.inner.clock.now().micros();
        let mut writer = self.inner.database.unclaimed().await?;
        let rows = wrapped(writer.session().wrapped_keys().await?)?;
        if let Some(other) = rows.iter().find(|row| row.master != ours && row.master != id) {
            return Err(KeyError::UnderWay(other.master.clone()));
        }
        let known = rows.iter().any(|row| row.master == id);
        let keys = vault::wrap_all(&rows, self.inner.vault.master(), new)?;
        writer.session().wrap(&keys, now).await?;
        Ok(!known)
    }

    /// Drops every master key but the one this process was started with. Answers with the ids of those that were dropped.
    ///
    /// Refused while nodes run that were started with another; `anyway` does it all the same: they go on running and would not
    /// start again.
    pub async fn drop_other_master_keys(&self, anyway: bool) -> Result<Vec<String>, KeyError> {
        let lease = self.lease_keys().await?;
        let dropped = self.unwrap_others(anyway).await;
        self.lease_release(&[lease]).await?;
        dropped
    }

    async fn unwrap_others(&self, anyway: bool) -> Result<Vec<String>, KeyError> {
        let ours = self.master_key_id();
        let state = self.key_state().await?;
        let others = state.nodes.iter().filter(|node| node.master != ours);
        let others: Vec<String> = others.map(|node| format!("{} (key {})", node.name, node.master)).collect();
        if !others.is_empty() && !anyway {
            return Err(KeyError::InUse { key: ours, nodes: others });
        }
        self.inner.database.unclaimed().await?.session().unwrap_others(&ours).await?;
        Ok(state.masters.into_iter().filter(|key| !key.ours).map(|key| key.id).collect())
    }

    /// Makes a data key. From now on new values are sealed under it, by other nodes as soon as they hear of it. Answers with its
    /// number.
    pub async fn add_data_key(&self) -> Result<u16, KeyError> {
        let lease = self.lease_keys().await?;
        let added = self.new_data_key().await;
        self.lease_release(&[lease]).await?;
        added
    }

    async fn new_data_key(&self) -> Result<u16, KeyError> {
        let ours = self.master_key_id();
        let state = self.key_state().await?;
        if let Some(other) = state.masters.iter().find(|key| !key.ours) {
            return Err(KeyError::Unfinished(other.id.clone()));
        }
        let others = state.nodes.iter().filter(|node| node.master != ours);
        let others: Vec<String> = others.map(|node| format!("{} (key {})", node.name, node.master)).collect();
        if !others.is_empty() {
            return Err(KeyError::InUse { key: ours, nodes: others });
        }
        let newest = state.data_keys.last().map_or(0, |key| key.id);
        let id = newest.checked_add(1).ok_or(KeyError::NoMoreKeys)?;
        let key = vault::new_data_key(self.inner.vault.master(), id)?;
        let now = self.inner.clock.now().micros();
        self.inner.database.unclaimed().await?.session().add_data_key(&key, now).await?;
        self.reload_keys().await?;
        Ok(id)
    }

    /// Says from now on, until the store is closed, that a node runs and which keys it knows. For processes that serve. `name`
    /// is for people; nodes on several machines may have the same. Fails if the master key was dropped since the store was
    /// opened.
    pub async fn announce(&self, name: &str) -> Result<(), StoreError> {
        let name = format!("{name} ({:08x})", rand::random::<u32>());
        self.note_presence(&name).await?;
        let rows = wrapped(self.inner.database.reader().await?.session().wrapped_keys().await?)?;
        let ours = self.master_key_id();
        if rows.iter().all(|row| row.master != ours) {
            return Err(StoreError::Corrupt(format!("master key {ours} was dropped a moment ago")));
        }
        *self.inner.node.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(name);
        Ok(())
    }

    pub(super) async fn note_presence(&self, name: &str) -> Result<(), StoreError> {
        note_presence(&self.inner.database, &self.inner.vault, name, self.inner.clock.now().micros()).await
    }

    /// Takes leave, if this node has announced itself. What fails is found by its silence.
    pub(super) async fn take_leave(&self) {
        let name = self.inner.node.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(name) = name else { return };
        let left = async { self.inner.database.unclaimed().await?.session().forget_node(&name).await }.await;
        if let Err(error) = left {
            tracing::debug!(error = %error, "could not take leave; the others will notice");
        }
    }

    /// Reads the table of keys anew.
    pub(super) async fn reload_keys(&self) -> Result<bool, StoreError> {
        reload(&self.inner.database, &self.inner.vault).await
    }

    /// Whether there is a data key of this number.
    pub(super) async fn data_key_exists(&self, key: u16) -> Result<bool, StoreError> {
        let newest = self.inner.database.reader().await?.session().newest().await?;
        Ok(newest.is_some_and(|newest| i64::from(key) <= newest))
    }

    pub(super) async fn lease_keys(&self) -> Result<Lease, KeyError> {
        let holder = uuid::Uuid::new_v4().simple().to_string();
        self.lease_acquire(LEASE, &holder, LEASE_FOR).await?.ok_or(KeyError::Busy)
    }
}

/// Reads the table of keys anew. Answers whether a data key is new.
async fn reload(database: &Database, vault: &Vault) -> Result<bool, StoreError> {
    let rows = wrapped(database.reader().await?.session().wrapped_keys().await?)?;
    vault.refresh(&rows)
}

async fn note_presence(database: &Database, vault: &Vault, name: &str, now: i64) -> Result<(), StoreError> {
    let (master, key) = (vault.master().id(), vault.ring().current());
    database.unclaimed().await?.session().note_node((name, &master, key), now).await
}

/// Watches for new data keys for ever, and says that this node runs once it has announced itself.
pub(super) async fn watch(
    (database, vault, tails): (Database, Arc<Vault>, Arc<Tails>),
    node: Arc<std::sync::Mutex<Option<String>>>,
    clock: Arc<dyn super::Clock>,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut noted = tokio::time::Instant::now();
    let mut left_behind = false;
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = tails.keys.notified() => {}
        }
        let found = newer(&database, &vault).await;
        let new = matches!(found, Ok(Found::TakenUp));
        match found {
            Ok(Found::Nothing) => {}
            Ok(Found::TakenUp) => {
                tracing::info!(data_key.id = vault.ring().current(), "sealing under a new data key");
            }
            Ok(Found::OutOfReach) if left_behind => {}
            Ok(Found::OutOfReach) => {
                left_behind = true;
                let id = vault.master().id();
                tracing::error!(
                    master_key.id = id,
                    "the master key of this node was dropped; restart it with the new one"
                );
            }
            Err(error) => tracing::debug!(error = %error, "the table of keys could not be read"),
        }
        let name = node.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let Some(name) = name else { continue };
        if new || noted.elapsed() >= PRESENCE_EVERY {
            noted = tokio::time::Instant::now();
            if let Err(error) = note_presence(&database, &vault, &name, clock.now().micros()).await {
                tracing::debug!(error = %error, "this node could not say which keys it knows");
            }
        }
    }
}

/// What a look at the table of keys came to.
enum Found {
    Nothing,
    /// A data key is new.
    TakenUp,
    /// One is, and is not wrapped under the master key of this node.
    OutOfReach,
}

async fn newer(database: &Database, vault: &Vault) -> Result<Found, StoreError> {
    let newest = database.reader().await?.session().newest().await?;
    if newest.is_none_or(|newest| newest <= i64::from(vault.ring().current())) {
        return Ok(Found::Nothing);
    }
    Ok(if reload(database, vault).await? { Found::TakenUp } else { Found::OutOfReach })
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
