//! The outside of a sealed push: `{"ToUserName":…,"Encrypt":…}`, or the same in XML.
//!
//! Whatever else stands there (in compatible mode the whole content in the clear) is not signed and not looked at.

use super::error::Undecodable;
use super::tree::{Node, parse};

/// The sealed part of a body.
pub(super) struct Envelope {
    /// In base64, exactly as signed.
    pub(super) encrypt: String,
}

impl Envelope {
    /// Finds the sealed part; `None` if the body has none.
    pub(super) fn read(body: &[u8]) -> Result<Option<Self>, Undecodable> {
        let root = parse(body)?;
        let fields = root.fields().ok_or(Undecodable::UnknownFormat)?;
        let mut found = fields.iter().filter(|(name, _)| name == "Encrypt").map(|(_, node)| node);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(Node::Text(encrypt)), None) => Ok(Some(Self { encrypt: encrypt.clone() })),
            (Some(_), None) => Err(Undecodable::Odd("Encrypt")),
            (Some(_), Some(_)) => Err(Undecodable::Repeated("Encrypt")),
        }
    }
}
