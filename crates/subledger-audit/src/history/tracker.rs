//! A second book, kept event by event.
//!
//! The ledger's own fold keeps counts and what is under way; this one keeps every grant and every delivery, and which
//! event moved them. It follows the events' own words: a reservation names its lot, an outcome its delivery. Only where
//! an event leaves open which lot it spends (a late proof, a grant that was found void in flight) it looks at what left
//! the ledger with that event. So the two books can disagree, and a disagreement is a finding.

use std::collections::{BTreeMap, BTreeSet};

use cqrs_es::Aggregate;
use subledger_domain::{
    DeliveryId, Evidence, LotId,
    ledger::{Basis, Funding, LateOutcome, Ledger, LedgerEvent, ReleaseReason},
};
use subledger_projection::{DeliveryState, LedgerRow, LotState};
use subledger_store::{Position, Recorded};

use super::explain::{
    Delivery, Explanation, Finding, FindingKind, Listed, Number, NumberName, Paid, Stamp, Step, Sum, Tap,
    Voided,
};

/// The most findings kept: one broken event makes every later one look odd.
const MAX_FINDINGS: usize = 50;

#[derive(Default)]
pub(super) struct Tracker {
    ledger: Ledger,
    taps: BTreeMap<LotId, Tap>,
    deliveries: BTreeMap<DeliveryId, Delivery>,
    values: BTreeMap<NumberName, u64>,
    steps: BTreeMap<NumberName, Vec<Step>>,
    opened: u64,
    findings: Vec<Finding>,
}

/// How much each number changed with one event.
type Changes = BTreeMap<NumberName, i64>;

impl Tracker {
    /// Takes the next event of the ledger.
    pub(super) fn take(&mut self, recorded: &Recorded, event: &LedgerEvent) {
        let stamp = Stamp { position: recorded.position, recorded_at: recorded.recorded_at };
        let (lots_before, suspended_before) = (self.live(event), self.ledger.suspension().is_some());
        self.ledger.apply(event.clone());
        let mut changes = Changes::new();
        self.follow(stamp, event, &lots_before, &mut changes);
        let suspended = self.ledger.suspension().is_some();
        if suspended != suspended_before {
            changes.insert(NumberName::Suspended, if suspended { 1 } else { -1 });
        } else if matches!(event, LedgerEvent::Suspended(_)) {
            changes.insert(NumberName::Suspended, 0);
        }
        for (name, change) in changes {
            // A grant that is set aside again stays where it was.
            if change != 0 || name == NumberName::Suspended {
                self.step(name, change, stamp, recorded, event);
            }
        }
        self.compare(stamp.position);
    }

    /// The lots that the ledger knows, where an event may spend one without naming it.
    fn live(&self, event: &LedgerEvent) -> BTreeSet<LotId> {
        match event {
            LedgerEvent::Consumed(_) | LedgerEvent::SettledLate(_) | LedgerEvent::Forfeited(_)
                if event.delivery().and_then(|id| self.held_by(id)).is_none() =>
            {
                self.lots()
            }
            _ => BTreeSet::new(),
        }
    }

    fn lots(&self) -> BTreeSet<LotId> {
        let open = self.ledger.lots().iter().map(|lot| lot.id);
        let held = self.ledger.outstanding().values().filter_map(|o| match o.funding {
            Funding::Lot(lot) => Some(lot.id),
            Funding::Without(_) | Funding::Void => None,
        });
        open.chain(held).collect()
    }

