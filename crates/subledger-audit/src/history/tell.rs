//! Answers as text for people: a heading, the state, the events behind it.
//!
//! A [`Speaker`] knows the language and the zone; everything it returns ends with a line break and is printed by others.

use std::fmt::Write;

use jiff::{fmt::temporal::DateTimePrinter, tz::TimeZone};
use subledger_domain::{
    DecodeError, Evidence, EvidenceSource, MessageId, SubjectId, Timestamp,
    app::AppEvent,
    binding::BindingEvent,
    channel::ChannelEvent,
    ledger::{Answer, LedgerEvent},
    message::MessageEvent,
    person::PersonEvent,
    platform::PlatformEvent,
};
use subledger_projection::{BindingRow, DeliveryRow, LedgerRow};
use subledger_store::Recorded;

use super::{
    Point,
    explain::{Explanation, Listed, Stamp, Step, Tap, Voided},
    states::{PastMessage, PastTemplates},
    words::{Language, Phrase, Told},
};

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// A moment in UTC as answers in JSON show it.
pub(super) fn utc(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.micros())
        .map_or_else(|_| at.micros().to_string(), |at| PRINTER.timestamp_to_string(&at))
}

/// Who somebody is, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Person<'a> {
    /// Nobody asked.
    Unasked,
    /// The identity was erased; the books stay.
    Erased,
    /// An openid or a userid.
    Known(&'a str),
}

impl<'a> Person<'a> {
    /// What a vault knows.
    pub fn of(found: Option<&'a str>) -> Self {
        found.map_or(Self::Erased, Self::Known)
    }

    const fn told(self) -> Option<Option<&'a str>> {
        match self {
            Self::Unasked => None,
            Self::Erased => Some(None),
            Self::Known(text) => Some(Some(text)),
        }
    }
}

/// Tells in one language, with times in one zone.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// The language.
    pub language: Language,
    /// The zone of the times told.
    pub zone: TimeZone,
}

/// Text under construction; writing to it cannot fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }
}

impl Speaker {
    /// A moment with the offset of the zone.
    pub fn time(&self, at: Timestamp) -> String {
        match jiff::Timestamp::from_microsecond(at.micros()) {
            Ok(at) => PRINTER.timestamp_with_offset_to_string(&at, self.zone.to_offset(at)),
            Err(_) => at.micros().to_string(),
        }
    }

    /// What an event says; its kind and payload where this version cannot read it.
    pub fn sentence(&self, recorded: &Recorded) -> String {
        match told(recorded) {
            Some(Ok(told)) => self.say(&Phrase::Event(&told)),
            _ => self.say(&Phrase::Unreadable {
                kind: &recorded.kind_name(),
                data: &String::from_utf8_lossy(&recorded.data),
            }),
        }
    }

    /// One line per event.
    pub fn events(&self, events: &[Recorded]) -> String {
        let mut page = Page::default();
        for event in events {
            page.line(&format!(
                "{:>8}  {}  {}",
                event.position.0,
                self.time(event.recorded_at),
                self.sentence(event)
            ));
        }
        page.0
    }

    /// A ledger: whose it is, where every grant is, and every event that led there.
    pub fn ledger(
        &self,
        channel: &str,
        of: (SubjectId, &str),
        openid: Person<'_>,
        at: Point,
        row: Option<&LedgerRow>,
        events: &[Recorded],
    ) -> String {
        let mut page = Page::default();
        let (subject, template) = (of.0.to_string(), of.1);
        page.line(&self.say(&Phrase::LedgerTitle { subject: &subject, template, channel }));
        if let Some(openid) = openid.told() {
            page.line(&self.say(&Phrase::Openid(openid)));
        }
        page.line(&self.as_of(at));
        match row {
            None => page.line(&self.say(&Phrase::NothingYet)),
            Some(row) => {
                page.line(&self.say(&Phrase::Totals(row)));
                if let Some(since) = row.suspended_since {
                    page.line(&self.say(&Phrase::Suspended { since: &self.time(since) }));
                }
            }
        }
        page.0.push_str(&self.events(events));
        page.0
    }

