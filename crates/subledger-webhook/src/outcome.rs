//! What became of one attempt.
//!
//! Receivers must expect a message more than once (the id tells them), so unlike in the WeChat adapter nothing hangs on
//! whether a byte left: an attempt without a success may always be repeated. The cases differ in what a person would do.

use std::time::Duration;

use crate::address::AddressClass;
use crate::endpoint::UrlRefused;
use crate::request::RequestFault;

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver answered 2xx: it has the message.
    Delivered {
        /// The HTTP status.
        status: u16,
    },
    /// The receiver answered 410: it wants nothing more, the endpoint should be switched off.
    Gone,
    /// It will be the same the next time unless somebody changes something, here or there. People do: it is worth the attempts
    /// of the schedule, and worth showing.
    Refused(Refusal),
    /// It may pass by itself.
    TryAgain {
        /// What went wrong.
        why: Trouble,
        /// How long the receiver asks to be left alone, from the time of the attempt.
        retry_after: Option<Duration>,
    },
}

/// What somebody would have to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The receiver answered 3xx. Redirects are not followed: they would lead around the check of the URL, and the message
    /// and its signature to somebody else. The URL has to be changed instead.
    Redirect {
        /// The HTTP status.
        status: u16,
    },
    /// The receiver answered with a status that stands for neither success nor a passing state.
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The URL is not allowed (any more). Nothing was looked up or connected.
    Url(UrlRefused),
    /// The host name leads to a forbidden address. Nothing was connected.
    Address(AddressClass),
    /// The request cannot be made of what was handed in.
    Request(RequestFault),
}

/// What may pass by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The receiver answered 408, 425, 429 or 5xx.
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The host name has no address at the moment, or nobody could say.
    Dns,
    /// Nobody listens at the address.
    ConnectionRefused,
    /// No connection in time.
    ConnectTimeout,
    /// TLS could not be agreed on, or the certificate is not trusted.
    Tls,
    /// No connection for another reason.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke before there was an answer, or what came is no HTTP.
    ConnectionLost,
}

impl Outcome {
    /// Sorts a status. `retry_after` is looked at only where it has a meaning.
    pub(crate) fn from_status(status: u16, retry_after: impl FnOnce() -> Option<Duration>) -> Self {
        match status {
            200..=299 => Self::Delivered { status },
            300..=399 => Self::Refused(Refusal::Redirect { status }),
            410 => Self::Gone,
            408 | 425 | 429 | 500..=599 => {
                Self::TryAgain { why: Trouble::Status { status }, retry_after: retry_after() }
            }
            _ => Self::Refused(Refusal::Status { status }),
        }
    }

    /// Whether a further attempt makes no sense: the message has arrived, or the receiver wants no more of them.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Delivered { .. } | Self::Gone)
    }

    /// The stable snake_case word, as used in logs, metrics and answers.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Gone => "gone",
            Self::Refused(refusal) => refusal.word(),
            Self::TryAgain { why, .. } => why.word(),
        }
    }

    /// The HTTP status, where there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Delivered { status }
            | Self::Refused(Refusal::Redirect { status } | Refusal::Status { status })
            | Self::TryAgain { why: Trouble::Status { status }, .. } => Some(*status),
            Self::Gone => Some(410),
            Self::Refused(_) | Self::TryAgain { .. } => None,
        }
    }
}

impl Refusal {
    fn word(&self) -> &'static str {
        match self {
            Self::Redirect { .. } => "redirected",
            Self::Status { .. } => "refused",
            Self::Url(_) => "url_forbidden",
            Self::Address(_) => "address_forbidden",
            Self::Request(_) => "unsendable",
        }
    }
}

impl Trouble {
    fn word(self) -> &'static str {
        match self {
            Self::Status { status: 408 | 425 | 429 } => "throttled",
            Self::Status { .. } => "server_error",
            Self::Dns => "dns",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection_lost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_sorted_as_the_specification_suggests() {
        let cases = [
            (101, "refused"),
            (200, "delivered"),
            (202, "delivered"),
            (204, "delivered"),
            (299, "delivered"),
            (300, "redirected"),
            (304, "redirected"),
            (308, "redirected"),
            (400, "refused"),
            (401, "refused"),
            (404, "refused"),
            (408, "throttled"),
            (409, "refused"),
            (410, "gone"),
            (413, "refused"),
            (425, "throttled"),
            (429, "throttled"),
            (500, "server_error"),
            (502, "server_error"),
            (503, "server_error"),
            (599, "server_error"),
            (600, "refused"),
            (999, "refused"),
        ];
        for (status, word) in cases {
            let outcome = Outcome::from_status(status, || None);
            assert_eq!((outcome.word(), outcome.status()), (word, Some(status)));
            assert_eq!(outcome.is_final(), matches!(word, "delivered" | "gone"), "{status}");
        }
    }
}
