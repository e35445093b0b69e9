//! A channel and its templates.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use subledger_domain::{
    ChannelCode, TemplateId, TemplateKey, TemplateKind, Timestamp,
    channel::{
        AuthorizationLoss, CallbackFormat, CallbackMode, Hold, Policy, RelayForm, RelayKind, RelayStop,
        TokenMode,
    },
};

/// One Mini Program set up for sending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRow {
    /// Its code, which is also the name of its log.
    pub code: ChannelCode,
    /// The Mini Program's AppID.
    pub appid: String,
    /// A name for people.
    pub name: String,
    /// How access tokens are obtained.
    pub token_mode: TokenMode,
    /// Its policies.
    pub policy: Policy,
    /// Since when sending is stopped, if it is.
    pub paused_at: Option<Timestamp>,
    /// Why sending is stopped, if it is.
    pub pause_reason: Option<String>,
    /// When the AppSecret in use was handed in.
    pub secret_replaced_at: Timestamp,
    /// When the channel was set up.
    pub registered_at: Timestamp,
    /// When the template list was last read from WeChat, if ever.
    pub templates_refreshed_at: Option<Timestamp>,
    /// How many templates WeChat listed then.
    pub templates_listed: u32,
    /// How many templates were listed once and are not any more.
    pub templates_vanished: u32,
    /// How WeChat pushes to it, if that was ever set.
    #[serde(default)]
    pub callback: Option<CallbackRow>,
    /// Where its pushes are relayed to, or were.
    pub relay: Option<RelayRow>,
    /// What is to be said of its tokens, if anything.
    #[serde(default)]
    pub token: Option<TokenRow>,
    /// The third-party platform it was authorized to, if ever.
    pub platform: Option<PlatformRow>,
}

/// What is to be said of a channel's tokens. Tokens themselves are in no read model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenRow {
    /// The company's token server; in external mode only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The last conflict that was suspected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<TokenConflictRow>,
}

/// WeChat refused a token long before its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenConflictRow {
    /// When it was told of.
    pub at: Timestamp,
    /// How tokens were obtained.
    pub mode: TokenMode,
    /// WeChat's code.
    pub code: i64,
    /// How old the token was, in seconds.
    pub age_s: u32,
}

/// How WeChat pushes to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackRow {
    /// The way of encryption.
    pub mode: CallbackMode,
    /// The spelling that the console was to be set to.
    pub format: CallbackFormat,
    /// When an operator last set it.
    pub configured_at: Timestamp,
    /// The Mini Program's original id (`gh_…`), once it is known.
    pub original_id: Option<String>,
}

/// Where a channel stands with the third-party platform it was authorized to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformRow {
    /// The platform's appid.
    pub appid: String,
    /// The permission sets that are granted, by WeChat's numbers.
    pub permissions: BTreeSet<u32>,
    /// Those that sending needs and that are not granted.
    pub missing: BTreeSet<u32>,
    /// The Mini Program's original id (`gh_…`).
    pub original_id: String,
    /// When it was last authorized.
    pub authorized_at: Timestamp,
    /// When the permission sets were last changed, if ever since.
    pub updated_at: Option<Timestamp>,
    /// Since when the authorization is lost, if it is, and how that was noticed.
    pub lost: Option<(Timestamp, AuthorizationLoss)>,
}

/// Where the pushes of a channel are relayed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayRow {
    /// The integrator's URL.
    pub url: String,
    /// What is sent.
    pub form: RelayForm,
    /// Which pushes.
    pub kinds: BTreeSet<RelayKind>,
    /// When it was last configured.
    pub configured_at: Timestamp,
    /// When it was stopped, if it was, and why.
    pub stopped: Option<(Timestamp, RelayStop)>,
}

impl ChannelRow {
    /// Whether sending is stopped.
    pub const fn is_paused(&self) -> bool {
        self.paused_at.is_some()
    }

    /// Why its deliveries wait, if they do. What an operator wanted comes first.
    pub fn hold(&self) -> Option<Hold> {
        if self.is_paused() {
            return Some(Hold::Paused);
        }
        if self.token_mode != TokenMode::Platform {
            return None;
        }
        match &self.platform {
            Some(platform) if platform.lost.is_none() && platform.missing.is_empty() => None,
            Some(platform) if platform.lost.is_none() => Some(Hold::PermissionMissing),
            _ => Some(Hold::Unauthorized),
        }
    }
}

/// A template that WeChat lists, or has listed once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRow {
    /// WeChat's id (`priTmplId`).
    pub id: TemplateId,
    /// Its title.
    pub title: String,
    /// The card's lines, with `{{key.DATA}}` where values go.
    pub content: String,
    /// The same lines with sample values.
    pub example: String,
    /// One-time or long-term.
    pub kind: TemplateKind,
    /// The keywords, in order of appearance.
    pub keys: Vec<TemplateKey>,
    /// Whether the last refresh listed it.
    pub listed: bool,
    /// When it was listed for the first time.
    pub first_seen_at: Timestamp,
    /// When it was last listed with other contents than before.
    pub changed_at: Timestamp,
    /// Since when it is not listed, if it is not.
    pub vanished_at: Option<Timestamp>,
}
