//! Which attempts were in doubt, since when, and how it ended: a row per doubt, written only when one begins, ends or is
//! corrected.
//!
//! The delivery's row says which attempt is meant, so this asks the database for nothing but the doubts that end.

use subledger_domain::ledger::LedgerEvent;

use super::Stamp;
use crate::{
    DeliveryRow, DeliveryState, DoubtEnd, DoubtOutcome, DoubtRow,
    cache::{Held, Rows},
    table::{Need, Row},
    tuples::{Naming, Tuples, Unreadable},
};

type Key = <DoubtRow as Row>::Key;

/// What happens to a doubt that has begun.
enum Change {
    Ended(DoubtEnd, DoubtOutcome),
    Corrected(DoubtEnd),
}

#[derive(Default)]
pub(super) struct Doubts {
    rows: Rows<DoubtRow>,
    changes: Vec<(Stamp, Key, Change)>,
}

impl Doubts {
    /// Notes what an event about a delivery means for its doubt; `row` is how it left the delivery.
    pub(super) fn follow(
        &mut self,
        stamp: Stamp,
        row: &DeliveryRow,
        before: DeliveryState,
        event: &LedgerEvent,
    ) {
        if let LedgerEvent::Doubted(doubted) = event {
            self.rows.put(DoubtRow {
                message: row.message,
                index: row.index,
                attempt: row.attempts,
                template: row.template.clone(),
                subject: row.subject,
                cause: doubted.cause,
                began_at: stamp.at,
                position: stamp.position,
                ended_at: None,
                ended: None,
                outcome: None,
                corrected_at: None,
                corrected: None,
            });
            return;
        }
        let by = match event {
            LedgerEvent::SettledLate(settled) => DoubtEnd::of(settled),
            // Whatever else ends a doubt is an answer to the call.
            _ => DoubtEnd::LateAnswer,
        };
        let change = match (before, DoubtOutcome::left_in(row.state)) {
            (DeliveryState::InDoubt, Some(outcome)) => Change::Ended(by, outcome),
            (DeliveryState::NotSent, Some(DoubtOutcome::Sent)) => Change::Corrected(by),
            _ => return,
        };
        let key = (row.message, row.index, row.attempts);
        self.rows.want(&key);
        self.changes.push((stamp, key, change));
    }

    /// The doubts that end and are not in memory.
    pub(super) fn need(&mut self, naming: &mut Naming<'_>) -> Option<Need> {
        self.rows.need(naming)
    }

    pub(super) fn load(&mut self, rows: &Tuples) -> Result<(), Unreadable> {
        self.rows.load(rows)
    }

    /// Applies what was noted.
    pub(super) fn fold(&mut self) {
        for (stamp, key, change) in self.changes.drain(..) {
            let Some(row) = self.rows.edit(&key) else { continue };
            match change {
                Change::Ended(by, outcome) => {
                    (row.ended_at, row.ended, row.outcome) = (Some(stamp.at), Some(by), Some(outcome));
                }
                Change::Corrected(by) => {
                    (row.corrected_at, row.corrected) = (Some(stamp.at), Some(by));
                }
            }
        }
    }

    pub(super) fn table(&mut self) -> &mut dyn Held {
        &mut self.rows
    }
}
