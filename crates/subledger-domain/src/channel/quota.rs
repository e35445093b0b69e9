//! Keeping a share of WeChat's daily quota for single sends.
//!
//! WeChat lets an account send so many messages a day and no more. When what is left falls to the channel's reserve, bulk
//! deliveries are held until the quota begins anew, and single ones go on. That they are held is on the books, because it
//! answers "why did this come only after midnight?", and because every node must hold alike. That a hold ends at its time is
//! not: the event says when.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Sends that a reserve of so many per cent keeps of a daily limit.
#[must_use]
pub const fn reserved(limit: u64, percent: u8) -> u64 {
    // Divided first, so that no limit overflows; the remainder counts too.
    let percent = percent as u64;
    limit / 100 * percent + limit % 100 * percent / 100
}

/// Payload of [`super::ChannelEvent::BulkHeld`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkHeld {
    /// Until then, unless it is released before: WeChat's quota begins anew.
    pub until: Timestamp,
    /// Sends a day that WeChat allows.
    pub limit: u64,
    /// Sends left of them: WeChat's figure less what was sent since.
    pub remaining: u64,
    /// The reserve of the channel then, in per cent of the limit.
    pub reserve: u8,
    /// When WeChat was asked.
    pub read_at: Timestamp,
}

/// Payload of [`super::ChannelEvent::BulkReleased`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkReleased {
    /// Why.
    pub cause: BulkRelease,
    /// Sends left then.
    pub remaining: u64,
}

/// Why held deliveries go on before the quota begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BulkRelease {
    /// The channel's reserve was made smaller.
    Policy,
    /// WeChat says that more is left than was thought.
    Quota,
}

/// Payload of [`super::ChannelEvent::QuotaCleared`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaCleared {
    /// Why, in the operator's words.
    pub reason: String,
}
