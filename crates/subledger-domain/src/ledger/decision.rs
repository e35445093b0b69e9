//! The decisions of a ledger, one function per command.

use super::{
    MAX_ATTEMPTS, MAX_OPEN_LOTS,
    command::{Answer, AttemptOutcome, LedgerCommand, ReleaseRequest, UnknownBalance, Verdict},
    error::LedgerError,
    event::{
        Admitted, Basis, Choice, Consented, Consumed, Denied, Doubted, DriftFound, Granted, LateOutcome,
        LedgerEvent, Opened, Postponed, Rejected, ReleaseReason, Released, Reserved, SettledLate, Started,
        Suspended,
    },
    state::{Funding, Ledger, Outstanding, Phase},
};
use crate::{Decide, DeliveryId, Evidence, EvidenceSource, TemplateKind, Timestamp, UserRef};

type Decision = Result<Vec<LedgerEvent>, LedgerError>;

impl Decide for Ledger {
    type Ask = LedgerCommand;

    fn decide(&self, ask: LedgerCommand, now: Timestamp) -> Decision {
        match ask {
            LedgerCommand::RecordChoice { choice, word, kind, evidence } => {
                self.record_choice(choice, word, kind, evidence)
            }
            LedgerCommand::RecordOpeningBalance { count, evidence } => self.open(count, evidence),
            LedgerCommand::Suspend { evidence } => self.suspend(evidence),
            LedgerCommand::Reserve { delivery, kind, unknown_balance, user } => {
                self.reserve(delivery, kind, unknown_balance, user)
            }
            LedgerCommand::Start { delivery, expires_at } => self.start(delivery, expires_at, now),
            LedgerCommand::Settle { delivery, outcome } => self.settle(delivery, outcome, now),
            LedgerCommand::Resolve { delivery, verdict, evidence } => {
                self.resolve(delivery, verdict, evidence)
            }
            LedgerCommand::Release { delivery, request } => self.release(delivery, request),
        }
    }
}

impl Ledger {
    fn record_choice(
        &self,
        choice: Choice,
        word: String,
        kind: TemplateKind,
        evidence: Evidence,
    ) -> Decision {
        if choice != Choice::Accept {
            return Ok(vec![LedgerEvent::Rejected(Rejected { choice, evidence })]);
        }
        if kind == TemplateKind::LongTerm {
            return Ok(vec![LedgerEvent::Consented(Consented { word, evidence })]);
        }
        self.has_room_for(1)?;
        Ok(vec![LedgerEvent::Granted(Granted { lot: self.granted + 1, word, evidence })])
    }

    fn open(&self, count: u32, evidence: Evidence) -> Decision {
        if count == 0 {
            return Err(LedgerError::EmptyOpening);
        }
        self.has_room_for(count as usize)?;
        Ok(vec![LedgerEvent::Opened(Opened { first_lot: self.granted + 1, count, evidence })])
    }

    fn has_room_for(&self, count: usize) -> Result<(), LedgerError> {
        let held = self.lots.len() + self.outstanding.len();
        if held.saturating_add(count) > MAX_OPEN_LOTS {
            return Err(LedgerError::TooManyLots { limit: MAX_OPEN_LOTS });
        }
        Ok(())
    }

