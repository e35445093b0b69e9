//! How WeChat pushes to a channel: the token and keys of its console, set, made up, replaced and shown once.

use rand::seq::IndexedRandom;
use secrecy::{ExposeSecret, SecretString};
use subledger_domain::{
    ChannelCode, LogName, Timestamp,
    channel::{CallbackChange, CallbackConfigured, CallbackFormat, CallbackMode, ChannelCommand, SecretRef},
};
use subledger_store::{Done, SecretMark};
use subledger_wechat::push::{EncodingAesKey, PushToken};

use crate::{Caller, Engine, EngineError, channels::Change, submit::done_with};

/// Characters of a token that is made up.
const TOKEN_CHARS: usize = 32;
/// Characters of an `EncodingAESKey`.
const KEY_CHARS: usize = 43;
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A secret that is to be configured.
#[derive(Debug, Clone, Default)]
pub enum SecretChange {
    /// The one in force stays; where there is none, one is made up.
    #[default]
    Keep,
    /// This one.
    Given(SecretString),
    /// A new one is made up.
    Generate,
}

/// How WeChat is to push to a channel.
#[derive(Debug, Clone)]
pub struct CallbackRequest {
    /// The way of encryption, the same as in WeChat's console.
    pub mode: CallbackMode,
    /// The spelling for the console; what comes is read in either.
    pub format: CallbackFormat,
    /// The token: 3 to 32 letters and digits.
    pub token: SecretChange,
    /// The `EncodingAESKey`: 43 letters and digits. The one before it goes on opening what comes late.
    pub key: SecretChange,
    /// The Mini Program's original id (`gh_…`); learned from the first push if it is not given.
    pub original_id: Option<String>,
}

/// How WeChat pushes to a channel, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// The way of encryption.
    pub mode: CallbackMode,
    /// The spelling for the console.
    pub format: CallbackFormat,
    /// By what the token is known.
    pub token: SecretMark,
    /// By what the key is known.
    pub key: Option<SecretMark>,
    /// By what the key before it is known.
    pub previous_key: Option<SecretMark>,
    /// The Mini Program's original id, once it is known.
    pub original_id: Option<String>,
    /// When it was last set, as far as the read model shows it.
    pub configured_at: Option<Timestamp>,
}

/// Said wherever plaintext mode is set or shown.
pub const PLAINTEXT_WARNING: &str = "plaintext mode: nothing vouches for what a push says; whoever saw one of WeChat's \
     requests can invent taps for ten minutes. Use secure mode for anything but a first try";

impl Callback {
    /// What is wrong with it, if something is.
    pub fn warning(&self) -> Option<&'static str> {
        (self.mode == CallbackMode::Plaintext).then_some(PLAINTEXT_WARNING)
    }
}

/// What configuring came to.
#[derive(Debug)]
pub struct CallbackSet {
    /// The configuration.
    pub callback: Callback,
    /// The token, if it was made up: this is the only time it is shown.
    pub token: Option<SecretString>,
    /// The key, if it was made up: this is the only time it is shown.
    pub key: Option<SecretString>,
}

/// A secret to be kept, and to be shown if it was made up.
struct Chosen {
    secret: SecretString,
    made_up: bool,
}

