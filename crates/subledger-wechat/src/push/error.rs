//! Why a push was not taken, and what the caller owes it.
//!
//! Every class is a stable word for counters. No text here quotes the request: the body names users, and errors are logged.

use super::MAX_BODY_BYTES;
use super::query::{MAX_ECHO_BYTES, MAX_NONCE_BYTES, MAX_QUERY_BYTES};
use super::tree::{MAX_DEPTH, MAX_NODES};

/// What to do with a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handling {
    /// Nobody vouches for it: answer 403, count it, keep nothing.
    Forbid,
    /// It is no push: answer 400, or 413 if it is too large; keep nothing.
    Reject,
    /// It is signed and cannot be opened: keep the body as it came, show it, answer `success`. WeChat would give up after
    /// three tries, and with the right key the body can still be read later.
    Keep,
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PushError {
    /// The body is larger than [`MAX_BODY_BYTES`].
    #[error("the body has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// The query cannot be used.
    #[error("the query cannot be used")]
    Query(#[source] QueryFault),
    /// The signature that the mode asks for is absent: `signature` in plaintext mode, `msg_signature` in the others.
    #[error("{0} is missing")]
    NoSignature(&'static str),
    /// The signature does not fit; most often the token here and in WeChat's console differ.
    #[error("{0} is wrong; is the token the one in WeChat's console?")]
    WrongSignature(&'static str),
    /// The signature fits and the timestamp is outside the clock window: an old request played again, or a wrong clock.
    #[error("the timestamp is {ahead_seconds} s ahead of this machine's clock")]
    Clock {
        /// How far WeChat's time is ahead of ours; negative if it is behind.
        ahead_seconds: i64,
    },
    /// The mode seals bodies, and this one cannot be read far enough to find the sealed part.
    #[error("the body is no envelope")]
    Envelope(#[source] Undecodable),
    /// The mode seals bodies, and this one has no sealed part.
    #[error(
        "the body is not encrypted; set WeChat's console to the mode that is set here, or the other way round"
    )]
    ClearBody,
    /// The mode is plaintext, and the body is sealed.
    #[error(
        "the body is encrypted; set WeChat's console to the mode that is set here, or the other way round"
    )]
    SealedBody,
    /// The body is signed, and no key opens it.
    #[error("the body cannot be opened; is the EncodingAESKey the one in WeChat's console?")]
    Unopened(#[source] SealFault),
    /// The body opens, and another appid stands at its end.
    #[error("the body was sealed for another appid")]
    WrongTail,
}

impl PushError {
    /// A stable word for counters.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Query(_) => "query",
            Self::NoSignature(_) => "no_signature",
            Self::WrongSignature(_) => "wrong_signature",
            Self::Clock { .. } => "clock",
            Self::Envelope(_) => "no_envelope",
            Self::ClearBody => "clear_body",
            Self::SealedBody => "sealed_body",
            Self::Unopened(_) => "unopened",
            Self::WrongTail => "wrong_tail",
        }
    }

    /// What to do with the request.
    #[must_use]
    pub fn handling(&self) -> Handling {
        match self {
            Self::NoSignature(_)
            | Self::WrongSignature(_)
            | Self::Clock { .. }
            | Self::ClearBody
            | Self::SealedBody
            | Self::WrongTail => Handling::Forbid,
            Self::TooLarge | Self::Query(_) | Self::Envelope(_) => Handling::Reject,
            Self::Unopened(_) => Handling::Keep,
        }
    }
}

/// Why a query cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum QueryFault {
    /// It is too long.
    #[error("it has more than {MAX_QUERY_BYTES} bytes")]
    TooLong,
    /// A parameter is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A parameter is there more than once, so that nobody can tell which one was signed.
    #[error("{0} is given more than once")]
    Repeated(&'static str),
    /// The timestamp is no whole number of seconds.
    #[error("timestamp is no number of seconds")]
    Timestamp,
    /// The nonce is empty, too long, or has other than visible ASCII characters.
    #[error("nonce has other than 1 to {MAX_NONCE_BYTES} visible characters")]
    Nonce,
    /// The text to echo is empty, too long, or could be taken for markup.
    #[error("echostr has other than 1 to {MAX_ECHO_BYTES} plain characters")]
    Echo,
}

/// Why a sealed part cannot be opened. Of several keys the one that got furthest is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum SealFault {
    /// It is not base64.
    #[error("it is not base64")]
    Base64,
    /// Its length is zero, no multiple of 32 bytes, or more than a body can have.
    #[error("its length is none that a sealed part can have")]
    Length,
    /// The padding is wrong; nearly always another key sealed it.
    #[error("the padding is wrong")]
    Padding,
    /// The length inside does not fit.
    #[error("the length inside does not fit")]
    Frame,
}

/// Why a content is not understood. It is kept and shown, never dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Undecodable {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// More than [`MAX_BODY_BYTES`].
    #[error("it has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// Not UTF-8.
    #[error("it is not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// Bytes before the first wrong one.
        at: usize,
    },
    /// It begins like neither XML nor a JSON object.
    #[error("it is neither XML nor a JSON object")]
    UnknownFormat,
    /// The JSON is broken.
    #[error("the JSON is broken at line {line}, column {column}")]
    BrokenJson {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// The XML is broken.
    #[error("the XML is broken near byte {at}")]
    BrokenXml {
        /// From the start, in bytes.
        at: u64,
    },
    /// There is a document type declaration. WeChat sends none; it is how XML is made to read files or to explode.
    #[error("it has a document type declaration")]
    Doctype,
    /// There is a reference to an entity other than XML's own five.
    #[error("it has an unknown entity near byte {at}")]
    Entity {
        /// From the start, in bytes.
        at: u64,
    },
    /// Nested too deeply.
    #[error("it is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Too many values.
    #[error("it has more than {MAX_NODES} values")]
    TooMany,
    /// A field that its kind needs is absent or empty.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is there more than once, and nobody can tell which one is meant.
    #[error("{0} is given more than once")]
    Repeated(&'static str),
    /// A field has a form that WeChat does not use.
    #[error("{0} has an unexpected form")]
    Odd(&'static str),
}

impl Undecodable {
    /// A stable word for counters.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::UnknownFormat => "unknown_format",
            Self::BrokenJson { .. } => "broken_json",
            Self::BrokenXml { .. } => "broken_xml",
            Self::Doctype => "doctype",
            Self::Entity { .. } => "entity",
            Self::TooDeep => "too_deep",
            Self::TooMany => "too_many",
            Self::Missing(_) => "missing_field",
            Self::Repeated(_) => "repeated_field",
            Self::Odd(_) => "odd_field",
        }
    }
}
