//! The state of a ledger: a fold over its events, nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::{Basis, Choice, LateOutcome, LedgerEvent};
use crate::{DeliveryId, LotId, Timestamp};

/// An open grant, or one set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// Its number in this ledger.
    pub id: LotId,
    /// The delivery in doubt that was settled as "not sent" and gave this lot back. If WeChat later says that nothing is
    /// left, that doubt explains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubted_by: Option<DeliveryId>,
}

/// What pays for a delivery under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Funding {
    /// A grant.
    Lot(Lot),
    /// No grant is needed, or none is known.
    Without(Basis),
    /// Its grant was found void while it waited; it will end when its turn comes.
    Void,
}

/// How far a delivery under way has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waiting.
    Reserved,
    /// Handed to WeChat, or about to be.
    Started,
    /// Handed to WeChat, answer unknown.
    InDoubt,
}

/// A delivery that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outstanding {
    /// What pays for it.
    pub funding: Funding,
    /// How far it has come.
    pub phase: Phase,
    /// Attempts made.
    pub attempts: u16,
}

/// Sends are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Since when; an accept at or after this moment lifts it.
    pub since: Timestamp,
}

/// Where every grant ever recorded is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Grants ever recorded.
    pub granted: u64,
    /// Open: the balance.
    pub open: u64,
    /// Set aside for deliveries under way.
    pub reserved: u64,
    /// Held by deliveries in doubt.
    pub in_doubt: u64,
    /// Spent.
    pub consumed: u64,
    /// Found void.
    pub voided: u64,
}

impl Totals {
    /// Whether every grant is accounted for.
    pub const fn balanced(&self) -> bool {
        self.granted == self.open + self.reserved + self.in_doubt + self.consumed + self.voided
    }
}

/// The subscription quota of one (channel, openid, template).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Open lots, oldest first: ascending by id.
    pub(super) lots: Vec<Lot>,
    /// Deliveries that have not ended.
    pub(super) outstanding: BTreeMap<DeliveryId, Outstanding>,
    pub(super) granted: u64,
    pub(super) consumed: u64,
    pub(super) voided: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) suspended: Option<Suspension>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_grant_at: Option<Timestamp>,
    /// The last answer to a popup that we know of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_choice: Option<Choice>,
    /// WeChat has told us that nothing was left, so the balance before our books is no longer unknown.
    #[serde(default)]
    pub(super) zero_proved: bool,
}

impl Ledger {
    /// The number of grants that a new send may use.
    pub fn balance(&self) -> u64 {
        self.lots.len() as u64
    }

    /// Open lots, oldest first.
    pub fn lots(&self) -> &[Lot] {
        &self.lots
    }

    /// Deliveries that have not ended.
    pub fn outstanding(&self) -> &BTreeMap<DeliveryId, Outstanding> {
        &self.outstanding
    }

    /// Whether and since when sends are refused.
    pub fn suspension(&self) -> Option<Suspension> {
        self.suspended
    }

    /// When the newest grant was made, according to its evidence.
    pub fn last_grant_at(&self) -> Option<Timestamp> {
        self.last_grant_at
    }

    /// Where every grant is.
    pub fn totals(&self) -> Totals {
        let held = |phase: fn(Phase) -> bool| {
            let holds_lot = |o: &&Outstanding| matches!(o.funding, Funding::Lot(_)) && phase(o.phase);
            self.outstanding.values().filter(holds_lot).count() as u64
        };
        Totals {
            granted: self.granted,
            open: self.balance(),
            reserved: held(|phase| phase != Phase::InDoubt),
            in_doubt: held(|phase| phase == Phase::InDoubt),
            consumed: self.consumed,
            voided: self.voided,
        }
    }

    /// The attempt that is unresolved: started, or in doubt. At most one may be.
    pub fn unresolved(&self) -> Option<DeliveryId> {
        self.outstanding.iter().find(|(_, o)| o.phase != Phase::Reserved).map(|(id, _)| *id)
    }

    fn open_lot(&mut self, lot: Lot) {
        let at = self.lots.partition_point(|open| open.id < lot.id);
        self.lots.insert(at, lot);
    }

    fn grant(&mut self, count: u64, at: Timestamp) {
        for id in self.granted + 1..=self.granted + count {
            self.lots.push(Lot { id, doubted_by: None });
        }
        self.granted += count;
        self.accepted(at);
    }