    /// A message: what was asked, and what became of each recipient. `recipient` names one and gives the events of the
    /// delivery.
    pub fn message<'e>(
        &self,
        channel: &str,
        msgid: MessageId,
        at: Point,
        message: Option<&PastMessage>,
        events: &[Recorded],
        recipient: impl Fn(&DeliveryRow) -> (Option<String>, &'e [Recorded]),
    ) -> String {
        let mut page = Page::default();
        let template =
            message.map(|message| message.row.template.to_string()).unwrap_or_else(|| "–".to_owned());
        let msgid = msgid.to_string();
        page.line(&self.say(&Phrase::MessageTitle { msgid: &msgid, template: &template, channel }));
        page.line(&self.as_of(at));
        let Some(message) = message else {
            page.line(&self.say(&Phrase::NothingYet));
            return page.0;
        };
        let expires_at = self.time(message.row.expires_at);
        page.line(&self.say(&Phrase::Counts(&message.row)));
        page.line(
            &self.say(&Phrase::Complete { complete: message.row.is_complete(), expires_at: &expires_at }),
        );
        page.0.push_str(&self.events(events));
        for delivery in &message.deliveries {
            page.line("");
            let (who, events) = recipient(delivery);
            page.line(&self.say(&Phrase::Recipient {
                index: delivery.index,
                who: who.as_deref(),
                state: delivery.state,
                reason: delivery.reason.as_deref(),
            }));
            page.0.push_str(&self.events(events));
        }
        page.0
    }

    /// A user: the binding and the events that led there. Its ledgers are told by [`Self::ledger`].
    pub fn user(
        &self,
        channel: &str,
        (userid, openid): (Person<'_>, Person<'_>),
        at: Point,
        binding: Option<&BindingRow>,
        events: &[Recorded],
    ) -> String {
        let mut page = Page::default();
        page.line(&self.say(&Phrase::UserTitle { channel }));
        if let Some(userid) = userid.told() {
            page.line(&self.say(&Phrase::Userid(userid)));
        }
        if let Some(openid) = openid.told() {
            page.line(&self.say(&Phrase::Openid(openid)));
        }
        page.line(&self.as_of(at));
        match binding {
            None if userid == Person::Unasked => {}
            None => page.line(&self.say(&Phrase::NeverBound)),
            Some(row) => match row.subject {
                Some(subject) => page.line(&self.say(&Phrase::BoundTo { subject: &subject.to_string() })),
                None => page.line(&self.say(&Phrase::NotBound)),
            },
        }
        page.0.push_str(&self.events(events));
        page.0
    }

    /// That a person was erased: when, by whom, why.
    pub fn erased(&self, at: Timestamp, by: &str, reason: &str) -> String {
        format!("{}\n", self.say(&Phrase::ErasedBy { at: &self.time(at), by, reason }))
    }

    /// Nothing had been recorded.
    pub fn nothing_yet(&self, at: Point) -> String {
        format!("{}\n{}\n", self.as_of(at), self.say(&Phrase::NothingYet))
    }

    /// The openid has no ledger.
    pub fn no_ledger(&self) -> String {
        format!("{}\n", self.say(&Phrase::NoLedger))
    }

    /// A channel's templates, and when its list was read.
    pub fn templates(&self, channel: &str, at: Point, past: &PastTemplates, events: &[Recorded]) -> String {
        let mut page = Page::default();
        page.line(&self.say(&Phrase::TemplatesTitle { channel }));
        page.line(&self.as_of(at));
        if past.channel.is_none() {
            page.line(&self.say(&Phrase::NotRegistered));
        } else if past.templates.is_empty() {
            page.line(&self.say(&Phrase::NoTemplates));
        }
        for row in &past.templates {
            let vanished_at = row.vanished_at.filter(|_| !row.listed).map(|at| self.time(at));
            page.line(&self.say(&Phrase::Template {
                row,
                changed_at: &self.time(row.changed_at),
                vanished_at: vanished_at.as_deref(),
            }));
        }
        if !events.is_empty() {
            page.line("");
            page.line(&self.say(&Phrase::Timeline));
            page.0.push_str(&self.events(events));
        }
        page.0
    }

    /// Every number with the events behind it, who paid for what, the sum, and what does not agree.
    pub fn explanation(&self, explanation: &Explanation) -> String {
        let mut page = Page::default();
        page.line(&self.say(&Phrase::NumbersTitle));
        for number in &explanation.numbers {
            page.line(&format!("  {}", self.say(&Phrase::Number { name: number.name, value: number.value })));
            if number.omitted > 0 {
                let omitted = Phrase::Omitted { count: number.omitted, change: Some(number.omitted_change) };
                page.line(&format!("    {}", self.say(&omitted)));
            }
            for step in &number.events {
                page.line(&self.step(step));
            }
        }
        page.line(&format!("  {}", self.say(&Phrase::Sum(&explanation.sum))));
        page.line("");
        page.line(&self.say(&Phrase::DeliveriesTitle));
        self.omitted(&mut page, &explanation.deliveries);
        for delivery in &explanation.deliveries.items {
            let id = delivery.delivery.to_string();
            let (state, paid, lot) = (delivery.state, delivery.paid, delivery.lot);
            let mut line = format!("  {}", self.say(&Phrase::Delivery { id: &id, state, paid, lot }));
            if let (Some(tap), Some(recorded)) = (&delivery.tap, delivery.tap_recorded) {
                let _ = write!(line, "  [{}; {}]", self.tapped(tap), self.stamp(recorded));
            }
            page.line(&line);
        }
        page.line("");
        page.line(&self.say(&Phrase::TapsTitle));
        self.omitted(&mut page, &explanation.taps);
        for tap in &explanation.taps.items {
            page.line(&format!("  {}", self.tap(tap)));
        }
        page.line("");
        if explanation.findings.is_empty() {
            page.line(&self.say(&Phrase::NoFindings));
            return page.0;
        }
        page.line(&self.say(&Phrase::FindingsTitle));
        for finding in &explanation.findings {
            let position = finding.position.map(|position| position.0);
            page.line(&format!("  {}", self.say(&Phrase::Finding { kind: &finding.kind, position })));
        }
        page.0
    }

