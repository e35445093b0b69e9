//! Folds message and ledger events into counters per template and quarter of an hour, and into the stock of grants.
//!
//! What an event does to the grants of a ledger is the domain's to say, so each ledger's aggregate is kept beside the
//! counters and every event is applied to it; the difference between its totals before and after is what moved. So each
//! unit of each movement is counted once, under the place it left and the place it went to, and the sums cannot stray from
//! the ledgers. Everything else is one count per event.
//!
//! The stock at the end of a bucket is written with the bucket. The stock at any moment is then one row and no sum over
//! history.

use std::{collections::BTreeMap, sync::Arc};

use subledger_domain::{
    DeliveryId, MessageId, TemplateId, Timestamp,
    ledger::{Basis, Choice, DoubtCause, Funding, LateOutcome, Ledger, LedgerEvent, Phase, ReleaseReason},
    message::MessageEvent,
};

use super::{FoldError, Incoming, LedgerKey, Model, Poison, Stamp};
use crate::{
    Holdings, Measure, ReportTemplateRow,
    cache::{Held, Rows},
    rows::{ReportBook, ReportClosing, ReportCount, ReportSend, bucket_of},
    table::{Change, Need, Table},
};

type CountKey = (TemplateId, Timestamp, Measure, String);

enum Told {
    Message(MessageId, Arc<MessageEvent>),
    Ledger(Arc<LedgerKey>, Arc<LedgerEvent>),
}

/// One event about a template, and what it did to the holdings of one ledger.
struct Touch {
    template: TemplateId,
    at: Timestamp,
    moved: Option<(Holdings, Holdings)>,
}

#[derive(Default)]
pub(super) struct Reports {
    events: Vec<(Stamp, Told)>,
    books: Rows<ReportBook>,
    sends: Rows<ReportSend>,
    templates: Rows<ReportTemplateRow>,
    closings: Rows<ReportClosing>,
    counts: Rows<ReportCount>,
    /// What the events add to the counters.
    added: BTreeMap<CountKey, u64>,
    /// What the events do to the stock, in order.
    touches: Vec<Touch>,
    poison: Option<Poison>,
}

impl Model for Reports {
    fn take(&mut self, event: &Incoming<'_>) -> Result<(), FoldError> {
        if let Some((id, message)) = event.message()? {
            self.sends.want(id);
            self.events.push((event.stamp, Told::Message(id, Arc::clone(message))));
        } else if let Some((key, ledger)) = event.ledger()? {
            self.books.want_ref(key);
            self.events.push((event.stamp, Told::Ledger(Arc::clone(key), Arc::clone(ledger))));
        }
        Ok(())
    }

    /// First what tells which counters an event belongs to; then, once the events are read, those counters.
    fn need(&mut self) -> Option<Need> {
        self.books.need().or_else(|| self.sends.need()).or_else(|| {
            self.advance();
            self.templates.need().or_else(|| self.closings.need()).or_else(|| self.counts.need())
        })
    }

    fn load(&mut self, table: Table, rows: Vec<String>) -> Result<(), serde_json::Error> {
        match table {
            Table::ReportBooks => self.books.load(rows),
            Table::ReportSends => self.sends.load(rows),
            Table::ReportTemplates => self.templates.load(rows),
            Table::ReportClosings => self.closings.load(rows),
            _ => self.counts.load(rows),
        }
    }

    fn fold(&mut self) -> Result<(), Poison> {
        if let Some(poison) = self.poison.take() {
            return Err(poison);
        }
        for ((template, bucket, measure, class), amount) in std::mem::take(&mut self.added) {
            let key = (template.clone(), bucket, measure, class.clone());
            match self.counts.edit(&key) {
                Some(row) => row.amount = row.amount.saturating_add(amount),
                None => self.counts.put(ReportCount { template, bucket, measure, class, amount }),
            }
        }
        for touch in std::mem::take(&mut self.touches) {
            self.stock(touch);
        }
        Ok(())
    }

    fn changes(&self) -> Result<Vec<Change>, serde_json::Error> {
        let changes = [
            self.books.change()?,
            self.sends.change()?,
            self.templates.change()?,
            self.closings.change()?,
            self.counts.change()?,
        ];
        Ok(changes.into_iter().flatten().collect())
    }

    fn tables(&mut self) -> Vec<&mut dyn Held> {
        vec![&mut self.books, &mut self.sends, &mut self.templates, &mut self.closings, &mut self.counts]
    }
}

