//! Folds ledger events: quotas and lots.
//!
//! Which lot pays for what, and what a late proof or a refusal does to the lots around it, is the domain's to say. So the
//! row carries the aggregate itself, each event is applied to it by the domain's own fold, and the lots are moved by what
//! changed in it. A second copy of those rules here would sooner or later disagree with the first.

use std::sync::Arc;

use serde::Serialize;
use subledger_domain::{
    DeliveryId, Evidence, LotId, SubjectId, TemplateId, Timestamp,
    ledger::{Choice, Funding, LateOutcome, Ledger, LedgerEvent, LedgerParts, Phase},
};

use super::{
    FoldError, Incoming, LedgerKey, Model, Poison, Stamp, counters::Counters, counting, drift::Drift,
};
use crate::{
    Holdings, LedgerRow, LotRow, LotState,
    cache::{Held, Rows},
    table::{Need, Table},
    tuples::{Naming, Tuples, Unreadable},
};

/// A ledger as stored: the row that is asked for and the aggregate that the next event is folded into.
#[derive(Debug, Clone)]
pub(crate) struct LedgerBook {
    pub(crate) row: LedgerRow,
    pub(crate) state: Ledger,
    /// Where its lots are, once asked for; moves with the state.
    places: Option<Places>,
}

impl LedgerBook {
    pub(crate) const fn new(row: LedgerRow, state: Ledger) -> Self {
        Self { row, state, places: None }
    }
}

/// As a digest sees it: without the deliveries that ended, which are not stored.
impl Serialize for LedgerBook {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            row: &'a LedgerRow,
            state: LedgerParts,
        }
        Whole { row: &self.row, state: LedgerParts::from(&self.state) }.serialize(serializer)
    }
}

/// The lots that the aggregate still knows, in order of number.
type Places = Vec<(LotId, Place)>;

/// Where a lot is, as far as an event can move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    state: LotState,
    delivery: Option<DeliveryId>,
    doubted_by: Option<DeliveryId>,
}

struct Move {
    lot: (TemplateId, SubjectId, LotId),
    stamp: Stamp,
    to: Place,
}

#[derive(Default)]
pub(super) struct Ledgers {
    events: Vec<(Stamp, Arc<LedgerKey>, Arc<LedgerEvent>)>,
    books: Rows<LedgerBook>,
    lots: Rows<LotRow>,
    moves: Vec<Move>,
    drift: Drift,
    counters: Counters,
}

impl Model for Ledgers {
    fn take(&mut self, event: &Incoming<'_>) -> Result<(), FoldError> {
        if let Some((key, ledger)) = event.ledger()? {
            self.books.want(key);
            self.drift.want(key, ledger);
            self.events.push((event.stamp, Arc::clone(key), Arc::clone(ledger)));
        }
        Ok(())
    }

    /// First the ledgers, and what drift is judged by; then, once the events are applied to them, the lots that move and the
    /// counters they add to.
    fn need(&mut self, naming: &mut Naming<'_>) -> Option<Need> {
        self.books.need(naming).or_else(|| self.drift.need_strangers(naming)).or_else(|| {
            self.advance();
            self.lots.need(naming).or_else(|| self.counters.need(naming))
        })
    }

    fn load(&mut self, table: Table, rows: &Tuples) -> Result<(), Unreadable> {
        match table {
            Table::Ledgers => self.books.load(rows),
            Table::Lots => self.lots.load(rows),
            Table::Drifts | Table::Strangers => self.drift.load(table, rows),
            table => self.counters.load(table, rows),
        }
    }

