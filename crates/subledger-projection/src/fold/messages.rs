//! Folds message and ledger events: what became of every recipient of every message.
//!
//! The message says who was asked for and who was skipped; the ledgers tell the rest, naming the delivery. Each move of a
//! delivery takes one from the count of the state it leaves and adds one to the state it enters, so the counts of a message
//! are always those of its deliveries. `message.accepted` stands in the log before any event about its deliveries; an event
//! about a delivery that nobody planned is a contradiction and stops the projection.

use std::{borrow::Cow, sync::Arc};

use subledger_domain::{
    DeliveryId, EvidenceSource, MessageId, SubjectId, TemplateId, UserRef,
    ledger::{Answer, Basis, LateOutcome, LedgerEvent, ReleaseReason, SettledLate},
    message::{Accepted, MessageEvent, Skip, SkipReason},
};

use super::{FoldError, Incoming, LedgerKey, Model, Poison, Stamp, counters::Counters, doubts::Doubts};
use crate::{
    DeliveryCounts, DeliveryRow, DeliveryState, Measure, MessageRow,
    cache::{Held, Rows},
    rows::doubt_cause_word,
    table::{Need, Table},
    tuples::{Naming, Tuples, Unreadable},
};

/// WeChat's code for "no permission is left" (`subscribeMessage.send`: user refuse to accept the msg).
const NO_PERMISSION: i64 = 43101;

enum Told {
    Message(MessageId, Arc<MessageEvent>),
    Ledger(Arc<LedgerKey>, DeliveryId, Arc<LedgerEvent>),
}

#[derive(Default)]
pub(super) struct Messages {
    events: Vec<(Stamp, Told)>,
    messages: Rows<MessageRow>,
    deliveries: Rows<DeliveryRow>,
    doubts: Doubts,
    counters: Counters,
    poison: Option<Poison>,
}

impl Model for Messages {
    fn take(&mut self, event: &Incoming<'_>) -> Result<(), FoldError> {
        let told = if let Some((key, ledger)) = event.ledger()? {
            let Some(delivery) = delivery_of(ledger) else { return Ok(()) };
            self.messages.want(&delivery.message);
            self.deliveries.want(&delivery);
            Told::Ledger(Arc::clone(key), delivery, Arc::clone(ledger))
        } else if let Some((id, message)) = event.message()? {
            if let MessageEvent::Planned(planned) = &**message {
                planned.skipped.iter().for_each(|s| self.deliveries.want(&DeliveryId::new(id, s.index)));
            }
            self.messages.want(&id);
            Told::Message(id, Arc::clone(message))
        } else {
            return Ok(());
        };
        self.events.push((event.stamp, told));
        Ok(())
    }

    /// First what the events are about; then, once they are applied to it, the doubts that end and the counters they add to.
    fn need(&mut self, naming: &mut Naming<'_>) -> Option<Need> {
        self.messages.need(naming).or_else(|| self.deliveries.need(naming)).or_else(|| {
            if self.poison.is_none() {
                self.poison = self.advance().err();
            }
            self.doubts.need(naming).or_else(|| self.counters.need(naming))
        })
    }

    fn load(&mut self, table: Table, rows: &Tuples) -> Result<(), Unreadable> {
        match table {
            Table::Messages => self.messages.load(rows),
            Table::Deliveries => self.deliveries.load(rows),
            Table::Doubts => self.doubts.load(rows),
            table => self.counters.load(table, rows),
        }
    }