    fn accepted(&mut self, at: Timestamp) {
        self.last_choice = Some(Choice::Accept);
        self.last_grant_at = self.last_grant_at.max(Some(at));
        if self.suspended.is_some_and(|suspension| at >= suspension.since) {
            self.suspended = None;
        }
    }

    fn begin(&mut self, delivery: DeliveryId, funding: Funding) {
        self.outstanding.insert(delivery, Outstanding { funding, phase: Phase::Reserved, attempts: 0 });
    }

    fn move_to(&mut self, delivery: DeliveryId, phase: Phase) {
        if let Some(outstanding) = self.outstanding.get_mut(&delivery) {
            outstanding.phase = phase;
        }
    }

    fn spend(&mut self, delivery: DeliveryId) {
        match self.outstanding.remove(&delivery) {
            Some(Outstanding { funding: Funding::Lot(_), .. }) => self.consumed += 1,
            Some(_) => {}
            // A doubt that was settled as "not sent" turns out to have been sent: its lot stands open again.
            None => {
                let before = self.lots.len();
                self.lots.retain(|lot| lot.doubted_by != Some(delivery));
                self.consumed += (before - self.lots.len()) as u64;
                for waiting in self.outstanding.values_mut() {
                    if matches!(waiting.funding, Funding::Lot(lot) if lot.doubted_by == Some(delivery)) {
                        waiting.funding = Funding::Void;
                        self.consumed += 1;
                    }
                }
            }
        }
    }

    fn give_back(&mut self, delivery: DeliveryId, doubted_by: Option<DeliveryId>) {
        if let Some(Outstanding { funding: Funding::Lot(lot), .. }) = self.outstanding.remove(&delivery) {
            self.open_lot(Lot { doubted_by: doubted_by.or(lot.doubted_by), ..lot });
        }
    }

    fn void(&mut self, ids: &[LotId]) {
        self.voided += ids.len() as u64;
        self.lots.retain(|lot| !ids.contains(&lot.id));
        for outstanding in self.outstanding.values_mut() {
            if matches!(outstanding.funding, Funding::Lot(lot) if ids.contains(&lot.id)) {
                outstanding.funding = Funding::Void;
            }
        }
    }

    /// Applies one event. Total: an event that does not fit the state changes what it can and never panics.
    pub(super) fn fold(&mut self, event: &LedgerEvent) {
        match event {
            LedgerEvent::Granted(e) => self.grant(1, e.evidence.at),
            LedgerEvent::Opened(e) => self.grant(u64::from(e.count), e.evidence.at),
            LedgerEvent::Consented(e) => self.accepted(e.evidence.at),
            LedgerEvent::Rejected(e) => self.last_choice = Some(e.choice),
            LedgerEvent::Suspended(e) => self.suspended = Some(Suspension { since: e.evidence.at }),
            LedgerEvent::Reserved(e) => {
                if let Some(at) = self.lots.iter().position(|lot| lot.id == e.lot) {
                    let lot = self.lots.remove(at);
                    self.begin(e.delivery, Funding::Lot(lot));
                }
            }
            LedgerEvent::Admitted(e) => self.begin(e.delivery, Funding::Without(e.basis)),
            LedgerEvent::Started(e) => {
                self.move_to(e.delivery, Phase::Started);
                if let Some(outstanding) = self.outstanding.get_mut(&e.delivery) {
                    outstanding.attempts = e.attempt;
                }
            }
            LedgerEvent::Postponed(e) => self.move_to(e.delivery, Phase::Reserved),
            LedgerEvent::Consumed(e) => self.spend(e.delivery),
            LedgerEvent::Released(e) => self.give_back(e.delivery, None),
            LedgerEvent::Doubted(e) => self.move_to(e.delivery, Phase::InDoubt),
            LedgerEvent::SettledLate(e) => match e.outcome {
                LateOutcome::Sent { .. } => self.spend(e.delivery),
                LateOutcome::NotSent => self.give_back(e.delivery, Some(e.delivery)),
            },
            LedgerEvent::Denied(e) => {
                self.give_back(e.delivery, None);
                self.zero_proved = true;
            }
            LedgerEvent::DriftFound(e) => self.void(&e.lots),
        }
    }
}