    fn follow(&mut self, stamp: Stamp, event: &LedgerEvent, before: &BTreeSet<LotId>, changes: &mut Changes) {
        match event {
            LedgerEvent::Granted(e) => self.grant(stamp, e.lot, Some(&e.word), &e.evidence, changes),
            LedgerEvent::Opened(e) => self.open(stamp, e.first_lot, e.count, &e.evidence, changes),
            LedgerEvent::Adjusted(e) => {
                if let Some(added) = e.added {
                    self.open(stamp, added.first_lot, added.count, &e.evidence, changes);
                }
                self.void(&e.removed, &taken_away(stamp, &e.evidence), changes);
            }
            LedgerEvent::Cleared(e) => self.void(&e.lots, &taken_away(stamp, &e.evidence), changes),
            LedgerEvent::Forfeited(e) => {
                self.spend(stamp, e.delivery, DeliveryState::Refused, before, changes);
            }
            LedgerEvent::Confirmed(e) => self.touch(stamp, e.delivery),
            LedgerEvent::Undelivered(e) => self.touch(stamp, e.delivery),
            LedgerEvent::Corroborated(_) | LedgerEvent::TapNoted(_) | LedgerEvent::StrangerReported(_) => {}
            LedgerEvent::Rejected(_) => *changes.entry(NumberName::Rejected).or_default() += 1,
            LedgerEvent::Consented(_) | LedgerEvent::Suspended(_) => {}
            LedgerEvent::Reserved(e) => {
                self.plan(stamp, e.delivery, Paid::Held, Some(e.lot));
                let free = self.taps.get(&e.lot).is_some_and(|tap| tap.state == LotState::Open);
                if free {
                    self.put(stamp, e.lot, LotState::Reserved, Some(e.delivery), changes);
                } else {
                    self.find(stamp.position, FindingKind::Lot { lot: e.lot });
                }
            }
            LedgerEvent::Admitted(e) => {
                let paid = match e.basis {
                    Basis::LongTerm => Paid::LongTerm,
                    Basis::UnknownBalance => Paid::UnknownBalance,
                };
                self.plan(stamp, e.delivery, paid, None);
            }
            LedgerEvent::Started(e) => {
                self.reach(stamp, e.delivery, DeliveryState::Started);
                if let Some(delivery) = self.deliveries.get_mut(&e.delivery) {
                    delivery.attempts = e.attempt;
                }
            }
            LedgerEvent::Postponed(e) => self.wait(stamp, e.delivery, DeliveryState::Queued, changes),
            LedgerEvent::Doubted(e) => self.wait(stamp, e.delivery, DeliveryState::InDoubt, changes),
            LedgerEvent::Consumed(e) => {
                self.spend(stamp, e.delivery, DeliveryState::Sent, before, changes);
            }
            LedgerEvent::Released(e) => self.give_back(stamp, e.delivery, released(&e.reason), changes),
            LedgerEvent::Denied(e) => self.give_back(stamp, e.delivery, DeliveryState::Refused, changes),
            LedgerEvent::SettledLate(e) => match e.outcome {
                LateOutcome::Sent { .. } => {
                    self.spend(stamp, e.delivery, DeliveryState::Sent, before, changes);
                }
                LateOutcome::NotSent => self.give_back(stamp, e.delivery, DeliveryState::NotSent, changes),
            },
            LedgerEvent::DriftFound(e) => {
                let (found_by, answer) = (Some(e.delivery), Some(e.answer.clone()));
                let why = Voided { event: stamp, found_by, answer, evidence: None };
                self.void(&e.lots, &why, changes);
            }
        }
    }

    /// Grants without a tap: imported, or added by hand.
    fn open(&mut self, stamp: Stamp, first: LotId, count: u32, evidence: &Evidence, changes: &mut Changes) {
        self.opened += u64::from(count);
        for lot in first..first.saturating_add(u64::from(count)) {
            self.grant(stamp, lot, None, evidence, changes);
        }
    }

    fn grant(
        &mut self,
        stamp: Stamp,
        lot: LotId,
        word: Option<&String>,
        evidence: &Evidence,
        changes: &mut Changes,
    ) {
        let tap = Tap {
            lot,
            event: stamp,
            word: word.cloned(),
            evidence: evidence.clone(),
            state: LotState::Open,
            delivery: None,
            outcome: None,
            changed: stamp,
            returned: 0,
            voided: None,
            doubted_by: None,
        };
        if self.taps.insert(lot, tap).is_some() {
            self.find(stamp.position, FindingKind::Lot { lot });
        }
        *changes.entry(NumberName::Granted).or_default() += 1;
        *changes.entry(NumberName::Balance).or_default() += 1;
    }

    fn plan(&mut self, stamp: Stamp, delivery: DeliveryId, paid: Paid, lot: Option<LotId>) {
        let tap = lot.and_then(|lot| self.taps.get(&lot));
        let planned = Delivery {
            delivery,
            paid,
            lot,
            tap: tap.map(|tap| tap.evidence.clone()),
            tap_recorded: tap.map(|tap| tap.event),
            state: DeliveryState::Queued,
            attempts: 0,
            planned: stamp,
            changed: stamp,
        };
        let before = self.deliveries.insert(delivery, planned);
        if before.is_some_and(|before| !before.state.is_terminal()) {
            self.find(stamp.position, FindingKind::Delivery { delivery });
        }
    }

