//! What became of a call.
//!
//! The types keep apart what WeChat said, what provably never reached WeChat, and what nobody knows. They must never blur
//! the last two: only failures before the first byte count as not sent. WeChat's own words are carried verbatim (length
//! capped, our secrets cut out) in a field, never in `Display`, because they may name a user and errors get logged.

use crate::answer::Answer;
use crate::channel::TokenConflict;
use crate::client::Api;
use crate::codes::{CodeClass, RefusalClass, classify};
use crate::keeper::TokenError;
use crate::retry_times::RetryHint;

/// How a connection could not be made. In all cases no byte of the request was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ConnectFailure {
    /// The host name could not be resolved.
    #[error("name resolution failed")]
    Dns,
    /// The host refused the connection.
    #[error("connection refused")]
    Refused,
    /// No connection within the connect time-out.
    #[error("connecting timed out")]
    Timeout,
    /// The TLS handshake failed.
    #[error("TLS handshake failed")]
    Tls,
    /// Another failure to connect (no route, reset while connecting).
    #[error("connecting failed")]
    Other,
    /// The request could not be built; nothing was dialled.
    #[error("the request could not be built")]
    NotBuilt,
}

/// Why an outcome is not known. In all cases the request may have reached WeChat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum UnknownReason {
    /// No complete answer within the time allowed.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke after it was made, before a complete answer head.
    #[error("the connection broke before the answer")]
    ConnectionLost,
    /// The connection broke inside the answer's body.
    #[error("the answer was cut off")]
    BodyTruncated,
    /// The answer's body exceeded the cap.
    #[error("the answer was too large")]
    BodyTooLarge,
    /// An HTTP status other than 2xx, without a body that carries an `errcode`.
    #[error("HTTP status {0} without a WeChat answer")]
    HttpStatus(u16),
    /// A body that is not the answer of this call.
    #[error("the answer was not understood")]
    Unintelligible,
}

/// Why something was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSentReason {
    /// WeChat was not reached.
    NotReached(ConnectFailure),
    /// No access token could be obtained; [`TokenError::failure`] tells configuration from transient.
    NoToken(TokenError),
    /// WeChat refused a token, and refused its fresh successor too: another system keeps replacing it.
    TokenConflict(TokenConflict),
}

/// What became of one send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// WeChat took the message (errcode 0). No proof that the user saw it.
    Accepted {
        /// WeChat's message id as text: 19 digits, beyond what a double holds. Some answers lack it.
        msgid: Option<String>,
    },
    /// A definite no; nothing was sent, and trying the same again is useless.
    Refused {
        /// WeChat's `errcode`.
        code: i64,
        /// WeChat's `errmsg`, verbatim up to [`crate::MESSAGE_CAP_CHARS`].
        message: String,
        /// WeChat's request id, for its support.
        rid: Option<String>,
        /// What kind of no.
        class: RefusalClass,
    },
    /// WeChat itself asks to try again.
    TryAgain {
        /// WeChat's `errcode`.
        code: i64,
        /// WeChat's request id.
        rid: Option<String>,
        /// WeChat's `errmsg`, verbatim up to [`crate::MESSAGE_CAP_CHARS`].
        message: String,
        /// What kind of wait.
        when: RetryHint,
    },
    /// Proven not to have reached WeChat, or refused by it for the token alone.
    NotSent {
        /// Why.
        reason: NotSentReason,
    },
    /// Handed over; the answer is not known. Never to be re-sent by itself.
    Unknown {
        /// Why.
        reason: UnknownReason,
    },
}

/// Why a single call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A definite no.
    #[error("WeChat refused the call with code {code}")]
    Refused {
        /// WeChat's `errcode`.
        code: i64,
        /// WeChat's `errmsg`, verbatim up to [`crate::MESSAGE_CAP_CHARS`].
        message: String,
        /// WeChat's request id.
        rid: Option<String>,
        /// What kind of no.
        class: RefusalClass,
    },
    /// WeChat itself asks to try again.
    #[error("WeChat asks to try again with code {code}")]
    TryAgain {
        /// WeChat's `errcode`.
        code: i64,
        /// WeChat's `errmsg`, verbatim up to [`crate::MESSAGE_CAP_CHARS`].
        message: String,
        /// WeChat's request id.
        rid: Option<String>,
        /// What kind of wait.
        when: RetryHint,
    },
    /// The access token was not accepted; nothing was done. [`crate::ChannelClient`] handles this and never returns it.
    #[error("WeChat refused the access token with code {code}")]
    StaleToken {
        /// WeChat's `errcode`: 40001, 40014 or 42001.
        code: i64,
        /// WeChat's `errmsg`, verbatim up to [`crate::MESSAGE_CAP_CHARS`].
        message: String,
        /// WeChat's request id.
        rid: Option<String>,
    },
    /// WeChat was not reached: no byte of the request was written.
    #[error("WeChat was not reached: {0}")]
    NotReached(ConnectFailure),
    /// The call was made; its outcome is not known.
    #[error("the outcome of the call is unknown: {0}")]
    Unknown(UnknownReason),
}

impl CallError {
    /// Turns an answer with a code other than 0 into the error of `api`.
    pub(crate) fn from_answer(api: Api, answer: Answer) -> Self {
        let Answer { code, message, rid } = answer;
        match classify(api, code) {
            CodeClass::TryAgain(when) => Self::TryAgain { code, message, rid, when },
            CodeClass::StaleToken => Self::StaleToken { code, message, rid },
            CodeClass::Refused(class) => Self::Refused { code, message, rid, class },
            // Only code 0 is a success, and 0 does not come here; were the table changed, saying "unknown" is the safe lie.
            CodeClass::Success => Self::Unknown(UnknownReason::Unintelligible),
        }
    }

    /// WeChat's code, if WeChat answered.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Refused { code, .. } | Self::TryAgain { code, .. } | Self::StaleToken { code, .. } => {
                Some(*code)
            }
            Self::NotReached(_) | Self::Unknown(_) => None,
        }
    }

    /// WeChat's request id, if WeChat answered with one.
    #[must_use]
    pub fn rid(&self) -> Option<&str> {
        match self {
            Self::Refused { rid, .. } | Self::TryAgain { rid, .. } | Self::StaleToken { rid, .. } => {
                rid.as_deref()
            }
            Self::NotReached(_) | Self::Unknown(_) => None,
        }
    }

    /// The closed set of outcome labels for logs and metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::TryAgain { .. } => "try_again",
            Self::StaleToken { .. } => "stale_token",
            Self::NotReached(_) => "not_reached",
            Self::Unknown(_) => "unknown",
        }
    }
}
