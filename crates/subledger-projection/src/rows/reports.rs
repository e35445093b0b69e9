//! Counters for analysts: what happened to each template in each quarter of an hour, and the stock of grants it left.
//!
//! A quarter of an hour is the finest bucket because every time zone in use is a multiple of fifteen minutes away from UTC:
//! any zone's day is a whole number of buckets, so one table serves all of them exactly.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use subledger_domain::{TemplateId, Timestamp, ledger::Totals};

/// The length of a bucket in microseconds.
pub const BUCKET_MICROS: i64 = 15 * 60 * Timestamp::MICROS_PER_SECOND;

/// The beginning of the bucket that a moment falls into.
pub(crate) const fn bucket_of(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros().div_euclid(BUCKET_MICROS) * BUCKET_MICROS)
}

macro_rules! measures {
    ($( $(#[doc = $doc:literal])+ $name:ident = $word:literal; )+) => {
        /// What is counted. Each event adds to one measure, and one that moves grants also to [`Measure::Move`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Measure {
            $( $(#[doc = $doc])+ $name, )+
        }

        impl Measure {
            /// Every measure.
            pub const ALL: &'static [Self] = &[$( Self::$name, )+];

            /// The name in the database and in answers.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$name => $word, )+
                }
            }

            /// The measure with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|measure| measure.as_str() == name)
            }
        }
    };
}

measures! {
    /// Accepted taps of a one-time template. Class: the source of the evidence.
    Granted = "granted";
    /// Grants of imported balances. Class: the source of the evidence.
    Opened = "opened";
    /// Accepted taps of a long-term template. Class: the source of the evidence.
    Consented = "consented";
    /// Taps that were not an accept. Class: `reject`, `ban` or `filter`.
    Rejected = "rejected";
    /// Times a ledger was suspended. Class: the source of the evidence.
    Suspended = "suspended";
    /// Send requests accepted.
    Messages = "messages";
    /// Recipients asked for.
    Targeted = "targeted";
    /// Recipients skipped when the message was planned. Class: the reason.
    Skipped = "skipped";
    /// Deliveries accepted with a grant set aside.
    Reserved = "reserved";
    /// Deliveries accepted without a grant. Class: the basis.
    Admitted = "admitted";
    /// Attempts begun. Class: `first` or `again`.
    Started = "started";
    /// Attempts that ended with "try again". Class: the class of the answer.
    Postponed = "postponed";
    /// Deliveries WeChat accepted in time. Class: what paid, `grant`, `long_term`, `unknown_balance` or `void`.
    Sent = "sent";
    /// Deliveries refused for good. Class: the class of the answer; `no_permission` for 43101.
    Refused = "refused";
    /// Deliveries tried as often as allowed. Class: the class of the last answer.
    Failed = "failed";
    /// Deliveries whose time passed before they were handed over.
    Expired = "expired";
    /// Deliveries taken back before they were handed over.
    Retracted = "retracted";
    /// Deliveries skipped while they waited. Class: `suspended` or `no_grant`.
    Dropped = "dropped";
    /// Deliveries that became in doubt. Class: what hid the answer.
    Doubted = "doubted";
    /// Doubts settled as sent. Class: the source of the evidence.
    SettledSent = "settled_sent";
    /// Doubts settled as not sent. Class: the source of the evidence.
    SettledNotSent = "settled_not_sent";
    /// Doubts ended by a late answer other than an accept, which is counted as well. Class: `refused`, `failed`,
    /// `no_permission`, `forfeited` or `postponed`.
    AnsweredLate = "answered_late";
    /// Deliveries settled as not sent and later proved sent. Class: the source of the evidence.
    Corrected = "corrected";
    /// Findings of drift; how many grants each voided is in [`Measure::Move`].
    Drifted = "drifted";
    /// Taps on the books that a second source told of. Class: that source.
    Corroborated = "corroborated";
    /// Taps told of by a source that the channel's policy does not count. Class: the source.
    Noted = "noted";
    /// Deliveries that WeChat's sent event confirmed.
    Confirmed = "confirmed";
    /// Deliveries that failed after WeChat had accepted them. Class: the code of its sent event.
    Undelivered = "undelivered";
    /// Sent events that no delivery explains. Class: `success` or `failure`.
    Strangers = "strangers";
    /// Grants that operators added. Class: the source of the evidence.
    AdjustedUp = "adjusted_up";
    /// Grants that operators took away. Class: the source of the evidence.
    AdjustedDown = "adjusted_down";
    /// Times a user's switching off cleared grants; how many is in [`Measure::Move`]. Class: the source of the evidence.
    Cleared = "cleared";
    /// Deliveries refused for good whose grant the channel's policy counts as spent. Class: the class of the answer.
    Forfeited = "forfeited";
    /// Grants that moved. Class: `from>to`, of `outside`, `open`, `reserved`, `in_doubt`, `consumed` and `void`.
    Move = "move";
}