impl Reports {
    /// Reads the events, once: applies them to the ledgers and notes what they add.
    fn advance(&mut self) {
        for (stamp, told) in std::mem::take(&mut self.events) {
            match told {
                Told::Ledger(key, event) => self.ledger(stamp, &key, &event),
                Told::Message(id, event) => {
                    if let Err(error) = self.message(stamp, id, &event) {
                        self.poison = Some(Poison { position: stamp.position, error });
                        return;
                    }
                }
            }
        }
    }

    fn add(&mut self, stamp: Stamp, template: &TemplateId, measure: Measure, class: &str, amount: u64) {
        if amount > 0 {
            let key = (template.clone(), bucket_of(stamp.at), measure, class.to_owned());
            self.counts.want(key.clone());
            let added = self.added.entry(key).or_default();
            *added = added.saturating_add(amount);
        }
    }

    fn touch(&mut self, stamp: Stamp, template: TemplateId, moved: Option<(Holdings, Holdings)>) {
        self.templates.want(template.clone());
        if moved.is_some() {
            self.closings.want((template.clone(), bucket_of(stamp.at)));
        }
        self.touches.push(Touch { template, at: stamp.at, moved });
    }

    fn message(&mut self, stamp: Stamp, id: MessageId, event: &MessageEvent) -> Result<(), FoldError> {
        let template = match event {
            MessageEvent::Accepted(accepted) => {
                let template = accepted.template.clone();
                self.sends.put(ReportSend { id, template: template.clone() });
                self.add(stamp, &template, Measure::Messages, "", 1);
                self.add(stamp, &template, Measure::Targeted, "", accepted.targeted.into());
                template
            }
            MessageEvent::Planned(planned) => {
                let template = match self.sends.get(&id) {
                    Some(send) => send.template.clone(),
                    None => {
                        return Err(FoldError::Contradiction(format!("message {id} was never accepted")));
                    }
                };
                for skip in &planned.skipped {
                    self.add(stamp, &template, Measure::Skipped, skip.reason.as_str(), 1);
                }
                template
            }
            // The deliveries it takes out say so themselves.
            MessageEvent::Retracted(_) => return Ok(()),
        };
        self.touch(stamp, template, None);
        Ok(())
    }

    fn ledger(&mut self, stamp: Stamp, key: &LedgerKey, event: &LedgerEvent) {
        if self.books.get(key).is_none() {
            let (subject, template) = key.clone();
            self.books.put(ReportBook { subject, template, state: Ledger::default() });
        }
        let Some(book) = self.books.edit(key) else { return };
        let counted = counted(&book.state, event);
        let before = Holdings::from(book.state.totals());
        book.state.fold(event);
        let after = Holdings::from(book.state.totals());
        let template = key.1.clone();
        for (measure, class, amount) in counted {
            self.add(stamp, &template, measure, &class, amount);
        }
        for (from, to, amount) in moves(&before, &after) {
            self.add(stamp, &template, Measure::Move, &format!("{from}>{to}"), amount);
        }
        self.touch(stamp, template, (before != after).then_some((before, after)));
    }

    fn stock(&mut self, Touch { template, at, moved }: Touch) {
        if self.templates.get(&template).is_none() {
            let holdings = Holdings::default();
            let row = ReportTemplateRow { template: template.clone(), holdings, since: at, changed_at: at };
            self.templates.put(row);
        }
        let Some(row) = self.templates.edit(&template) else { return };
        row.changed_at = at;
        let Some((before, after)) = moved else { return };
        row.holdings = row.holdings.with(&before, &after);
        let holdings = row.holdings;
        self.closings.put(ReportClosing { template, bucket: bucket_of(at), holdings });
    }
}

/// Which place grants left for which other, and how many. An event has one place that grows: all that shrinks went there,
/// and what is not covered by it is new. Written so that it holds for any two states all the same.
fn moves(before: &Holdings, after: &Holdings) -> Vec<(&'static str, &'static str, u64)> {
    let places = |h: &Holdings| {
        [
            ("open", h.open),
            ("reserved", h.reserved),
            ("in_doubt", h.in_doubt),
            ("consumed", h.consumed),
            ("void", h.voided),
        ]
    };
    let pairs = || places(before).into_iter().zip(places(after));
    let mut left: Vec<_> = pairs()
        .filter(|((_, was), (_, is))| was > is)
        .map(|((place, was), (_, is))| (place, was - is))
        .collect();
    left.push(("outside", after.granted.saturating_sub(before.granted)));
    let mut left = left.into_iter();
    let mut from = left.next();
    let mut moves = Vec::new();
    for ((place, was), (_, is)) in pairs().filter(|((_, was), (_, is))| is > was) {
        let mut wanted = is - was;
        while let (Some((source, available)), true) = (from, wanted > 0) {
            let amount = wanted.min(available);
            if amount > 0 {
                moves.push((source, place, amount));
            }
            wanted -= amount;
            from = if amount == available { left.next() } else { Some((source, available - amount)) };
        }
    }
    moves
}

