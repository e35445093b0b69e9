//! Identifiers, each its own type, each parsed once at the edge.
//!
//! [`Openid`] and [`UserId`] are personal data: they never appear in an event. What stands in the log is a
//! [`SubjectId`] or [`UserRef`], a keyed hash made by the identity vault of the store.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::LogName;

/// Why a text is not the identifier it claims to be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} must be {rule}; found {found}")]
pub struct IdError {
    /// Which identifier.
    pub what: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
    /// What was found, described without repeating it.
    pub found: String,
}

impl IdError {
    fn new(what: &'static str, rule: &'static str, text: &str) -> Self {
        let found = match text.chars().count() {
            0 => "nothing".to_owned(),
            n => {
                let odd: String = text.chars().filter(|c| !c.is_ascii_alphanumeric()).take(5).collect();
                if odd.is_empty() {
                    format!("{n} characters")
                } else {
                    format!("{n} characters, among them {odd:?}")
                }
            }
        };
        Self { what, rule, found }
    }
}

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident, $what:literal, $rule:literal, $min:literal..=$max:literal, $allowed:expr
     $(, not $reserved:expr)?) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The shortest length in characters.
            pub const MIN_LENGTH: usize = $min;
            /// The greatest length in characters.
            pub const MAX_LENGTH: usize = $max;

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let allowed: fn(char) -> bool = $allowed;
                let length = text.chars().count();
                let reserved = false $(|| text.eq_ignore_ascii_case($reserved))?;
                if !($min..=$max).contains(&length) || !text.chars().all(allowed) || reserved {
                    return Err(IdError::new($what, $rule, text));
                }
                Ok(Self(Arc::from(text)))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    };
}

macro_rules! shown {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! masked {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

text_id!(
    /// The code of a channel, chosen by the operator: `wechatmp123`. It names the channel's log, so it must not be
    /// [`LogName::MAIN`], in any letter case: an operator would read `Main` and `main` as the same book.
    ChannelCode, "channel code", "1 to 32 letters and digits, and not \"main\"", 1..=32,
    |c| c.is_ascii_alphanumeric(), not LogName::MAIN
);
shown!(ChannelCode);

text_id!(
    /// The id of a sender app.
    AppId, "app id", "1 to 64 letters, digits, - and _", 1..=64,
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
);
shown!(AppId);

text_id!(
    /// WeChat's template id (`priTmplId`), 43 characters in practice.
    TemplateId, "template id", "8 to 64 letters, digits, - and _", 8..=64,
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
);
shown!(TemplateId);

text_id!(
    /// A user's openid in one Mini Program. Personal data. Real ones have 28 characters; the first is not always `o`.
    Openid, "openid", "16 to 64 letters, digits, - and _", 16..=64,
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
);
masked!(Openid);

text_id!(
    /// A user's id in the integrator's own system. Personal data.
    UserId, "userid", "1 to 128 characters without control characters", 1..=128,
    |c| !c.is_control()
);
masked!(UserId);

text_id!(
    /// The caller's id of a client report, which makes a retry harmless.
    ReportId, "report id", "1 to 128 printable ASCII characters without space", 1..=128,
    |c| c.is_ascii_graphic()
);
shown!(ReportId);

macro_rules! hash_id {
    ($(#[$meta:meta])* $name:ident, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 16]);

        impl $name {
            /// From the 128 bits of the keyed hash.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 128 bits.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let plain = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                match u128::from_str_radix(text, 16) {
                    Ok(bits) if plain => Ok(Self(bits.to_be_bytes())),
                    _ => Err(IdError::new($what, "32 lower-case hexadecimal digits", text)),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

hash_id!(
    /// Stands for an openid of one channel in the log: a keyed 128-bit hash.
    SubjectId, "subject id"
);
hash_id!(
    /// Stands for a userid in the log: a keyed 128-bit hash.
    UserRef, "user reference"
);
hash_id!(
    /// The id of a message (`msgid`): 128 bits, time-ordered, chosen by the caller of the domain.
    MessageId, "msgid"
);

/// One message to one recipient: the message and the recipient's index in it, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeliveryId {
    /// The message.
    pub message: MessageId,
    /// The recipient's place in the request, from 0.
    pub index: u32,
}

impl DeliveryId {
    /// The delivery of `message` to its recipient number `index`.
    pub const fn new(message: MessageId, index: u32) -> Self {
        Self { message, index }
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.message, self.index)
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for DeliveryId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::new("delivery id", "a msgid, a dash and the recipient's index", text);
        let (message, index) = text.split_once('-').ok_or_else(wrong)?;
        let parsed: u32 = index.parse().map_err(|_| wrong())?;
        if parsed.to_string() != index {
            return Err(wrong());
        }
        Ok(Self { message: message.parse().map_err(|_| wrong())?, index: parsed })
    }
}

impl TryFrom<String> for DeliveryId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<DeliveryId> for String {
    fn from(id: DeliveryId) -> String {
        id.to_string()
    }
}

/// The number of a lot within its ledger, from 1, in order of recording.
pub type LotId = u64;
