//! The authorization of a channel's Mini Program to a third-party platform.
//!
//! While it stands, the platform calls WeChat for the Mini Program. Only the Mini Program's administrator can give it and
//! take it away. A channel whose authorization is lost, or lacks what sending needs, holds its deliveries: nothing fails,
//! and all of it goes on once the administrator has authorized again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    command::ChannelError,
    event::{ChannelEvent, Registered, SecretRef},
    policy::Policy,
    state::Channel,
    token::{TokenMode, TokenSourceChanged},
};

/// The permission sets without which nothing can be sent: 18 covers sending, templates and login (§9.7). It is exclusive:
/// one platform can hold it, and while it does, the customer cannot publish through WeChat's console.
pub const NEEDED_PERMISSIONS: [u32; 1] = [18];

/// What was granted, as [`super::ChannelCommand::Authorize`] has it from WeChat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// The platform's appid.
    pub platform: String,
    /// The Mini Program's appid. Must be the channel's own.
    pub appid: String,
    /// What a channel that is not set up yet is called.
    pub name: String,
    /// The permission sets, by WeChat's numbers.
    pub permissions: BTreeSet<u32>,
    /// Where the refresh token is. It is replaced there without a word here.
    pub refresh_token: SecretRef,
    /// The Mini Program's original id (`gh_…`), which pushes name.
    pub original_id: String,
}

/// Payload of [`ChannelEvent::Authorized`]. From now on the channel's calls go through the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorized {
    /// The platform's appid.
    pub platform: String,
    /// The permission sets that were granted, by WeChat's numbers.
    pub permissions: BTreeSet<u32>,
    /// Those of [`NEEDED_PERMISSIONS`] that were not.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub missing: BTreeSet<u32>,
    /// Where the refresh token is.
    pub refresh_token: SecretRef,
    /// The Mini Program's original id (`gh_…`), which pushes name.
    pub original_id: String,
}

/// Payload of [`ChannelEvent::AuthorizationUpdated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationUpdated {
    /// The permission sets from now on.
    pub permissions: BTreeSet<u32>,
    /// Those of [`NEEDED_PERMISSIONS`] that are not among them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub missing: BTreeSet<u32>,
}

/// How it was noticed that an authorization is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizationLoss {
    /// WeChat pushed it.
    Pushed,
    /// WeChat answered a call so (61003), or does not list the Mini Program any more.
    Refused,
}

/// Payload of [`ChannelEvent::Unauthorized`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unauthorized {
    /// How it was noticed.
    pub loss: AuthorizationLoss,
}

/// Where a channel stands with its platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationState {
    /// What was last granted.
    pub granted: Authorized,
    /// It is lost, and how that was noticed.
    #[serde(default)]
    pub lost: Option<AuthorizationLoss>,
}

/// Why a channel's deliveries wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// An operator has paused it.
    Paused,
    /// Its Mini Program is not authorized to the platform any more.
    Unauthorized,
    /// Its authorization lacks a permission set that sending needs.
    PermissionMissing,
}

impl Hold {
    /// The name used in answers, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Unauthorized => "unauthorized",
            Self::PermissionMissing => "permission_missing",
        }
    }
}

/// Those needed permission sets that are not among `granted`.
pub(super) fn missing(granted: &BTreeSet<u32>) -> BTreeSet<u32> {
    NEEDED_PERMISSIONS.into_iter().filter(|needed| !granted.contains(needed)).collect()
}

impl Channel {
    /// Why its deliveries wait, if they do. What an operator wanted comes first.
    pub fn hold(&self) -> Option<Hold> {
        if self.is_paused() {
            return Some(Hold::Paused);
        }
        if self.registered()?.token_mode != TokenMode::Platform {
            return None;
        }
        match self.authorization() {
            Some(AuthorizationState { granted, lost: None }) if granted.missing.is_empty() => None,
            Some(AuthorizationState { lost: None, .. }) => Some(Hold::PermissionMissing),
            _ => Some(Hold::Unauthorized),
        }
    }
}

/// Decides on an authorization. WeChat tells of each one twice, by redirect and by push; the second time makes no event.
pub(super) fn authorize(channel: &Channel, wish: Authorization) -> Result<Vec<ChannelEvent>, ChannelError> {
    let Authorization { platform, appid, name, permissions, refresh_token, original_id } = wish;
    super::callback::check_original_id(&original_id)?;
    let missing = missing(&permissions);
    let granted = Authorized { platform, permissions, missing, refresh_token, original_id };
    let Some(registered) = channel.registered() else {
        let registered = Registered {
            appid,
            name,
            secret: None,
            token_mode: TokenMode::Platform,
            token_url: None,
            policy: Policy::default(),
        };
        return Ok(vec![ChannelEvent::Registered(registered), ChannelEvent::Authorized(granted)]);
    };
    if registered.appid != appid {
        return Err(ChannelError::OtherMiniProgram { own: registered.appid.clone(), authorized: appid });
    }
    let standing = channel
        .authorization()
        .filter(|state| state.lost.is_none() && registered.token_mode == TokenMode::Platform)
        .map(|state| &state.granted);
    Ok(match standing {
        Some(before) if *before == granted => Vec::new(),
        Some(before) if before.platform == granted.platform && before.original_id == granted.original_id => {
            let Authorized { permissions, missing, .. } = granted;
            vec![ChannelEvent::AuthorizationUpdated(AuthorizationUpdated { permissions, missing })]
        }
        Some(_) => vec![ChannelEvent::Authorized(granted)],
        None if registered.token_mode == TokenMode::Platform => vec![ChannelEvent::Authorized(granted)],
        None => {
            let source = TokenSourceChanged { mode: TokenMode::Platform, secret: None, url: None };
            vec![ChannelEvent::TokenSourceChanged(source), ChannelEvent::Authorized(granted)]
        }
    })
}
