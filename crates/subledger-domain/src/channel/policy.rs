//! How a channel treats what WeChat leaves open: named policies with defaults.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::command::ChannelError;
use crate::ledger::{DoubtVerdict, RefusedSend, SettingsOff, Taps, UnknownBalance};

/// How far apart two sources may date one tap, in seconds.
const TAP_WINDOW_S: RangeInclusive<u32> = 1..=86_400;
/// How long a doubt may stay open, in seconds. A doubt begins when the call has timed out, so even the shortest is a decision
/// somebody may want; WeChat's sent event then comes too late to settle it and corrects it instead.
const DOUBT_DEADLINE_S: RangeInclusive<u32> = 1..=2_592_000;

/// How much of the daily quota may be kept for single sends, in per cent.
const BULK_RESERVE: RangeInclusive<u32> = 0..=50;

const DEFAULT_TAP_WINDOW_S: u32 = 300;
const DEFAULT_DOUBT_DEADLINE_S: u32 = 259_200;
const DEFAULT_BULK_RESERVE: u8 = 10;

/// How a channel treats what WeChat leaves open. Stored without what is as by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Sends to users without a grant on the books.
    #[serde(default)]
    pub unknown_balance: UnknownBalance,
    /// Whose word for a tap is a grant.
    #[serde(default, skip_serializing_if = "is_default")]
    pub taps: Taps,
    /// How far apart the Mini Program's and WeChat's times of one tap may be, in seconds: 1 to 86,400, by default 300.
    #[serde(default = "default_tap_window_s", skip_serializing_if = "is_default_tap_window_s")]
    pub tap_window_s: u32,
    /// How long a doubt stays open that nobody settles, in seconds: 1 to 2,592,000, by default 259,200 (three days).
    #[serde(default = "default_doubt_deadline_s", skip_serializing_if = "is_default_doubt_deadline_s")]
    pub doubt_deadline_s: u32,
    /// How it is closed then.
    #[serde(default, skip_serializing_if = "is_default")]
    pub doubt_verdict: DoubtVerdict,
    /// Whether a refused send uses up a grant.
    #[serde(default, skip_serializing_if = "is_default")]
    pub refused_send: RefusedSend,
    /// What becomes of the grants of a user who switches messages off.
    #[serde(default, skip_serializing_if = "is_default")]
    pub settings_off: SettingsOff,
    /// How much of WeChat's daily quota is kept for single sends, in per cent: 0 to 50, by default 10. Bulk deliveries are held
    /// once no more than that is left.
    #[serde(default = "default_bulk_reserve", skip_serializing_if = "is_default_bulk_reserve")]
    pub bulk_reserve: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            unknown_balance: UnknownBalance::default(),
            taps: Taps::default(),
            tap_window_s: DEFAULT_TAP_WINDOW_S,
            doubt_deadline_s: DEFAULT_DOUBT_DEADLINE_S,
            doubt_verdict: DoubtVerdict::default(),
            refused_send: RefusedSend::default(),
            settings_off: SettingsOff::default(),
            bulk_reserve: DEFAULT_BULK_RESERVE,
        }
    }
}

/// The policies to change; what is not named stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PolicyChange {
    /// See [`Policy::unknown_balance`].
    pub unknown_balance: Option<UnknownBalance>,
    /// See [`Policy::taps`].
    pub taps: Option<Taps>,
    /// See [`Policy::tap_window_s`].
    pub tap_window_s: Option<u32>,
    /// See [`Policy::doubt_deadline_s`].
    pub doubt_deadline_s: Option<u32>,
    /// See [`Policy::doubt_verdict`].
    pub doubt_verdict: Option<DoubtVerdict>,
    /// See [`Policy::refused_send`].
    pub refused_send: Option<RefusedSend>,
    /// See [`Policy::settings_off`].
    pub settings_off: Option<SettingsOff>,
    /// See [`Policy::bulk_reserve`].
    pub bulk_reserve: Option<u8>,
}

impl PolicyChange {
    /// `before` with the named policies changed.
    pub fn of(self, before: Policy) -> Policy {
        Policy {
            unknown_balance: self.unknown_balance.unwrap_or(before.unknown_balance),
            taps: self.taps.unwrap_or(before.taps),
            tap_window_s: self.tap_window_s.unwrap_or(before.tap_window_s),
            doubt_deadline_s: self.doubt_deadline_s.unwrap_or(before.doubt_deadline_s),
            doubt_verdict: self.doubt_verdict.unwrap_or(before.doubt_verdict),
            refused_send: self.refused_send.unwrap_or(before.refused_send),
            settings_off: self.settings_off.unwrap_or(before.settings_off),
            bulk_reserve: self.bulk_reserve.unwrap_or(before.bulk_reserve),
        }
    }
}

impl Policy {
    /// Whether every number is within its bounds.
    pub fn check(&self) -> Result<(), ChannelError> {
        let numbers = [
            ("tap_window_s", self.tap_window_s, TAP_WINDOW_S),
            ("doubt_deadline_s", self.doubt_deadline_s, DOUBT_DEADLINE_S),
            ("bulk_reserve", u32::from(self.bulk_reserve), BULK_RESERVE),
        ];
        for (policy, found, range) in numbers {
            if !range.contains(&found) {
                let (least, most) = range.into_inner();
                return Err(ChannelError::PolicyOutOfBounds { policy, found, least, most });
            }
        }
        Ok(())
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const fn default_tap_window_s() -> u32 {
    DEFAULT_TAP_WINDOW_S
}

const fn default_doubt_deadline_s() -> u32 {
    DEFAULT_DOUBT_DEADLINE_S
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference in")]
const fn is_default_tap_window_s(seconds: &u32) -> bool {
    *seconds == DEFAULT_TAP_WINDOW_S
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference in")]
const fn is_default_doubt_deadline_s(seconds: &u32) -> bool {
    *seconds == DEFAULT_DOUBT_DEADLINE_S
}

const fn default_bulk_reserve() -> u8 {
    DEFAULT_BULK_RESERVE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference in")]
const fn is_default_bulk_reserve(percent: &u8) -> bool {
    *percent == DEFAULT_BULK_RESERVE
}
