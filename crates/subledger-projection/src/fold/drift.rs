//! Findings of drift and what most likely explains them: a row per finding, and a row per ledger that strangers' sends were
//! reported of.
//!
//! What the books know is in the event, but for two things: whether somebody else sends, which earlier events of the ledger
//! told, and whether the grants that are void had taps behind them, which their lots tell.

use std::sync::Arc;

use subledger_domain::{
    LotId, Timestamp,
    ledger::{DriftFound, Ledger, LedgerEvent},
};

use super::{LedgerKey, Stamp};
use crate::{
    DriftCause, DriftRow, LotRow,
    cache::{Held, Rows},
    rows::{OLD_GRANT_MICROS, StrangerRow},
    table::{Need, Table},
    tuples::{Naming, Tuples, Unreadable},
};

#[derive(Default)]
pub(super) struct Drift {
    strangers: Rows<StrangerRow>,
    rows: Rows<DriftRow>,
    /// Findings of which the lots have to be looked at.
    found: Vec<(Stamp, Arc<LedgerKey>, Arc<LedgerEvent>, bool)>,
}

impl Drift {
    /// Notes which rows an event will be judged by.
    pub(super) fn want(&mut self, key: &LedgerKey, event: &LedgerEvent) {
        if matches!(event, LedgerEvent::DriftFound(_) | LedgerEvent::StrangerReported(_)) {
            self.strangers.want(key);
        }
    }

    /// Follows an event, given the ledger that it meets.
    pub(super) fn follow(
        &mut self,
        stamp: Stamp,
        key: &Arc<LedgerKey>,
        ledger: &Ledger,
        event: &Arc<LedgerEvent>,
    ) {
        match &**event {
            // Only grants that are on the books can have been spent by it without our knowledge.
            LedgerEvent::StrangerReported(_) if ledger.totals().granted > 0 => {
                let (template, subject) = (key.0.clone(), key.1);
                self.strangers.put(StrangerRow { template, subject, lots: ledger.totals().granted });
            }
            LedgerEvent::DriftFound(found) => {
                let strange = self.strangers.get(key).is_some_and(|row| {
                    // Lots are numbered as they come.
                    found.lots.iter().any(|lot| *lot <= row.lots)
                });
                self.found.push((stamp, Arc::clone(key), Arc::clone(event), strange));
            }
            _ => {}
        }
    }

    pub(super) fn need_strangers(&mut self, naming: &mut Naming<'_>) -> Option<Need> {
        self.strangers.need(naming)
    }

    pub(super) fn load(&mut self, table: Table, rows: &Tuples) -> Result<(), Unreadable> {
        if table == Table::Strangers { self.strangers.load(rows) } else { self.rows.load(rows) }
    }

    /// Writes the findings down. Their lots, which they move, are in memory.
    pub(super) fn fold(&mut self, lots: &Rows<LotRow>) {
        for (stamp, key, event, strange) in self.found.drain(..) {
            let LedgerEvent::DriftFound(found) = &*event else { continue };
            let untapped = |lot: &LotId| {
                // A lot that came from a tap keeps WeChat's word for it.
                lots.get(&(key.0.clone(), key.1, *lot)).is_some_and(|row| row.word.is_none())
            };
            self.rows.put(DriftRow {
                found_at: stamp.at,
                position: stamp.position,
                template: key.0.clone(),
                subject: key.1,
                message: found.delivery.message,
                index: found.delivery.index,
                grants: u32::try_from(found.lots.len()).unwrap_or(u32::MAX),
                explained: u32::try_from(found.doubts.len()).unwrap_or(u32::MAX),
                cause: cause(stamp.at, found, strange, found.lots.iter().any(untapped)),
                last_grant_at: found.last_grant_at,
                last_settings_at: found.last_settings_at,
            });
        }
    }

    pub(super) fn tables(&mut self) -> [&mut dyn Held; 2] {
        [&mut self.rows, &mut self.strangers]
    }
}

/// The first cause that fits, the surest sign first.
fn cause(at: Timestamp, found: &DriftFound, strange: bool, untapped: bool) -> DriftCause {
    let settings = found.last_settings_at.is_some_and(|settings| Some(settings) >= found.last_grant_at);
    let age = found.last_grant_at.map(|granted| at.micros().saturating_sub(granted.micros()));
    if settings {
        DriftCause::SettingsChanged
    } else if strange {
        DriftCause::Stranger
    } else if untapped {
        DriftCause::NotTapped
    } else if !found.doubts.is_empty() {
        DriftCause::WrongVerdict
    } else if age.is_some_and(|age| age >= OLD_GRANT_MICROS) {
        DriftCause::OldGrant
    } else {
        DriftCause::Unexplained
    }
}
