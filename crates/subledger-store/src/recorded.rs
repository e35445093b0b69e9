//! What the log holds, as readers see it.

use serde::{Deserialize, Serialize};
use subledger_domain::{DecodeError, LogName, StoredEvent, StreamName, Timestamp, kind_by_number};

/// An event's place in its log: dense, from 1. Zero is "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A link of the hash chain: `blake3(previous link ‖ canonical record)`. All zero before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link(pub [u8; 32]);

/// Why an event was written: who asked, through which command and request. References only, no personal data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cause {
    /// Who asked: `app:<id>`, `operator:<name>`, `dispatcher`, `demo`.
    pub by: String,
    /// The command, as a stable word: `send`, `record_choices`, `settle`.
    pub command: String,
    /// The HTTP request id, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// One event as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its log.
    pub log: LogName,
    /// Its place in the log.
    pub position: Position,
    /// Its stream.
    pub stream: StreamName,
    /// Its place in the stream, from 1.
    pub version: u64,
    /// The kind number; see [`subledger_domain::ALL_KINDS`].
    pub kind: u16,
    /// The schema of the payload.
    pub schema: u16,
    /// When it was recorded; never earlier than the event before it in the log.
    pub recorded_at: Timestamp,
    /// The payload, JSON.
    pub data: Vec<u8>,
    /// The cause, JSON of [`Cause`].
    pub cause: Vec<u8>,
    /// Its link of the chain.
    pub link: Link,
}

impl Recorded {
    /// The event, decoded as one of aggregate event type `E`.
    pub fn decode<E: StoredEvent>(&self) -> Result<E, DecodeError> {
        E::decode(self.kind, self.schema, &self.data)
    }

    /// The kind's name, or `unknown.<number>` for a kind of a newer version.
    pub fn kind_name(&self) -> String {
        kind_by_number(self.kind)
            .map_or_else(|| format!("unknown.{}", self.kind), |kind| kind.name.to_owned())
    }
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The log.
    pub log: LogName,
    /// The newest position; zero for an empty log.
    pub position: Position,
    /// The newest link.
    pub link: Link,
    /// When the newest event was recorded.
    pub recorded_at: Timestamp,
}
