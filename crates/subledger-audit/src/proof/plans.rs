//! Plans of messages: that its recipients are exactly the skipped and the reserved ones, each once.
//!
//! A message says how many recipients were reserved, the ledgers say which. A message whose recipients are all planned and
//! all found is forgotten at once; an event that names it later is one too many. So memory holds only what is unfinished.

use std::collections::{BTreeSet, HashMap};

use subledger_domain::{
    DeliveryId, LogName, MessageId, StreamName, TemplateId,
    ledger::LedgerEvent,
    message::{MessageEvent, Planned},
};
use subledger_store::Recorded;

use super::{
    finding::{Check, Finding, Findings},
    report::LogReport,
};

/// A message that is not planned to its end.
struct Plan {
    /// Where it was accepted.
    position: u64,
    template: TemplateId,
    targeted: u64,
    /// Skipped by plans.
    skipped: u64,
    /// Reserved according to plans.
    reserved: u64,
    /// Indexes that ledgers reserved and that plans skipped, together.
    indexes: BTreeSet<u32>,
    /// Reserved according to ledgers.
    found: u64,
}

impl Plan {
    fn complete(&self) -> bool {
        self.skipped + self.reserved == self.targeted && self.found == self.reserved
    }
}

/// All messages that are not planned to their end.
#[derive(Default)]
pub(super) struct Plans {
    open: HashMap<MessageId, Plan>,
    messages: u64,
    targeted: u64,
    skipped: u64,
}

impl Plans {
    pub(super) fn message(&mut self, event: &Recorded, decoded: &MessageEvent, findings: &mut Findings) {
        let Some(id) = event.stream.message_id() else { return };
        match decoded {
            MessageEvent::Accepted(accepted) => {
                self.messages += 1;
                self.targeted += u64::from(accepted.targeted);
                let plan = Plan {
                    position: event.position.0,
                    template: accepted.template.clone(),
                    targeted: u64::from(accepted.targeted),
                    skipped: 0,
                    reserved: 0,
                    indexes: BTreeSet::new(),
                    found: 0,
                };
                self.open.insert(id, plan);
            }
            MessageEvent::Planned(planned) => self.planned(event, id, planned, findings),
            MessageEvent::Retracted(_) => {}
        }
    }

    fn planned(&mut self, event: &Recorded, id: MessageId, planned: &Planned, findings: &mut Findings) {
        self.skipped += planned.skipped.len() as u64;
        // That a plan fits its message is checked where the message is folded.
        let Some(plan) = self.open.get_mut(&id) else { return };
        plan.skipped += planned.skipped.len() as u64;
        plan.reserved += u64::from(planned.reserved);
        for skip in &planned.skipped {
            if !plan.indexes.insert(skip.index) {
                let found = format!("recipient {} skipped and reserved, or skipped twice", skip.index);
                add(findings, event, &event.stream, "every recipient to be planned once", found);
            }
        }
        self.close(id);
    }

    pub(super) fn ledger(&mut self, event: &Recorded, decoded: &LedgerEvent, findings: &mut Findings) {
        let delivery = match decoded {
            LedgerEvent::Reserved(reserved) => reserved.delivery,
            LedgerEvent::Admitted(admitted) => admitted.delivery,
            _ => return,
        };
        self.reserved(event, delivery, findings);
    }

    fn reserved(&mut self, event: &Recorded, delivery: DeliveryId, findings: &mut Findings) {
        let message = StreamName::message(delivery.message);
        let Some(plan) = self.open.get_mut(&delivery.message) else {
            let expected = "a message that was accepted and has recipients left to plan";
            add(findings, event, &message, expected, format!("delivery {delivery}"));
            return;
        };
        if u64::from(delivery.index) >= plan.targeted || !plan.indexes.insert(delivery.index) {
            let expected = format!("each of the {} recipients to be planned once", plan.targeted);
            add(findings, event, &message, expected, format!("delivery {delivery}"));
        }
        let template = event.stream.ledger_parts().map(|(_, template)| template);
        if template.as_ref().is_some_and(|template| *template != plan.template) {
            let expected = format!("a ledger of template {}, as the message says", plan.template);
            add(findings, event, &message, expected, event.stream.to_string());
        }
        plan.found += 1;
        self.close(delivery.message);
    }

    fn close(&mut self, id: MessageId) {
        if self.open.get(&id).is_some_and(Plan::complete) {
            self.open.remove(&id);
        }
    }

    /// At the end of the log.
    pub(super) fn finish(self, log: &LogName, report: &mut LogReport, findings: &mut Findings) {
        let mut unplanned = 0;
        for (id, plan) in self.open {
            unplanned += plan.targeted.saturating_sub(plan.skipped + plan.reserved);
            if plan.found != plan.reserved {
                let expected = format!("{} reserved recipients, as the message says", plan.reserved);
                let found = format!("{} in the ledgers", plan.found);
                let finding = Finding::new(Check::Messages, Some(log), expected, found);
                let position = i64::try_from(plan.position).unwrap_or(i64::MAX);
                findings.add(finding.at(position).of(&StreamName::message(id)));
            }
        }
        let sums = &mut report.deliveries;
        sums.messages = self.messages;
        sums.targeted = self.targeted;
        sums.unplanned = unplanned;
        sums.skipped += self.skipped;
    }
}

fn add(
    findings: &mut Findings,
    event: &Recorded,
    stream: &StreamName,
    expected: impl Into<String>,
    found: impl Into<String>,
) {
    let position = i64::try_from(event.position.0).unwrap_or(i64::MAX);
    let finding = Finding::new(Check::Messages, Some(&event.log), expected, found);
    findings.add(finding.at(position).of(stream));
}
