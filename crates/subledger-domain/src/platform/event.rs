//! What can have happened to a third-party platform.

use serde::{Deserialize, Serialize};

use crate::{channel::SecretRef, event::stored_events};

stored_events! {
    /// Events of a platform stream.
    PlatformEvent of "platform" {
        /// Its settings were set, without its secrets.
        Configured = 110, "platform.configured", 1;
        /// Some of its secrets were set or replaced.
        SecretsReplaced = 111, "platform.secrets_replaced", 1;
        /// WeChat was asked to push tickets again.
        TicketPushStarted = 112, "platform.ticket_push_started", 1;
    }
}

/// Payload of [`PlatformEvent::Configured`]: all settings, as they are from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// A name for people.
    pub name: String,
    /// Where browsers reach this service: the page of WeChat's authorization returns there. Without a path.
    pub public_url: String,
}

/// Payload of [`PlatformEvent::SecretsReplaced`]: where the new ones are. What is left out stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SecretsReplaced {
    /// The platform's AppSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
    /// The token that signs pushes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretRef>,
    /// The key that seals pushes. The one before it goes on opening what comes late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretRef>,
}

/// Why WeChat was asked to push tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketAsk {
    /// Somebody wanted it.
    Asked,
    /// None had come for too long.
    Stale,
}

/// Payload of [`PlatformEvent::TicketPushStarted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketPushStarted {
    /// Why.
    pub ask: TicketAsk,
}
