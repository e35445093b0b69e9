//! The receipts of client reports against the events that rest on them.
//!
//! A grant names the report it was made for, and the receipt of that report is what keeps a second one from being made when
//! the report comes again. So every such event that is young enough must have its receipt, and the receipt must say what
//! the event says. Receipts of other requests leave no trace in events; of those only the position is checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use subledger_domain::{
    Evidence, EvidenceSource, LotId, TemplateId, Timestamp,
    ledger::{Choice, LedgerEvent},
};
use subledger_store::{Inspector, LogSnapshot, Position, RawReceipt, Recorded};

use super::{
    VerifyError,
    finding::{Check, Finding, Findings},
};

/// How long a receipt is there for certain: it may be pruned after 30 days, by a clock that may be a day off from ours.
const KEPT_SECONDS: i64 = 29 * 86_400;

/// The part of a stored answer that events know, too.
#[derive(Deserialize)]
struct Answer {
    choices: Vec<Recalled>,
}

#[derive(Deserialize)]
struct Recalled {
    template: TemplateId,
    choice: Choice,
    lot: Option<LotId>,
    #[serde(default)]
    noted_before: bool,
}

/// What an event says of the report it rests on.
struct Told {
    position: Position,
    recorded_at: Timestamp,
    template: TemplateId,
    accepted: bool,
    lot: Option<LotId>,
    event: Recorded,
}

/// Collects what a page of events says of reports, and compares it with their receipts.
pub(super) struct Receipts<'a> {
    inspector: &'a Inspector,
    log: &'a LogSnapshot,
    /// Events from here on must have their receipt.
    since: Timestamp,
    page: BTreeMap<String, Vec<Told>>,
}

impl<'a> Receipts<'a> {
    pub(super) fn new(inspector: &'a Inspector, log: &'a LogSnapshot, now: Timestamp) -> Self {
        Self { inspector, log, since: now.plus_seconds(-KEPT_SECONDS), page: BTreeMap::new() }
    }

    pub(super) fn ledger(&mut self, event: &Recorded, decoded: &LedgerEvent) {
        let (evidence, accepted, lot): (&Evidence, _, _) = match decoded {
            LedgerEvent::Granted(e) => (&e.evidence, true, Some(e.lot)),
            LedgerEvent::Consented(e) => (&e.evidence, true, None),
            LedgerEvent::Rejected(e) => (&e.evidence, false, None),
            _ => return,
        };
        let Some((_, template)) = event.stream.ledger_parts() else { return };
        if evidence.source != EvidenceSource::ClientReport {
            return;
        }
        let (position, recorded_at) = (event.position, event.recorded_at);
        let told = Told { position, recorded_at, template, accepted, lot, event: event.clone() };
        self.page.entry(format!("report:{}", evidence.reference)).or_default().push(told);
    }

    /// After each page of events.
    pub(super) async fn compare(&mut self, findings: &mut Findings) -> Result<(), VerifyError> {
        let page = std::mem::take(&mut self.page);
        let ids: Vec<&str> = page.keys().map(String::as_str).collect();
        let receipts = self.inspector.receipts(self.log.number, &ids).await?;
        for (id, told) in &page {
            for told in told {
                let found = match receipts.get(id) {
                    None if told.recorded_at < self.since => continue,
                    None => Some("none".to_owned()),
                    Some(receipt) => contradiction(receipt, told),
                };
                let Some(found) = found else { continue };
                let expected = format!("receipt {id} to answer what this event says");
                let position = i64::try_from(told.position.0).unwrap_or(i64::MAX);
                let finding = Finding::new(Check::Receipts, Some(&self.log.log), expected, found);
                findings.add(finding.at(position).of(&told.event.stream));
            }
        }
        Ok(())
    }
}

/// What a receipt says that the event does not.
fn contradiction(receipt: &RawReceipt, told: &Told) -> Option<String> {
    let Ok(answer) = serde_json::from_slice::<Answer>(&receipt.outcome) else {
        return Some("an answer that cannot be read".to_owned());
    };
    // It names the last event of its command. Each choice was one of them, or two where the other source had told of the tap
    // before; and all of them were recorded at once.
    let position = i64::try_from(told.position.0).unwrap_or(i64::MAX);
    let twice = answer.choices.iter().filter(|choice| choice.noted_before).count();
    let events = i64::try_from(answer.choices.len() + twice).unwrap_or(i64::MAX);
    let of_command = (position..position.saturating_add(events)).contains(&receipt.position);
    if !of_command || receipt.recorded_at != told.recorded_at.micros() {
        return Some(format!(
            "one of position {}, recorded at {} (microseconds)",
            receipt.position, receipt.recorded_at
        ));
    }
    let same = |choice: &Recalled| {
        choice.template == told.template
            && (choice.choice == Choice::Accept) == told.accepted
            && choice.lot == told.lot
    };
    if answer.choices.iter().any(same) { None } else { Some("one that answers something else".to_owned()) }
}
