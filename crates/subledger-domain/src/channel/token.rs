//! Where a channel's access tokens come from, and what is told of them.
//!
//! Tokens themselves are no business of the aggregate, and never in an event. It holds what decides: the source, and when a
//! conflict was last told of, so that a war over a token fills no log.

use serde::{Deserialize, Serialize};

use super::{command::ChannelError, event::SecretRef};
use crate::{AppId, Timestamp};

/// How long a suspected conflict is not told of again, in seconds: an hour.
pub const TOKEN_CONFLICT_QUIET_S: i64 = 3_600;

/// How access tokens are obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenMode {
    /// `cgi-bin/stable_token`, normal mode: coexists with other systems.
    #[default]
    Stable,
    /// `cgi-bin/token`: every call retires the previous token. Only where this is the sole user of the AppSecret.
    Normal,
    /// The company's own token server, asked at a configured URL. No AppSecret is known here.
    External,
    /// The third-party platform that the Mini Program's administrator authorized. No AppSecret is known here either.
    Platform,
}

impl TokenMode {
    /// The stable snake_case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Normal => "normal",
            Self::External => "external",
            Self::Platform => "platform",
        }
    }

    /// Whether the channel's secret is the Mini Program's AppSecret.
    #[must_use]
    pub const fn has_app_secret(self) -> bool {
        matches!(self, Self::Stable | Self::Normal)
    }
}

/// Payload of [`super::ChannelEvent::TokenSourceChanged`]: the source as a whole, from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSourceChanged {
    /// How tokens are obtained.
    pub mode: TokenMode,
    /// Where the AppSecret is, or the credential for the token server. None in platform mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
    /// Where the token server is asked; in external mode only. Holds neither user name nor password nor query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl TokenSourceChanged {
    /// Whether what the mode needs is there, and nothing else.
    pub(super) fn check(&self) -> Result<(), ChannelError> {
        let (secret, url) = match self.mode {
            TokenMode::Stable | TokenMode::Normal => (true, false),
            TokenMode::External => (true, true),
            TokenMode::Platform => (false, false),
        };
        if (self.secret.is_some(), self.url.is_some()) == (secret, url) {
            return Ok(());
        }
        Err(ChannelError::TokenSourceDoesNotFit { mode: self.mode })
    }
}

/// Payload of [`super::ChannelEvent::TokenConflictSuspected`]. At most one in [`TOKEN_CONFLICT_QUIET_S`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenConflictSuspected {
    /// How tokens were obtained.
    pub mode: TokenMode,
    /// What WeChat answered (40001, 40014).
    pub code: i64,
    /// How old the token was when it was refused, in seconds.
    pub age_s: u32,
    /// How long it should have lived, in seconds.
    pub life_s: u32,
    /// When this was decided.
    pub at: Timestamp,
}

/// Payload of [`super::ChannelEvent::TokenLeased`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenLeased {
    /// Who asked for it.
    pub app: AppId,
    /// Which of the channel's tokens.
    pub version: u64,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
}

/// Payload of [`super::ChannelEvent::TokenForced`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenForced {
    /// How tokens are obtained.
    pub mode: TokenMode,
    /// The number of the new token.
    pub version: u64,
}

/// Whether a suspicion that comes at `now` is told of, if the last one was at `last`.
pub(super) fn worth_telling(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now >= last.plus_seconds(TOKEN_CONFLICT_QUIET_S))
}