/// Where the grants of all ledgers of a template are. `granted = open + reserved + in_doubt + consumed + voided`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Holdings {
    /// Grants ever recorded, imported and added ones included.
    pub granted: u64,
    /// Open: what new sends may use, suspended ledgers included.
    pub open: u64,
    /// Set aside for deliveries that wait or are started.
    pub reserved: u64,
    /// Held by deliveries in doubt.
    pub in_doubt: u64,
    /// Spent.
    pub consumed: u64,
    /// Found void.
    pub voided: u64,
}

impl From<Totals> for Holdings {
    fn from(totals: Totals) -> Self {
        let Totals { granted, open, reserved, in_doubt, consumed, voided } = totals;
        Self { granted, open, reserved, in_doubt, consumed, voided }
    }
}

impl Holdings {
    /// Whether every grant is accounted for.
    pub const fn balanced(&self) -> bool {
        self.granted == self.open + self.reserved + self.in_doubt + self.consumed + self.voided
    }

    /// Adds other holdings.
    pub(crate) const fn add(&mut self, other: &Self) {
        self.granted = self.granted.saturating_add(other.granted);
        self.open = self.open.saturating_add(other.open);
        self.reserved = self.reserved.saturating_add(other.reserved);
        self.in_doubt = self.in_doubt.saturating_add(other.in_doubt);
        self.consumed = self.consumed.saturating_add(other.consumed);
        self.voided = self.voided.saturating_add(other.voided);
    }

    /// These holdings with `before` taken out and `after` put in.
    pub(crate) const fn with(&self, before: &Self, after: &Self) -> Self {
        const fn shift(all: u64, before: u64, after: u64) -> u64 {
            all.saturating_add(after).saturating_sub(before)
        }
        Self {
            granted: shift(self.granted, before.granted, after.granted),
            open: shift(self.open, before.open, after.open),
            reserved: shift(self.reserved, before.reserved, after.reserved),
            in_doubt: shift(self.in_doubt, before.in_doubt, after.in_doubt),
            consumed: shift(self.consumed, before.consumed, after.consumed),
            voided: shift(self.voided, before.voided, after.voided),
        }
    }
}

/// A template that anything was ever recorded about, and its stock now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportTemplateRow {
    /// The template.
    pub template: TemplateId,
    /// Its stock now.
    #[serde(flatten)]
    pub holdings: Holdings,
    /// When the first event about it was recorded.
    pub since: Timestamp,
    /// When the newest one was.
    pub changed_at: Timestamp,
}

/// The stock at the end of a bucket in which it moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReportClosing {
    pub(crate) template: TemplateId,
    pub(crate) bucket: Timestamp,
    #[serde(flatten)]
    pub(crate) holdings: Holdings,
}

/// How much of a measure and class there was in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReportCount {
    pub(crate) template: TemplateId,
    pub(crate) bucket: Timestamp,
    pub(crate) measure: Measure,
    pub(crate) class: Cow<'static, str>,
    pub(crate) amount: u64,
}
