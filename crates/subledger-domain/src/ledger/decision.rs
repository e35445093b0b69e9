//! The decisions of a ledger, one function per command.

use std::collections::BTreeSet;

use super::{
    MAX_ATTEMPTS, MAX_OPEN_LOTS,
    command::{Answer, AttemptOutcome, LedgerCommand, ReleaseRequest, Verdict},
    error::LedgerError,
    event::{
        Added, Adjusted, Admitted, Basis, Cleared, Consumed, Denied, Doubted, DriftFound, Forfeited,
        LateOutcome, LedgerEvent, Opened, Postponed, ReleaseReason, Released, Reserved, SettledLate, Started,
        Suspended,
    },
    policy::{RefusedSend, SettingsOff, UnknownBalance},
    pushes::{SentEvent, Told},
    state::{Funding, Ledger, Lot, Outstanding, Phase},
};
use crate::{Decide, DeliveryId, Evidence, EvidenceSource, TemplateKind, Timestamp, UserRef};

type Decision = Result<Vec<LedgerEvent>, LedgerError>;

/// WeChat's "accepted" that came after the delivery was given up as in doubt.
fn late_answer(delivery: DeliveryId, wechat_msgid: Option<String>, now: Timestamp) -> LedgerEvent {
    let reference = wechat_msgid.clone().unwrap_or_default();
    LedgerEvent::SettledLate(SettledLate {
        delivery,
        outcome: LateOutcome::Sent { wechat_msgid },
        evidence: Evidence::new(EvidenceSource::WechatAnswer, reference, now),
    })
}

impl Decide for Ledger {
    // 2: remembers taps, sends and the last change of settings.
    const STATE: u16 = 2;

    type Ask = LedgerCommand;

    fn decide(&self, ask: LedgerCommand, now: Timestamp) -> Decision {
        match ask {
            LedgerCommand::RecordChoice { choice, word, kind, taps, window, evidence } => {
                self.record_choice(Told { choice, word, kind, taps, window, evidence })
            }
            LedgerCommand::RecordOpeningBalance { count, evidence } => self.open(count, evidence),
            LedgerCommand::Adjust { by, evidence } => self.adjusted(by, evidence),
            LedgerCommand::Suspend { settings_off, evidence } => Ok(self.suspend(settings_off, evidence)),
            LedgerCommand::Reserve { delivery, kind, unknown_balance, user } => {
                self.reserve(delivery, kind, unknown_balance, user)
            }
            LedgerCommand::Start { delivery, expires_at } => self.start(delivery, expires_at, now),
            LedgerCommand::Settle { delivery, attempt, refused_send, outcome } => {
                self.settle(delivery, attempt, refused_send, outcome, now)
            }
            LedgerCommand::RecordSent { wechat_msgid, code, status, began, evidence } => {
                Ok(self.record_sent(SentEvent { wechat_msgid, code, status, began, evidence }))
            }
            LedgerCommand::Resolve { delivery, verdict, evidence } => {
                self.resolve(delivery, verdict, evidence)
            }
            LedgerCommand::Release { delivery, request } => self.release(delivery, request),
        }
    }
}

impl Ledger {
    fn open(&self, count: u32, evidence: Evidence) -> Decision {
        if count == 0 {
            return Err(LedgerError::EmptyOpening);
        }
        self.has_room_for(count as usize)?;
        Ok(vec![LedgerEvent::Opened(Opened { first_lot: self.granted + 1, count, evidence })])
    }

