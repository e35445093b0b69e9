//! What can have happened to a ledger. Events are for ever: see `docs/adding-an-event.md` before changing one.

use serde::{Deserialize, Serialize};

use super::command::{Answer, DoubtCause};
use crate::{DeliveryId, Evidence, LotId, Timestamp, UserRef, event::stored_events};

stored_events! {
    /// Events of a ledger stream.
    LedgerEvent of "ledger" {
        /// One accepted tap: a new lot.
        Granted = 30, "ledger.granted", 1;
        /// An imported balance: several lots at once.
        Opened = 31, "ledger.opened", 1;
        /// An accept of a long-term template: consent without a count.
        Consented = 32, "ledger.consented", 1;
        /// A tap that was not an accept. No credit.
        Rejected = 33, "ledger.rejected", 1;
        /// Sends are refused until a newer accept; the balance is kept.
        Suspended = 34, "ledger.suspended", 1;
        /// A lot was set aside for a delivery.
        Reserved = 35, "ledger.reserved", 1;
        /// A delivery was let in without a lot.
        Admitted = 36, "ledger.admitted", 1;
        /// A delivery is about to be handed to WeChat.
        Started = 37, "ledger.started", 1;
        /// WeChat asked to try again, or was provably not reached.
        Postponed = 38, "ledger.postponed", 1;
        /// WeChat accepted: the lot is spent.
        Consumed = 39, "ledger.consumed", 1;
        /// The delivery ended without being sent; its lot is open again.
        Released = 40, "ledger.released", 1;
        /// Handed to WeChat, answer unknown; the lot stays set aside.
        Doubted = 41, "ledger.doubted", 1;
        /// A delivery in doubt became certain.
        SettledLate = 42, "ledger.settled_late", 1;
        /// WeChat answered 43101: no permission is left for this user and template.
        Denied = 43, "ledger.denied", 1;
        /// Lots that we believed in and WeChat did not; they are void.
        DriftFound = 44, "ledger.drift_found", 1;
        /// A second source told of a tap that is on the books. No credit.
        Corroborated = 45, "ledger.corroborated", 1;
        /// A tap told of by a source that the channel's policy does not count. No credit.
        TapNoted = 46, "ledger.tap_noted", 1;
        /// WeChat's sent event: the send succeeded.
        Confirmed = 47, "ledger.confirmed", 1;
        /// WeChat's sent event: it accepted the send and failed later. The grant stays spent.
        Undelivered = 48, "ledger.undelivered", 1;
        /// A sent event that no delivery of ours explains.
        StrangerReported = 49, "ledger.stranger_reported", 1;
        /// An operator corrected the number of open grants.
        Adjusted = 80, "ledger.adjusted", 1;
        /// The user switched messages off and WeChat, so the channel's policy says, forgot the grants.
        Cleared = 81, "ledger.cleared", 1;
        /// WeChat refused the send for good and the channel's policy counts its lot as spent.
        Forfeited = 82, "ledger.forfeited", 1;
    }
}

/// What the user chose in the popup (`wx.requestSubscribeMessage`); every `accept…` is [`Choice::Accept`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// `accept`, `acceptWithAlert`, `acceptWithAudio`, `acceptWithForcePush`.
    Accept,
    /// `reject`: the user said no.
    Reject,
    /// `ban`: WeChat has banned the template.
    Ban,
    /// `filter`: hidden behind another template with the same title.
    Filter,
}

impl Choice {
    /// The choice behind a word of WeChat's result object; anything that begins with `accept` is a grant.
    pub fn from_wechat(word: &str) -> Option<Self> {
        match word {
            "reject" => Some(Self::Reject),
            "ban" => Some(Self::Ban),
            "filter" => Some(Self::Filter),
            word if word.starts_with("accept") => Some(Self::Accept),
            _ => None,
        }
    }
}

/// Payload of [`LedgerEvent::Granted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The new lot.
    pub lot: LotId,
    /// WeChat's own word for the choice, such as `acceptWithAlert`.
    pub word: String,
    /// The tap.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::Opened`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The first of the new lots.
    pub first_lot: LotId,
    /// How many lots.
    pub count: u32,
    /// The import.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::Consented`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consented {
    /// WeChat's own word for the choice.
    pub word: String,
    /// The tap.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::Rejected`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The choice, never [`Choice::Accept`].
    pub choice: Choice,
    /// The tap.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::Suspended`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// Why: the change in settings, or an operator.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::Reserved`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// The delivery that will spend the lot.
    pub delivery: DeliveryId,
    /// The lot, the oldest that was open.
    pub lot: LotId,
    /// The user asked for, where the caller named one rather than an openid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserRef>,
}

/// On what a delivery without a lot rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The standing consent to a long-term template.
    LongTerm,
    /// Nobody counted this user's grants; the channel's policy `unknown_balance` is `attempt`.
    UnknownBalance,
}

/// Payload of [`LedgerEvent::Admitted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// The delivery.
    pub delivery: DeliveryId,
    /// What it rests on.
    pub basis: Basis,
    /// The user asked for, where the caller named one rather than an openid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserRef>,
}

/// Payload of [`LedgerEvent::Started`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Which attempt this is, from 1.
    pub attempt: u16,
}

/// Payload of [`LedgerEvent::Postponed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Postponed {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Not before this moment.
    pub until: Timestamp,
    /// WeChat's answer, or what kept us from reaching it.
    pub answer: Answer,
}

/// Payload of [`LedgerEvent::Consumed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    /// The delivery.
    pub delivery: DeliveryId,
    /// WeChat's message id as text (19 digits), where the answer had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wechat_msgid: Option<String>,
}

