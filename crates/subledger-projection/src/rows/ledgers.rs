//! Subscription quotas and the lots in them.

use serde::{Deserialize, Serialize};
use subledger_domain::{
    DeliveryId, EvidenceSource, LotId, SubjectId, TemplateId, Timestamp,
    ledger::{Choice, Totals},
};

/// The subscription quota of one (channel, openid, template).
///
/// `granted = balance + reserved + in_doubt + consumed + voided` after every event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The openid, as the log knows it.
    pub subject: SubjectId,
    /// The template.
    pub template: TemplateId,
    /// Open grants: what a new send may use, unless suspended.
    pub balance: u64,
    /// Grants set aside for deliveries that wait or are started.
    pub reserved: u64,
    /// Grants held by deliveries in doubt.
    pub in_doubt: u64,
    /// Grants ever recorded.
    pub granted: u64,
    /// Grants spent.
    pub consumed: u64,
    /// Grants found void.
    pub voided: u64,
    /// Taps that were not an accept.
    pub rejected: u64,
    /// Since when sends are refused, if they are, according to the evidence.
    pub suspended_since: Option<Timestamp>,
    /// Whether a long-term template was ever accepted.
    pub consented: bool,
    /// When the newest grant or consent was made, according to its evidence.
    pub last_grant_at: Option<Timestamp>,
    /// The last answer to a popup that we know of.
    pub last_choice: Option<Choice>,
    /// When the newest event of this ledger was recorded.
    pub last_event_at: Timestamp,
}

impl LedgerRow {
    /// Where every grant is, in the aggregate's own terms.
    pub const fn totals(&self) -> Totals {
        Totals {
            granted: self.granted,
            open: self.balance,
            reserved: self.reserved,
            in_doubt: self.in_doubt,
            consumed: self.consumed,
            voided: self.voided,
        }
    }
}

/// Where a lot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LotState {
    /// A new send may use it.
    Open,
    /// Set aside for a delivery that waits or is started.
    Reserved,
    /// Held by a delivery in doubt.
    InDoubt,
    /// Spent.
    Consumed,
    /// Found void.
    Void,
}

impl LotState {
    /// The name used in the database and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Reserved => "reserved",
            Self::InDoubt => "in_doubt",
            Self::Consumed => "consumed",
            Self::Void => "void",
        }
    }

    /// Whether a delivery holds it.
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Reserved | Self::InDoubt)
    }

    /// Whether it can still change.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Open | Self::Reserved | Self::InDoubt)
    }
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LotRow {
    /// The openid, as the log knows it.
    pub subject: SubjectId,
    /// The template.
    pub template: TemplateId,
    /// Its number in the ledger, from 1, in order of recording.
    pub lot: LotId,
    /// Where it is.
    pub state: LotState,
    /// When the grant was made, according to its evidence.
    pub granted_at: Timestamp,
    /// WeChat's own word for the choice, such as `acceptWithAlert`; none for an imported balance.
    pub word: Option<String>,
    /// Where the evidence came from.
    pub evidence_source: EvidenceSource,
    /// What identifies the evidence there.
    pub evidence_ref: String,
    /// The delivery that holds it, spent it or, if void, held it last.
    pub delivery: Option<DeliveryId>,
    /// While it is live: a delivery in doubt that was settled as "not sent" and may have spent this lot all the same.
    pub doubted_by: Option<DeliveryId>,
    /// When the event that last moved it was recorded.
    pub changed_at: Timestamp,
}