    fn suspend(&self, evidence: Evidence) -> Decision {
        // An accept that is newer than this refusal has already lifted it.
        if self.last_grant_at.is_some_and(|granted| granted > evidence.at) {
            return Ok(Vec::new());
        }
        Ok(vec![LedgerEvent::Suspended(Suspended { evidence })])
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
        !self.zero_proved && !self.outstanding.values().any(attempting)
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

    fn settle(&self, delivery: DeliveryId, outcome: AttemptOutcome, now: Timestamp) -> Decision {
        let outstanding = self.under_way(delivery)?;
        match outstanding.phase {
            Phase::Reserved => Err(LedgerError::NotStarted(delivery)),
            Phase::Started => Ok(self.settle_started(delivery, outstanding, outcome, now)),
            Phase::InDoubt => Ok(self.settle_doubt(delivery, outstanding, outcome, now)),
        }
    }

    fn settle_started(
        &self,
        delivery: DeliveryId,
        outstanding: &Outstanding,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Vec<LedgerEvent> {
        let released = |reason| vec![LedgerEvent::Released(Released { delivery, reason })];
        match outcome {
            AttemptOutcome::Accepted { wechat_msgid } => {
                vec![LedgerEvent::Consumed(Consumed { delivery, wechat_msgid })]
            }
            AttemptOutcome::NoPermission { answer } => self.deny(delivery, answer, now),
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
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Vec<LedgerEvent> {
        let late = |outcome, reference: String| {
            let evidence = Evidence::new(EvidenceSource::WechatAnswer, reference, now);
            vec![LedgerEvent::SettledLate(SettledLate { delivery, outcome, evidence })]
        };
        match outcome {
            AttemptOutcome::Unknown { .. } => Vec::new(),
            AttemptOutcome::Accepted { wechat_msgid } => late(
                LateOutcome::Sent { wechat_msgid: wechat_msgid.clone() },
                wechat_msgid.unwrap_or_default(),
            ),
            // The doubt ends as any other attempt would: WeChat's answer is as good late as in time.
            other => self.settle_started(delivery, outstanding, other, now),
        }
    }

    /// WeChat says that nothing is left: nothing is consumed, every lot we believed in is void (unless a doubt that we
    /// had settled as "not sent" explains it), and sends stop until a newer accept.
    fn deny(&self, delivery: DeliveryId, answer: Answer, now: Timestamp) -> Vec<LedgerEvent> {
        let set_aside =
            self.outstanding.values().filter(|o| o.phase != Phase::InDoubt).filter_map(|o| match o.funding {
                Funding::Lot(lot) => Some(lot),
                _ => None,
            });
        let this_one = self.outstanding.get(&delivery).filter(|o| o.phase == Phase::InDoubt).and_then(|o| {
            match o.funding {
                Funding::Lot(lot) => Some(lot),
                _ => None,
            }
        });
        let believed: Vec<_> = self.lots.iter().copied().chain(set_aside).chain(this_one).collect();

        let mut void: Vec<_> = believed.iter().map(|lot| lot.id).collect();
        void.sort_unstable();
        let mut events = Vec::new();
        // Only an unexplained lot is drift; a lot that a doubt gave back was spent by that doubt.
        let explained = !believed.is_empty() && believed.iter().all(|lot| lot.doubted_by.is_some());
        if !void.is_empty() && !explained {
            events.push(LedgerEvent::DriftFound(DriftFound {
                delivery,
                lots: void,
                last_grant_at: self.last_grant_at,
                answer: answer.clone(),
            }));
        }
        events.push(LedgerEvent::Denied(Denied { delivery, answer: answer.clone() }));
        if explained {
            for doubt in believed.iter().filter_map(|lot| lot.doubted_by) {
                let reference = answer.rid.clone().unwrap_or_default();
                events.push(LedgerEvent::SettledLate(SettledLate {
                    delivery: doubt,
                    outcome: LateOutcome::Sent { wechat_msgid: None },
                    evidence: Evidence::new(EvidenceSource::WechatAnswer, reference, now),
                }));
            }
        }
        let evidence = Evidence::new(
            EvidenceSource::WechatAnswer,
            answer.rid.unwrap_or_else(|| answer.class.clone()),
            now,
        );
        events.push(LedgerEvent::Suspended(Suspended { evidence }));
        events
    }

    fn resolve(&self, delivery: DeliveryId, verdict: Verdict, evidence: Evidence) -> Decision {
        if self.under_way(delivery)?.phase != Phase::InDoubt {
            return Err(LedgerError::NotInDoubt(delivery));
        }
        let outcome = match verdict {
            Verdict::Sent { wechat_msgid } => LateOutcome::Sent { wechat_msgid },
            Verdict::NotSent => LateOutcome::NotSent,
        };
        Ok(vec![LedgerEvent::SettledLate(SettledLate { delivery, outcome, evidence })])
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
