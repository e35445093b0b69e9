//! Pushes from WeChat as they are kept: the raw body sealed, what it was, what came of it, how its relay goes.
//!
//! A push is no event. What it means for a ledger is one; the push itself may name people and is kept for a time only. It
//! comes in with [`crate::Effect::KeepPush`] and is settled with [`crate::Effect::SettlePush`], in the transaction of the
//! command that acts on it, so that the push, its events and its receipt are there together or not at all.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use subledger_domain::{LogName, SubjectId, Timestamp};

use crate::StoreError;

/// The longest body of a push that is kept, in bytes.
pub const MAX_PUSH_BYTES: usize = 64 << 10;

/// What a push is known by in its log: the first half of a hash of what was pushed. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PushKey([u8; 16]);

impl PushKey {
    /// The key of this content: the first half of its BLAKE3.
    pub fn of(content: &[u8]) -> Self {
        let hash = blake3::hash(content);
        let mut key = [0; 16];
        key.copy_from_slice(&hash.as_bytes()[..16]);
        Self(key)
    }

    /// The key of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for PushKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for PushKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text is no [`PushKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a push key is 32 lower-case hexadecimal digits")]
pub struct PushKeyError;

impl FromStr for PushKey {
    type Err = PushKeyError;

    fn from_str(text: &str) -> Result<Self, PushKeyError> {
        let plain = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(bits) if plain => Ok(Self(bits.to_be_bytes())),
            _ => Err(PushKeyError),
        }
    }
}

impl TryFrom<String> for PushKey {
    type Error = PushKeyError;

    fn try_from(text: String) -> Result<Self, PushKeyError> {
        text.parse()
    }
}

impl From<PushKey> for String {
    fn from(key: PushKey) -> String {
        key.to_string()
    }
}

/// Declares a closed set of words, each with the number that stands for it in the table `push`.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal, $word:literal;)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            pub(crate) const fn number(self) -> i16 {
                match self { $(Self::$variant => $number,)* }
            }

            pub(crate) fn of(number: i64) -> Result<Self, StoreError> {
                match number {
                    $($number => Ok(Self::$variant),)*
                    other => Err(StoreError::Corrupt(format!("{} {other}", stringify!($name)))),
                }
            }
        }
    };
}

words! {
    /// What was pushed.
    PushKind {
        /// The user answered the subscription popup.
        Popup = 0, "popup";
        /// The user changed a subscription in the settings.
        Change = 1, "change";
        /// The final result of a send.
        Sent = 2, "sent";
        /// Anything else, kept for the relay.
        Other = 3, "other";
        /// What could not be decoded.
        Undecodable = 4, "undecodable";
    }
}

words! {
    /// How the push was protected.
    PushMode {
        /// In clear; the body carries no signature.
        Plaintext = 0, "plaintext";
        /// In clear and encrypted; the encrypted part counts.
        Compatible = 1, "compatible";
        /// Encrypted.
        Secure = 2, "secure";
    }
}

words! {
    /// The shape of the body.
    PushFormat {
        /// XML.
        Xml = 0, "xml";
        /// JSON.
        Json = 1, "json";
        /// Neither; such a body is undecodable.
        Unknown = 2, "unknown";
    }
}

words! {
    /// What became of a push.
    PushState {
        /// Kept and not acted on yet.
        Pending = 0, "pending";
        /// Acted on.
        Acted = 1, "acted";
        /// Looked at; there was nothing to do.
        Ignored = 2, "ignored";
        /// Could not be decoded.
        Undecodable = 3, "undecodable";
        /// Could not be acted on.
        Failed = 4, "failed";
    }
}

words! {
    /// How far a push is on its way to the integrator's back end.
    RelayState {
        /// It is not to be relayed.
        None = 0, "none";
        /// Waiting for its turn.
        Waiting = 1, "waiting";
        /// Leased by a node.
        Leased = 2, "leased";
        /// The back end has it.
        Done = 3, "done";
        /// Not tried any more; see [`crate::Store::redrive_relays`].
        GivenUp = 4, "given_up";
    }
}