type Counted = Vec<(Measure, String, u64)>;

/// What an event counts, given the ledger it meets.
fn counted(ledger: &Ledger, event: &LedgerEvent) -> Counted {
    let one = |measure, class: &str| vec![(measure, class.to_owned(), 1)];
    match event {
        LedgerEvent::Granted(e) => one(Measure::Granted, e.evidence.source.as_str()),
        LedgerEvent::Opened(e) => {
            vec![(Measure::Opened, e.evidence.source.as_str().to_owned(), e.count.into())]
        }
        LedgerEvent::Consented(e) => one(Measure::Consented, e.evidence.source.as_str()),
        LedgerEvent::Rejected(e) => one(Measure::Rejected, choice_word(e.choice)),
        LedgerEvent::Suspended(e) => one(Measure::Suspended, e.evidence.source.as_str()),
        LedgerEvent::Reserved(_) => one(Measure::Reserved, ""),
        LedgerEvent::Admitted(e) => one(Measure::Admitted, basis_word(e.basis)),
        LedgerEvent::Started(e) => one(Measure::Started, if e.attempt == 1 { "first" } else { "again" }),
        LedgerEvent::Postponed(e) => {
            late(ledger, e.delivery, "postponed", one(Measure::Postponed, &e.answer.class))
        }
        LedgerEvent::Consumed(e) => one(Measure::Sent, paid_by(ledger, e.delivery)),
        LedgerEvent::Released(e) => match &e.reason {
            ReleaseReason::Refused { answer } => {
                late(ledger, e.delivery, "refused", one(Measure::Refused, &answer.class))
            }
            ReleaseReason::RetriesExhausted { answer } => {
                late(ledger, e.delivery, "failed", one(Measure::Failed, &answer.class))
            }
            ReleaseReason::Retracted => one(Measure::Retracted, ""),
            ReleaseReason::Expired => one(Measure::Expired, ""),
            ReleaseReason::Suspended => one(Measure::Dropped, "suspended"),
            ReleaseReason::NoGrant => one(Measure::Dropped, "no_grant"),
        },
        LedgerEvent::Denied(e) => {
            late(ledger, e.delivery, "no_permission", one(Measure::Refused, "no_permission"))
        }
        LedgerEvent::Doubted(e) => one(Measure::Doubted, doubt_word(e.cause)),
        LedgerEvent::SettledLate(e) => {
            let measure = match e.outcome {
                LateOutcome::NotSent => Measure::SettledNotSent,
                LateOutcome::Sent { .. } if ledger.outstanding().contains_key(&e.delivery) => {
                    Measure::SettledSent
                }
                LateOutcome::Sent { .. } => Measure::Corrected,
            };
            one(measure, e.evidence.source.as_str())
        }
        LedgerEvent::DriftFound(_) => one(Measure::Drifted, ""),
    }
}

/// Adds that the delivery was in doubt until now, if it was.
fn late(ledger: &Ledger, delivery: DeliveryId, how: &str, mut counted: Counted) -> Counted {
    if ledger.outstanding().get(&delivery).is_some_and(|one| one.phase == Phase::InDoubt) {
        counted.push((Measure::AnsweredLate, how.to_owned(), 1));
    }
    counted
}

fn paid_by(ledger: &Ledger, delivery: DeliveryId) -> &'static str {
    match ledger.outstanding().get(&delivery).map(|one| one.funding) {
        Some(Funding::Lot(_)) => "grant",
        Some(Funding::Without(basis)) => basis_word(basis),
        // Its own grant was found spent while it was in flight; WeChat took another one, or one we do not know.
        Some(Funding::Void) | None => "void",
    }
}

const fn choice_word(choice: Choice) -> &'static str {
    match choice {
        Choice::Accept => "accept",
        Choice::Reject => "reject",
        Choice::Ban => "ban",
        Choice::Filter => "filter",
    }
}

const fn basis_word(basis: Basis) -> &'static str {
    match basis {
        Basis::LongTerm => "long_term",
        Basis::UnknownBalance => "unknown_balance",
    }
}

const fn doubt_word(cause: DoubtCause) -> &'static str {
    match cause {
        DoubtCause::Timeout => "timeout",
        DoubtCause::ConnectionBroken => "connection_broken",
        DoubtCause::Unintelligible => "unintelligible",
        DoubtCause::NodeLost => "node_lost",
    }
}