impl Engine {
    /// Sets how WeChat pushes to a channel. What is repeated changes nothing.
    pub async fn configure_callback(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        request: CallbackRequest,
    ) -> Result<Done<CallbackSet>, EngineError> {
        let CallbackRequest { mode, format, token, key, original_id } = request;
        let (channel, _) = self.channel(code).await?;
        let before = channel.callback();
        let token = self.chosen(token, before.map(|it| &it.token), TOKEN_CHARS, true).await?;
        let wanted = mode != CallbackMode::Plaintext;
        let key = self.chosen(key, before.and_then(|it| it.key.as_ref()), KEY_CHARS, wanted).await?;
        if let Some(token) = &token {
            PushToken::parse(token.secret.expose_secret())
                .map_err(|fault| EngineError::field("bad_callback", "/token", "token", fault.to_string()))?;
        }
        if let Some(key) = &key {
            EncodingAesKey::parse(key.secret.expose_secret()).map_err(|fault| {
                EngineError::field("bad_callback", "/encoding_aes_key", "encoding_aes_key", fault.to_string())
            })?;
        }
        let mut secrets = Vec::new();
        let mut keep = |kind: &str, chosen: &Option<Chosen>| {
            let chosen = chosen.as_ref()?;
            let reference = SecretRef(format!("{kind}/{code}/{}", uuid::Uuid::now_v7().simple()));
            secrets.push((reference.clone(), chosen.secret.clone()));
            Some(reference)
        };
        let change = CallbackChange {
            mode,
            format,
            token: keep("pushtoken", &token),
            key: keep("pushkey", &key),
            original_id,
        };
        let work = Change { command: ChannelCommand::ConfigureCallback { change }, secrets };
        let log = LogName::channel(code);
        let done = self.submit(log.clone(), caller, "configure_callback", None, work).await?;
        self.push_doors().forget(code);
        if mode == CallbackMode::Plaintext {
            tracing::warn!(channel.code = %code, "pushes are configured in plaintext mode");
        }
        tracing::info!(channel.code = %code, "pushes configured");
        self.caught_up(&log, None).await;
        let callback = self.callback(code).await?.ok_or_else(|| EngineError::internal("no callback"))?;
        let shown = |chosen: Option<Chosen>| chosen.filter(|it| it.made_up).map(|it| it.secret);
        Ok(done_with(done, CallbackSet { callback, token: shown(token), key: shown(key) }))
    }

    /// How WeChat pushes to a channel, if that was ever set.
    pub async fn callback(&self, code: &ChannelCode) -> Result<Option<Callback>, EngineError> {
        let (channel, _) = self.channel(code).await?;
        let Some(configured) = channel.callback() else { return Ok(None) };
        let CallbackConfigured { mode, format, token, key, previous_key, original_id, .. } =
            configured.clone();
        let row = self.queries().channel(code).await?.value.and_then(|row| row.callback);
        let wanted = [Some(&token), key.as_ref(), previous_key.as_ref()];
        let wanted: Vec<&str> = wanted.into_iter().flatten().map(|reference| reference.0.as_str()).collect();
        let marks = self.store().secret_marks(&wanted).await?;
        let mark = |reference: &SecretRef| {
            let missing = || EngineError::internal(format!("the secret {} is not kept", reference.0));
            marks.get(&reference.0).cloned().ok_or_else(missing)
        };
        Ok(Some(Callback {
            mode,
            format,
            token: mark(&token)?,
            key: key.as_ref().map(mark).transpose()?,
            previous_key: previous_key.as_ref().map(mark).transpose()?,
            original_id,
            configured_at: row.map(|row| row.configured_at),
        }))
    }

    /// The secret to keep, if another one than that in force.
    async fn chosen(
        &self,
        change: SecretChange,
        before: Option<&SecretRef>,
        chars: usize,
        wanted: bool,
    ) -> Result<Option<Chosen>, EngineError> {
        match change {
            SecretChange::Keep if before.is_some() || !wanted => Ok(None),
            SecretChange::Keep | SecretChange::Generate => {
                Ok(Some(Chosen { secret: made_up(chars), made_up: true }))
            }
            SecretChange::Given(secret) => {
                let known = match before {
                    Some(reference) => self.store().secret(&reference.0).await?,
                    None => None,
                };
                let same = known.is_some_and(|known| known.expose_secret() == secret.expose_secret());
                Ok((!same).then_some(Chosen { secret, made_up: false }))
            }
        }
    }

    /// A secret of the vault that an event names.
    pub(crate) async fn kept_secret(&self, reference: &SecretRef) -> Result<SecretString, EngineError> {
        let missing = || EngineError::internal(format!("the secret {} is not kept", reference.0));
        self.store().secret(&reference.0).await?.ok_or_else(missing)
    }
}

/// Letters and digits by chance.
fn made_up(chars: usize) -> SecretString {
    let mut dice = rand::rng();
    let text: String = std::iter::repeat_with(|| ALPHABET.choose(&mut dice).copied().unwrap_or(b'A'))
        .take(chars)
        .map(char::from)
        .collect();
    text.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_is_what_wechat_takes() {
        for _ in 0..100 {
            PushToken::parse(made_up(TOKEN_CHARS).expose_secret()).unwrap();
            EncodingAesKey::parse(made_up(KEY_CHARS).expose_secret()).unwrap();
        }
        assert_ne!(made_up(KEY_CHARS).expose_secret(), made_up(KEY_CHARS).expose_secret());
    }
}
