//! Messages and their deliveries.

use serde::{Deserialize, Serialize};
use subledger_domain::{
    AppId, DeliveryId, LotId, MessageId, SubjectId, TemplateId, TemplateKind, Timestamp, UserRef,
    ledger::Basis,
};
use subledger_store::Position;

/// Where a delivery is. Every planned recipient is in exactly one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waiting for its turn, possibly again.
    Queued,
    /// Handed to WeChat, or about to be.
    Started,
    /// Handed to WeChat, answer unknown.
    InDoubt,
    /// WeChat accepted it.
    Sent,
    /// WeChat refused it for good.
    Refused,
    /// It was tried as often as allowed.
    Failed,
    /// Its time passed before it was handed over.
    Expired,
    /// The caller took it back before it was handed over.
    Retracted,
    /// It was in doubt and was settled as not sent.
    NotSent,
    /// It was not written to: no binding, no grant, suspended, or a duplicate.
    Skipped,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Started,
        Self::InDoubt,
        Self::Sent,
        Self::Refused,
        Self::Failed,
        Self::Expired,
        Self::Retracted,
        Self::NotSent,
        Self::Skipped,
    ];

    /// The name used in the database and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Started => "started",
            Self::InDoubt => "in_doubt",
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Retracted => "retracted",
            Self::NotSent => "not_sent",
            Self::Skipped => "skipped",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether the delivery has ended. A "not sent" may still be corrected to "sent" by later proof.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Started | Self::InDoubt)
    }
}

/// How many deliveries of a message are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeliveryCounts {
    /// In [`DeliveryState::Queued`].
    pub queued: u32,
    /// In [`DeliveryState::Started`].
    pub started: u32,
    /// In [`DeliveryState::InDoubt`].
    pub in_doubt: u32,
    /// In [`DeliveryState::Sent`].
    pub sent: u32,
    /// In [`DeliveryState::Refused`].
    pub refused: u32,
    /// In [`DeliveryState::Failed`].
    pub failed: u32,
    /// In [`DeliveryState::Expired`].
    pub expired: u32,
    /// In [`DeliveryState::Retracted`].
    pub retracted: u32,
    /// In [`DeliveryState::NotSent`].
    pub not_sent: u32,
    /// In [`DeliveryState::Skipped`].
    pub skipped: u32,
}

impl DeliveryCounts {
    /// How many are in `state`.
    pub const fn of(&self, state: DeliveryState) -> u32 {
        match state {
            DeliveryState::Queued => self.queued,
            DeliveryState::Started => self.started,
            DeliveryState::InDoubt => self.in_doubt,
            DeliveryState::Sent => self.sent,
            DeliveryState::Refused => self.refused,
            DeliveryState::Failed => self.failed,
            DeliveryState::Expired => self.expired,
            DeliveryState::Retracted => self.retracted,
            DeliveryState::NotSent => self.not_sent,
            DeliveryState::Skipped => self.skipped,
        }
    }

    pub(crate) const fn of_mut(&mut self, state: DeliveryState) -> &mut u32 {
        match state {
            DeliveryState::Queued => &mut self.queued,
            DeliveryState::Started => &mut self.started,
            DeliveryState::InDoubt => &mut self.in_doubt,
            DeliveryState::Sent => &mut self.sent,
            DeliveryState::Refused => &mut self.refused,
            DeliveryState::Failed => &mut self.failed,
            DeliveryState::Expired => &mut self.expired,
            DeliveryState::Retracted => &mut self.retracted,
            DeliveryState::NotSent => &mut self.not_sent,
            DeliveryState::Skipped => &mut self.skipped,
        }
    }

    /// How many are in any state: the recipients planned so far.
    pub fn planned(&self) -> u32 {
        DeliveryState::ALL.into_iter().map(|state| self.of(state)).sum()
    }
}

/// One accepted send request. `targeted = counts.planned() + unplanned()`, always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// The msgid.
    pub id: MessageId,
    /// The sender app that asked.
    pub app: AppId,
    /// The template.
    pub template: TemplateId,
    /// Its kind when the message was accepted.
    pub kind: TemplateKind,
    /// How many recipients were asked for.
    pub targeted: u32,
    /// Deliveries not handed over by then end as expired.
    pub expires_at: Timestamp,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When the caller took it back, if so.
    pub retracted_at: Option<Timestamp>,
    /// When the newest event about it or one of its deliveries was recorded.
    pub updated_at: Timestamp,
    /// The position at which it was accepted.
    pub position: Position,
    /// Where its deliveries are.
    #[serde(flatten)]
    pub counts: DeliveryCounts,
}

impl MessageRow {
    /// Recipients that are not planned yet.
    pub fn unplanned(&self) -> u32 {
        self.targeted.saturating_sub(self.counts.planned())
    }

    /// Whether every recipient is planned and has ended.
    pub fn is_complete(&self) -> bool {
        let waiting = self.counts.queued + self.counts.started + self.counts.in_doubt;
        self.unplanned() == 0 && waiting == 0
    }
}

/// One message to one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// The message.
    pub message: MessageId,
    /// The recipient's place in the request, from 0.
    #[serde(rename = "idx")]
    pub index: u32,
    /// The user asked for, where the caller named one rather than an openid.
    pub user_ref: Option<UserRef>,
    /// The openid, as the log knows it; none where the user is not bound.
    pub subject: Option<SubjectId>,
    /// The template.
    pub template: TemplateId,
    /// Where it is.
    pub state: DeliveryState,
    /// Why it is there: the reason of a skip, the class of WeChat's (or the network's) answer, or what hid the answer.
    pub reason: Option<String>,
    /// WeChat's `errcode` of the last attempt that was not accepted.
    pub code: Option<i64>,
    /// WeChat's request id of that answer.
    pub rid: Option<String>,
    /// WeChat's message id, once sent and if known.
    pub wechat_msgid: Option<String>,
    /// The lot that pays, or was to pay, for it.
    pub lot: Option<LotId>,
    /// On what it rests without a lot.
    pub basis: Option<Basis>,
    /// How a doubt was settled: the source of the evidence, such as `policy` or `wechat_push`.
    pub settled_by: Option<String>,
    /// When WeChat pushed its sent event about it, by WeChat's clock. Not every send has one.
    pub sent_event_at: Option<Timestamp>,
    /// The event's code: 0 confirms the send, any other is a failure after WeChat had accepted it.
    pub sent_event_code: Option<i64>,
    /// Attempts made.
    pub attempts: u16,
    /// While queued again: not before this moment.
    pub not_before: Option<Timestamp>,
    /// When it was planned: reserved, let in or skipped.
    pub accepted_at: Timestamp,
    /// When the newest attempt started.
    pub started_at: Option<Timestamp>,
    /// When the newest event about it was recorded.
    pub updated_at: Timestamp,
    /// The position at which it was planned.
    pub planned_position: Position,
    /// The position of the newest event about it.
    pub position: Position,
}

impl DeliveryRow {
    /// Its id.
    pub const fn id(&self) -> DeliveryId {
        DeliveryId::new(self.message, self.index)
    }
}
