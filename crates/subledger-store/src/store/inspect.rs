//! A look at a database for people who do not trust it: nothing is changed, nothing is created, and rows come as they
//! stand, however impossible.
//!
//! The ordinary reads leave out what cannot be (an event whose stream has no name, a number out of range, a log without a
//! head). Here exactly that must be seen, so an [`Inspector`] gives raw columns and leaves the judging to its caller. It
//! needs no master key: the log holds nothing sealed, and the vaults are not looked into.

use std::collections::HashMap;

use subledger_domain::{LogName, StreamName, Timestamp};

use super::Store;
use crate::{
    Database, Link, OpenError, Position, Recorded, StoreError,
    database::Session,
    error::while_doing,
    postgres,
    rows::{ReceiptRow, small, unsigned},
    sqlite,
    work::{Digest, receipt_key},
};

/// Astray receipts listed per log at most; their number is counted in full.
pub(crate) const MAX_STRAY: i64 = 20;

/// Looks at a database without changing it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inspector {
    database: Database,
}

/// All logs at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The logs with a head, by name.
    pub logs: Vec<LogSnapshot>,
    /// Numbers of logs that have events or queue rows but no head.
    pub headless: Vec<i64>,
}

/// One log at the moment of a [`Snapshot`]. Up to [`Self::position`] its events can no longer change, so they may be read
/// afterwards.
#[derive(Debug, Clone)]
pub struct LogSnapshot {
    /// Its number in the database.
    pub number: i64,
    /// Its name.
    pub log: LogName,
    /// The position its head names.
    pub position: i64,
    /// The link its head names.
    pub link: Vec<u8>,
    /// The time of the newest event, as its head names it.
    pub recorded_at: i64,
    /// How many streams its head counts.
    pub streams: i64,
    /// The first event beyond the head.
    pub event_beyond: Option<i64>,
    /// The first stream beyond the head's count.
    pub stream_beyond: Option<i64>,
    /// How many receipts it has.
    pub receipts: u64,
    /// Receipts that point outside the log, by position; the first twenty.
    pub stray_receipts: Vec<StrayReceipt>,
    /// How many receipts point outside the log.
    pub stray: u64,
    /// Its queue, in order of delivery.
    pub queue: Vec<RawQueueRow>,
}

/// A receipt that points outside its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrayReceipt {
    /// What it is found by: the first 16 bytes of the BLAKE3 of its command id.
    pub key: Vec<u8>,
    /// The position it names.
    pub position: i64,
}

/// A row of the queue as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawQueueRow {
    /// The message, 16 bytes.
    pub message: Vec<u8>,
    /// The recipient's index.
    pub index: i64,
    /// Whose, 16 bytes.
    pub subject: Vec<u8>,
    /// Of which template.
    pub template: String,
    /// 0 queued, 1 claimed, 2 started, 3 in doubt.
    pub state: i64,
    /// Attempts begun.
    pub attempts: i64,
    /// When it ends unsent, microseconds since 1970-01-01T00:00:00Z.
    pub expires_at: i64,
}

/// A receipt as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawReceipt {
    /// The position the log had after its command.
    pub position: i64,
    /// When it was made, microseconds since 1970-01-01T00:00:00Z.
    pub recorded_at: i64,
    /// The answer, JSON.
    pub outcome: Vec<u8>,
}

/// A row of the log as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// Its position.
    pub position: i64,
    /// The number of its stream.
    pub stream: i64,
    /// The name of its stream, if the number has one.
    pub name: Option<String>,
    /// Its version.
    pub version: i64,
    /// The kind's number.
    pub kind: i64,
    /// The schema's number.
    pub schema: i64,
    /// When it was recorded.
    pub recorded_at: i64,
    /// The payload.
    pub data: Vec<u8>,
    /// The cause.
    pub cause: Vec<u8>,
    /// The link.
    pub link: Vec<u8>,
    /// Whether the database itself would not find it among the events of its stream. Only seen when events are read stream
    /// by stream.
    pub astray: bool,
}

impl RawEvent {
    /// The event, if every column is one that an event can have; else what cannot be.
    pub fn recorded(self, log: &LogName) -> Result<Recorded, StoreError> {
        let name = self
            .name
            .ok_or_else(|| StoreError::Corrupt(format!("stream number {} has no name", self.stream)))?;
        Ok(Recorded {
            log: log.clone(),
            position: Position(unsigned(self.position)?),
            stream: StreamName::from_stored(name),
            version: unsigned(self.version)?,
            kind: small(self.kind)?,
            schema: small(self.schema)?,
            recorded_at: Timestamp::from_micros(self.recorded_at),
            data: self.data,
            cause: self.cause,
            link: Link(crate::rows::bytes(self.link)?),
        })
    }
}

/// The columns of a [`RawEvent`], in the order every statement names them. The name comes as bytes: it may not be text.
pub(crate) type RawColumns = (i64, i64, Option<Vec<u8>>, i64, i64, i64, i64, Vec<u8>, Vec<u8>, Vec<u8>);

/// The columns of a head: id, name, position, link, recorded_at, streams.
pub(crate) type RawHead = (i64, String, i64, Vec<u8>, i64, i64);

/// The columns of a [`RawQueueRow`].
pub(crate) type RawQueue = (Vec<u8>, i64, Vec<u8>, String, i64, i64, i64);

pub(crate) fn raw_event(row: RawColumns) -> RawEvent {
    let (position, stream, name, version, kind, schema, recorded_at, data, cause, link) = row;
    let name = name.map(|name| {
        String::from_utf8(name).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    });
    RawEvent { position, stream, name, version, kind, schema, recorded_at, data, cause, link, astray: false }
}