    fn fold(&mut self) -> Result<(), Poison> {
        if let Some(poison) = self.poison.take() {
            return Err(poison);
        }
        self.doubts.fold();
        self.counters.fold();
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn Held> {
        let [templates, _, counts] = self.counters.tables();
        vec![&mut self.messages, &mut self.deliveries, self.doubts.table(), templates, counts]
    }
}

/// The delivery an event says something of, if it does. Drift voids lots; the deliveries that counted on them end by themselves.
const fn delivery_of(event: &LedgerEvent) -> Option<DeliveryId> {
    match event {
        LedgerEvent::Reserved(e) => Some(e.delivery),
        LedgerEvent::Admitted(e) => Some(e.delivery),
        LedgerEvent::Started(e) => Some(e.delivery),
        LedgerEvent::Postponed(e) => Some(e.delivery),
        LedgerEvent::Consumed(e) => Some(e.delivery),
        LedgerEvent::Released(e) => Some(e.delivery),
        LedgerEvent::Doubted(e) => Some(e.delivery),
        LedgerEvent::SettledLate(e) => Some(e.delivery),
        LedgerEvent::Denied(e) => Some(e.delivery),
        LedgerEvent::Confirmed(e) => Some(e.delivery),
        LedgerEvent::Undelivered(e) => Some(e.delivery),
        LedgerEvent::Forfeited(e) => Some(e.delivery),
        LedgerEvent::Granted(_)
        | LedgerEvent::Opened(_)
        | LedgerEvent::Consented(_)
        | LedgerEvent::Rejected(_)
        | LedgerEvent::Suspended(_)
        | LedgerEvent::DriftFound(_)
        | LedgerEvent::Corroborated(_)
        | LedgerEvent::TapNoted(_)
        | LedgerEvent::StrangerReported(_)
        | LedgerEvent::Adjusted(_)
        | LedgerEvent::Cleared(_) => None,
    }
}

/// What an event says that plans a delivery.
struct Plan {
    lot: Option<u64>,
    basis: Option<Basis>,
    user: Option<UserRef>,
}

/// The plan of a delivery, or nothing if the event is about one that is planned.
const fn planned_by(event: &LedgerEvent) -> Option<Plan> {
    match event {
        LedgerEvent::Reserved(e) => Some(Plan { lot: Some(e.lot), basis: None, user: e.user }),
        LedgerEvent::Admitted(e) => Some(Plan { lot: None, basis: Some(e.basis), user: e.user }),
        _ => None,
    }
}

fn fresh(
    stamp: Stamp,
    id: DeliveryId,
    user_ref: Option<UserRef>,
    subject: Option<SubjectId>,
    template: TemplateId,
) -> DeliveryRow {
    DeliveryRow {
        message: id.message,
        index: id.index,
        user_ref,
        subject,
        template,
        state: DeliveryState::Queued,
        reason: None,
        code: None,
        rid: None,
        wechat_msgid: None,
        lot: None,
        basis: None,
        settled_by: None,
        sent_event_at: None,
        sent_event_code: None,
        attempts: 0,
        not_before: None,
        accepted_at: stamp.at,
        started_at: None,
        updated_at: stamp.at,
        planned_position: stamp.position,
        position: stamp.position,
    }
}

impl Messages {
    /// Applies the events, once.
    fn advance(&mut self) -> Result<(), Poison> {
        for (stamp, told) in std::mem::take(&mut self.events) {
            let applied = match told {
                Told::Message(id, event) => self.apply_message(stamp, id, &event),
                Told::Ledger(key, delivery, event) => match planned_by(&event) {
                    Some(Plan { lot, basis, user }) => {
                        let row = DeliveryRow {
                            lot,
                            basis,
                            ..fresh(stamp, delivery, user, Some(key.1), key.0.clone())
                        };
                        self.plan(stamp, row)
                    }
                    None => self.apply_ledger(stamp, delivery, &event),
                },
            };
            applied.map_err(|error| Poison { position: stamp.position, error })?;
        }
        Ok(())
    }

