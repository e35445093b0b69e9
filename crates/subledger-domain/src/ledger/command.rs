//! What can be asked of a ledger, and the facts that come along.

use serde::{Deserialize, Serialize};

use super::{
    event::Choice,
    policy::{RefusedSend, SettingsOff, Taps, UnknownBalance},
};
use crate::{DeliveryId, Evidence, TemplateKind, Timestamp, UserRef};

/// WeChat's answer to a call, reduced to what an auditor needs. Never the verbatim text: it may quote values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// WeChat's `errcode`; absent where no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// WeChat's request id (`rid`), to quote to its support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// A stable word of ours: the class of the code, or what kept us from reaching WeChat.
    pub class: String,
}

/// What hid WeChat's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtCause {
    /// No answer within the time allowed.
    Timeout,
    /// The connection broke after the request began to leave.
    ConnectionBroken,
    /// An answer came that is not WeChat's.
    Unintelligible,
    /// The node that made the call died before it could record the answer.
    NodeLost,
}

/// How an attempt ended, as far as the adapter knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// `errcode` 0.
    Accepted {
        /// WeChat's message id as text, where the answer had one.
        wechat_msgid: Option<String>,
    },
    /// 43101: nothing is left for this user and template, or it was switched off.
    NoPermission {
        /// WeChat's answer.
        answer: Answer,
    },
    /// Any other definite refusal.
    Refused {
        /// WeChat's answer.
        answer: Answer,
    },
    /// Try again: WeChat said so, or it was provably not reached.
    Postponed {
        /// WeChat's answer, or what kept us from reaching it.
        answer: Answer,
        /// Not before this moment.
        until: Timestamp,
        /// The channel's limit; at most [`super::MAX_ATTEMPTS`].
        max_attempts: u16,
    },
    /// The answer is unknown.
    Unknown {
        /// What hid it.
        cause: DoubtCause,
    },
}

/// How a person, a policy or a push settles a doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Treat as sent.
    Sent {
        /// WeChat's message id, where the evidence names one.
        wechat_msgid: Option<String>,
    },
    /// Treat as not sent.
    NotSent,
}

/// Why a waiting delivery is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseRequest {
    /// The caller retracts it.
    Retract,
    /// Its time is over.
    Expire,
}

/// What can be asked of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerCommand {
    /// The user answered the popup.
    RecordChoice {
        /// What was chosen.
        choice: Choice,
        /// WeChat's own word for it.
        word: String,
        /// One-time templates count; long-term ones only consent.
        kind: TemplateKind,
        /// The channel's policy: whose word for a tap is a grant.
        taps: Taps,
        /// How far apart in seconds two sources may date one tap.
        window: u32,
        /// The tap. Its source says which side tells of it.
        evidence: Evidence,
    },
    /// Load a balance counted elsewhere.
    RecordOpeningBalance {
        /// How many grants, from 1.
        count: u32,
        /// The import.
        evidence: Evidence,
    },
    /// Correct the number of open grants by hand.
    Adjust {
        /// How many grants more (or, below zero, fewer), not 0. No more can be taken than are open.
        by: i64,
        /// Who, and why.
        evidence: Evidence,
    },
    /// Refuse sends until a newer accept.
    Suspend {
        /// The channel's policy: what a user's switching off does to the grants.
        settings_off: SettingsOff,
        /// Why.
        evidence: Evidence,
    },
    /// Set a grant aside for a delivery.
    Reserve {
        /// The delivery.
        delivery: DeliveryId,
        /// One-time or long-term.
        kind: TemplateKind,
        /// The channel's policy.
        unknown_balance: UnknownBalance,
        /// The user asked for, if by userid.
        user: Option<UserRef>,
    },
    /// A delivery is about to be handed to WeChat.
    Start {
        /// The delivery.
        delivery: DeliveryId,
        /// When it is no longer wanted.
        expires_at: Timestamp,
    },
    /// An attempt ended.
    Settle {
        /// The delivery.
        delivery: DeliveryId,
        /// Which of its attempts, as [`super::Started`] numbered it. An outcome that is recorded twice must not end the
        /// next attempt, or the delivery would be handed over a third time while the second is in flight.
        attempt: u16,
        /// The channel's policy: whether a refused send uses up a grant.
        refused_send: RefusedSend,
        /// How it ended.
        outcome: AttemptOutcome,
    },
    /// WeChat pushed the final result of a send (`subscribe_msg_sent_event`).
    RecordSent {
        /// WeChat's message id, where the event names one.
        wechat_msgid: Option<String>,
        /// Its `ErrorCode`; 0 is success.
        code: i64,
        /// Its `ErrorStatus`.
        status: String,
        /// The attempt that is started now and when it began, if the caller knows: it cannot be meant by an event that is
        /// older. Of a delivery in doubt the time is not asked for.
        began: Option<(DeliveryId, Timestamp)>,
        /// The push; its time is WeChat's `CreateTime`.
        evidence: Evidence,
    },
    /// Close a doubt.
    Resolve {
        /// The delivery in doubt.
        delivery: DeliveryId,
        /// How.
        verdict: Verdict,
        /// On what ground.
        evidence: Evidence,
    },
    /// Take a waiting delivery out.
    Release {
        /// The delivery.
        delivery: DeliveryId,
        /// Why.
        request: ReleaseRequest,
    },
}