/// Why a delivery ended without being sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum ReleaseReason {
    /// WeChat refused it for a reason that is not the user's permission.
    Refused {
        /// WeChat's answer.
        answer: Answer,
    },
    /// It was tried as often as allowed.
    RetriesExhausted {
        /// The last answer.
        answer: Answer,
    },
    /// The caller took it back before it was handed over.
    Retracted,
    /// Its `expires_at` passed before it was handed over.
    Expired,
    /// The user's permission was suspended while it waited.
    Suspended,
    /// Its grant turned out to be void while it waited.
    NoGrant,
}

/// Payload of [`LedgerEvent::Released`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Why it ended.
    #[serde(flatten)]
    pub reason: ReleaseReason,
}

/// Payload of [`LedgerEvent::Doubted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubted {
    /// The delivery.
    pub delivery: DeliveryId,
    /// What hid the answer.
    pub cause: DoubtCause,
}

/// How a doubt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum LateOutcome {
    /// It was sent; its lot is spent.
    Sent {
        /// WeChat's message id, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wechat_msgid: Option<String>,
    },
    /// It was not sent; its lot is open again and remembers the doubt.
    NotSent,
}

/// Payload of [`LedgerEvent::SettledLate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledLate {
    /// The delivery that was in doubt.
    pub delivery: DeliveryId,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: LateOutcome,
    /// What settled it.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::Denied`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// The delivery WeChat answered 43101 to.
    pub delivery: DeliveryId,
    /// WeChat's answer.
    pub answer: Answer,
}

/// Payload of [`LedgerEvent::DriftFound`]: proof that our balance and WeChat's differed, and the correction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftFound {
    /// The delivery whose answer proved it.
    pub delivery: DeliveryId,
    /// The lots that are void now.
    pub lots: Vec<LotId>,
    /// When the newest grant was recorded, if any ever was: the age that a report on drift groups by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_grant_at: Option<Timestamp>,
    /// When WeChat last told of a change in the user's settings, if it ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_settings_at: Option<Timestamp>,
    /// Deliveries settled as "not sent" whose doubt a lot still carried: this answer proves that they were sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<DeliveryId>,
    /// WeChat's answer.
    pub answer: Answer,
}

/// Payload of [`LedgerEvent::Corroborated`]. One tap of one source goes with one tap of the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corroborated {
    /// The lot of the tap; none where the choice makes no lot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<LotId>,
    /// What was chosen.
    pub choice: Choice,
    /// When the tap was according to the source it is on the books by.
    pub tapped_at: Timestamp,
    /// The other source.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::TapNoted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapNoted {
    /// What was chosen.
    pub choice: Choice,
    /// WeChat's own word for the choice.
    pub word: String,
    /// The tap.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::Confirmed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The delivery.
    pub delivery: DeliveryId,
    /// WeChat's message id, where the event names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wechat_msgid: Option<String>,
    /// The push.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::Undelivered`]. Whether WeChat gives the grant back is undocumented; the books do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// The delivery.
    pub delivery: DeliveryId,
    /// WeChat's message id, where the event names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wechat_msgid: Option<String>,
    /// WeChat's `ErrorCode`, not 0.
    pub code: i64,
    /// WeChat's `ErrorStatus`: at most [`super::MAX_STATUS_CHARS`] of its letters, digits and `_ : . -` and blanks.
    pub status: String,
    /// The push.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::StrangerReported`]: another system sends with this Mini Program, or the event came very late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrangerReported {
    /// WeChat's message id, where the event names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wechat_msgid: Option<String>,
    /// WeChat's `ErrorCode`; 0 is success.
    pub code: i64,
    /// The push.
    pub evidence: Evidence,
}

/// Lots that a correction adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// The first of the new lots.
    pub first_lot: LotId,
    /// How many.
    pub count: u32,
}

/// Payload of [`LedgerEvent::Adjusted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjusted {
    /// The new lots, if any: granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<Added>,
    /// The open lots that are void now, if any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<LotId>,
    /// Who, and why.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::Cleared`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// The lots that are void now.
    pub lots: Vec<LotId>,
    /// The change in settings.
    pub evidence: Evidence,
}

/// Payload of [`LedgerEvent::Forfeited`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forfeited {
    /// The delivery; it ends as refused.
    pub delivery: DeliveryId,
    /// WeChat's answer.
    pub answer: Answer,
}

impl LedgerEvent {
    /// The delivery this event is about, if it is about one.
    pub fn delivery(&self) -> Option<DeliveryId> {
        match self {
            Self::Granted(_)
            | Self::Opened(_)
            | Self::Consented(_)
            | Self::Rejected(_)
            | Self::Suspended(_)
            | Self::Corroborated(_)
            | Self::TapNoted(_)
            | Self::StrangerReported(_)
            | Self::Adjusted(_)
            | Self::Cleared(_) => None,
            Self::Reserved(e) => Some(e.delivery),
            Self::Admitted(e) => Some(e.delivery),
            Self::Started(e) => Some(e.delivery),
            Self::Postponed(e) => Some(e.delivery),
            Self::Consumed(e) => Some(e.delivery),
            Self::Released(e) => Some(e.delivery),
            Self::Doubted(e) => Some(e.delivery),
            Self::SettledLate(e) => Some(e.delivery),
            Self::Denied(e) => Some(e.delivery),
            Self::DriftFound(e) => Some(e.delivery),
            Self::Confirmed(e) => Some(e.delivery),
            Self::Undelivered(e) => Some(e.delivery),
            Self::Forfeited(e) => Some(e.delivery),
        }
    }
}
