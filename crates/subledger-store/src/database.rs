//! The two databases behind one face.
//!
//! A [`Session`] is one connection of either kind, inside or outside a transaction. It only forwards: each statement
//! has the same name in [`crate::sqlite`] and [`crate::postgres`].

use sqlx::{PgConnection, PgPool, SqliteConnection, pool::PoolConnection};
use subledger_domain::{DeliveryId, LogName, StreamName};
use tokio::sync::oneshot;

pub use crate::sqlite::connect::SqliteDatabase;
use crate::{
    Claimable, PushFilter, PushPage, QuotaSample, StoreError,
    error::while_doing,
    postgres,
    rows::{
        ContentKey, EventColumns, HeldRow, LeaseColumns, LogHead, PollColumns, QueueColumns, QuotaColumns,
        ReceiptRow, StreamEvent, StreamFound, StreamTail, Writes,
        keys::{
            DataKeyRow, KeyValue, NodeRow, Replacement, ResealRow, SealedColumn, SealedValue, WrappedRow,
        },
        platform::{
            AuthorizationColumns, AuthorizationWrite, AuthorizerColumns, AuthorizerWrite, CodeColumns,
            CodeWrite, PlatformColumns,
        },
        push::{PushColumns, PushCount, RelayCount, RelayEdge, RelayWrite},
        token::TokenStateColumns,
    },
    sqlite::{self, receipt::Unfiled},
    store::inspect::{RawColumns, RawHead, RawQueue},
    vault::{DataKeyId, Fresh, WrappedKey},
    work::Digest,
};

/// Which database a store stands on, for crates that keep their own tables in it.
#[derive(Debug, Clone)]
pub enum Database {
    /// One file, one writer.
    Sqlite(SqliteDatabase),
    /// A server.
    Postgres(PgPool),
}

/// Why a batch is not known to be in the database.
#[derive(Debug)]
pub(crate) enum NotWritten {
    /// A head did not stand where it was believed to: somebody else has written. Nothing is.
    Displaced,
    /// A command id of the batch has a receipt already. Nothing is written.
    Repeated,
    /// The database failed.
    Failed {
        /// How.
        error: StoreError,
        /// The commit had begun: nobody knows whether it came through.
        committing: bool,
    },
}

/// Microseconds that a delivery started without a lease is given before a sweep calls it lost.
pub(crate) const START_LEASE_MICROS: i64 = 60_000_000;

impl Database {
    /// A connection for reading.
    pub(crate) async fn reader(&self) -> Result<Held, StoreError> {
        let failed = while_doing("waiting for a connection");
        Ok(match self {
            Self::Sqlite(database) => {
                Held::Reader(database.readers.acquire().await.map_err(failed)?, database.clone())
            }
            Self::Postgres(pool) => Held::Postgres(pool.acquire().await.map_err(failed)?),
        })
    }

    /// The same for what may be written to a SQLite file that another process writes.
    pub(crate) async fn unclaimed(&self) -> Result<Held, StoreError> {
        match self {
            Self::Sqlite(database) => Ok(Held::Writer(database.unclaimed().await)),
            Self::Postgres(_) => self.writer().await,
        }
    }

    /// A connection for a single writing statement.
    pub(crate) async fn writer(&self) -> Result<Held, StoreError> {
        Ok(match self {
            Self::Sqlite(database) => Held::Writer(database.writer().await?),
            Self::Postgres(pool) => {
                Held::Postgres(pool.acquire().await.map_err(while_doing("waiting for a connection"))?)
            }
        })
    }
}

/// A connection that is held for a while.
pub(crate) enum Held {
    Reader(PoolConnection<sqlx::Sqlite>, SqliteDatabase),
    Writer(sqlite::connect::Turn),
    Postgres(PoolConnection<sqlx::Postgres>),
}

impl Held {
    pub(crate) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Reader(connection, database) => Session::Sqlite(connection, database.unfiled()),
            Self::Writer(turn) => turn.session(),
            Self::Postgres(connection) => Session::Postgres(connection),
        }
    }
}

/// One connection.
pub(crate) enum Session<'a> {
    Sqlite(&'a mut SqliteConnection, &'a Unfiled),
    Postgres(&'a mut PgConnection),
}

