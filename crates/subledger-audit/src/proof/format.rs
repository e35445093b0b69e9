//! The lines of an exported file. See `docs/proof.md`; a changed form gets another [`FORMAT`].
//!
//! One section per log: a header, one line per event, the signed end. Unknown fields are refused: nothing may stand in a
//! proof that is not checked.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use subledger_domain::Timestamp;
use subledger_store::{Attestation, Link, Position, Recorded, SigningKey};

/// Names the form and its version.
pub const FORMAT: &str = "subledger events 1";

/// The first line of a section.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// [`FORMAT`].
    pub(super) format: String,
    pub(super) log: String,
    /// The section begins after this position.
    pub(super) after: u64,
    /// The link at that position; zeros at the beginning of a log.
    pub(super) after_link: String,
    /// The public key that signs the end.
    pub(super) key: String,
    /// Its first 16 digits.
    pub(super) key_id: String,
}

/// One event: every field of the canonical record, and its link.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventLine<'a> {
    #[serde(borrow)]
    pub(super) log: Cow<'a, str>,
    pub(super) position: u64,
    #[serde(borrow)]
    pub(super) stream: Cow<'a, str>,
    pub(super) version: u64,
    /// The kind's number.
    pub(super) kind: u16,
    /// The kind's name, for readers; not part of the record.
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) schema: u16,
    /// Microseconds since 1970.
    pub(super) recorded_at: i64,
    /// The payload as stored, byte for byte.
    #[serde(borrow)]
    pub(super) data: Cow<'a, str>,
    /// The cause as stored, byte for byte.
    #[serde(borrow)]
    pub(super) cause: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) link: Cow<'a, str>,
}

/// The last line of a section.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndLine {
    pub(super) end: End,
}

/// The signed end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) log: String,
    pub(super) position: u64,
    pub(super) link: String,
    /// How many events the section has.
    pub(super) events: u64,
    /// Microseconds since 1970.
    pub(super) exported_at: i64,
    pub(super) key: String,
    pub(super) signature: String,
}

impl Header {
    pub(super) fn new(log: &str, after: Position, link: &Link, key: &SigningKey) -> Self {
        Self {
            format: FORMAT.to_owned(),
            log: log.to_owned(),
            after: after.0,
            after_link: hex::encode(link.0),
            key: key.to_string(),
            key_id: key.id(),
        }
    }
}

impl<'a> EventLine<'a> {
    /// The line of an event; nothing if its payload or cause is not text.
    pub(super) fn new(event: &'a Recorded) -> Option<Self> {
        Some(Self {
            log: event.log.as_str().into(),
            position: event.position.0,
            stream: event.stream.as_str().into(),
            version: event.version,
            kind: event.kind,
            name: event.kind_name().into(),
            schema: event.schema,
            recorded_at: event.recorded_at.micros(),
            data: std::str::from_utf8(&event.data).ok()?.into(),
            cause: std::str::from_utf8(&event.cause).ok()?.into(),
            link: hex::encode(event.link.0).into(),
        })
    }

    /// The event of a line; what is wrong with the link, if it is none.
    pub(super) fn recorded(self) -> Result<Recorded, String> {
        Ok(Recorded {
            link: Link(digits(&self.link)?),
            log: subledger_domain::LogName::new(self.log),
            position: Position(self.position),
            stream: subledger_domain::StreamName::from_stored(self.stream.into_owned()),
            version: self.version,
            kind: self.kind,
            schema: self.schema,
            recorded_at: Timestamp::from_micros(self.recorded_at),
            data: self.data.into_owned().into_bytes(),
            cause: self.cause.into_owned().into_bytes(),
        })
    }
}

impl End {
    pub(super) fn new(signed: &Attestation, events: u64) -> Self {
        Self {
            log: signed.log.to_string(),
            position: signed.position.0,
            link: hex::encode(signed.link.0),
            events,
            exported_at: signed.exported_at.micros(),
            key: signed.key.to_string(),
            signature: hex::encode(signed.signature),
        }
    }

    /// The signed statement in it.
    pub(super) fn attestation(&self) -> Result<Attestation, String> {
        Ok(Attestation {
            log: subledger_domain::LogName::new(&self.log),
            position: Position(self.position),
            link: Link(digits(&self.link)?),
            exported_at: Timestamp::from_micros(self.exported_at),
            key: SigningKey(digits(&self.key)?),
            signature: digits(&self.signature)?,
        })
    }
}

/// Bytes written as hexadecimal digits.
pub(super) fn digits<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let bytes =
        hex::decode(text).map_err(|_| format!("{} characters that are not all digits", text.len()))?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| format!("{length} bytes instead of {N}"))
}
