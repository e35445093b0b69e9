//! How WeChat pushes to a channel: what is entered in its console, without the secrets.

use serde::{Deserialize, Serialize};

use super::{
    command::ChannelError,
    event::{CallbackConfigured, SecretRef},
};

/// Characters of an original id at most. WeChat's have 15.
const MAX_ORIGINAL_ID_CHARS: usize = 64;

/// What WeChat's console calls the way of encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackMode {
    /// In clear: nothing vouches for a body. Only to try something out.
    Plaintext,
    /// In clear and encrypted; only the encrypted part is read.
    Compatible,
    /// Encrypted.
    #[default]
    Secure,
}

/// How bodies are spelled. A hint for the console's form: what comes is read in either spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackFormat {
    /// JSON.
    #[default]
    Json,
    /// XML.
    Xml,
}

/// What is to be configured; what is left out stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackChange {
    /// The way of encryption.
    pub mode: CallbackMode,
    /// The spelling.
    pub format: CallbackFormat,
    /// Another token. Needed the first time.
    pub token: Option<SecretRef>,
    /// Another key; the one in force becomes the previous one. Needed once the mode encrypts.
    pub key: Option<SecretRef>,
    /// The Mini Program's original id, `gh_…`.
    pub original_id: Option<String>,
}

impl CallbackChange {
    /// What is configured from now on, after `before`.
    pub(super) fn after(
        self,
        before: Option<&CallbackConfigured>,
    ) -> Result<CallbackConfigured, ChannelError> {
        let Self { mode, format, token, key, original_id } = self;
        if let Some(id) = &original_id {
            check_original_id(id)?;
        }
        let token = token.or_else(|| Some(before?.token.clone())).ok_or(ChannelError::NoCallbackToken)?;
        let (key, previous_key) = match (key, before.and_then(|before| before.key.clone())) {
            (Some(new), old) => (Some(new), old),
            (None, old) => (old, before.and_then(|before| before.previous_key.clone())),
        };
        if mode != CallbackMode::Plaintext && key.is_none() {
            return Err(ChannelError::NoCallbackKey);
        }
        let original_id = original_id.or_else(|| before?.original_id.clone());
        Ok(CallbackConfigured { mode, format, token, key, previous_key, original_id, learned: false })
    }
}

/// Whether a text can be an original id.
pub(super) fn check_original_id(id: &str) -> Result<(), ChannelError> {
    let plain = |rest: &str| {
        (1..=MAX_ORIGINAL_ID_CHARS).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    match id.strip_prefix("gh_") {
        Some(rest) if plain(rest) => Ok(()),
        _ => Err(ChannelError::BadOriginalId),
    }
}