/// Where a batch reads from.
pub(crate) enum Reads<'a> {
    /// A connection inside the transaction that holds the heads.
    Locked(Session<'a>),
    /// Any connection; what two statements read may not fit together.
    Free(&'a mut Reader),
}

impl Reads<'_> {
    /// Whether nobody else can write to the logs of the batch meanwhile.
    pub(crate) const fn are_locked(&self) -> bool {
        matches!(self, Self::Locked(_))
    }

    /// The connection.
    pub(crate) async fn session(&mut self) -> Result<Session<'_>, StoreError> {
        match self {
            Self::Locked(Session::Sqlite(connection, unfiled)) => Ok(Session::Sqlite(connection, unfiled)),
            Self::Locked(Session::Postgres(connection)) => Ok(Session::Postgres(connection)),
            Self::Free(reader) => reader.session().await,
        }
    }
}

/// A connection of an executor for reading, made when it is needed.
pub(crate) enum Reader {
    Sqlite { database: SqliteDatabase, held: Option<PoolConnection<sqlx::Sqlite>> },
    Postgres(postgres::writer::Line),
}

impl Reader {
    pub(crate) fn new(database: &Database) -> Self {
        match database {
            Database::Sqlite(database) => Self::Sqlite { database: database.clone(), held: None },
            Database::Postgres(pool) => Self::Postgres(postgres::writer::Line::new(pool)),
        }
    }

    async fn session(&mut self) -> Result<Session<'_>, StoreError> {
        match self {
            Self::Sqlite { database, held } => {
                let connection = match held.take() {
                    Some(connection) => connection,
                    None => {
                        database.readers.acquire().await.map_err(while_doing("waiting for a connection"))?
                    }
                };
                Ok(Session::Sqlite(held.insert(connection), database.unfiled()))
            }
            Self::Postgres(line) => Ok(Session::Postgres(line.connection().await?)),
        }
    }

    /// Lets go of the connection: of a pool's so that others have it, of one that failed so that it is made anew.
    pub(crate) fn let_go(&mut self, failed: bool) {
        match self {
            Self::Sqlite { held, .. } => *held = None,
            Self::Postgres(line) if failed => line.hang_up(),
            Self::Postgres(_) => {}
        }
    }
}

/// A commit that has begun.
pub(crate) struct Writing(oneshot::Receiver<Result<(), NotWritten>>);

impl Writing {
    /// Waits for its end. A writer that is gone leaves open whether it came through.
    pub(crate) async fn done(&mut self) -> Result<(), NotWritten> {
        (&mut self.0).await.unwrap_or_else(|_| {
            let error = StoreError::sort("waiting for the writer", sqlx::Error::WorkerCrashed);
            Err(NotWritten::Failed { error, committing: true })
        })
    }
}

/// What writes the batches of an executor, one after the other.
pub(crate) enum LogWriter {
    Sqlite(sqlite::writer::Writer),
    Postgres(postgres::writer::Writer),
}

impl LogWriter {
    pub(crate) fn start(database: &Database) -> Self {
        match database {
            Database::Sqlite(database) => Self::Sqlite(sqlite::writer::Writer::start(database.clone())),
            Database::Postgres(pool) => Self::Postgres(postgres::writer::Writer::start(pool)),
        }
    }

    /// Begins to commit a batch. `turn`: the right to write to the SQLite file, if it was taken before.
    pub(crate) fn commit(&self, writes: Writes, turn: Option<sqlite::connect::Turn>) -> Writing {
        Writing(match self {
            Self::Sqlite(writer) => writer.commit(writes, turn),
            Self::Postgres(writer) => writer.commit(writes),
        })
    }
}

impl Session<'_> {
    /// The receipts under these keys, as (log id, key).
    pub(crate) async fn find_receipts(
        &mut self,
        keys: &[(i64, Digest)],
    ) -> Result<Vec<ReceiptRow>, StoreError> {
        match self {
            Self::Sqlite(connection, unfiled) => {
                sqlite::receipt::find_receipts(connection, unfiled, keys).await
            }
            Self::Postgres(connection) => postgres::receipt::find_receipts(connection, keys).await,
        }
    }
}

/// Declares methods that forward to the function of the same name in both backends.
macro_rules! forward {
    ($($module:ident::$name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Session<'_> {
            $(
                pub(crate) async fn $name(&mut self, $($arg: $type),*) -> Result<$answer, StoreError> {
                    match self {
                        Self::Sqlite(connection, _) => sqlite::$module::$name(connection, $($arg),*).await,
                        Self::Postgres(connection) => postgres::$module::$name(connection, $($arg),*).await,
                    }
                }
            )*
        }
    };
}

