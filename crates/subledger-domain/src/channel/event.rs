//! What can have happened to a channel.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    authorization::{AuthorizationUpdated, Authorized, Unauthorized},
    callback::{CallbackFormat, CallbackMode},
    policy::Policy,
    quota::{BulkHeld, BulkReleased, QuotaCleared},
    relay::{RelayConfigured, RelayStopped},
    token::{TokenConflictSuspected, TokenForced, TokenLeased, TokenMode, TokenSourceChanged},
};
use crate::{Template, TemplateId, event::stored_events};

stored_events! {
    /// Events of the channel stream.
    ChannelEvent of "channel" {
        /// The Mini Program was set up, after WeChat accepted its credentials.
        Registered = 10, "channel.registered", 2, from [registered_1];
        /// The AppSecret was replaced.
        CredentialsReplaced = 11, "channel.credentials_replaced", 1;
        /// The template list was read from WeChat.
        TemplatesRefreshed = 12, "channel.templates_refreshed", 1;
        /// Sending stopped; what waits keeps waiting.
        Paused = 13, "channel.paused", 1;
        /// Sending goes on.
        Resumed = 14, "channel.resumed", 1;
        /// A policy of the channel changed.
        PolicyChanged = 15, "channel.policy_changed", 1;
        /// How WeChat pushes to the channel was set, or the original id was learned from a push.
        CallbackConfigured = 16, "channel.callback_configured", 1;
        /// Pushes are forwarded to the integrator's back end from here on, or differently than before.
        RelayConfigured = 17, "channel.relay_configured", 1;
        /// Pushes are forwarded no more.
        RelayStopped = 18, "channel.relay_stopped", 1;
        /// Access tokens come from elsewhere from here on.
        TokenSourceChanged = 19, "channel.token_source_changed", 1;
        /// WeChat refused a token long before its end: somebody else replaces the Mini Program's tokens.
        TokenConflictSuspected = 100, "channel.token_conflict_suspected", 1;
        /// The access token was lent to another system.
        TokenLeased = 101, "channel.token_leased", 1;
        /// An operator had the token replaced although it lived.
        TokenForced = 102, "channel.token_forced", 1;
        /// The Mini Program's administrator has authorized a third-party platform, for the first time or again.
        Authorized = 113, "channel.authorized", 1;
        /// Other permission sets are granted than before.
        AuthorizationUpdated = 114, "channel.authorization_updated", 1;
        /// The authorization is lost; deliveries wait until it is given again.
        Unauthorized = 115, "channel.unauthorized", 1;
        /// Little is left of WeChat's daily quota: bulk deliveries are held, single ones go on.
        BulkHeld = 135, "channel.bulk_held", 1;
        /// Held deliveries go on before their time.
        BulkReleased = 136, "channel.bulk_released", 1;
        /// WeChat set the day's counts back, because an operator asked it to. Holds end.
        QuotaCleared = 137, "channel.quota_cleared", 1;
    }
}

/// Names a secret in the secrets vault. Not a secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretRef(pub String);

/// Payload of [`ChannelEvent::Registered`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The Mini Program's AppID.
    pub appid: String,
    /// A name for people.
    pub name: String,
    /// Where the AppSecret is; in external mode, the credential for the token server. None in platform mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
    /// How tokens are obtained.
    pub token_mode: TokenMode,
    /// Where the company's token server is asked; in external mode only. Holds neither user name nor password nor query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// Its policies.
    pub policy: Policy,
}

/// Since schema 2 the modes are more, and the secret may be missing. What was written before still says what it said.
fn registered_1(payload: Value) -> Result<Value, String> {
    Ok(payload)
}

/// Payload of [`ChannelEvent::CredentialsReplaced`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsReplaced {
    /// Where the new AppSecret is, or the new credential for the token server.
    pub secret: SecretRef,
}

/// Payload of [`ChannelEvent::TemplatesRefreshed`]. Recorded also when nothing changed: it is the proof of freshness.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TemplatesRefreshed {
    /// How many WeChat listed.
    pub listed: u32,
    /// Listed now and unknown before (or vanished before).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Template>,
    /// Listed now with another title, content, kind or keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Template>,
    /// Known before and not listed now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vanished: Vec<TemplateId>,
}

/// Payload of [`ChannelEvent::Paused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Why, in the operator's words.
    pub reason: String,
}

/// Payload of [`ChannelEvent::Resumed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// Why, in the operator's words.
    pub reason: String,
}

/// Payload of [`ChannelEvent::PolicyChanged`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChanged {
    /// The policies from now on.
    pub policy: Policy,
}

/// Payload of [`ChannelEvent::CallbackConfigured`]: all of it, as it is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackConfigured {
    /// The way of encryption.
    pub mode: CallbackMode,
    /// The spelling that the console was to be set to.
    pub format: CallbackFormat,
    /// Where the token is.
    pub token: SecretRef,
    /// Where the key is; none in plaintext mode, if there never was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretRef>,
    /// Where the key before it is: WeChat may go on using it for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_key: Option<SecretRef>,
    /// The Mini Program's original id (`gh_…`), which pushes name instead of the AppID, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_id: Option<String>,
    /// Nothing was set: the original id was taken from the first push.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learned: bool,
}
