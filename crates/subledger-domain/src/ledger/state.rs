//! The state of a ledger: a fold over its events, nothing else.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{
    MAX_REMEMBERED_ENDS,
    event::{Adjusted, Basis, Choice, LateOutcome, LedgerEvent},
    memory::{Send, Tap},
};
use crate::{DeliveryId, EvidenceSource, LotId, Timestamp};

/// An open grant, or one set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// Its number in this ledger.
    pub id: LotId,
    /// A delivery in doubt that was settled as "not sent" and may have spent one grant all the same. If WeChat later says
    /// that nothing is left, that doubt explains this lot. WeChat only counts, so the doubt is about one lot of several:
    /// when the lot that carries it is spent by another delivery, the doubt passes to the oldest one without a doubt.
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
    /// How many grants were on the books when the newest attempt began. WeChat's answer says nothing about later ones.
    #[serde(default)]
    pub grants_at_start: u64,
    /// The newest accept known when the newest attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_at_start: Option<Timestamp>,
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
    /// When the user last tapped "allow", according to the evidence. An import is a grant but not an accept: it neither
    /// lifts a suspension nor outweighs a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_accept_at: Option<Timestamp>,
    /// The last answer to a popup that we know of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_choice: Option<Choice>,
    /// What the user had before our books began is known: it was imported, or WeChat said that nothing was left.
    #[serde(default)]
    pub(super) earlier_known: bool,
    /// The deliveries that ended last, oldest first: a repeated request to reserve must not bring one back to life.
    /// Bounded by [`MAX_REMEMBERED_ENDS`]; older repetitions are caught by receipts and by the plan of the message.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(super) ended: VecDeque<DeliveryId>,
    /// Taps that only one source has told of, in order of recording; at most [`super::MAX_REMEMBERED_TAPS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) taps: Vec<Tap>,
    /// Sends that WeChat may have a word on, in order of recording; at most [`super::MAX_REMEMBERED_SENDS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) sends: Vec<Send>,
    /// When WeChat last told of a change in the user's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_settings_at: Option<Timestamp>,
}

/// A ledger taken apart, for whoever keeps it in columns of its own: everything that later events are folded into by
/// [`Ledger::tally`]. The memory of taps, sends and ended deliveries is left out, because only decisions look at it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LedgerParts {
    /// Open lots, ascending by id.
    pub lots: Vec<Lot>,
    /// Deliveries that have not ended.
    pub outstanding: Vec<(DeliveryId, Outstanding)>,
    /// Grants ever recorded.
    pub granted: u64,
    /// Grants spent.
    pub consumed: u64,
    /// Grants found void.
    pub voided: u64,
    /// Whether and since when sends are refused.
    pub suspended: Option<Suspension>,
    /// When the newest grant was made, according to its evidence.
    pub last_grant_at: Option<Timestamp>,
    /// When the user last tapped "allow", according to the evidence.
    pub last_accept_at: Option<Timestamp>,
    /// The last answer to a popup.
    pub last_choice: Option<Choice>,
    /// Whether it is known what the user had before our books began.
    pub earlier_known: bool,
}

impl From<LedgerParts> for Ledger {
    fn from(parts: LedgerParts) -> Self {
        Self {
            lots: parts.lots,
            outstanding: parts.outstanding.into_iter().collect(),
            granted: parts.granted,
            consumed: parts.consumed,
            voided: parts.voided,
            suspended: parts.suspended,
            last_grant_at: parts.last_grant_at,
            last_accept_at: parts.last_accept_at,
            last_choice: parts.last_choice,
            earlier_known: parts.earlier_known,
            ..Self::default()
        }
    }
}

impl From<&Ledger> for LedgerParts {
    fn from(ledger: &Ledger) -> Self {
        Self {
            lots: ledger.lots.clone(),
            outstanding: ledger.outstanding.iter().map(|(id, one)| (*id, one.clone())).collect(),
            granted: ledger.granted,
            consumed: ledger.consumed,
            voided: ledger.voided,
            suspended: ledger.suspended,
            last_grant_at: ledger.last_grant_at,
            last_accept_at: ledger.last_accept_at,
            last_choice: ledger.last_choice,
            earlier_known: ledger.earlier_known,
        }
    }
}

impl Ledger {
    /// When the user last tapped "allow", according to the evidence.
    pub fn last_accept_at(&self) -> Option<Timestamp> {
        self.last_accept_at
    }

    /// Whether it is known what the user had before our books began.
    pub fn earlier_known(&self) -> bool {
        self.earlier_known
    }

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

