//! Rows as they travel between the executor and both databases.
//!
//! Numbers are the databases' own (`i64`); the conversions to and from the public types happen at the edge of this
//! module, so no backend casts anything.

pub(crate) mod keys;
pub(crate) mod platform;
pub(crate) mod push;
pub(crate) mod token;

use std::sync::Arc;

use subledger_domain::{DeliveryId, LogName, MessageId, StreamName, SubjectId, TemplateId, Timestamp};

use self::push::PushWrites;
use crate::{Head, Link, Position, QueueEntry, QueueRow, QueueState, Recorded, StoreError, work::Digest};

/// A head row, locked or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogHead {
    pub(crate) id: i64,
    pub(crate) name: LogName,
    pub(crate) position: u64,
    pub(crate) link: Link,
    pub(crate) epoch: i64,
    pub(crate) streams: i64,
    pub(crate) recorded_at: Timestamp,
}

/// The columns of a head row, in the order every statement names them.
pub(crate) type HeadColumns = (i64, String, i64, Vec<u8>, i64, i64, i64);

impl LogHead {
    pub(crate) fn from_columns(row: HeadColumns) -> Result<Self, StoreError> {
        let (id, name, position, link, epoch, streams, recorded_at) = row;
        Ok(Self {
            id,
            name: LogName::new(name),
            position: unsigned(position)?,
            link: Link(bytes(link)?),
            epoch,
            streams,
            recorded_at: Timestamp::from_micros(recorded_at),
        })
    }

    pub(crate) fn to_public(&self) -> Head {
        Head {
            log: self.name.clone(),
            position: Position(self.position),
            link: self.link,
            recorded_at: self.recorded_at,
        }
    }
}

/// A head row to write, and what must still stand there.
#[derive(Debug)]
pub(crate) struct HeadWrite {
    pub(crate) id: i64,
    pub(crate) position_before: i64,
    pub(crate) epoch_before: i64,
    pub(crate) position: i64,
    pub(crate) link: Link,
    pub(crate) epoch: i64,
    pub(crate) streams: i64,
    pub(crate) recorded_at: i64,
}

/// A head that was decided on and is not moved: what must still stand there, or the decision rested on old news.
#[derive(Debug)]
pub(crate) struct HeadCheck {
    pub(crate) id: i64,
    pub(crate) position: i64,
    pub(crate) epoch: i64,
}

/// A stream row that was found, with its snapshot if there is one.
#[derive(Debug)]
pub(crate) struct StreamFound {
    pub(crate) log: i64,
    pub(crate) number: i64,
    pub(crate) name: StreamName,
    pub(crate) snapshot: Option<Frozen>,
}

/// The columns of [`StreamFound`], in the order every statement names them.
pub(crate) type StreamColumns = (i64, i64, String, Option<i64>, Option<String>);

impl StreamFound {
    pub(crate) fn from_columns((log, number, name, version, state): StreamColumns) -> Self {
        let snapshot = version.zip(state).map(|(version, state)| Frozen { version, state });
        Self { log, number, name: StreamName::from_stored(name), snapshot }
    }
}

/// A state as a snapshot keeps it.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) version: i64,
    pub(crate) state: String,
}

/// A stream row to write.
#[derive(Debug)]
pub(crate) struct StreamWrite {
    pub(crate) log: i64,
    pub(crate) number: i64,
    pub(crate) name: StreamName,
}

/// An event row to write.
#[derive(Debug)]
pub(crate) struct EventWrite {
    pub(crate) log: i64,
    pub(crate) position: i64,
    pub(crate) stream: i64,
    pub(crate) version: i64,
    pub(crate) kind: i16,
    pub(crate) schema: i16,
    pub(crate) recorded_at: i64,
    pub(crate) data: String,
    pub(crate) cause: Arc<str>,
    pub(crate) link: Link,
}

/// A lease that was taken: name, token.
pub(crate) type LeaseColumns = (String, i64);

/// An event of a stream that is being loaded: log, stream, version, position, kind, schema, data.
pub(crate) type StreamEvent = (i64, i64, i64, i64, i64, i64, Vec<u8>);

/// A stream to load: the events after a version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamTail {
    pub(crate) log: i64,
    pub(crate) number: i64,
    pub(crate) after: i64,
}

/// A stream whose past is read: the events after a version.
#[derive(Debug, Clone)]
pub(crate) struct PastStream {
    pub(crate) stream: StreamName,
    pub(crate) after: i64,
}

