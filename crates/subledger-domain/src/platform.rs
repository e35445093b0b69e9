//! The third-party platform of the open platform (a "component"): what Mini Programs are authorized to instead of handing
//! out their AppSecret. Lives in the log `main`.
//!
//! Secrets are not here; events carry the references under which the secrets vault keeps them. The tickets that WeChat
//! pushes every ten minutes are not here either: each replaces the one before it, and no decision looks at them. Which
//! Mini Programs are authorized stands in the logs of their channels.

mod command;
mod event;

pub use command::{PlatformCommand, PlatformError};
pub use event::{Configured, PlatformEvent, SecretsReplaced, TicketAsk, TicketPushStarted};

use serde::{Deserialize, Serialize};

use crate::{Decide, Timestamp, channel::SecretRef, decide::aggregate};

aggregate!(Platform, "platform", PlatformCommand, PlatformEvent, PlatformError);

/// A third-party platform.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Platform {
    configured: Option<Configured>,
    secret: Option<SecretRef>,
    token: Option<SecretRef>,
    key: Option<SecretRef>,
    previous_key: Option<SecretRef>,
}

impl Platform {
    /// Its settings, if it is set up.
    pub fn configured(&self) -> Option<&Configured> {
        self.configured.as_ref()
    }

    /// Where its AppSecret is.
    pub fn secret(&self) -> Option<&SecretRef> {
        self.secret.as_ref()
    }

    /// Where the token of its pushes is.
    pub fn token(&self) -> Option<&SecretRef> {
        self.token.as_ref()
    }

    /// Where the key of its pushes is.
    pub fn key(&self) -> Option<&SecretRef> {
        self.key.as_ref()
    }

    /// Where the key before it is: WeChat may go on using that for a while.
    pub fn previous_key(&self) -> Option<&SecretRef> {
        self.previous_key.as_ref()
    }

    fn fold(&mut self, event: &PlatformEvent) {
        match event {
            PlatformEvent::Configured(e) => self.configured = Some(e.clone()),
            PlatformEvent::SecretsReplaced(e) => {
                let SecretsReplaced { secret, token, key } = e.clone();
                self.secret = secret.or_else(|| self.secret.take());
                self.token = token.or_else(|| self.token.take());
                if let Some(key) = key {
                    self.previous_key = self.key.replace(key);
                }
            }
            // Told to people; nothing hangs on it.
            PlatformEvent::TicketPushStarted(_) => {}
        }
    }
}

impl Decide for Platform {
    type Ask = PlatformCommand;

    fn decide(&self, ask: PlatformCommand, _now: Timestamp) -> Result<Vec<PlatformEvent>, PlatformError> {
        match ask {
            PlatformCommand::Configure { settings, secrets } => {
                let there = [
                    (secrets.secret.is_some() || self.secret.is_some(), PlatformError::NoSecret),
                    (secrets.token.is_some() || self.token.is_some(), PlatformError::NoToken),
                    (secrets.key.is_some() || self.key.is_some(), PlatformError::NoKey),
                ];
                if let Some((_, missing)) = there.into_iter().find(|(there, _)| !there) {
                    return Err(missing);
                }
                let mut events = Vec::new();
                if self.configured.as_ref() != Some(&settings) {
                    events.push(PlatformEvent::Configured(settings));
                }
                if secrets != SecretsReplaced::default() {
                    events.push(PlatformEvent::SecretsReplaced(secrets));
                }
                Ok(events)
            }
            _ if self.configured.is_none() => Err(PlatformError::NotConfigured),
            PlatformCommand::NoteTicketPush(started) => Ok(vec![PlatformEvent::TicketPushStarted(started)]),
        }
    }
}