    fn say(&self, phrase: &Phrase<'_>) -> String {
        self.language.say(phrase)
    }

    fn as_of(&self, at: Point) -> String {
        let time = at.time.map(|time| self.time(time));
        self.say(&Phrase::AsOf { position: at.position.0, time: time.as_deref() })
    }

    fn omitted<T>(&self, page: &mut Page, listed: &Listed<T>) {
        if listed.omitted > 0 {
            page.line(&format!("  {}", self.say(&Phrase::Omitted { count: listed.omitted, change: None })));
        }
    }

    fn stamp(&self, stamp: Stamp) -> String {
        let (position, time) = (stamp.position.0, self.time(stamp.recorded_at));
        format!("#{position} {time}")
    }

    fn tapped(&self, evidence: &Evidence) -> String {
        let at = self.time(evidence.at);
        self.say(&Phrase::Tapped { source: evidence.source, reference: &evidence.reference, at: &at })
    }

    fn answered(&self, answer: &Answer) -> String {
        self.say(&Phrase::Answered { class: &answer.class, code: answer.code, rid: answer.rid.as_deref() })
    }

    fn step(&self, step: &Step) -> String {
        let mut grounds = Vec::new();
        grounds.extend(step.delivery.map(|delivery| delivery.to_string()));
        grounds.extend(step.evidence.as_ref().map(|evidence| self.tapped(evidence)));
        grounds.extend(step.answer.as_ref().map(|answer| self.answered(answer)));
        grounds.extend(step.wechat_msgid.as_ref().map(|msgid| self.say(&Phrase::Msgid(msgid))));
        grounds.extend(step.cause.as_ref().map(|cause| self.say(&Phrase::By(&cause.by))));
        format!(
            "    {:>+3} = {:<3} {:>8}  {}  {}  {}",
            step.change,
            step.value,
            step.event.position.0,
            self.time(step.event.recorded_at),
            step.kind,
            grounds.join("; ")
        )
    }

    fn tap(&self, tap: &Tap) -> String {
        let delivery = tap.delivery.map(|delivery| delivery.to_string());
        let went = self.say(&Phrase::Went {
            state: tap.state,
            delivery: delivery.as_deref().map(|id| (id, tap.outcome)),
            position: tap.changed.position.0,
            at: &self.time(tap.changed.recorded_at),
        });
        let by_hand = tap.evidence.source == EvidenceSource::Operator;
        let name = self.say(&Phrase::Tap { lot: tap.lot, word: tap.word.as_deref(), by_hand });
        let mut line = format!("{name}  [{}; {}]  {went}", self.tapped(&tap.evidence), self.stamp(tap.event));
        if let Some(Voided { found_by: Some(found_by), answer: Some(answer), event, .. }) = &tap.voided {
            let because = Phrase::VoidBecause {
                found_by: &found_by.to_string(),
                position: event.position.0,
                answer: &self.answered(answer),
            };
            let _ = write!(line, "; {}", self.say(&because));
        }
        if let Some(evidence) = tap.voided.as_ref().and_then(|voided| voided.evidence.as_ref()) {
            let _ = write!(line, "; {}", self.say(&Phrase::TakenAway(evidence)));
        }
        if let Some(doubt) = tap.doubted_by {
            let _ = write!(line, "; {}", self.say(&Phrase::MaybeSpentBy(&doubt.to_string())));
        }
        line
    }
}

/// The event, decoded by the aggregate its stream belongs to.
fn told(recorded: &Recorded) -> Option<Result<Told, DecodeError>> {
    Some(match recorded.stream.aggregate_type() {
        "ledger" => recorded.decode::<LedgerEvent>().map(Told::Ledger),
        "binding" => recorded.decode::<BindingEvent>().map(Told::Binding),
        "message" => recorded.decode::<MessageEvent>().map(Told::Message),
        "channel" => recorded.decode::<ChannelEvent>().map(Told::Channel),
        "app" => recorded.decode::<AppEvent>().map(Told::App),
        "user" | "subject" => recorded.decode::<PersonEvent>().map(Told::Person),
        "platform" => recorded.decode::<PlatformEvent>().map(Told::Platform),
        _ => return None,
    })
}
