//! The store: one handle to a database, its vaults and its reads.

mod attest;
pub(crate) mod by_stream;
mod erasure;
pub(crate) mod inspect;
pub(crate) mod keys;
mod lease;
pub(crate) mod look;
mod open;
mod past;
mod platform;
mod push;
mod queue;
mod quota;
mod reads;
mod relay;
pub(crate) mod reseal;
mod retention;
pub(crate) mod scan;
mod token;
mod user_tokens;
mod vaults;

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use subledger_domain::Timestamp;
use tokio::task::JoinHandle;

pub use self::by_stream::ByStream;
pub use self::erasure::KeptContent;
pub use self::inspect::{Inspector, LogSnapshot, RawEvent, RawQueueRow, RawReceipt, Snapshot, StrayReceipt};
pub use self::keys::{DataKeyState, KeyError, KeyNode, KeyState, MasterKeyState};
pub use self::lease::Lease;
pub use self::look::{DatabaseFacts, Look, SchemaFound};
pub use self::platform::{
    AuthorizationEnd, Authorizer, Begun, BegunAuthorization, BegunStatus, CodeStatus, NewCode,
    PlatformTicket, StoredCode, WatchedPlatform,
};
pub use self::push::{KindHealth, PushHealth, RelayHealth};
pub use self::queue::{Claimable, Claimed, QueueEntry, QueueStats, Swept};
pub use self::quota::{QuotaFailure, QuotaPoll, QuotaRate, QuotaSample};
pub use self::reads::{StoredReceipt, Timestamped};
pub use self::relay::{ClaimedRelay, RelayEnd, RelayRoom};
pub use self::reseal::{Pace, ResealReport, Resealed};
pub use self::retention::{Amount, Held, RetentionClass};
pub use self::scan::{Chunk, Scan, Scanned};
pub use self::token::{KeptToken, TokenAsk, TokenClaim, TokenClaimed, TokenState, TokenTurn, TokenWish};
pub use self::vaults::SecretMark;
pub(crate) use self::vaults::{SHARED, place};
use crate::{
    Database,
    error::{OpenError, StoreError},
    tail::Tails,
    vault::Vault,
};

/// Tells the time. The only clock of the store; tests hand in their own.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // Before 1970 only a broken clock stands; it then stands still at the epoch.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A handle to the store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    tails: Arc<Tails>,
    /// The name under which this node has announced itself. Std lock: never held across an await.
    node: Arc<Mutex<Option<String>>>,
    /// Background tasks; they end with the last handle.
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store(…)")
    }
}

impl Store {
    /// Opens the database, brings its schema up to date, and unlocks its vaults with the master key. Must be called on a
    /// Tokio runtime.
    pub async fn open(config: &crate::StoreConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        open::open(config, clock).await
    }

    /// The clock handed to [`Self::open`].
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// The database underneath, for crates that keep their own tables in it.
    pub fn database(&self) -> &Database {
        &self.inner.database
    }

    /// The version of the schema: opening has brought the database to the newest.
    pub fn schema_version(&self) -> i64 {
        match &self.inner.database {
            Database::Sqlite(_) => crate::sqlite::migrate::newest(),
            Database::Postgres(_) => crate::postgres::migrate::newest(),
        }
    }

    /// Makes this process the one that writes the log. A SQLite file has one such process, as long as it lives; another gets
    /// [`StoreError::WrittenElsewhere`], here or with its first write. On PostgreSQL any number of processes write.
    pub fn become_writer(&self) -> Result<(), StoreError> {
        match &self.inner.database {
            Database::Sqlite(database) => database.claim(),
            Database::Postgres(_) => Ok(()),
        }
    }

    /// Whether the database answers; what it says if not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.inner.database.reader().await?.session().heads().await.map(drop)
    }

    /// Reads all pages and indexes of a SQLite file; on PostgreSQL only that it answers (its own tools check pages).
    pub async fn check(&self) -> Result<(), StoreError> {
        self.inner.database.reader().await?.session().check().await?;
        match &self.inner.database {
            Database::Sqlite(database) => crate::views::check(database).await,
            Database::Postgres(_) => Ok(()),
        }
    }

    /// Waits for what is under way and closes all connections. Shut the executor down first. (The writer of a SQLite file is
    /// closed with the last handle; its write-ahead log is emptied here.)
    pub async fn close(&self) {
        self.take_leave().await;
        self.inner.tasks.iter().for_each(JoinHandle::abort);
        match &self.inner.database {
            Database::Sqlite(database) => crate::sqlite::connect::close(database).await,
            Database::Postgres(pool) => pool.close().await,
        }
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.inner.vault
    }

    pub(crate) fn tails(&self) -> &Arc<Tails> {
        &self.inner.tails
    }
}
