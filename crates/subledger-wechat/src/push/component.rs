//! What WeChat tells a third-party platform about itself: tickets, and who authorized it or no longer does.
//!
//! These come to one URL per platform, always as XML, always sealed, and the platform's own AppID stands at their end (§9.1).
//! They are checked and opened as all pushes are; only the vocabulary differs. A ticket and an authorization code are secrets:
//! they are carried as such, and a content that holds one must be kept sealed or not at all.
//!
//! Decoding asks for no more than acting on it needs. WeChat adds kinds now and then (quick registration, among others); they
//! are kept by their name and answered `success`.

use std::fmt;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::content_key::ContentKey;
use super::crypt::OpenedWith;
use super::decode::{Fields, id, time, word};
use super::error::{PushError, Undecodable};
use super::key::{PushKeys, PushToken};
use super::settings::{PushMode, PushSettings};
use super::tree::parse;
use super::{Opened, open, reopen};

/// Longest ticket or code that is taken. Those seen have a hundred-odd characters; nothing is promised.
const MAX_SECRET_BYTES: usize = 2048;

/// A push to a platform that passed all checks, whether or not it was understood.
pub struct Received {
    /// The clear content, as WeChat wrote it. It may hold a ticket or a code; wiped when dropped.
    pub content: Zeroizing<Vec<u8>>,
    /// Which key opened it.
    pub opened_with: OpenedWith,
    /// What it says, or why that is not known.
    pub decoded: Result<PlatformPush, Undecodable>,
    /// Equal for every delivery of the same push. A ticket that is pushed again later, with another time, is another push.
    pub key: ContentKey,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("component::Received")
            .field("content_bytes", &self.content.len())
            .field("opened_with", &self.opened_with)
            .field("decoded", &self.decoded)
            .field("key", &self.key)
            .finish()
    }
}

/// A push to a platform.
#[derive(Debug, Clone)]
pub struct PlatformPush {
    /// The platform, if the content names it. The sealed part has proven it already.
    pub component_appid: Option<String>,
    /// When it happened, in seconds since the Unix epoch, by WeChat's clock.
    pub created_at: Option<i64>,
    /// What happened.
    pub what: PlatformEvent,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum PlatformEvent {
    /// `component_verify_ticket`: a ticket, every ten minutes, each good for twelve hours. Often the same one again.
    Ticket(SecretString),
    /// `authorized`: an account authorized the platform, for the first time or again.
    Authorized(AuthorizationNews),
    /// `updateauthorized`: an account changed what the platform may do. Not sent when the sets stayed the same.
    UpdateAuthorized(AuthorizationNews),
    /// `unauthorized`: an account withdrew. Its tokens and its refresh token are dead.
    Unauthorized {
        /// The account's AppID.
        appid: String,
    },
    /// Anything else, by WeChat's `InfoType`.
    Other {
        /// The kind.
        info_type: String,
    },
}

impl PlatformEvent {
    /// A stable word for counters: `ticket`, `authorized`, `update_authorized`, `unauthorized` or `other`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ticket(_) => "ticket",
            Self::Authorized(_) => "authorized",
            Self::UpdateAuthorized(_) => "update_authorized",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Other { .. } => "other",
        }
    }

    /// The account that it is about, if it is about one.
    #[must_use]
    pub fn appid(&self) -> Option<&str> {
        match self {
            Self::Authorized(news) | Self::UpdateAuthorized(news) => Some(&news.appid),
            Self::Unauthorized { appid } => Some(appid),
            Self::Ticket(_) | Self::Other { .. } => None,
        }
    }
}

/// An authorization, as WeChat tells the platform about it. The browser brings a code, too; either works (§9.5).
#[derive(Debug, Clone)]
pub struct AuthorizationNews {
    /// The account's AppID.
    pub appid: String,
    /// The code to ask for tokens with, once. `None` if absent: what there is can be asked for without one.
    pub code: Option<SecretString>,
    /// When the code ends, in seconds since the Unix epoch.
    pub code_expires_at: Option<i64>,
    /// The pre-auth code that the authorization began with: tells which of ours it is.
    pub pre_auth_code: Option<SecretString>,
}

