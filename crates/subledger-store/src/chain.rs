//! The hash chain over a log.
//!
//! `link = blake3(previous link ‖ canonical record)`, with 32 zero bytes before the first event. The canonical record
//! is independent of the database and of JSON libraries: it hashes the stored bytes, never a re-encoding of them.
//!
//! Canonical record, integers little-endian, every text and byte string preceded by its length as `u64`:
//!
//! | field | form |
//! |---|---|
//! | tag | the text `subledger event 1` |
//! | log | text |
//! | position | `u64` |
//! | stream | text |
//! | version | `u64` |
//! | kind | `u16` |
//! | schema | `u16` |
//! | recorded at | `i64`, microseconds since the epoch |
//! | data | bytes |
//! | cause | bytes |
//!
//! The lengths make the encoding injective: no two records share it. This module does no I/O.

use thiserror::Error;

use crate::{Link, Position, Recorded};

/// The first field of every canonical record; a changed encoding gets another number.
const TAG: &[u8] = b"subledger event 1";

/// What goes into a link.
pub(crate) struct Record<'a> {
    pub(crate) log: &'a str,
    pub(crate) position: u64,
    pub(crate) stream: &'a str,
    pub(crate) version: u64,
    pub(crate) kind: u16,
    pub(crate) schema: u16,
    pub(crate) recorded_at: i64,
    pub(crate) data: &'a [u8],
    pub(crate) cause: &'a [u8],
}

/// The link of a record that follows `previous`. `bytes` is room to put the record together in, used again from record to
/// record.
pub(crate) fn link(previous: &Link, record: &Record<'_>, bytes: &mut Vec<u8>) -> Link {
    // One piece and one call: the hash of a few hundred bytes is several times faster so.
    bytes.clear();
    bytes.extend_from_slice(&previous.0);
    put(bytes, TAG);
    put(bytes, record.log.as_bytes());
    bytes.extend_from_slice(&record.position.to_le_bytes());
    put(bytes, record.stream.as_bytes());
    bytes.extend_from_slice(&record.version.to_le_bytes());
    bytes.extend_from_slice(&record.kind.to_le_bytes());
    bytes.extend_from_slice(&record.schema.to_le_bytes());
    bytes.extend_from_slice(&record.recorded_at.to_le_bytes());
    put(bytes, record.data);
    put(bytes, record.cause);
    Link(*blake3::hash(bytes).as_bytes())
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_le_bytes());
    bytes.extend_from_slice(field);
}

/// The first thing that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChainError {
    /// A position is missing, repeated or out of order.
    #[error("log {log}: position {expected} should follow, found {found}")]
    Gap {
        /// The log.
        log: String,
        /// The position that should have come.
        expected: Position,
        /// The one that came.
        found: Position,
    },
    /// An event is not what was hashed when it was written.
    #[error("log {log}: the event at position {position} was changed after it was written")]
    Broken {
        /// The log.
        log: String,
        /// The first event that does not fit its link.
        position: Position,
    },
}

/// A running check of one log's chain. Feed it every event in order; it remembers only the last link.
#[derive(Debug, Clone, Default)]
pub struct ChainCheck {
    position: Position,
    link: Link,
    record: Vec<u8>,
}

impl ChainCheck {
    /// A check from the beginning of a log.
    pub fn new() -> Self {
        Self::default()
    }

    /// A check that goes on after a position whose link is known and trusted.
    pub fn after(position: Position, link: Link) -> Self {
        Self { position, link, record: Vec::new() }
    }

    /// Checks the next event.
    pub fn next(&mut self, event: &Recorded) -> Result<(), ChainError> {
        let expected = Position(self.position.0 + 1);
        if event.position != expected {
            let log = event.log.as_str().to_owned();
            return Err(ChainError::Gap { log, expected, found: event.position });
        }
        let record = Record {
            log: event.log.as_str(),
            position: event.position.0,
            stream: event.stream.as_str(),
            version: event.version,
            kind: event.kind,
            schema: event.schema,
            recorded_at: event.recorded_at.micros(),
            data: &event.data,
            cause: &event.cause,
        };
        if link(&self.link, &record, &mut self.record) != event.link {
            let log = event.log.as_str().to_owned();
            return Err(ChainError::Broken { log, position: event.position });
        }
        self.position = event.position;
        self.link = event.link;
        Ok(())
    }

    /// The last event that was checked, and its link.
    pub fn end(&self) -> (Position, Link) {
        (self.position, self.link)
    }
}

/// Checks events of one log, from its beginning; answers with the last position and link, or the first bad event.
pub fn verify_chain<'a>(
    events: impl IntoIterator<Item = &'a Recorded>,
) -> Result<(Position, Link), ChainError> {
    let mut check = ChainCheck::new();
    for event in events {
        check.next(event)?;
    }
    Ok(check.end())
}