    fn apply_message(&mut self, stamp: Stamp, id: MessageId, event: &MessageEvent) -> Result<(), FoldError> {
        match event {
            MessageEvent::Accepted(accepted) => {
                self.messages.put(accepted_row(stamp, id, accepted));
                let counted = [
                    (Measure::Messages, Cow::Borrowed(""), 1),
                    (Measure::Targeted, Cow::Borrowed(""), accepted.targeted.into()),
                ];
                self.counters.count(stamp, &accepted.template, counted);
            }
            MessageEvent::Planned(planned) => {
                let template = self.message(stamp, id)?.template.clone();
                let skipped = |skip: &Skip| (Measure::Skipped, Cow::Borrowed(skip.reason.as_str()), 1);
                self.counters.count(stamp, &template, planned.skipped.iter().map(skipped));
                for skip in &planned.skipped {
                    self.plan(stamp, skipped_row(stamp, id, template.clone(), skip))?;
                }
            }
            MessageEvent::Retracted(_) => self.message(stamp, id)?.retracted_at = Some(stamp.at),
        }
        Ok(())
    }

    fn message(&mut self, stamp: Stamp, id: MessageId) -> Result<&mut MessageRow, FoldError> {
        let row = self
            .messages
            .edit(&id)
            .ok_or_else(|| FoldError::Contradiction(format!("message {id} was never accepted")))?;
        row.updated_at = stamp.at;
        Ok(row)
    }

    /// A recipient gets its first state.
    fn plan(&mut self, stamp: Stamp, row: DeliveryRow) -> Result<(), FoldError> {
        let id = row.id();
        if self.deliveries.get(&id).is_some() {
            return Err(FoldError::Contradiction(format!("delivery {id} was planned before")));
        }
        let message = self.message(stamp, id.message)?;
        if message.unplanned() == 0 {
            return Err(FoldError::Contradiction(format!(
                "message {} has no recipient {}",
                id.message, id.index
            )));
        }
        *message.counts.of_mut(row.state) += 1;
        self.deliveries.put(row);
        Ok(())
    }