/// Takes events one after another.
pub(crate) type EachEvent<'a> = &'a mut (dyn FnMut(EventColumns) -> Result<(), StoreError> + Send);

/// A receipt.
#[derive(Debug)]
pub(crate) struct ReceiptRow {
    pub(crate) log: i64,
    pub(crate) key: Digest,
    pub(crate) fingerprint: Digest,
    pub(crate) outcome: Arc<str>,
    pub(crate) position: i64,
    pub(crate) recorded_at: i64,
}

/// The columns of [`ReceiptRow`], in the order every statement names them; digests as the database has them.
pub(crate) type ReceiptColumns<D> = (i64, D, D, String, i64, i64);

/// A snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotRow {
    pub(crate) log: i64,
    pub(crate) stream: i64,
    pub(crate) version: i64,
    pub(crate) state: String,
}

/// A sealed value under a 16-byte key of a log.
#[derive(Debug)]
pub(crate) struct SealedRow {
    pub(crate) log: i64,
    pub(crate) key: [u8; 16],
    /// Only for contents.
    pub(crate) index: i64,
    pub(crate) sealed: Vec<u8>,
}

/// A piece of a message's contents: log id, message, index.
pub(crate) type ContentKey = (i64, [u8; 16], i64);

/// What a retention class holds: rows due, their bytes, rows whose time does not run yet, the oldest that stays.
pub(crate) type HeldRow = (i64, i64, i64, Option<i64>);

/// Sealed rows to delete. Deleted before anything is kept: what was kept earlier in the batch is not among the rows to
/// keep any more, and what is kept later stays.
#[derive(Debug, Default)]
pub(crate) struct Forgets {
    /// Openids: log id, subject.
    pub(crate) identities: Vec<(i64, [u8; 16])>,
    pub(crate) users: Vec<[u8; 16]>,
    pub(crate) contents: Vec<ContentKey>,
}

impl Forgets {
    /// Whether there is nothing to delete.
    pub(crate) fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.users.is_empty() && self.contents.is_empty()
    }

    /// Takes in what another part of the batch deletes.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.identities.append(&mut other.identities);
        self.users.append(&mut other.users);
        self.contents.append(&mut other.contents);
    }
}

/// A queue row to insert.
#[derive(Debug, Clone)]
pub(crate) struct QueueInsert {
    pub(crate) log: i64,
    pub(crate) row: QueueRow,
    pub(crate) state: QueueState,
}

/// A queue row to move to another state.
#[derive(Debug, Clone)]
pub(crate) struct QueueMove {
    pub(crate) log: i64,
    pub(crate) delivery: DeliveryId,
    pub(crate) state: QueueState,
    /// `None` keeps the due time.
    pub(crate) due_at: Option<i64>,
    /// Attempts begun in this batch.
    pub(crate) attempts: i64,
}

/// The queue's share of a batch, in the order in which it is safe to apply: deletions make room for new rows of the
/// same key, rows that become idle make room for active rows of the same subject.
#[derive(Debug, Default)]
pub(crate) struct QueueWrites {
    pub(crate) delete: Vec<(i64, DeliveryId)>,
    pub(crate) idle: Vec<QueueMove>,
    pub(crate) insert: Vec<QueueInsert>,
    pub(crate) start: Vec<QueueMove>,
}

/// Everything one batch writes.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// The time of the batch, for rows that only remember when they were kept.
    pub(crate) now: i64,
    pub(crate) heads: Vec<HeadWrite>,
    pub(crate) checks: Vec<HeadCheck>,
    pub(crate) new_streams: Vec<StreamWrite>,
    pub(crate) events: Vec<EventWrite>,
    pub(crate) receipts: Vec<ReceiptRow>,
    pub(crate) snapshots: Vec<SnapshotRow>,
    pub(crate) forget: Forgets,
    pub(crate) identities: Vec<SealedRow>,
    pub(crate) users: Vec<SealedRow>,
    pub(crate) contents: Vec<SealedRow>,
    pub(crate) secrets: Vec<(String, Vec<u8>)>,
    pub(crate) queue: QueueWrites,
    pub(crate) pushes: PushWrites,
}

impl Writes {
    /// Whether only the log proper is written: heads, streams, events, receipts.
    pub(crate) fn is_log_only(&self) -> bool {
        self.snapshots.is_empty() && self.is_log_and_snapshots()
    }

