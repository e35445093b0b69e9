//! One shape for XML and JSON.
//!
//! WeChat says the same things in both, so both become the same small tree before anybody asks what they mean. Its size is
//! bounded while it is built: it may come from a stranger.

use super::error::Undecodable;
use super::{MAX_BODY_BYTES, json, xml};

/// How deep a body may be nested. WeChat's own need four levels for the events we act on.
pub const MAX_DEPTH: usize = 32;

/// How many values a body may have.
pub const MAX_NODES: usize = 4096;

/// A value. Names keep their order and may repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Text, or a JSON number or truth value as it is written; without white space around it.
    Text(String),
    /// A JSON number that is not whole or has more than 64 bits. As text it would have invented digits.
    Inexact,
    /// JSON's null.
    Null,
    /// A JSON object, or an XML element with elements inside.
    Map(Vec<(String, Node)>),
    /// A JSON array.
    List(Vec<Node>),
}

impl Node {
    pub(super) fn fields(&self) -> Option<&[(String, Node)]> {
        match self {
            Self::Map(fields) => Some(fields),
            _ => None,
        }
    }
}

/// Reads XML or a JSON object, told apart by their first character.
pub(super) fn parse(body: &[u8]) -> Result<Node, Undecodable> {
    if MAX_BODY_BYTES < body.len() {
        return Err(Undecodable::TooLarge);
    }
    let text = std::str::from_utf8(body).map_err(|error| Undecodable::NotUtf8 { at: error.valid_up_to() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_ascii();
    match text.bytes().next() {
        None => Err(Undecodable::Empty),
        Some(b'<') => xml::parse(text),
        Some(b'{') => json::parse(text),
        Some(_) => Err(Undecodable::UnknownFormat),
    }
}

/// Counts values down while a tree is built.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: MAX_NODES }
    }

    /// Takes one value at a depth; the root has depth 1.
    pub(super) fn take(&mut self, depth: usize) -> Result<(), Undecodable> {
        if MAX_DEPTH < depth {
            return Err(Undecodable::TooDeep);
        }
        self.left = self.left.checked_sub(1).ok_or(Undecodable::TooMany)?;
        Ok(())
    }
}