/// Settings of the URL to which WeChat pushes what concerns the platform itself.
#[must_use]
pub fn settings(component_appid: &str, token: PushToken, keys: PushKeys) -> PushSettings {
    PushSettings::sealed(component_appid, token, keys)
}

/// Settings of the URL to which WeChat pushes what users of an authorized account do (the one with `$APPID$`, §9.1). They are
/// read by [`super::receive`].
#[must_use]
pub fn user_settings(component_appid: &str, appid: &str, token: PushToken, keys: PushKeys) -> PushSettings {
    PushSettings::sealed(appid, token, keys).with_tail(component_appid)
}

/// Takes in a POST to the platform's own URL: checks, opens and decodes it.
///
/// `query` is the raw query string, `now_seconds` the time since the Unix epoch. A body that cannot be decoded is no error
/// here, see [`Received::decoded`].
///
/// # Errors
/// Any [`PushError`]; [`PushError::ClearBody`] if the settings are those of plaintext mode, which platforms do not have.
pub fn receive(
    settings: &PushSettings,
    query: &[u8],
    body: &[u8],
    now_seconds: i64,
) -> Result<Received, PushError> {
    if settings.mode() == PushMode::Plaintext {
        return Err(PushError::ClearBody);
    }
    Ok(understood(settings, open(settings, query, body, now_seconds)?))
}

/// Opens and decodes a body that was kept as it came because no key opened it then; see [`super::reopen`].
///
/// # Errors
/// Those of [`super::reopen`]
pub fn receive_kept(settings: &PushSettings, body: &[u8]) -> Result<Received, PushError> {
    Ok(understood(settings, reopen(settings, body)?))
}

fn understood(settings: &PushSettings, opened: Opened) -> Received {
    let Opened { content, with: opened_with } = opened;
    let key = ContentKey::of_bytes(settings.appid(), &content);
    let content = Zeroizing::new(content);
    Received { decoded: decode(&content), content, opened_with, key }
}

/// Decodes the clear content of a push to a platform.
///
/// # Errors
/// [`Undecodable`]
pub fn decode(content: &[u8]) -> Result<PlatformPush, Undecodable> {
    let root = parse(content)?;
    let fields = Fields(root.fields().unwrap_or_default());
    let info_type = word(fields.needed("InfoType")?, "InfoType")?;
    let what = match info_type.as_str() {
        "component_verify_ticket" => {
            let ticket = fields.needed("ComponentVerifyTicket")?;
            PlatformEvent::Ticket(secret(ticket).ok_or(Undecodable::Odd("ComponentVerifyTicket"))?)
        }
        "authorized" => PlatformEvent::Authorized(news(fields)?),
        "updateauthorized" => PlatformEvent::UpdateAuthorized(news(fields)?),
        "unauthorized" => PlatformEvent::Unauthorized { appid: appid(fields)? },
        _ => PlatformEvent::Other { info_type },
    };
    Ok(PlatformPush {
        component_appid: fields.lenient("AppId").and_then(|text| id(text, "AppId").ok()),
        created_at: fields.lenient("CreateTime").and_then(|text| time(text).ok()),
        what,
    })
}

fn news(fields: Fields<'_>) -> Result<AuthorizationNews, Undecodable> {
    let expires = fields.lenient("AuthorizationCodeExpiredTime");
    Ok(AuthorizationNews {
        appid: appid(fields)?,
        code: fields.lenient("AuthorizationCode").and_then(secret),
        code_expires_at: expires.and_then(|text| time(text).ok()),
        pre_auth_code: fields.lenient("PreAuthCode").and_then(secret),
    })
}

fn appid(fields: Fields<'_>) -> Result<String, Undecodable> {
    id(fields.needed("AuthorizerAppid")?, "AuthorizerAppid")
}

/// A ticket or a code: visible characters, within bounds.
fn secret(text: &str) -> Option<SecretString> {
    let fits = text.len() <= MAX_SECRET_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.into())
}
