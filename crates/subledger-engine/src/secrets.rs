//! The secrets of a channel, as far as anybody may know them: what there is, a fingerprint, and since when.
//!
//! Secrets are handed in and never handed out. What is made up here is shown in the one answer that made it.

use subledger_domain::{
    ChannelCode,
    channel::{Channel, Registered, SecretRef, TokenMode},
};
use subledger_store::SecretMark;

use crate::{Engine, EngineError};

/// What a secret of a channel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretKind {
    /// The AppSecret of the Mini Program.
    AppSecret,
    /// What the company's own token server takes from us.
    TokenCredential,
    /// The token of its push URL.
    PushToken,
    /// The EncodingAESKey of its push URL.
    PushKey,
    /// The EncodingAESKey before it, which still opens what comes late.
    PreviousPushKey,
    /// What signs pushes that are relayed.
    RelaySecret,
    /// The signing secret before it, for as long as it signs, too.
    PreviousRelaySecret,
}

impl SecretKind {
    /// The word for it in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppSecret => "app_secret",
            Self::TokenCredential => "token_credential",
            Self::PushToken => "push_token",
            Self::PushKey => "push_key",
            Self::PreviousPushKey => "previous_push_key",
            Self::RelaySecret => "relay_secret",
            Self::PreviousRelaySecret => "previous_relay_secret",
        }
    }
}

/// A secret that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSecret {
    /// What it is for.
    pub kind: SecretKind,
    /// By what it is known.
    pub mark: SecretMark,
}

impl Engine {
    /// The secrets that a channel uses now.
    pub async fn channel_secrets(&self, code: &ChannelCode) -> Result<Vec<KnownSecret>, EngineError> {
        let (channel, registered) = self.channel(code).await?;
        let references = self.references(&channel, &registered);
        let wanted: Vec<&str> = references.iter().map(|(_, reference)| reference.0.as_str()).collect();
        let marks = self.store().secret_marks(&wanted).await?;
        let known = |(kind, reference): (SecretKind, &SecretRef)| {
            marks.get(&reference.0).map(|mark| KnownSecret { kind, mark: mark.clone() })
        };
        Ok(references.into_iter().filter_map(known).collect())
    }

    fn references<'a>(
        &self,
        channel: &'a Channel,
        registered: &'a Registered,
    ) -> Vec<(SecretKind, &'a SecretRef)> {
        let mut references = Vec::new();
        let kind = match registered.token_mode {
            TokenMode::External => SecretKind::TokenCredential,
            _ => SecretKind::AppSecret,
        };
        references.extend(registered.secret.as_ref().map(|secret| (kind, secret)));
        if let Some(callback) = channel.callback() {
            references.push((SecretKind::PushToken, &callback.token));
            references.extend(callback.key.as_ref().map(|key| (SecretKind::PushKey, key)));
            references.extend(callback.previous_key.as_ref().map(|key| (SecretKind::PreviousPushKey, key)));
        }
        if let Some(relay) = channel.relay() {
            references.push((SecretKind::RelaySecret, &relay.secret));
            let previous = relay.previous.as_ref().filter(|previous| self.now() < previous.until);
            references.extend(previous.map(|it| (SecretKind::PreviousRelaySecret, &it.secret)));
        }
        references
    }
}