    /// Moves a delivery on; one that was not under way is a finding.
    fn reach(&mut self, stamp: Stamp, id: DeliveryId, state: DeliveryState) {
        match self.deliveries.get_mut(&id) {
            // A "not sent" may be corrected by later proof.
            Some(delivery) if !delivery.state.is_terminal() || delivery.state == DeliveryState::NotSent => {
                delivery.state = state;
                delivery.changed = stamp;
            }
            _ => self.find(stamp.position, FindingKind::Delivery { delivery: id }),
        }
    }

    /// The grant that is set aside for a delivery at this moment.
    fn held_by(&self, id: DeliveryId) -> Option<LotId> {
        let lot = self.deliveries.get(&id)?.lot?;
        let tap = self.taps.get(&lot)?;
        (tap.state.is_held() && tap.delivery == Some(id)).then_some(lot)
    }

    fn wait(&mut self, stamp: Stamp, id: DeliveryId, state: DeliveryState, changes: &mut Changes) {
        self.reach(stamp, id, state);
        if let Some(lot) = self.held_by(id) {
            let in_doubt = state == DeliveryState::InDoubt;
            let to = if in_doubt { LotState::InDoubt } else { LotState::Reserved };
            self.put(stamp, lot, to, Some(id), changes);
        }
    }

    /// A delivery was sent, or refused at its cost: its own grant is spent, or the one that left the ledger in its place.
    fn spend(
        &mut self,
        stamp: Stamp,
        id: DeliveryId,
        state: DeliveryState,
        before: &BTreeSet<LotId>,
        changes: &mut Changes,
    ) {
        let under_way = self.deliveries.get(&id).is_some_and(|delivery| !delivery.state.is_terminal());
        self.reach(stamp, id, state);
        let own = self.held_by(id).filter(|_| under_way);
        let spent = own.or_else(|| before.difference(&self.lots()).next().copied());
        let Some(lot) = spent else {
            let free = |delivery: &Delivery| matches!(delivery.paid, Paid::LongTerm | Paid::UnknownBalance);
            if let Some(delivery) = self.deliveries.get_mut(&id).filter(|delivery| !free(delivery)) {
                delivery.paid = Paid::Nothing;
            }
            return;
        };
        let holder = self.taps.get(&lot).filter(|tap| tap.state.is_held()).and_then(|tap| tap.delivery);
        if let Some(other) = holder.filter(|holder| *holder != id).and_then(|h| self.deliveries.get_mut(&h)) {
            other.paid = Paid::Void;
        }
        self.put(stamp, lot, LotState::Consumed, Some(id), changes);
        let tap = self.taps.get(&lot).map(|tap| (tap.evidence.clone(), tap.event));
        if let (Some(delivery), Some((evidence, recorded))) = (self.deliveries.get_mut(&id), tap) {
            delivery.paid = Paid::Spent;
            delivery.lot = Some(lot);
            delivery.tap = Some(evidence);
            delivery.tap_recorded = Some(recorded);
        }
    }

    fn give_back(&mut self, stamp: Stamp, id: DeliveryId, state: DeliveryState, changes: &mut Changes) {
        let held = self.held_by(id);
        self.reach(stamp, id, state);
        let Some(lot) = held else { return };
        self.put(stamp, lot, LotState::Open, None, changes);
        if let Some(tap) = self.taps.get_mut(&lot) {
            tap.returned += 1;
        }
        if let Some(delivery) = self.deliveries.get_mut(&id) {
            delivery.paid = Paid::Returned;
        }
    }

    fn void(&mut self, lots: &[LotId], why: &Voided, changes: &mut Changes) {
        for lot in lots {
            let Some(tap) = self.taps.get_mut(lot).filter(|tap| tap.state.is_live()) else {
                self.find(why.event.position, FindingKind::Lot { lot: *lot });
                continue;
            };
            tap.voided = Some(why.clone());
            let holder = tap.delivery;
            if let Some(delivery) = holder.and_then(|holder| self.deliveries.get_mut(&holder)) {
                delivery.paid = Paid::Void;
            }
            self.put(why.event, *lot, LotState::Void, holder, changes);
        }
    }

    /// Something is said about a delivery that does not move it.
    fn touch(&mut self, stamp: Stamp, id: DeliveryId) {
        match self.deliveries.get_mut(&id) {
            Some(delivery) => delivery.changed = stamp,
            None => self.find(stamp.position, FindingKind::Delivery { delivery: id }),
        }
    }