    fn apply_ledger(&mut self, stamp: Stamp, id: DeliveryId, event: &LedgerEvent) -> Result<(), FoldError> {
        let Some(row) = self.deliveries.edit(&id) else {
            return Err(FoldError::Contradiction(format!("delivery {id} was never planned")));
        };
        let before = row.state;
        row.updated_at = stamp.at;
        row.position = stamp.position;
        follow(row, stamp, event);
        let after = row.state;
        self.doubts.follow(stamp, row, before, event);
        let counts = &mut self.message(stamp, id.message)?.counts;
        let left = counts.of_mut(before);
        *left = left.saturating_sub(1);
        *counts.of_mut(after) += 1;
        Ok(())
    }
}

fn accepted_row(stamp: Stamp, id: MessageId, accepted: &Accepted) -> MessageRow {
    MessageRow {
        id,
        app: accepted.app.clone(),
        template: accepted.template.clone(),
        kind: accepted.kind,
        targeted: accepted.targeted,
        expires_at: accepted.expires_at,
        accepted_at: stamp.at,
        retracted_at: None,
        updated_at: stamp.at,
        position: stamp.position,
        counts: DeliveryCounts::default(),
    }
}

fn skipped_row(stamp: Stamp, message: MessageId, template: TemplateId, skip: &Skip) -> DeliveryRow {
    let id = DeliveryId::new(message, skip.index);
    DeliveryRow {
        state: DeliveryState::Skipped,
        reason: Some(skip.reason.as_str().to_owned()),
        ..fresh(stamp, id, skip.user, skip.subject, template)
    }
}

/// The state machine of a planned delivery.
fn follow(row: &mut DeliveryRow, stamp: Stamp, event: &LedgerEvent) {
    match event {
        LedgerEvent::Started(e) => {
            row.state = DeliveryState::Started;
            row.attempts = e.attempt;
            row.not_before = None;
            row.started_at = Some(stamp.at);
        }
        LedgerEvent::Postponed(e) => {
            answered(row, DeliveryState::Queued, &e.answer);
            row.not_before = Some(e.until);
        }
        LedgerEvent::Consumed(e) => sent(row, e.wechat_msgid.as_ref()),
        LedgerEvent::Released(e) => released(row, &e.reason),
        LedgerEvent::Denied(e) => {
            answered(row, DeliveryState::Refused, &e.answer);
            row.code = row.code.or(Some(NO_PERMISSION));
            row.reason = Some("no_permission".to_owned());
        }
        LedgerEvent::Doubted(e) => {
            row.state = DeliveryState::InDoubt;
            row.reason = Some(doubt_cause_word(e.cause).to_owned());
            row.code = None;
            row.rid = None;
        }
        LedgerEvent::SettledLate(e) => settled(row, e),
        LedgerEvent::Forfeited(e) => answered(row, DeliveryState::Refused, &e.answer),
        // A success and a failure of one send contradict each other; what went wrong stays.
        LedgerEvent::Confirmed(e) if row.sent_event_code.is_none() => {
            (row.sent_event_at, row.sent_event_code) = (Some(e.evidence.at), Some(0));
        }
        LedgerEvent::Confirmed(_) => {}
        LedgerEvent::Undelivered(e) => {
            (row.sent_event_at, row.sent_event_code) = (Some(e.evidence.at), Some(e.code));
        }
        LedgerEvent::Reserved(_)
        | LedgerEvent::Admitted(_)
        | LedgerEvent::Granted(_)
        | LedgerEvent::Opened(_)
        | LedgerEvent::Consented(_)
        | LedgerEvent::Rejected(_)
        | LedgerEvent::Suspended(_)
        | LedgerEvent::DriftFound(_)
        | LedgerEvent::Corroborated(_)
        | LedgerEvent::TapNoted(_)
        | LedgerEvent::StrangerReported(_)
        | LedgerEvent::Adjusted(_)
        | LedgerEvent::Cleared(_) => {}
    }
}

fn sent(row: &mut DeliveryRow, wechat_msgid: Option<&String>) {
    row.state = DeliveryState::Sent;
    row.reason = None;
    row.code = None;
    row.rid = None;
    // A proof that only corrects an earlier verdict may not name the id that is known already.
    if wechat_msgid.is_some() {
        row.wechat_msgid = wechat_msgid.cloned();
    }
}

/// The attempt came to nothing. What WeChat pushed before its answer was about another send.
fn answered(row: &mut DeliveryRow, state: DeliveryState, answer: &Answer) {
    (row.sent_event_at, row.sent_event_code) = (None, None);
    row.state = state;
    row.reason = Some(answer.class.clone());
    row.code = answer.code;
    row.rid.clone_from(&answer.rid);
}

fn released(row: &mut DeliveryRow, reason: &ReleaseReason) {
    let ended = |row: &mut DeliveryRow, state, reason: Option<SkipReason>| {
        row.state = state;
        row.reason = reason.map(|reason| reason.as_str().to_owned());
        row.not_before = None;
    };
    match reason {
        ReleaseReason::Refused { answer } => answered(row, DeliveryState::Refused, answer),
        ReleaseReason::RetriesExhausted { answer } => answered(row, DeliveryState::Failed, answer),
        ReleaseReason::Retracted => ended(row, DeliveryState::Retracted, None),
        ReleaseReason::Expired => ended(row, DeliveryState::Expired, None),
        ReleaseReason::Suspended => ended(row, DeliveryState::Skipped, Some(SkipReason::Suspended)),
        ReleaseReason::NoGrant => ended(row, DeliveryState::Skipped, Some(SkipReason::NoGrant)),
    }
}

fn settled(row: &mut DeliveryRow, settled: &SettledLate) {
    row.settled_by = Some(EvidenceSource::as_str(settled.evidence.source).to_owned());
    match &settled.outcome {
        LateOutcome::Sent { wechat_msgid } => sent(row, wechat_msgid.as_ref()),
        // What hid the answer stays as the reason.
        LateOutcome::NotSent => row.state = DeliveryState::NotSent,
    }
}
