//! Sender apps and their keys.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use subledger_domain::{AppId, ChannelCode, Timestamp, app::Right};

/// A sender app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRow {
    /// Its id.
    pub id: AppId,
    /// A name for people.
    pub name: String,
    /// What it may do.
    pub rights: BTreeSet<Right>,
    /// The channels it may use; none means every channel.
    pub channels: Option<BTreeSet<ChannelCode>>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A key of a sender app. Kept when revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppKeyRow {
    /// The app.
    pub app: AppId,
    /// The public part of the key, by which it is found.
    pub key: String,
    /// SHA-256 of the whole key, in hexadecimal.
    pub hash: String,
    /// When it was added.
    pub added_at: Timestamp,
    /// Since when it no longer works, if it does not.
    pub revoked_at: Option<Timestamp>,
}
