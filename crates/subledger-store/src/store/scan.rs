//! Reading a log from one position to another as fast as the database gives it.
//!
//! For rebuilds and measurements, which read millions of events: payloads only (no cause, no link), streams by number, each
//! name handed over once. One connection of its own streams pieces of the log into a short queue; whoever is slow is
//! waited for, so memory stays bounded. A piece is one streaming select, and a new one begins after some events: a read
//! that never ends would keep SQLite from restarting its write-ahead log and PostgreSQL from cleaning up.

use subledger_domain::{LogName, StreamName, Timestamp};
use tokio::sync::mpsc;

use super::Store;
use crate::{Database, Position, StoreError, postgres, rows::signed, sqlite};

/// A chunk ends early when its payloads are longer than this together.
pub(crate) const CHUNK_BYTES: usize = 4 << 20;
/// Chunks that wait at most: reading goes on while the last one is worked on, and no further.
const CHUNKS_AHEAD: usize = 4;
/// Names of streams remembered at most, on both sides: see [`Chunk::forget`].
pub(crate) const NAMES: usize = 1 << 20;
/// Names of streams looked up at once. Streams are numbered as they appear, so neighbours are needed next.
pub(crate) const NAMES_AHEAD: i64 = 1_000;

/// An event without its cause and its link.
#[derive(Debug, Clone, Copy)]
pub struct Scanned {
    /// Its place in the log.
    pub position: Position,
    /// The number of its stream, from 1 in order of appearance in the log.
    pub stream: u64,
    /// The kind number.
    pub kind: u16,
    /// The schema of the payload.
    pub schema: u16,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    data: (usize, usize),
}

/// Events that follow each other.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The events, in order.
    pub events: Vec<Scanned>,
    /// Names of streams that none of the chunks since the last [`Self::forget`] named. Later chunks do not repeat them.
    pub streams: Vec<(u64, StreamName)>,
    /// Drop every name known so far, before taking those of this chunk in: there are too many to keep.
    pub forget: bool,
    payloads: Vec<u8>,
}

impl Chunk {
    /// The payload of one of this chunk's events, JSON.
    pub fn payload(&self, event: &Scanned) -> &[u8] {
        self.payloads.get(event.data.0..event.data.1).unwrap_or_default()
    }

    pub(crate) fn is_full(&self, events: usize) -> bool {
        self.events.len() >= events || self.payloads.len() >= CHUNK_BYTES
    }

    /// Adds an event, given as the database holds it.
    pub(crate) fn push(
        &mut self,
        (position, stream, kind, schema, recorded_at): (i64, i64, i64, i64, i64),
        payload: &[u8],
    ) -> Result<(), StoreError> {
        let odd = |what: &str| StoreError::Corrupt(format!("the event at position {position} has no {what}"));
        let start = self.payloads.len();
        self.payloads.extend_from_slice(payload);
        self.events.push(Scanned {
            position: Position(u64::try_from(position).map_err(|_| odd("position"))?),
            stream: u64::try_from(stream).map_err(|_| odd("stream number"))?,
            kind: u16::try_from(kind).map_err(|_| odd("kind number"))?,
            schema: u16::try_from(schema).map_err(|_| odd("schema number"))?,
            recorded_at: Timestamp::from_micros(recorded_at),
            data: (start, self.payloads.len()),
        });
        Ok(())
    }
}

/// Which streams are named to the reader of a scan already.
#[derive(Default)]
pub(crate) struct Named {
    /// By number. Streams are numbered densely.
    known: Vec<bool>,
    count: usize,
}

impl Named {
    pub(crate) fn has(&self, number: i64) -> bool {
        usize::try_from(number).is_ok_and(|at| self.known.get(at).copied().unwrap_or_default())
    }

    /// Takes names in and hands them to the reader with this chunk.
    pub(crate) fn add(&mut self, chunk: &mut Chunk, names: Vec<(i64, String)>) {
        for (number, name) in names {
            let Ok(at) = usize::try_from(number) else { continue };
            if self.has(number) {
                continue;
            }
            if self.known.len() <= at {
                self.known.resize(at + 1, false);
            }
            self.known[at] = true;
            self.count += 1;
            chunk.streams.push((number as u64, StreamName::from_stored(name)));
        }
    }

    /// A chunk to begin with; names are dropped here and there if they have become too many.
    pub(crate) fn chunk(&mut self, events: usize) -> Chunk {
        let forget = self.count > NAMES;
        if forget {
            *self = Self::default();
        }
        Chunk { forget, events: Vec::with_capacity(events.min(1 << 16)), ..Chunk::default() }
    }
}

/// An event of a stream that has no row.
pub(crate) fn nameless(position: i64, stream: i64) -> StoreError {
    StoreError::Corrupt(format!("the event at position {position} is of stream {stream}, which has no name"))
}

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) log: i64,
    pub(crate) after: i64,
    pub(crate) up_to: i64,
    /// Events in a chunk.
    pub(crate) batch: usize,
}

/// Where the reading side puts chunks.
pub(crate) type Chunks = mpsc::Sender<Result<Chunk, StoreError>>;

/// A scan under way. Dropping it ends the reading.
pub struct Scan {
    chunks: mpsc::Receiver<Result<Chunk, StoreError>>,
}

impl Scan {
    /// The next events; nothing after the last.
    pub async fn next(&mut self) -> Option<Result<Chunk, StoreError>> {
        self.chunks.recv().await
    }

    /// [`Self::next`] for a thread that may block.
    pub fn blocking_next(&mut self) -> Option<Result<Chunk, StoreError>> {
        self.chunks.blocking_recv()
    }
}

impl Store {
    /// Reads the events of a log after one position up to and including another (or the end of the log, if that comes
    /// first), at most `batch` at a time.
    pub async fn scan(
        &self,
        log: &LogName,
        after: Position,
        up_to: Position,
        batch: usize,
    ) -> Result<Scan, StoreError> {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let id = self.inner.database.reader().await?.session().log_id(log).await?;
        if let Some(id) = id {
            let range = Range {
                log: id,
                after: signed(after.0),
                up_to: signed(up_to.0),
                batch: batch.clamp(1, 1 << 16),
            };
            match &self.inner.database {
                Database::Sqlite(database) => sqlite::scan::start(database, range, sender)?,
                Database::Postgres(pool) => postgres::scan::start(pool, range, sender).await?,
            }
        }
        Ok(Scan { chunks })
    }
}