    /// When WeChat last told of a change in the user's settings.
    pub fn last_settings_at(&self) -> Option<Timestamp> {
        self.last_settings_at
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
        self.last_grant_at = self.last_grant_at.max(Some(at));
    }

    fn accepted(&mut self, at: Timestamp) {
        self.last_choice = Some(Choice::Accept);
        self.confirm_accept(at);
    }

    /// A tap on "allow" that is on the books is dated. The two sources of one tap differ by a little; the later one counts,
    /// whichever came first.
    fn confirm_accept(&mut self, at: Timestamp) {
        self.last_grant_at = self.last_grant_at.max(Some(at));
        self.last_accept_at = self.last_accept_at.max(Some(at));
        if self.suspended.is_some_and(|suspension| at >= suspension.since) {
            self.suspended = None;
        }
    }

    /// An older refusal that arrives late must not make room for an accept that a newer refusal outweighs.
    fn suspend_since(&mut self, at: Timestamp) {
        let since = self.suspended.map_or(at, |suspension| suspension.since.max(at));
        self.suspended = Some(Suspension { since });
    }

    fn begin(&mut self, delivery: DeliveryId, funding: Funding) {
        let waiting = Outstanding {
            funding,
            phase: Phase::Reserved,
            attempts: 0,
            grants_at_start: 0,
            accept_at_start: None,
        };
        self.outstanding.insert(delivery, waiting);
    }

    fn start_attempt(&mut self, delivery: DeliveryId, attempt: u16) {
        if let Some(outstanding) = self.outstanding.get_mut(&delivery) {
            outstanding.phase = Phase::Started;
            outstanding.attempts = attempt;
            outstanding.grants_at_start = self.granted;
            outstanding.accept_at_start = self.last_accept_at;
        }
    }

    fn move_to(&mut self, delivery: DeliveryId, phase: Phase) {
        if let Some(outstanding) = self.outstanding.get_mut(&delivery) {
            outstanding.phase = phase;
        }
    }

    fn end(&mut self, delivery: DeliveryId) -> Option<Outstanding> {
        let ended = self.outstanding.remove(&delivery)?;
        if self.ended.len() == MAX_REMEMBERED_ENDS {
            self.ended.pop_front();
        }
        self.ended.push_back(delivery);
        Some(ended)
    }

    fn spend(&mut self, delivery: DeliveryId) {
        let Some(ended) = self.end(delivery) else {
            return self.spend_returned(delivery);
        };
        let lot = match ended.funding {
            Funding::Lot(lot) => lot,
            // Its grant was found spent while it was in flight, and WeChat took another one.
            Funding::Void => match self.take_any() {
                Some(lot) => lot,
                None => return,
            },
            Funding::Without(_) => return,
        };
        self.consumed += 1;
        if let Some(doubt) = lot.doubted_by {
            self.pass_on(doubt);
        }
    }

    /// The oldest open lot; with none open, the newest that waits for its delivery, which then has none.
    fn take_any(&mut self) -> Option<Lot> {
        if !self.lots.is_empty() {
            return Some(self.lots.remove(0));
        }
        let held = self.outstanding.values_mut().filter_map(|o| match o.funding {
            Funding::Lot(lot) => Some((lot, &mut o.funding)),
            _ => None,
        });
        let (lot, funding) = held.max_by_key(|(lot, _)| lot.id)?;
        *funding = Funding::Void;
        Some(lot)
    }

    /// Hands a doubt to the oldest lot that has none. With none left the doubt is over: every grant was spent by a
    /// delivery that is known, so the one in doubt was indeed not sent.
    fn pass_on(&mut self, doubt: DeliveryId) {
        let held = self.outstanding.values_mut().filter_map(|o| match &mut o.funding {
            Funding::Lot(lot) => Some(lot),
            _ => None,
        });
        let free = self.lots.iter_mut().chain(held).filter(|lot| lot.doubted_by.is_none());
        if let Some(oldest) = free.min_by_key(|lot| lot.id) {
            oldest.doubted_by = Some(doubt);
        }
    }

    /// A doubt that was settled as "not sent" turns out to have been sent: the lot that carries it was spent by it. A
    /// delivery that was to use this lot has none now.
    fn spend_returned(&mut self, doubt: DeliveryId) {
        let suspect = |lot: &Lot| lot.doubted_by == Some(doubt);
        if let Some(at) = self.lots.iter().position(suspect) {
            self.lots.remove(at);
            self.consumed += 1;
        }
        for holder in self.outstanding.values_mut() {
            if matches!(holder.funding, Funding::Lot(lot) if suspect(&lot)) {
                holder.funding = Funding::Void;
                self.consumed += 1;
            }
        }
    }