/// A push to keep. It is [`PushState::Pending`] until it is settled.
#[derive(Clone, PartialEq, Eq)]
pub struct PushRow {
    /// What it is known by. A second push of the same key is not kept.
    pub key: PushKey,
    /// When it came.
    pub received_at: Timestamp,
    /// What it is.
    pub kind: PushKind,
    /// WeChat's `Event`, or its `MsgType` where there is none. Kept without control characters and at most 64 characters of
    /// it: a body that nobody has signed may say anything.
    pub event: String,
    /// Who sent it, as a hash; none if it names nobody.
    pub subject: Option<SubjectId>,
    /// How it was protected.
    pub mode: PushMode,
    /// The shape of the body.
    pub format: PushFormat,
    /// The body, to be sealed; at most [`MAX_PUSH_BYTES`].
    pub body: Vec<u8>,
    /// Relay it, not before this moment.
    pub relay_due_at: Option<Timestamp>,
}

// The body names people.
impl fmt::Debug for PushRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushRow")
            .field("key", &self.key)
            .field("kind", &self.kind)
            .field("event", &self.event)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A push that is kept, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPush {
    /// Grows in order of arrival within a log and is never used twice: the cursor of lists.
    pub id: u64,
    /// Its log.
    pub log: LogName,
    /// What it is known by.
    pub key: PushKey,
    /// When it first came.
    pub received_at: Timestamp,
    /// What it is.
    pub kind: PushKind,
    /// WeChat's word for it.
    pub event: String,
    /// Who sent it; none if it names nobody.
    pub subject: Option<SubjectId>,
    /// How it was protected.
    pub mode: PushMode,
    /// The shape of the body.
    pub format: PushFormat,
    /// What became of it.
    pub state: PushState,
    /// What came of it: short JSON of the engine's, naming nobody.
    pub effect: Option<String>,
    /// How often it came.
    pub seen: u32,
    /// When it came last.
    pub last_seen_at: Timestamp,
    /// How its relay goes.
    pub relay: RelayState,
    /// When a node may take it for relaying: when it is due, or when the lease on it ends. None when it is not to be relayed
    /// (any more), and while it waits behind an earlier push of the same sender.
    pub relay_due_at: Option<Timestamp>,
    /// Relay attempts begun.
    pub relay_attempts: u32,
    /// Who holds the lease.
    pub relay_node: Option<String>,
    /// What the newest ended attempt came to: an HTTP status or the class of an error.
    pub relay_status: Option<String>,
    /// Since when its relay is tried: when it came, or when the relay was begun anew.
    pub relay_since: Timestamp,
}

/// A push with its body opened.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenPush {
    /// The push.
    pub push: KeptPush,
    /// The body as it came. Names people.
    pub body: Vec<u8>,
}

impl fmt::Debug for OpenPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenPush")
            .field("push", &self.push)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Which pushes. What is left out does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushFilter {
    /// Of this kind.
    pub kind: Option<PushKind>,
    /// In this state.
    pub state: Option<PushState>,
    /// With the relay in this state.
    pub relay: Option<RelayState>,
    /// Of this sender.
    pub subject: Option<SubjectId>,
}

/// Where in a list, which runs from the newest push to the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PushPage {
    /// From its beginning.
    #[default]
    Newest,
    /// What came before this id.
    Before(u64),
    /// What came next after this id: the nearest to it, and they, too, the newest first.
    After(u64),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_is_written_and_nothing_else_does() {
        let key = PushKey::of(b"<xml/>");
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(serde_json::from_str::<PushKey>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
        assert_ne!(key, PushKey::of(b"<xml/> "));
        for text in ["", "0", &key.to_string().to_uppercase(), &format!("+{}", &key.to_string()[1..])] {
            assert_eq!(text.parse::<PushKey>(), Err(PushKeyError));
        }
    }

    #[test]
    fn numbers_and_words_lead_back_to_their_members() {
        for kind in PushKind::ALL {
            assert_eq!(PushKind::of(kind.number().into()).unwrap(), *kind);
            assert_eq!(serde_json::to_string(kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
        assert!(matches!(PushState::of(5), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn a_body_is_never_printed() {
        let row = PushRow {
            key: PushKey::of(b""),
            received_at: Timestamp::default(),
            kind: PushKind::Popup,
            event: "subscribe_msg_popup_event".to_owned(),
            subject: None,
            mode: PushMode::Secure,
            format: PushFormat::Xml,
            body: b"oPERSON".to_vec(),
            relay_due_at: None,
        };
        let printed = format!("{row:?}");
        assert!(printed.contains("body_bytes: 7") && !printed.contains("111, 80"), "{printed}");
    }
}
