//! The queue against the ledgers: every open delivery has exactly one row in the matching state, and no row has none.

use std::collections::{HashMap, HashSet};

use subledger_domain::{
    DeliveryId, LogName, MessageId, StreamName, SubjectId, TemplateId,
    ledger::{Outstanding, Phase},
    message::MessageEvent,
};
use subledger_store::{LogSnapshot, RawQueueRow, Recorded};

use super::finding::{Check, Finding, Findings};

/// The rows of a log that no open delivery has claimed yet.
pub(super) struct Queue {
    rows: HashMap<DeliveryId, RawQueueRow>,
    /// Ledgers that could not be folded: nothing is known of their deliveries.
    excused: HashSet<(SubjectId, TemplateId)>,
    /// When the messages that have rows expire, once their events were read.
    expiry: HashMap<MessageId, Option<i64>>,
}

impl Queue {
    pub(super) fn new(log: &LogSnapshot, findings: &mut Findings) -> Self {
        let mut rows = HashMap::with_capacity(log.queue.len());
        for row in &log.queue {
            match delivery(row) {
                Some(delivery) => drop(rows.insert(delivery, row.clone())),
                None => {
                    let found = format!("message {}, index {}", hex::encode(&row.message), row.index);
                    let expected = "a row that names a delivery";
                    findings.add(Finding::new(Check::Queue, Some(&log.log), expected, found));
                }
            }
        }
        let expiry = rows.keys().map(|delivery| (delivery.message, None)).collect();
        Self { rows, excused: HashSet::new(), expiry }
    }

    /// Takes note of when a message expires.
    pub(super) fn message(&mut self, event: &Recorded, decoded: &MessageEvent) {
        if let MessageEvent::Accepted(accepted) = decoded
            && let Some(id) = event.stream.message_id()
            && let Some(expiry) = self.expiry.get_mut(&id)
        {
            *expiry = Some(accepted.expires_at.micros());
        }
    }

    /// Nothing can be said about the deliveries of this ledger.
    pub(super) fn excuse(&mut self, subject: SubjectId, template: &TemplateId) {
        self.excused.insert((subject, template.clone()));
    }

    /// An open delivery, last moved by the event at `position`.
    pub(super) fn expect(
        &mut self,
        log: &LogName,
        delivery: DeliveryId,
        (subject, template): (SubjectId, &TemplateId),
        open: &Outstanding,
        position: i64,
        findings: &mut Findings,
    ) {
        let (word, states): (_, &[i64]) = match open.phase {
            Phase::Reserved => ("waiting or claimed", &[0, 1]),
            Phase::Started => ("started", &[2]),
            Phase::InDoubt => ("in doubt", &[3]),
        };
        let expiry = self.expiry.get(&delivery.message).copied().flatten();
        let mut expected =
            format!("delivery {delivery} in the queue, {word}, after {} attempts", open.attempts);
        let found = match self.rows.remove(&delivery) {
            None => "no row".to_owned(),
            Some(row) => {
                let ours = row.subject == subject.as_bytes() && row.template == template.as_str();
                let sound = ours && states.contains(&row.state) && row.attempts == i64::from(open.attempts);
                match expiry.filter(|expiry| row.expires_at != *expiry) {
                    None if sound => return,
                    None => describe(&row),
                    Some(expiry) => {
                        expected.push_str(&format!(", until {expiry} (microseconds)"));
                        format!("{}, until {}", describe(&row), row.expires_at)
                    }
                }
            }
        };
        let finding = Finding::new(Check::Queue, Some(log), expected, found);
        findings.add(finding.at(position).of(&StreamName::ledger(subject, template)));
    }

    /// After all ledgers: what is left belongs to no open delivery.
    pub(super) fn finish(self, log: &LogName, findings: &mut Findings) {
        let mut rows: Vec<_> = self.rows.into_iter().collect();
        rows.sort_by_key(|(delivery, _)| *delivery);
        for (delivery, row) in rows {
            let ledger = ledger(&row);
            if ledger.as_ref().is_some_and(|ledger| self.excused.contains(ledger)) {
                continue;
            }
            let expected = format!("no row for delivery {delivery}, which is not open");
            let finding = Finding::new(Check::Queue, Some(log), expected, describe(&row));
            findings.add(match ledger {
                Some((subject, template)) => finding.of(&StreamName::ledger(subject, &template)),
                None => finding,
            });
        }
    }
}

fn delivery(row: &RawQueueRow) -> Option<DeliveryId> {
    let message: [u8; 16] = row.message.as_slice().try_into().ok()?;
    Some(DeliveryId::new(MessageId::from_bytes(message), u32::try_from(row.index).ok()?))
}

fn ledger(row: &RawQueueRow) -> Option<(SubjectId, TemplateId)> {
    let subject: [u8; 16] = row.subject.as_slice().try_into().ok()?;
    Some((SubjectId::from_bytes(subject), row.template.parse().ok()?))
}

fn describe(row: &RawQueueRow) -> String {
    let state = match row.state {
        0 => "waiting",
        1 => "claimed",
        2 => "started",
        3 => "in doubt",
        _ => "in no known state",
    };
    let (subject, template) = (hex::encode(&row.subject), &row.template);
    format!("a row that is {state}, after {} attempts, of {subject} and template {template}", row.attempts)
}
