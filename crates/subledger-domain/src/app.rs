//! The sender app: an upstream system that may use some channels, with its API keys. Lives in the log `main`.
//!
//! A key's secret is never here; an event carries its SHA-256, which is enough because the secret is 256 random bits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ChannelCode, Decide, Timestamp, decide::aggregate, event::stored_events};

/// The most keys of one app that are not revoked: enough to rotate with overlap.
pub const MAX_LIVE_KEYS: usize = 10;

aggregate!(App, "app", AppCommand, AppEvent, AppError);

stored_events! {
    /// Events of an app stream.
    AppEvent of "app" {
        /// The app exists.
        Created = 60, "app.created", 2, from [created_1];
        /// It may use one more key.
        KeyAdded = 61, "app.key_added", 1;
        /// A key no longer works.
        KeyRevoked = 62, "app.key_revoked", 1;
    }
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Set channels up, refresh templates, pause and resume.
    Manage,
    /// Bind users.
    Bind,
    /// Report taps.
    Grant,
    /// Send and retract.
    Send,
    /// Read everything of its channels.
    Read,
    /// Settle doubts by hand.
    Settle,
    /// Be lent access tokens of its channels. Whoever has it can do at WeChat whatever the Mini Program can.
    Token,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 7] =
        [Self::Manage, Self::Bind, Self::Grant, Self::Send, Self::Read, Self::Settle, Self::Token];

    /// The name used in events and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manage => "manage",
            Self::Bind => "bind",
            Self::Grant => "grant",
            Self::Send => "send",
            Self::Read => "read",
            Self::Settle => "settle",
            Self::Token => "token",
        }
    }

    /// The right with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == name)
    }
}

/// Payload of [`AppEvent::Created`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// A name for people.
    pub name: String,
    /// What it may do.
    pub rights: BTreeSet<Right>,
    /// The channels it may use; none means every channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<BTreeSet<ChannelCode>>,
}

/// Since schema 2 there are more rights.
fn created_1(payload: serde_json::Value) -> Result<serde_json::Value, String> {
    Ok(payload)
}

/// Payload of [`AppEvent::KeyAdded`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAdded {
    /// The public part of the key, by which it is found.
    pub key: String,
    /// SHA-256 of the whole key, in hexadecimal.
    pub hash: String,
}

/// Payload of [`AppEvent::KeyRevoked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRevoked {
    /// The public part of the key.
    pub key: String,
}

/// What can be asked of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppCommand {
    /// Create it.
    Create(Created),
    /// Let it use one more key.
    AddKey(KeyAdded),
    /// Take a key away.
    RevokeKey(KeyRevoked),
}

/// Why an app refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppError {
    /// The id is taken.
    #[error("the app already exists")]
    AlreadyCreated,
    /// There is no such app.
    #[error("there is no such app")]
    NotCreated,
    /// The key exists already.
    #[error("the key already exists")]
    DuplicateKey,
    /// There is no such key, or it was revoked before.
    #[error("the app has no such key")]
    NoSuchKey,
    /// Too many keys.
    #[error("an app has at most {limit} keys; revoke one first")]
    TooManyKeys {
        /// [`MAX_LIVE_KEYS`].
        limit: usize,
    },
}

/// A sender app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct App {
    created: Option<Created>,
    /// Live keys: public part to hash.
    keys: BTreeMap<String, String>,
}

impl App {
    /// Its name, rights and channels, if it exists.
    pub fn created(&self) -> Option<&Created> {
        self.created.as_ref()
    }

    /// Live keys: public part to SHA-256 in hexadecimal.
    pub fn keys(&self) -> &BTreeMap<String, String> {
        &self.keys
    }

    fn fold(&mut self, event: &AppEvent) {
        match event {
            AppEvent::Created(e) => self.created = Some(e.clone()),
            AppEvent::KeyAdded(e) => {
                self.keys.insert(e.key.clone(), e.hash.clone());
            }
            AppEvent::KeyRevoked(e) => {
                self.keys.remove(&e.key);
            }
        }
    }
}

impl Decide for App {
    const STATE: u16 = 2;

    type Ask = AppCommand;

    fn decide(&self, ask: AppCommand, _now: Timestamp) -> Result<Vec<AppEvent>, AppError> {
        match ask {
            AppCommand::Create(_) if self.created.is_some() => Err(AppError::AlreadyCreated),
            AppCommand::Create(created) => Ok(vec![AppEvent::Created(created)]),
            _ if self.created.is_none() => Err(AppError::NotCreated),
            AppCommand::AddKey(added) if self.keys.contains_key(&added.key) => Err(AppError::DuplicateKey),
            AppCommand::AddKey(_) if self.keys.len() >= MAX_LIVE_KEYS => {
                Err(AppError::TooManyKeys { limit: MAX_LIVE_KEYS })
            }
            AppCommand::AddKey(added) => Ok(vec![AppEvent::KeyAdded(added)]),
            AppCommand::RevokeKey(revoked) if !self.keys.contains_key(&revoked.key) => {
                Err(AppError::NoSuchKey)
            }
            AppCommand::RevokeKey(revoked) => Ok(vec![AppEvent::KeyRevoked(revoked)]),
        }
    }
}