    /// Takes the newest open lots: those are the ones a correction usually means (taps told of twice, of late), and the older
    /// ones, next to be spent, keep the taps that stand behind them.
    fn adjusted(&self, by: i64, evidence: Evidence) -> Decision {
        if evidence.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
            return Err(LedgerError::NoReason);
        }
        let (mut added, mut removed) = (None, Vec::new());
        let asked = by.unsigned_abs();
        if by > 0 {
            let too_many = LedgerError::TooManyLots { limit: MAX_OPEN_LOTS };
            let count = u32::try_from(asked).map_err(|_| too_many)?;
            self.has_room_for(count as usize)?;
            added = Some(Added { first_lot: self.granted + 1, count });
        } else if by < 0 {
            let kept = self.balance().checked_sub(asked);
            let kept = kept.ok_or(LedgerError::NotEnoughOpen { open: self.balance(), asked })?;
            removed = self
                .lots
                .iter()
                .skip(usize::try_from(kept).unwrap_or(usize::MAX))
                .map(|lot| lot.id)
                .collect();
        } else {
            return Err(LedgerError::EmptyAdjustment);
        }
        Ok(vec![LedgerEvent::Adjusted(Adjusted { added, removed, evidence })])
    }

    pub(super) fn has_room_for(&self, count: usize) -> Result<(), LedgerError> {
        let held = self.lots.len() + self.outstanding.len();
        if held.saturating_add(count) > MAX_OPEN_LOTS {
            return Err(LedgerError::TooManyLots { limit: MAX_OPEN_LOTS });
        }
        Ok(())
    }

    /// A change of settings is recorded even when a newer accept has lifted it already: it explains later drift. It clears
    /// nothing then, because which grants are the newer ones is not known.
    fn suspend(&self, settings_off: SettingsOff, evidence: Evidence) -> Vec<LedgerEvent> {
        let outweighed = self.last_accept_at.is_some_and(|accepted| accepted > evidence.at);
        if outweighed && evidence.source != EvidenceSource::WechatPush {
            return Vec::new();
        }
        let mut events = Vec::new();
        if settings_off == SettingsOff::Clear && !outweighed {
            let waiting = self.outstanding.values().filter(|one| one.phase == Phase::Reserved);
            let held = waiting.filter_map(|one| match one.funding {
                Funding::Lot(lot) => Some(lot.id),
                _ => None,
            });
            let mut lots: Vec<_> = self.lots.iter().map(|lot| lot.id).chain(held).collect();
            lots.sort_unstable();
            if !lots.is_empty() {
                events.push(LedgerEvent::Cleared(Cleared { lots, evidence: evidence.clone() }));
            }
        }
        events.push(LedgerEvent::Suspended(Suspended { evidence }));
        events
    }

    fn reserve(
        &self,
        delivery: DeliveryId,
        kind: TemplateKind,
        unknown_balance: UnknownBalance,
        user: Option<UserRef>,
    ) -> Decision {
        if self.outstanding.contains_key(&delivery) {
            return Err(LedgerError::AlreadyReserved(delivery));
        }
        if self.ended.contains(&delivery) {
            return Err(LedgerError::AlreadyEnded(delivery));
        }
        if let Some(suspension) = self.suspended {
            return Err(LedgerError::Suspended { since: suspension.since });
        }
        let admitted = |basis| Ok(vec![LedgerEvent::Admitted(Admitted { delivery, basis, user })]);
        let consented = self.last_grant_at.is_some();
        match (kind, self.lots.first()) {
            (TemplateKind::LongTerm, _) if consented => admitted(Basis::LongTerm),
            (TemplateKind::OneTime, Some(oldest)) => {
                Ok(vec![LedgerEvent::Reserved(Reserved { delivery, lot: oldest.id, user })])
            }
            _ if unknown_balance == UnknownBalance::Attempt && self.may_attempt() => {
                admitted(Basis::UnknownBalance)
            }
            _ => Err(self.no_grant()),
        }
    }

    /// Whether the balance from before our books is still unknown and nobody is finding it out already.
    fn may_attempt(&self) -> bool {
        let attempting = |o: &Outstanding| o.funding == Funding::Without(Basis::UnknownBalance);
        !self.earlier_known && !self.outstanding.values().any(attempting)
    }

    fn no_grant(&self) -> LedgerError {
        let totals = self.totals();
        LedgerError::NoGrant {
            granted: totals.granted,
            consumed: totals.consumed,
            reserved: totals.reserved,
            in_doubt: totals.in_doubt,
        }
    }

    fn under_way(&self, delivery: DeliveryId) -> Result<&Outstanding, LedgerError> {
        self.outstanding.get(&delivery).ok_or(LedgerError::NotUnderWay(delivery))
    }

    fn start(&self, delivery: DeliveryId, expires_at: Timestamp, now: Timestamp) -> Decision {
        let outstanding = self.under_way(delivery)?;
        if outstanding.phase != Phase::Reserved {
            return Err(LedgerError::AlreadyStarted(delivery));
        }
        let ended = |reason| Ok(vec![LedgerEvent::Released(Released { delivery, reason })]);
        if now >= expires_at {
            return ended(ReleaseReason::Expired);
        }
        if outstanding.funding == Funding::Void {
            return ended(ReleaseReason::NoGrant);
        }
        if self.suspended.is_some() {
            return ended(ReleaseReason::Suspended);
        }
        if let Some(other) = self.unresolved() {
            return Err(LedgerError::Busy(other));
        }
        Ok(vec![LedgerEvent::Started(Started { delivery, attempt: outstanding.attempts.saturating_add(1) })])
    }

    fn settle(
        &self,
        delivery: DeliveryId,
        attempt: u16,
        refused_send: RefusedSend,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Decision {
        let (outstanding, outcome) = match (self.under_way(delivery), outcome) {
            (Ok(outstanding), outcome) => (outstanding, outcome),
            // The answer of a call that was given up as "not sent": it was sent, and the lot it gave back is spent.
            (Err(_), AttemptOutcome::Accepted { wechat_msgid }) if self.is_suspect(delivery) => {
                if self.is_of_another(delivery, wechat_msgid.as_deref()) {
                    return Ok(Vec::new());
                }
                let settled = vec![late_answer(delivery, wechat_msgid.clone(), now)];
                return Ok(self.and_claimed(wechat_msgid.as_deref(), settled));
            }
            (Err(refusal), _) => return Err(refusal),
        };
        match outstanding.phase {
            Phase::Reserved => Err(LedgerError::NotStarted(delivery)),
            _ if outstanding.attempts != attempt => Err(LedgerError::StaleAttempt { delivery, attempt }),
            Phase::Started => Ok(self.settle_started(delivery, outstanding, refused_send, outcome, now)),
            Phase::InDoubt => Ok(self.settle_doubt(delivery, outstanding, refused_send, outcome, now)),
        }
    }

    /// The answer of an attempt, given what WeChat may have pushed about it before.
    fn settle_started(
        &self,
        delivery: DeliveryId,
        outstanding: &Outstanding,
        refused_send: RefusedSend,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Vec<LedgerEvent> {
        let pushed = self.send_of(delivery).and_then(|send| Some((send, send.early.as_deref()?)));
        let Some((send, early)) = pushed else {
            return self.answered(delivery, outstanding, refused_send, outcome, now);
        };
        match outcome {
            // What the push named is what was sent, or nothing contradicts it.
            AttemptOutcome::Accepted { wechat_msgid }
                if wechat_msgid.is_none()
                    || send.wechat_msgid.is_none()
                    || send.wechat_msgid.as_deref() == wechat_msgid.as_deref() =>
            {
                vec![LedgerEvent::Consumed(Consumed { delivery, wechat_msgid })]
            }
            // The answer is lost, and it is known all the same: the doubt ends as it begins.
            AttemptOutcome::Unknown { cause } => {
                let wechat_msgid = send.wechat_msgid.as_deref().map(str::to_owned);
                let (outcome, evidence) = (LateOutcome::Sent { wechat_msgid }, early.evidence.clone());
                vec![
                    LedgerEvent::Doubted(Doubted { delivery, cause }),
                    LedgerEvent::SettledLate(SettledLate { delivery, outcome, evidence }),
                ]
            }
            // The answer of the call is the better witness of what became of it.
            outcome => {
                let answered = self.answered(delivery, outstanding, refused_send, outcome, now);
                self.and_retold(delivery, answered)
            }
        }
    }

    fn answered(
        &self,
        delivery: DeliveryId,
        outstanding: &Outstanding,
        refused_send: RefusedSend,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Vec<LedgerEvent> {
        let released = |reason| vec![LedgerEvent::Released(Released { delivery, reason })];
        match outcome {
            AttemptOutcome::Accepted { wechat_msgid } => {
                vec![LedgerEvent::Consumed(Consumed { delivery, wechat_msgid })]
            }
            AttemptOutcome::NoPermission { answer } => self.deny(delivery, outstanding, answer, now),
            // What never reached WeChat has no code, and what is paid for by no grant forfeits none.
            AttemptOutcome::Refused { answer }
                if refused_send == RefusedSend::Consume
                    && answer.code.is_some()
                    && !matches!(outstanding.funding, Funding::Without(_)) =>
            {
                vec![LedgerEvent::Forfeited(Forfeited { delivery, answer })]
            }
            AttemptOutcome::Refused { answer } => released(ReleaseReason::Refused { answer }),
            AttemptOutcome::Postponed { answer, until, max_attempts } => {
                if outstanding.attempts >= max_attempts.min(MAX_ATTEMPTS) {
                    return released(ReleaseReason::RetriesExhausted { answer });
                }
                vec![LedgerEvent::Postponed(Postponed { delivery, until, answer })]
            }
            AttemptOutcome::Unknown { cause } => vec![LedgerEvent::Doubted(Doubted { delivery, cause })],
        }
    }

    /// An answer that arrives after the delivery was given up as in doubt settles it.
    fn settle_doubt(
        &self,
        delivery: DeliveryId,
        outstanding: &Outstanding,
        refused_send: RefusedSend,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Vec<LedgerEvent> {
        match outcome {
            AttemptOutcome::Unknown { .. } => Vec::new(),
            AttemptOutcome::Accepted { wechat_msgid } => vec![late_answer(delivery, wechat_msgid, now)],
            // The doubt ends as any other attempt would: WeChat's answer is as good late as in time.
            other => self.answered(delivery, outstanding, refused_send, other, now),
        }
    }

    /// WeChat says that nothing is left: nothing is consumed and every lot we believed in when the attempt began is gone.
    /// A lot that carries a doubt settled as "not sent" was spent by that doubt; any other is drift. What was tapped
    /// while the call was in flight is not disproved by it, and a newer accept means that sends need not stop.
    fn deny(
        &self,
        delivery: DeliveryId,
        denied: &Outstanding,
        answer: Answer,
        now: Timestamp,
    ) -> Vec<LedgerEvent> {
        let newer_accept = self.last_accept_at > denied.accept_at_start;
        let disproved = |lot: &Lot| !(newer_accept && lot.id > denied.grants_at_start);
        let (spent, drift): (Vec<_>, Vec<_>) =
            self.believed().filter(disproved).partition(|lot| lot.doubted_by.is_some());

        let mut events = Vec::new();
        let mut lots: Vec<_> = drift.iter().map(|lot| lot.id).collect();
        lots.sort_unstable();
        let doubts: BTreeSet<_> = spent.iter().filter_map(|lot| lot.doubted_by).collect();
        if !lots.is_empty() {
            events.push(LedgerEvent::DriftFound(DriftFound {
                delivery,
                lots,
                last_grant_at: self.last_grant_at,
                last_settings_at: self.last_settings_at,
                doubts: doubts.iter().copied().collect(),
                answer: answer.clone(),
            }));
        }
        let reference = answer.rid.clone().unwrap_or_else(|| answer.class.clone());
        let evidence = Evidence::new(EvidenceSource::WechatAnswer, reference, now);
        events.push(LedgerEvent::Denied(Denied { delivery, answer }));
        events.extend(doubts.into_iter().map(|doubt| {
            LedgerEvent::SettledLate(SettledLate {
                delivery: doubt,
                outcome: LateOutcome::Sent { wechat_msgid: None },
                evidence: evidence.clone(),
            })
        }));
        if !newer_accept {
            events.push(LedgerEvent::Suspended(Suspended { evidence }));
        }
        events
    }

    fn resolve(&self, delivery: DeliveryId, verdict: Verdict, evidence: Evidence) -> Decision {
        match self.under_way(delivery) {
            Ok(outstanding) if outstanding.phase == Phase::InDoubt => {}
            Ok(_) => return Err(LedgerError::NotInDoubt(delivery)),
            // Proof that comes after the doubt was settled as "not sent" corrects it, while a lot still carries the doubt.
            Err(_) if matches!(verdict, Verdict::Sent { .. }) && self.is_suspect(delivery) => {}
            Err(refusal) => return Err(refusal),
        }
        let settled = |outcome| vec![LedgerEvent::SettledLate(SettledLate { delivery, outcome, evidence })];
        Ok(match verdict {
            Verdict::Sent { wechat_msgid } if self.is_of_another(delivery, wechat_msgid.as_deref()) => {
                Vec::new()
            }
            Verdict::Sent { wechat_msgid } => {
                let sent = settled(LateOutcome::Sent { wechat_msgid: wechat_msgid.clone() });
                self.and_claimed(wechat_msgid.as_deref(), sent)
            }
            Verdict::NotSent => settled(LateOutcome::NotSent),
        })
    }

    fn release(&self, delivery: DeliveryId, request: ReleaseRequest) -> Decision {
        if self.under_way(delivery)?.phase != Phase::Reserved {
            return Err(LedgerError::AlreadyStarted(delivery));
        }
        let reason = match request {
            ReleaseRequest::Retract => ReleaseReason::Retracted,
            ReleaseRequest::Expire => ReleaseReason::Expired,
        };
        Ok(vec![LedgerEvent::Released(Released { delivery, reason })])
    }
}