    /// Moves a grant, and the numbers with it.
    fn put(
        &mut self,
        stamp: Stamp,
        lot: LotId,
        to: LotState,
        delivery: Option<DeliveryId>,
        changes: &mut Changes,
    ) {
        let Some(tap) = self.taps.get_mut(&lot) else { return };
        *changes.entry(number(tap.state)).or_default() -= 1;
        *changes.entry(number(to)).or_default() += 1;
        tap.state = to;
        tap.delivery = delivery;
        tap.changed = stamp;
    }

    fn step(
        &mut self,
        name: NumberName,
        change: i64,
        stamp: Stamp,
        recorded: &Recorded,
        event: &LedgerEvent,
    ) {
        let value = self.values.entry(name).or_default();
        *value = value.saturating_add_signed(change);
        let value = *value;
        let (evidence, answer, wechat_msgid) = grounds(event);
        self.steps.entry(name).or_default().push(Step {
            event: stamp,
            kind: subledger_domain::StoredEvent::kind(event).name,
            change,
            value,
            delivery: event.delivery(),
            evidence: evidence.cloned(),
            answer: answer.cloned(),
            wechat_msgid: wechat_msgid.cloned(),
            cause: serde_json::from_slice(&recorded.cause).ok(),
        });
    }

    fn value(&self, name: NumberName) -> u64 {
        self.values.get(&name).copied().unwrap_or_default()
    }

    /// Both books must agree after every event; the first time they do not is what an auditor wants to see.
    fn compare(&mut self, position: Position) {
        let totals = self.ledger.totals();
        let pairs = [
            (NumberName::Balance, totals.open),
            (NumberName::Reserved, totals.reserved),
            (NumberName::InDoubt, totals.in_doubt),
            (NumberName::Granted, totals.granted),
            (NumberName::Consumed, totals.consumed),
            (NumberName::Voided, totals.voided),
        ];
        for (number, ledger) in pairs {
            let events = self.value(number);
            let known = |finding: &Finding| matches!(finding.kind, FindingKind::Number { number: n, .. } if n == number);
            if events != ledger && !self.findings.iter().any(known) {
                self.find(position, FindingKind::Number { number, events, ledger });
            }
        }
    }

    fn find(&mut self, position: Position, kind: FindingKind) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { kind, position: Some(position) });
        }
    }

    /// The explanation, held against the row that the read models' fold comes to.
    pub(super) fn explain(mut self, row: &LedgerRow) -> Explanation {
        let sum = self.sum();
        if !sum.holds {
            let kind = FindingKind::Sum { terms: terms(&sum), balance: sum.balance };
            self.findings.push(Finding { kind, position: None });
        }
        for number in NumberName::ALL {
            let (events, ledger) = (self.value(number), number.of(row));
            let known = |finding: &Finding| matches!(finding.kind, FindingKind::Number { number: n, .. } if n == number);
            if events != ledger && !self.findings.iter().any(known) {
                let kind = FindingKind::Number { number, events, ledger };
                self.findings.push(Finding { kind, position: None });
            }
        }
        let (values, mut steps) = (self.values, self.steps);
        let number = |name| Number {
            name,
            value: values.get(&name).copied().unwrap_or_default(),
            omitted: 0,
            omitted_change: 0,
            events: steps.remove(&name).unwrap_or_default(),
        };
        let numbers = NumberName::ALL.into_iter().map(number).collect();
        let open = self.ledger.lots().iter().copied();
        let held = self.ledger.outstanding().values().filter_map(|o| match o.funding {
            Funding::Lot(lot) => Some(lot),
            Funding::Without(_) | Funding::Void => None,
        });
        for lot in open.chain(held) {
            if let Some(tap) = self.taps.get_mut(&lot.id) {
                tap.doubted_by = lot.doubted_by;
            }
        }
        let deliveries = &self.deliveries;
        let mut taps: Vec<Tap> = self.taps.into_values().collect();
        for tap in &mut taps {
            tap.outcome = tap.delivery.and_then(|id| deliveries.get(&id)).map(|delivery| delivery.state);
        }
        let mut deliveries: Vec<Delivery> = self.deliveries.into_values().collect();
        deliveries.sort_by_key(|delivery| (delivery.planned.position, delivery.delivery));
        Explanation {
            numbers,
            sum,
            deliveries: Listed::all(deliveries),
            taps: Listed::all(taps),
            findings: self.findings,
        }
    }

    fn sum(&self) -> Sum {
        let mut sum = Sum {
            taps: self.value(NumberName::Granted).saturating_sub(self.opened),
            opened: self.opened,
            consumed: self.value(NumberName::Consumed),
            voided: self.value(NumberName::Voided),
            reserved: self.value(NumberName::Reserved),
            in_doubt: self.value(NumberName::InDoubt),
            balance: self.ledger.balance(),
            holds: false,
        };
        sum.holds = i64::try_from(sum.balance) == Ok(terms(&sum));
        sum
    }
}