    fn fold(&mut self) -> Result<(), Poison> {
        for Move { lot, stamp, to } in self.moves.drain(..) {
            let Some(row) = self.lots.edit(&lot) else {
                let error = FoldError::Contradiction(format!("lot {} of a ledger was never granted", lot.2));
                return Err(Poison { position: stamp.position, error });
            };
            row.state = to.state;
            row.delivery = to.delivery;
            row.doubted_by = to.doubted_by;
            row.changed_at = stamp.at;
        }
        self.drift.fold(&self.lots);
        self.counters.fold();
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn Held> {
        let [drifts, strangers] = self.drift.tables();
        let [templates, closings, counts] = self.counters.tables();
        vec![&mut self.books, &mut self.lots, drifts, strangers, templates, closings, counts]
    }
}

impl Ledgers {
    /// Applies the events to the aggregates, counts, and notes which lots appear and which move.
    fn advance(&mut self) {
        for (stamp, key, event) in self.events.drain(..) {
            let book = self.books.edit_or_make(&key, || empty_book(&key, stamp.at));
            let was = moves_lots(&event).then(|| book.places.take().unwrap_or_else(|| places(&book.state)));
            let before = Holdings::from(book.state.totals());
            let counted = counting::counted(&book.state, &event);
            self.drift.follow(stamp, &key, &book.state, &event);
            book.state.tally(&event);
            describe(&mut book.row, &book.state, stamp, &event);
            let after = Holdings::from(book.row.totals());
            self.counters.count(stamp, &key.0, counted.into_iter().flatten());
            if before != after {
                counting::moves(&before, &after, |moved| self.counters.count(stamp, &key.0, [moved]));
                self.counters.moved(stamp, &key.0, &before, &after);
            }
            let Some(was) = was else { continue };
            let is = places(&book.state);
            for lot in granted(&key, stamp.at, &event) {
                self.lots.put(lot);
            }
            for (id, was) in &was {
                let to = match is.binary_search_by_key(id, |(id, _)| *id) {
                    Ok(at) => is[at].1,
                    Err(_) => left(&event, *was),
                };
                if to != *was {
                    let lot = (key.0.clone(), key.1, *id);
                    self.lots.want(&lot);
                    self.moves.push(Move { lot, stamp, to });
                }
            }
            book.places = Some(is);
        }
    }
}

fn empty_book(key: &LedgerKey, at: Timestamp) -> LedgerBook {
    let row = LedgerRow {
        subject: key.1,
        template: key.0.clone(),
        balance: 0,
        reserved: 0,
        in_doubt: 0,
        granted: 0,
        consumed: 0,
        voided: 0,
        rejected: 0,
        suspended_since: None,
        consented: false,
        last_grant_at: None,
        last_choice: None,
        last_event_at: at,
    };
    LedgerBook::new(row, Ledger::default())
}

/// Brings the row up to the aggregate, and to what the aggregate does not keep.
fn describe(row: &mut LedgerRow, state: &Ledger, stamp: Stamp, event: &LedgerEvent) {
    let totals = state.totals();
    row.balance = totals.open;
    row.reserved = totals.reserved;
    row.in_doubt = totals.in_doubt;
    row.granted = totals.granted;
    row.consumed = totals.consumed;
    row.voided = totals.voided;
    row.suspended_since = state.suspension().map(|suspension| suspension.since);
    row.last_grant_at = state.last_grant_at();
    row.last_event_at = stamp.at;
    match event {
        LedgerEvent::Granted(_) => row.last_choice = Some(Choice::Accept),
        LedgerEvent::Consented(_) => {
            row.last_choice = Some(Choice::Accept);
            row.consented = true;
        }
        LedgerEvent::Rejected(rejected) => {
            row.last_choice = Some(rejected.choice);
            row.rejected += 1;
        }
        _ => {}
    }
}

const fn moves_lots(event: &LedgerEvent) -> bool {
    !matches!(
        event,
        LedgerEvent::Consented(_)
            | LedgerEvent::Rejected(_)
            | LedgerEvent::Suspended(_)
            | LedgerEvent::Started(_)
            | LedgerEvent::Corroborated(_)
            | LedgerEvent::TapNoted(_)
            | LedgerEvent::Confirmed(_)
            | LedgerEvent::Undelivered(_)
            | LedgerEvent::StrangerReported(_)
    )
}

/// Every lot that the aggregate still knows: open, or held.
fn places(state: &Ledger) -> Places {
    let open = state
        .lots()
        .iter()
        .map(|lot| (lot.id, Place { state: LotState::Open, delivery: None, doubted_by: lot.doubted_by }));
    let held = state.outstanding().iter().filter_map(|(delivery, outstanding)| {
        let Funding::Lot(lot) = outstanding.funding else { return None };
        let in_doubt = outstanding.phase == Phase::InDoubt;
        let state = if in_doubt { LotState::InDoubt } else { LotState::Reserved };
        Some((lot.id, Place { state, delivery: Some(*delivery), doubted_by: lot.doubted_by }))
    });
    let mut places: Places = open.chain(held).collect();
    places.sort_unstable_by_key(|(id, _)| *id);
    places
}

/// Where a lot went that the aggregate does not know any more.
fn left(event: &LedgerEvent, was: Place) -> Place {
    let spent_by = match event {
        LedgerEvent::Consumed(e) => Some(e.delivery),
        LedgerEvent::Forfeited(e) => Some(e.delivery),
        LedgerEvent::SettledLate(e) if e.outcome != LateOutcome::NotSent => Some(e.delivery),
        _ => None,
    };
    match spent_by {
        Some(_) => Place { state: LotState::Consumed, delivery: spent_by, doubted_by: None },
        None => Place { state: LotState::Void, delivery: was.delivery, doubted_by: None },
    }
}

/// The lots that an event creates.
fn granted(key: &LedgerKey, at: Timestamp, event: &LedgerEvent) -> Vec<LotRow> {
    let lot = |lot: LotId, word: Option<&String>, evidence: &Evidence| LotRow {
        subject: key.1,
        template: key.0.clone(),
        lot,
        state: LotState::Open,
        granted_at: evidence.at,
        word: word.cloned(),
        evidence_source: evidence.source,
        evidence_ref: evidence.reference.clone(),
        delivery: None,
        doubted_by: None,
        changed_at: at,
    };
    let lots = |first: LotId, count: u32, evidence: &Evidence| {
        (first..first.saturating_add(u64::from(count))).map(|id| lot(id, None, evidence)).collect()
    };
    match event {
        LedgerEvent::Granted(e) => vec![lot(e.lot, Some(&e.word), &e.evidence)],
        LedgerEvent::Opened(e) => lots(e.first_lot, e.count, &e.evidence),
        LedgerEvent::Adjusted(e) => {
            e.added.map_or_else(Vec::new, |added| lots(added.first_lot, added.count, &e.evidence))
        }
        _ => Vec::new(),
    }
}
