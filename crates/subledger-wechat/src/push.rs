//! Pushes: what WeChat sends to the URL of a Mini Program.
//!
//! Pure functions on bytes. A request goes through them in a fixed order (§8): size, query, signature, clock, opening the
//! sealed part, decoding. Everything before the signature is read from strangers, so each step is bounded and none of them
//! trusts a length. Nothing here answers, stores or counts; the caller does, by what [`PushError::handling`] tells.
//!
//! Begin with [`PushSettings`]; [`answer_url_check`] is for GET, [`receive`] for POST. What WeChat tells a third-party platform
//! about itself has a vocabulary of its own: [`component`].
//!
//! Two rules that are easy to get wrong. In compatible and secure mode only `msg_signature` counts: the `signature` beside it
//! says nothing about the body, and neither do the clear fields of a compatible body. In plaintext mode nothing vouches for
//! the body at all: whoever saw one query string can send any body with it until the clock window closes.

pub mod component;
mod content_key;
mod crypt;
mod decode;
mod envelope;
mod error;
mod event;
mod json;
mod key;
mod query;
mod settings;
mod tree;
mod verify;
mod xml;

pub use content_key::ContentKey;
pub use crypt::{OpenedWith, unseal};
pub use decode::decode;
pub use error::{Handling, PushError, QueryFault, SealFault, Undecodable};
pub use event::{ChangeItem, Decoded, PopupItem, Push, PushEvent, SentItem};
pub use key::{EncodingAesKey, PushKeys, PushToken};
pub use query::{MAX_ECHO_BYTES, MAX_NONCE_BYTES, MAX_QUERY_BYTES, PushQuery};
pub use settings::{CLOCK_WINDOW, PushMode, PushSettings, SettingsFault};
pub use tree::{MAX_DEPTH, MAX_NODES};

use std::fmt;

use envelope::Envelope;
use event::is_container_check;

/// Longest body that is looked at. The longest a push can be is a chat message of 2,048 characters, sealed and in base64.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// What a POST turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// WeChat's cloud hosting asks whether somebody is there. Answer `success`; there is nothing to keep. It comes without a
    /// signature, which is why it must never have an effect.
    ContainerCheck,
    /// A push that passed all checks of its mode.
    Push(Received),
}

/// A push that passed all checks, whether or not its content was understood.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The clear content, as WeChat wrote it: XML or JSON. To be kept sealed: it names a user.
    pub content: Vec<u8>,
    /// Which key opened it.
    pub opened_with: OpenedWith,
    /// What it says, or why that is not known. The latter is to be kept and shown, and answered `success` all the same.
    pub decoded: Result<Push, Undecodable>,
    /// Equal for every delivery of the same push.
    pub key: ContentKey,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("content_bytes", &self.content.len())
            .field("opened_with", &self.opened_with)
            .field("decoded", &self.decoded)
            .field("key", &self.key)
            .finish()
    }
}

/// The clear content of a push that passed all checks of its mode.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// As WeChat wrote it.
    pub content: Vec<u8>,
    /// Which key opened it.
    pub with: OpenedWith,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Opened");
        debug.field("content_bytes", &self.content.len()).field("with", &self.with).finish()
    }
}

/// Checks a GET that WeChat makes when the URL is entered in its console. Returns the text to answer, byte for byte and with
/// nothing around it. The text is not covered by the signature: send it as plain text.
///
/// `query` is the raw query string, `now_seconds` the time since the Unix epoch.
///
/// # Errors
/// [`PushError::Query`], [`PushError::NoSignature`], [`PushError::WrongSignature`], [`PushError::Clock`]
pub fn answer_url_check(
    settings: &PushSettings,
    query: &[u8],
    now_seconds: i64,
) -> Result<String, PushError> {
    let query = PushQuery::parse(query)?;
    verify::plain(settings, &query, now_seconds)?;
    query.echostr.ok_or(PushError::Query(QueryFault::Missing("echostr")))
}

/// Takes in a POST: checks, opens and decodes it.
///
/// `query` is the raw query string, `now_seconds` the time since the Unix epoch. A body that cannot be decoded is no error
/// here, see [`Received::decoded`].
///
/// # Errors
/// Any [`PushError`]
pub fn receive(
    settings: &PushSettings,
    query: &[u8],
    body: &[u8],
    now_seconds: i64,
) -> Result<Inbound, PushError> {
    if is_container_check(body) {
        return Ok(Inbound::ContainerCheck);
    }
    Ok(understood(settings, open(settings, query, body, now_seconds)?))
}

/// Decodes what was opened: the second half of [`receive`]. Also for what was kept and is to be read anew.
#[must_use]
pub fn understood(settings: &PushSettings, opened: Opened) -> Inbound {
    let Opened { content, with: opened_with } = opened;
    let decoded = match decode(&content) {
        Ok(Decoded::ContainerCheck) => return Inbound::ContainerCheck,
        Ok(Decoded::Push(push)) => Ok(push),
        Err(reason) => Err(reason),
    };
    let key = match &decoded {
        Ok(push) => ContentKey::of_push(settings.appid(), push, &content),
        Err(_) => ContentKey::of_bytes(settings.appid(), &content),
    };
    Inbound::Push(Received { content, opened_with, decoded, key })
}

/// Opens a sealed body that was kept as it came, because no key opened it then ([`Handling::Keep`]). Its signature and its
/// time were checked when it came, and are not looked at again.
///
/// # Errors
/// [`PushError::Envelope`], [`PushError::ClearBody`], [`PushError::Unopened`], [`PushError::WrongTail`]
pub fn reopen(settings: &PushSettings, body: &[u8]) -> Result<Opened, PushError> {
    let keys = settings.known_keys().ok_or(PushError::Unopened(SealFault::Padding))?;
    let envelope = Envelope::read(body).map_err(PushError::Envelope)?.ok_or(PushError::ClearBody)?;
    let (content, with) = unseal(keys, settings.tail(), &envelope.encrypt)?;
    Ok(Opened { content, with })
}

/// Checks and opens a POST without looking at what its content says. The first half of [`receive`] and of
/// [`component::receive`].
///
/// # Errors
/// Any [`PushError`]
pub fn open(
    settings: &PushSettings,
    query: &[u8],
    body: &[u8],
    now_seconds: i64,
) -> Result<Opened, PushError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(PushError::TooLarge);
    }
    let query = PushQuery::parse(query)?;
    let Some(keys) = settings.sealing_keys() else {
        verify::plain(settings, &query, now_seconds)?;
        if matches!(Envelope::read(body), Ok(Some(_))) {
            return Err(PushError::SealedBody);
        }
        return Ok(Opened { content: body.to_vec(), with: OpenedWith::Nothing });
    };
    let envelope = Envelope::read(body).map_err(PushError::Envelope)?.ok_or(PushError::ClearBody)?;
    verify::sealed(settings, &query, &envelope.encrypt, now_seconds)?;
    let (content, with) = unseal(keys, settings.tail(), &envelope.encrypt)?;
    Ok(Opened { content, with })
}
