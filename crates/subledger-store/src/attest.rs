//! Signed statements about the end of a log: "log L ended at position P with link X; said at time T".
//!
//! The hash chain shows that nothing *inside* a log was changed. It cannot show that events were cut off at its end, nor
//! that somebody who can write to the database computed the whole chain anew. A signature over the end, kept elsewhere,
//! shows both: the link at the signed position must still be the signed one.
//!
//! The signed bytes, integers little-endian, texts preceded by their length as `u64`:
//!
//! | field | form |
//! |---|---|
//! | tag | the text `subledger head 1` |
//! | log | text |
//! | position | `u64` |
//! | link | 32 bytes |
//! | exported at | `i64`, microseconds since the epoch |
//!
//! The signature is Ed25519 (RFC 8032). This module does no I/O.

use std::{fmt, str::FromStr};

use ring::signature::{ED25519, UnparsedPublicKey};
use subledger_domain::{LogName, Timestamp};
use thiserror::Error;

use crate::{Link, Position};

/// The first field of every statement; a changed encoding gets another number.
const TAG: &[u8] = b"subledger head 1";

/// The public half of a deployment's signing key: 32 bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SigningKey(pub [u8; 32]);

/// A signed statement about the end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The log.
    pub log: LogName,
    /// Where it ended.
    pub position: Position,
    /// The link of the event there; zeros for an empty log.
    pub link: Link,
    /// When this was said.
    pub exported_at: Timestamp,
    /// Who says so.
    pub key: SigningKey,
    /// Ed25519 over [`Self::statement`].
    pub signature: [u8; 64],
}

/// Why a text is no key, or a statement not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AttestError {
    /// The text is not a key.
    #[error("a signing key is 64 hexadecimal digits; found {0} characters that are not")]
    Key(usize),
    /// The signature is not one of this key over this statement.
    #[error("the signature does not belong to this log, position, link, time and key")]
    Signature,
}

impl SigningKey {
    /// The first 16 digits: enough to tell keys apart by eye, not enough to trust one.
    pub fn id(&self) -> String {
        hex::encode(&self.0[..8])
    }
}

impl fmt::Display for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SigningKey {
    type Err = AttestError;

    fn from_str(text: &str) -> Result<Self, AttestError> {
        let wrong = || AttestError::Key(text.chars().count());
        let bytes = hex::decode(text.trim()).map_err(|_| wrong())?;
        bytes.try_into().map(Self).map_err(|_| wrong())
    }
}

/// The bytes that a statement signs; see the head of this module.
pub(crate) fn statement(log: &LogName, position: Position, link: &Link, exported_at: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96 + log.as_str().len());
    for text in [TAG, log.as_str().as_bytes()] {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text);
    }
    bytes.extend_from_slice(&position.0.to_le_bytes());
    bytes.extend_from_slice(&link.0);
    bytes.extend_from_slice(&exported_at.micros().to_le_bytes());
    bytes
}

impl Attestation {
    /// The bytes that are signed.
    pub fn statement(&self) -> Vec<u8> {
        statement(&self.log, self.position, &self.link, self.exported_at)
    }

    /// Whether [`Self::key`] signed this. Whose key that is, the caller has to know from elsewhere.
    pub fn verify(&self) -> Result<(), AttestError> {
        UnparsedPublicKey::new(&ED25519, &self.key.0)
            .verify(&self.statement(), &self.signature)
            .map_err(|_| AttestError::Signature)
    }
}