forward! {
    head::lock_heads(logs: &[LogName]) -> Vec<LogHead>;
    head::create_heads(logs: &[LogName]) -> ();
    head::log_id(log: &LogName) -> Option<i64>;
    head::heads() -> Vec<LogHead>;
    read::log_events(log: &LogName, after: i64, limit: i64) -> Vec<EventColumns>;
    read::stream_events(log: &LogName, stream: &StreamName, after: i64, limit: i64) -> Vec<EventColumns>;
    read::times_of(places: &[(&str, i64)]) -> Vec<(String, i64, i64)>;
    read::find_streams(wanted: &[(i64, StreamName)]) -> Vec<StreamFound>;
    read::tail_events(streams: &[StreamTail]) -> Vec<StreamEvent>;
    snapshot::drop_snapshots() -> ();
    vault::identities(log: &LogName, subjects: &[[u8; 16]]) -> Vec<([u8; 16], Vec<u8>)>;
    vault::users(users: &[[u8; 16]]) -> Vec<([u8; 16], Vec<u8>)>;
    vault::contents(log: &LogName, keys: &[([u8; 16], i64)]) -> Vec<([u8; 16], i64, Vec<u8>)>;
    vault::secret(reference: &str) -> Option<Vec<u8>>;
    vault::secrets(references: &[&str]) -> Vec<(String, Vec<u8>, i64)>;
    keys::deployment(fresh: &Fresh, now: i64) -> (Vec<u8>, Vec<u8>);
    keys::adopt(root: &WrappedKey, now: i64) -> ();
    keys::add_data_key(key: &WrappedKey, now: i64) -> ();
    keys::wrap(keys: &[WrappedKey], now: i64) -> ();
    keys::unwrap_others(keep: &str) -> u64;
    keys::wrapped_keys() -> Vec<WrappedRow>;
    keys::newest() -> Option<i64>;
    keys::data_keys() -> Vec<DataKeyRow>;
    keys::masters() -> Vec<(String, i64)>;
    keys::retire(before: DataKeyId, now: i64) -> ();
    keys::note_node(node: (&str, &str, DataKeyId), now: i64) -> ();
    keys::forget_node(node: &str) -> ();
    keys::nodes(within: i64, now: i64) -> Vec<NodeRow>;
    reseal::count(of: &SealedColumn) -> i64;
    reseal::count_others(of: &SealedColumn, key: DataKeyId) -> i64;
    reseal::page(of: &SealedColumn, after: Option<&[KeyValue]>, but: Option<DataKeyId>, limit: i64) -> Vec<SealedValue>;
    reseal::replace_sealed(of: &SealedColumn, rows: &[Replacement], progress: &ResealRow) -> u64;
    reseal::log_names() -> Vec<(i64, String)>;
    reseal::progress() -> Vec<ResealRow>;
    erasure::kept_contents(log: &LogName, messages: &[[u8; 16]]) -> Vec<([u8; 16], i64)>;
    erasure::scrub(full: bool) -> bool;
    retention::open_contents(after: &ContentKey, limit: i64) -> Vec<(ContentKey, bool)>;
    retention::mark_ended(keys: &[ContentKey], now: i64) -> ();
    retention::delete_contents(before: i64, limit: i64) -> (i64, i64);
    retention::delete_receipts(before: i64, limit: i64) -> (i64, i64);
    retention::delete_pushes(before: i64, limit: i64) -> (i64, i64);
    retention::held_contents(before: i64) -> HeldRow;
    retention::held_receipts(before: i64) -> HeldRow;
    retention::held_pushes(before: i64) -> HeldRow;
    queue::unclaim(log: &LogName, rows: &[DeliveryId], due_at: i64, now: i64) -> ();
    queue::requeue_expired(log: &LogName, now: i64) -> u64;
    queue::lost(log: &LogName, now: i64, limit: i64) -> Vec<QueueColumns>;
    queue::overdue_doubts(log: &LogName, until: i64, template: Option<&str>, limit: i64) -> Vec<QueueColumns>;
    queue::expired(log: &LogName, now: i64, limit: i64) -> Vec<QueueColumns>;
    queue::of_message(log: &LogName, message: &[u8; 16]) -> Vec<QueueColumns>;
    queue::doubts(log: &LogName, after: Option<DeliveryId>, limit: i64) -> Vec<QueueColumns>;
    queue::stats(log: &LogName) -> Vec<(i64, i64, i64)>;
    queue::next_due(log: &LogName, of: Claimable) -> Option<i64>;
    quota::keep_quota(log: &LogName, sample: &QuotaSample, before: i64) -> ();
    quota::note_poll(log: &LogName, polled_at: i64, failure: Option<(Option<i64>, &str)>) -> ();
    quota::samples(log: &LogName, since: i64) -> Vec<QuotaColumns>;
    quota::polls(log: Option<&LogName>) -> Vec<PollColumns>;
    push::note_again(log: &LogName, key: &[u8; 16], now: i64) -> bool;
    push::one(log: &LogName, key: &[u8; 16]) -> Option<PushColumns>;
    push::list(log: &LogName, filter: &PushFilter, page: PushPage, limit: i64) -> Vec<PushColumns>;
    push::pending(limit: i64) -> Vec<PushColumns>;
    push::count_of(log: &LogName, subjects: &[[u8; 16]]) -> i64;
    push::counts(log: &LogName) -> Vec<PushCount>;
    push::relay_counts(log: &LogName) -> Vec<RelayCount>;
    push::relay_edges(log: &LogName) -> Vec<RelayEdge>;
    platform::watch(component: &str) -> ();
    platform::watched() -> Vec<PlatformColumns>;
    platform::ticket(component: &str) -> Option<PlatformColumns>;
    platform::keep_ticket(component: &str, sealed: &[u8], dated: i64, now: i64) -> bool;
    platform::ask_tickets(component: &str, before: i64, now: i64) -> bool;
    platform::begin(begun: &AuthorizationWrite<'_>, now: i64) -> bool;
    platform::begun(hash: &[u8; 16]) -> Option<AuthorizationColumns>;
    platform::end(id: &[u8; 16], status: i64, outcome: &str, now: i64) -> bool;
    platform::keep_code(code: &CodeWrite<'_>, now: i64) -> ();
    platform::code(component: &str, code: &[u8; 16]) -> Option<CodeColumns>;
    platform::due_codes(now: i64, limit: i64) -> Vec<CodeColumns>;
    platform::postpone_code(component: &str, code: &[u8; 16], due_at: i64) -> ();
    platform::settle_code(component: &str, code: &[u8; 16], status: i64, outcome: &str) -> ();
    platform::forget_old(before: i64) -> u64;
    platform::authorizer(component: &str, appid: &str) -> Option<AuthorizerColumns>;
    platform::authorizer_in_use(appid: &str) -> Option<AuthorizerColumns>;
    platform::link(component: &str, appid: &str, channel: &str) -> ();
    platform::authorizers(component: &str, after: &str, limit: i64) -> Vec<AuthorizerColumns>;
    platform::supersede(write: &AuthorizerWrite<'_>, dated: i64, now: i64) -> i64;
    platform::replace(write: &AuthorizerWrite<'_>, version: i64, now: i64) -> bool;
    platform::lose(component: &str, appid: &str, dated: i64) -> bool;
    relay::settle(push: (i64, i64), node: &str, end: &RelayWrite, now: i64) -> bool;
    relay::redrive(log: &LogName, filter: &PushFilter, after: i64, limit: i64, now: i64) -> Vec<i64>;
    relay::hold(log: &LogName, until: i64) -> u64;
    relay::next(full: &[&str]) -> Option<i64>;
    connect::check() -> ();
    inspect::schema_version() -> Option<i64>;
    inspect::raw_heads() -> Vec<RawHead>;
    inspect::headless() -> Vec<i64>;
    inspect::event_beyond(log: i64, position: i64) -> Option<i64>;
    inspect::stream_beyond(log: i64, streams: i64) -> Option<i64>;
    inspect::count_receipts(log: i64, position: i64) -> (i64, i64);
    inspect::stray_receipts(log: i64, position: i64, limit: i64) -> Vec<(Vec<u8>, i64)>;
    inspect::raw_queue(log: i64) -> Vec<RawQueue>;
    inspect::raw_events(log: i64, after: i64, limit: i64) -> Vec<RawColumns>;
    inspect::raw_streams(log: i64, after: i64, limit: i64) -> Vec<(i64, String)>;
    look::version() -> String;
    look::applied() -> Vec<(i64, bool)>;
    look::stored_deployment() -> Option<(Vec<u8>, Vec<u8>)>;
    token::keep(
        key: (&str, &str), turn: (i64, i64), next: i64, sealed: &[u8], life: (i64, i64)
    ) -> bool;
    token::give_up(key: (&str, &str), fence: i64) -> ();
    token::states(keys: &[(&str, &str)], now: i64) -> Vec<TokenStateColumns>;
    lease::acquire(names: &[&str], holder: &str, ttl: i64, now: i64) -> Vec<LeaseColumns>;
    lease::renew(name: &str, holder: &str, token: i64, ttl: i64, now: i64) -> bool;
    lease::release(leases: &[(&str, &str, i64)]) -> ();
}