    /// Whether nothing is written but the log proper and snapshots.
    pub(crate) fn is_log_and_snapshots(&self) -> bool {
        let queue = &self.queue;
        self.forget.is_empty()
            && self.identities.is_empty()
            && self.users.is_empty()
            && self.contents.is_empty()
            && self.secrets.is_empty()
            && queue.delete.is_empty()
            && queue.idle.is_empty()
            && queue.insert.is_empty()
            && queue.start.is_empty()
            && self.pushes.is_empty()
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.heads.is_empty() && self.checks.is_empty() && self.receipts.is_empty() && self.is_log_only()
    }
}

/// An event row as readers get it: position, stream name, version, kind, schema, recorded_at, data, cause, link.
pub(crate) type EventColumns = (i64, String, i64, i64, i64, i64, Vec<u8>, Vec<u8>, Vec<u8>);

/// The event in a row of this log.
pub(crate) fn recorded(log: &LogName, row: EventColumns) -> Result<Recorded, StoreError> {
    let (position, stream, version, kind, schema, recorded_at, data, cause, link) = row;
    Ok(Recorded {
        log: log.clone(),
        position: Position(unsigned(position)?),
        stream: StreamName::from_stored(stream),
        version: unsigned(version)?,
        kind: small(kind)?,
        schema: small(schema)?,
        recorded_at: Timestamp::from_micros(recorded_at),
        data,
        cause,
        link: Link(bytes(link)?),
    })
}

/// What WeChat said of a quota: read_at, limit, used, remain, ours, calls and seconds of the short-term bound.
pub(crate) type QuotaColumns = (i64, i64, i64, i64, i64, Option<i64>, Option<i64>);

/// How asking for a log's quota goes: log, polled_at, failures, errcode, failure, and the newest sample.
pub(crate) type PollColumns = (String, i64, i64, Option<i64>, Option<String>, Option<i64>, Option<i64>);

/// A queue row as statements name it: message, idx, subject, template, state, due_at, expires_at, attempts, bulk, since,
/// lease_until.
pub(crate) type QueueColumns = (Vec<u8>, i64, Vec<u8>, String, i64, i64, i64, i64, i64, i64, Option<i64>);

/// The entry in a queue row, and until when it is leased.
pub(crate) fn queue_entry(row: QueueColumns) -> Result<(QueueEntry, Option<Timestamp>), StoreError> {
    let (message, index, subject, template, state, due_at, expires_at, attempts, bulk, since, lease_until) =
        row;
    let template: TemplateId =
        template.parse().map_err(|error| StoreError::Corrupt(format!("queue: {error}")))?;
    let index = u32::try_from(index).map_err(|_| StoreError::Corrupt(format!("queue index {index}")))?;
    let row = QueueRow {
        delivery: DeliveryId::new(MessageId::from_bytes(bytes(message)?), index),
        subject: SubjectId::from_bytes(bytes(subject)?),
        template,
        due_at: Timestamp::from_micros(due_at),
        expires_at: Timestamp::from_micros(expires_at),
        attempts: small(attempts)?,
        bulk: bulk != 0,
    };
    let entry = QueueEntry { row, state: state_of(state)?, since: Timestamp::from_micros(since) };
    Ok((entry, lease_until.map(Timestamp::from_micros)))
}

/// The number of a state in the `queue` table.
pub(crate) const fn state_number(state: QueueState) -> i16 {
    match state {
        QueueState::Queued => 0,
        QueueState::Claimed => 1,
        QueueState::Started => 2,
        QueueState::InDoubt => 3,
    }
}

fn state_of(number: i64) -> Result<QueueState, StoreError> {
    match number {
        0 => Ok(QueueState::Queued),
        1 => Ok(QueueState::Claimed),
        2 => Ok(QueueState::Started),
        3 => Ok(QueueState::InDoubt),
        other => Err(StoreError::Corrupt(format!("queue state {other}"))),
    }
}

/// A stored number that is never negative.
pub(crate) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number)
        .map_err(|_| StoreError::Corrupt(format!("{number} where no negative number can be")))
}

/// A stored number of 16 bits.
pub(crate) fn small(number: i64) -> Result<u16, StoreError> {
    u16::try_from(number).map_err(|_| StoreError::Corrupt(format!("{number} where 16 bits are meant")))
}

/// A number for the database. Positions, versions and limits stay far below 2^63; beyond it they saturate.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Stored bytes of a fixed length.
pub(crate) fn bytes<const N: usize>(found: Vec<u8>) -> Result<[u8; N], StoreError> {
    let length = found.len();
    found.try_into().map_err(|_| StoreError::Corrupt(format!("{length} bytes where {N} are meant")))
}