    /// Whether a lot, open or held, still carries the doubt about this delivery.
    pub(super) fn is_suspect(&self, delivery: DeliveryId) -> bool {
        self.believed().any(|lot| lot.doubted_by == Some(delivery))
    }

    /// Every lot we believe WeChat would honour: open, or held by a delivery under way.
    pub(super) fn believed(&self) -> impl Iterator<Item = Lot> {
        let held = self.outstanding.values().filter_map(|o| match o.funding {
            Funding::Lot(lot) => Some(lot),
            _ => None,
        });
        self.lots.iter().copied().chain(held)
    }

    /// Ends a delivery that was not sent, or is taken for not sent although `doubt` remains.
    fn give_back(&mut self, delivery: DeliveryId, doubt: Option<DeliveryId>) {
        let homeless = match self.end(delivery).map(|ended| ended.funding) {
            Some(Funding::Lot(lot)) => {
                self.open_lot(Lot { doubted_by: doubt.or(lot.doubted_by), ..lot });
                doubt.and(lot.doubted_by)
            }
            Some(Funding::Void) => doubt,
            Some(Funding::Without(_)) | None => None,
        };
        if let Some(homeless) = homeless {
            self.pass_on(homeless);
        }
    }

    fn void(&mut self, ids: &[LotId]) {
        let before = self.lots.len();
        self.lots.retain(|lot| !ids.contains(&lot.id));
        self.voided += (before - self.lots.len()) as u64;
        for outstanding in self.outstanding.values_mut() {
            if matches!(outstanding.funding, Funding::Lot(lot) if ids.contains(&lot.id)) {
                outstanding.funding = Funding::Void;
                self.voided += 1;
            }
        }
    }

    fn adjust(&mut self, event: &Adjusted) {
        if let Some(added) = event.added {
            self.grant(u64::from(added.count), event.evidence.at);
        }
        let removed = self.lots.iter().filter(|lot| event.removed.contains(&lot.id));
        let doubts: Vec<_> = removed.filter_map(|lot| lot.doubted_by).collect();
        self.void(&event.removed);
        doubts.into_iter().for_each(|doubt| self.pass_on(doubt));
    }

    /// Applies one event. Total: an event that does not fit the state changes what it can and never panics.
    pub fn fold(&mut self, event: &LedgerEvent) {
        self.tally(event);
        self.remember(event);
    }

    /// The part of [`Self::fold`] that moves grants and deliveries, for whoever only counts: it comes to the same
    /// [`LedgerParts`] and leaves the memory of decisions alone.
    pub fn tally(&mut self, event: &LedgerEvent) {
        match event {
            LedgerEvent::Granted(e) => {
                self.grant(1, e.evidence.at);
                self.accepted(e.evidence.at);
            }
            LedgerEvent::Opened(e) => {
                self.grant(u64::from(e.count), e.evidence.at);
                self.earlier_known = true;
            }
            LedgerEvent::Consented(e) => self.accepted(e.evidence.at),
            LedgerEvent::Rejected(e) => self.last_choice = Some(e.choice),
            LedgerEvent::Suspended(e) => {
                // WeChat's word of a change is recorded also when it comes after a newer accept, and changes nothing then.
                let outweighed = e.evidence.source == EvidenceSource::WechatPush
                    && self.last_accept_at.is_some_and(|accepted| accepted > e.evidence.at);
                if !outweighed {
                    self.suspend_since(e.evidence.at);
                }
            }
            LedgerEvent::Reserved(e) => {
                if let Some(at) = self.lots.iter().position(|lot| lot.id == e.lot) {
                    let lot = self.lots.remove(at);
                    self.begin(e.delivery, Funding::Lot(lot));
                }
            }
            LedgerEvent::Admitted(e) => self.begin(e.delivery, Funding::Without(e.basis)),
            LedgerEvent::Started(e) => self.start_attempt(e.delivery, e.attempt),
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
                self.earlier_known = true;
            }
            LedgerEvent::DriftFound(e) => self.void(&e.lots),
            LedgerEvent::Corroborated(e) => {
                if e.choice == Choice::Accept {
                    self.confirm_accept(e.evidence.at);
                }
            }
            LedgerEvent::Adjusted(e) => self.adjust(e),
            LedgerEvent::Cleared(e) => self.void(&e.lots),
            LedgerEvent::Forfeited(e) => self.spend(e.delivery),
            LedgerEvent::TapNoted(_)
            | LedgerEvent::Confirmed(_)
            | LedgerEvent::Undelivered(_)
            | LedgerEvent::StrangerReported(_) => {}
        }
    }
}