fn terms(sum: &Sum) -> i64 {
    let term = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let minus = [sum.consumed, sum.voided, sum.reserved, sum.in_doubt];
    let plus = term(sum.taps).saturating_add(term(sum.opened));
    minus.into_iter().fold(plus, |left, value| left.saturating_sub(term(value)))
}

/// The number that counts grants in a state.
const fn number(state: LotState) -> NumberName {
    match state {
        LotState::Open => NumberName::Balance,
        LotState::Reserved => NumberName::Reserved,
        LotState::InDoubt => NumberName::InDoubt,
        LotState::Consumed => NumberName::Consumed,
        LotState::Void => NumberName::Voided,
    }
}

fn taken_away(event: Stamp, evidence: &Evidence) -> Voided {
    Voided { event, found_by: None, answer: None, evidence: Some(evidence.clone()) }
}

const fn released(reason: &ReleaseReason) -> DeliveryState {
    match reason {
        ReleaseReason::Refused { .. } => DeliveryState::Refused,
        ReleaseReason::RetriesExhausted { .. } => DeliveryState::Failed,
        ReleaseReason::Retracted => DeliveryState::Retracted,
        ReleaseReason::Expired => DeliveryState::Expired,
        ReleaseReason::Suspended | ReleaseReason::NoGrant => DeliveryState::Skipped,
    }
}

type Grounds<'a> = (Option<&'a Evidence>, Option<&'a subledger_domain::ledger::Answer>, Option<&'a String>);

/// What an event rests on: evidence, an answer of WeChat, its message id.
const fn grounds(event: &LedgerEvent) -> Grounds<'_> {
    match event {
        LedgerEvent::Granted(e) => (Some(&e.evidence), None, None),
        LedgerEvent::Opened(e) => (Some(&e.evidence), None, None),
        LedgerEvent::Consented(e) => (Some(&e.evidence), None, None),
        LedgerEvent::Rejected(e) => (Some(&e.evidence), None, None),
        LedgerEvent::Suspended(e) => (Some(&e.evidence), None, None),
        LedgerEvent::Corroborated(e) => (Some(&e.evidence), None, None),
        LedgerEvent::TapNoted(e) => (Some(&e.evidence), None, None),
        LedgerEvent::Confirmed(e) => (Some(&e.evidence), None, e.wechat_msgid.as_ref()),
        LedgerEvent::Undelivered(e) => (Some(&e.evidence), None, e.wechat_msgid.as_ref()),
        LedgerEvent::StrangerReported(e) => (Some(&e.evidence), None, e.wechat_msgid.as_ref()),
        LedgerEvent::Adjusted(e) => (Some(&e.evidence), None, None),
        LedgerEvent::Cleared(e) => (Some(&e.evidence), None, None),
        LedgerEvent::Forfeited(e) => (None, Some(&e.answer), None),
        LedgerEvent::SettledLate(e) => {
            let wechat_msgid = match &e.outcome {
                LateOutcome::Sent { wechat_msgid } => wechat_msgid.as_ref(),
                LateOutcome::NotSent => None,
            };
            (Some(&e.evidence), None, wechat_msgid)
        }
        LedgerEvent::Consumed(e) => (None, None, e.wechat_msgid.as_ref()),
        LedgerEvent::Postponed(e) => (None, Some(&e.answer), None),
        LedgerEvent::Denied(e) => (None, Some(&e.answer), None),
        LedgerEvent::DriftFound(e) => (None, Some(&e.answer), None),
        LedgerEvent::Released(e) => match &e.reason {
            ReleaseReason::Refused { answer } | ReleaseReason::RetriesExhausted { answer } => {
                (None, Some(answer), None)
            }
            ReleaseReason::Retracted
            | ReleaseReason::Expired
            | ReleaseReason::Suspended
            | ReleaseReason::NoGrant => (None, None, None),
        },
        LedgerEvent::Reserved(_)
        | LedgerEvent::Admitted(_)
        | LedgerEvent::Started(_)
        | LedgerEvent::Doubted(_) => (None, None, None),
    }
}

#[cfg(test)]
mod tests;