fn raw_queue(row: RawQueue) -> RawQueueRow {
    let (message, index, subject, template, state, attempts, expires_at) = row;
    RawQueueRow { message, index, subject, template, state, attempts, expires_at }
}

impl Store {
    /// An inspector of the same database.
    pub fn inspector(&self) -> Inspector {
        Inspector { database: self.database().clone() }
    }
}

impl Inspector {
    /// Opens a database to look at it. Never creates a file, never migrates: a database of another schema version than
    /// this program's is refused, saying both versions.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let (database, found, newest) = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {
                let database = Database::Sqlite(sqlite::inspect::open(url).await?);
                let found = database.reader().await?.session().schema_version().await;
                (database, found, sqlite::migrate::newest())
            }
            Some("postgres" | "postgresql") => {
                let database = Database::Postgres(postgres::inspect::open(url).await?);
                let found = database.reader().await?.session().schema_version().await;
                (database, found, postgres::migrate::newest())
            }
            _ => {
                return Err(OpenError::Url(
                    "the database URL must begin with sqlite:// or postgres://".to_owned(),
                ));
            }
        };
        match found {
            Ok(Some(found)) if found == newest => Ok(Self { database }),
            Ok(Some(found)) if found < newest => Err(OpenError::Unsupported(format!(
                "the database has schema version {found} and this program {newest}; run `subledger migrate` first"
            ))),
            Ok(Some(found)) => Err(OpenError::Unsupported(format!(
                "the database has schema version {found}, newer than this program's {newest}; use a newer program"
            ))),
            Ok(None) | Err(StoreError::Database { .. }) => {
                Err(OpenError::Unsupported("the database holds no subledger".to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The database underneath, for crates that keep their own tables in it.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The logs that have a head, by name: number, name, position.
    pub async fn logs(&self) -> Result<Vec<(i64, LogName, i64)>, StoreError> {
        let heads = self.database.reader().await?.session().raw_heads().await?;
        Ok(heads
            .into_iter()
            .map(|(number, name, position, ..)| (number, LogName::new(name), position))
            .collect())
    }

    /// The logs (or the one named) at one moment: one read transaction, held only for this.
    pub async fn snapshot(&self, log: Option<&LogName>) -> Result<Snapshot, StoreError> {
        // A transaction rolls back by itself if nobody waits for its end any more.
        match &self.database {
            Database::Sqlite(database) => {
                let mut transaction = database.readers.begin().await.map_err(failed())?;
                look(&mut Session::Sqlite(&mut transaction, database.unfiled()), log).await
            }
            Database::Postgres(pool) => {
                let snapshot = "begin isolation level repeatable read read only; set local idle_in_transaction_session_timeout = 60000";
                let mut transaction = pool.begin_with(snapshot).await.map_err(failed())?;
                look(&mut Session::Postgres(&mut transaction), log).await
            }
        }
    }

    /// Up to `limit` events of a log after a position, in order of position.
    pub async fn events(&self, number: i64, after: i64, limit: u32) -> Result<Vec<RawEvent>, StoreError> {
        let rows =
            self.database.reader().await?.session().raw_events(number, after, i64::from(limit)).await?;
        Ok(rows.into_iter().map(raw_event).collect())
    }

    /// Up to `limit` streams of a log after a number: numbers and names.
    pub async fn streams(
        &self,
        number: i64,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        self.database.reader().await?.session().raw_streams(number, after, i64::from(limit)).await
    }

    /// The receipts of these command ids, as far as there are any.
    pub async fn receipts(
        &self,
        number: i64,
        ids: &[&str],
    ) -> Result<HashMap<String, RawReceipt>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let by_key: HashMap<Digest, &str> = ids.iter().map(|id| (receipt_key(id), *id)).collect();
        let keys: Vec<(i64, Digest)> = by_key.keys().map(|key| (number, *key)).collect();
        let rows = self.database.reader().await?.session().find_receipts(&keys).await?;
        let raw = |row: ReceiptRow| {
            let id = by_key.get(&row.key)?;
            let outcome = row.outcome.as_bytes().to_vec();
            let receipt = RawReceipt { position: row.position, recorded_at: row.recorded_at, outcome };
            Some(((*id).to_owned(), receipt))
        };
        Ok(rows.into_iter().filter_map(raw).collect())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite(database) => database.readers.close().await,
            Database::Postgres(pool) => pool.close().await,
        }
    }
}

async fn look(session: &mut Session<'_>, wanted: Option<&LogName>) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot::default();
    for (number, name, position, link, recorded_at, streams) in session.raw_heads().await? {
        if wanted.is_some_and(|wanted| wanted.as_str() != name) {
            continue;
        }
        let (receipts, stray) = session.count_receipts(number, position).await?;
        let stray_receipts = match stray {
            0 => Vec::new(),
            _ => session.stray_receipts(number, position, MAX_STRAY).await?,
        };
        snapshot.logs.push(LogSnapshot {
            number,
            log: LogName::new(name),
            position,
            link,
            recorded_at,
            streams,
            event_beyond: session.event_beyond(number, position).await?,
            stream_beyond: session.stream_beyond(number, streams).await?,
            receipts: unsigned(receipts)?,
            stray_receipts: stray_receipts
                .into_iter()
                .map(|(key, position)| StrayReceipt { key, position })
                .collect(),
            stray: unsigned(stray)?,
            queue: session.raw_queue(number).await?.into_iter().map(raw_queue).collect(),
        });
    }
    if wanted.is_none() {
        snapshot.headless = session.headless().await?;
    }
    Ok(snapshot)
}

/// For statements of both backends: the step that all looks name.
pub(crate) const LOOKING: &str = "looking at the database";

pub(crate) fn failed() -> impl Fn(sqlx::Error) -> StoreError + Copy {
    while_doing(LOOKING)
}
