//! Messages and their deliveries.

use serde::Serialize;
use subledger_domain::channel::BulkHeld;
use subledger_engine::limits;
use subledger_projection::{DeliveryCounts, DeliveryRow, MessageRow};
use utoipa::ToSchema;

use super::{
    quota::HeldView,
    words::{BasisWord, DeliveryStateWord, TemplateKindWord},
};
use crate::{moment::Moment, people::People};

/// How many deliveries of a message are in each state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CountsView {
    queued: u32,
    started: u32,
    in_doubt: u32,
    sent: u32,
    refused: u32,
    failed: u32,
    expired: u32,
    retracted: u32,
    not_sent: u32,
    skipped: u32,
}

impl From<DeliveryCounts> for CountsView {
    fn from(counts: DeliveryCounts) -> Self {
        Self {
            queued: counts.queued,
            started: counts.started,
            in_doubt: counts.in_doubt,
            sent: counts.sent,
            refused: counts.refused,
            failed: counts.failed,
            expired: counts.expired,
            retracted: counts.retracted,
            not_sent: counts.not_sent,
            skipped: counts.skipped,
        }
    }
}

/// One accepted send request. `targeted` is the sum of `counts`, always.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageView {
    /// Its id.
    #[schema(example = "019500aa7c1e7d0f8f5e0a4f5e6d7c8b")]
    msgid: String,
    /// The sender app that asked.
    app: String,
    /// The template.
    template_id: String,
    /// Its kind when the message was accepted.
    kind: TemplateKindWord,
    /// Recipients asked for.
    targeted: u32,
    /// Where its deliveries are.
    counts: CountsView,
    /// Whether every delivery has ended.
    complete: bool,
    /// When it was accepted.
    accepted_at: Moment,
    /// Deliveries not handed over by then end as expired.
    expires_at: Moment,
    /// When the caller took it back.
    retracted_at: Option<Moment>,
    /// When anything last happened to it.
    updated_at: Moment,
    /// The position at which it was accepted.
    accepted_position: u64,
    /// Why its deliveries wait that could be sent; null if they do not.
    held: Option<HeldView>,
}

impl From<MessageRow> for MessageView {
    fn from(row: MessageRow) -> Self {
        Self {
            complete: row.is_complete(),
            msgid: row.id.to_string(),
            app: row.app.to_string(),
            template_id: row.template.to_string(),
            kind: row.kind.into(),
            targeted: row.targeted,
            counts: row.counts.into(),
            accepted_at: Moment(row.accepted_at),
            expires_at: Moment(row.expires_at),
            retracted_at: row.retracted_at.map(Moment),
            updated_at: Moment(row.updated_at),
            accepted_position: row.position.0,
            held: None,
        }
    }
}

impl MessageView {
    /// A message as it is now, of a channel that holds its bulk like this.
    pub(crate) fn now(row: MessageRow, held: Option<&BulkHeld>) -> Self {
        let waits = row.counts.queued > 0 && is_bulk(&row);
        let held = held.filter(|_| waits).map(HeldView::of);
        Self { held, ..Self::from(row) }
    }
}

/// Whether the deliveries of a message are bulk.
pub(crate) const fn is_bulk(message: &MessageRow) -> bool {
    message.targeted as usize > limits::BULK_OVER
}

/// One message to one recipient.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// The message.
    msgid: String,
    /// The recipient's place in the request, from 0.
    index: u32,
    /// The user asked for; null where an openid was named, or the person was erased.
    userid: Option<String>,
    /// The openid; null where the user was not bound, or the person was erased.
    openid: Option<String>,
    /// What stands for the openid in the log.
    subject: Option<String>,
    /// The template.
    template_id: String,
    /// Where it is.
    state: DeliveryStateWord,
    /// Whether it has ended.
    terminal: bool,
    /// Why it is there: the reason of a skip, the class of WeChat's answer, or what hid the answer.
    reason: Option<String>,
    /// WeChat's `errcode` of the last attempt that was not accepted.
    errcode: Option<i64>,
    /// WeChat's request id of that answer.
    rid: Option<String>,
    /// WeChat's message id, as text.
    wechat_msgid: Option<String>,
    /// The grant that pays for it, by its number in the ledger.
    lot: Option<u64>,
    /// On what it rests without a grant.
    basis: Option<BasisWord>,
    /// How a doubt was settled: by an operator, a policy, or a push of WeChat.
    settled_by: Option<String>,
    /// When WeChat pushed its sent event about it, by WeChat's clock. Not every send has one.
    sent_event_at: Option<Moment>,
    /// The event's code: 0 confirms the send, any other is a failure after WeChat had accepted it.
    sent_event_code: Option<i64>,
    /// Attempts made.
    attempts: u16,
    /// While it waits for another attempt: not before this moment.
    not_before: Option<Moment>,
    /// When it was planned.
    accepted_at: Moment,
    /// When the newest attempt started.
    started_at: Option<Moment>,
    /// When anything last happened to it.
    updated_at: Moment,
    /// The position at which it was planned.
    planned_position: u64,
    /// The position of its newest event.
    updated_position: u64,
    /// Why it waits although it could be sent; null if it does not.
    held: Option<HeldView>,
}

impl DeliveryView {
    pub(crate) fn new(row: DeliveryRow, people: &People) -> Self {
        Self {
            userid: row.user_ref.and_then(|user| people.userid(user)),
            openid: row.subject.and_then(|subject| people.openid(subject)),
            subject: row.subject.map(String::from),
            msgid: row.message.to_string(),
            index: row.index,
            template_id: row.template.to_string(),
            state: row.state.into(),
            terminal: row.state.is_terminal(),
            reason: row.reason,
            errcode: row.code,
            rid: row.rid,
            wechat_msgid: row.wechat_msgid,
            lot: row.lot,
            basis: row.basis.map(BasisWord::from),
            settled_by: row.settled_by,
            sent_event_at: row.sent_event_at.map(Moment),
            sent_event_code: row.sent_event_code,
            attempts: row.attempts,
            not_before: row.not_before.map(Moment),
            accepted_at: Moment(row.accepted_at),
            started_at: row.started_at.map(Moment),
            updated_at: Moment(row.updated_at),
            planned_position: row.planned_position.0,
            updated_position: row.position.0,
            held: None,
        }
    }

    /// A delivery of bulk as it is now, of a channel that holds its bulk like this.
    pub(crate) fn held_by(self, held: Option<&BulkHeld>) -> Self {
        let waits = self.state == DeliveryStateWord::Queued;
        Self { held: held.filter(|_| waits).map(HeldView::of), ..self }
    }
}
