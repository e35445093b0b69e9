//! The pass in order of stream: versions, streams, legality, open deliveries.
//!
//! One aggregate is in memory at a time, folded by the domain's own fold.

use std::collections::BTreeMap;

use cqrs_es::Aggregate;
use subledger_domain::{
    Decide, DecodeError, DeliveryId, LogName, StoredEvent, StreamName, SubjectId, TemplateId,
    app::App,
    binding::Binding,
    channel::Channel,
    ledger::{LateOutcome, Ledger, LedgerEvent, Phase, ReleaseReason},
    message::Message,
    person::Person,
    platform::Platform,
};
use subledger_store::{Inspector, LogSnapshot, RawEvent, Recorded};

use super::{
    PAGE, Progress, VerifyError,
    finding::{Check, Finding, Findings},
    legal,
    log_pass::is_newer,
    queue::Queue,
    report::{Deliveries, LogReport},
};

/// One stream while it is folded.
struct Stream {
    number: i64,
    version: i64,
    state: State,
}

/// The aggregate of a stream, as far as it is known.
enum State {
    Channel(Box<Channel>),
    Binding(Binding),
    Ledger(Box<Book>),
    Message(Box<Message>),
    App(App),
    Person(Person),
    Platform(Box<Platform>),
    /// A stream without a name or with one that names no aggregate; or one that cannot be folded any further.
    None,
}

/// A ledger, and where its open deliveries were last moved.
struct Book {
    subject: SubjectId,
    template: TemplateId,
    ledger: Ledger,
    moved: BTreeMap<DeliveryId, i64>,
}

/// Rows of the stream table, read in step with the events.
struct Names<'a> {
    inspector: &'a Inspector,
    log: &'a LogSnapshot,
    page: std::vec::IntoIter<(i64, String)>,
    /// The row that was read last.
    last: i64,
    done: bool,
}

struct Pass<'a> {
    log: &'a LogName,
    queue: &'a mut Queue,
    report: &'a mut LogReport,
    findings: &'a mut Findings,
}

/// Runs the pass.
pub(super) async fn run(
    inspector: &Inspector,
    log: &LogSnapshot,
    queue: &mut Queue,
    report: &mut LogReport,
    findings: &mut Findings,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), VerifyError> {
    let by_position = report.events;
    let mut names = Names { inspector, log, page: Vec::new().into_iter(), last: 0, done: false };
    let mut pass = Pass { log: &log.log, queue, report, findings };
    let mut stream: Option<Stream> = None;
    let mut events = 0_u64;
    let mut pages = inspector.events_by_stream(log.number, log.position, PAGE);
    loop {
        progress(Progress {
            log: log.log.clone(),
            step: "folding streams",
            done: events,
            total: by_position,
        });
        let Some(page) = pages.next().await else { break };
        for raw in page? {
            events += 1;
            if stream.as_ref().is_none_or(|open| open.number != raw.stream) {
                pass.close(stream.take());
                names.up_to(raw.stream, pass.findings).await?;
                stream = Some(pass.open(&raw));
            }
            if let Some(open) = &mut stream {
                pass.take(open, raw);
            }
        }
    }
    pass.close(stream.take());
    names.up_to(i64::MAX, pass.findings).await?;
    if events != by_position {
        let expected = format!("the same events by position and by stream: {by_position}");
        pass.findings.add(Finding::new(Check::Streams, Some(&log.log), expected, events.to_string()));
    }
    if let Some(beyond) = log.stream_beyond {
        let expected = format!("{} streams, as the head says", log.streams);
        pass.findings.add(Finding::new(
            Check::Streams,
            Some(&log.log),
            expected,
            format!("stream number {beyond}"),
        ));
    }
    Ok(())
}

impl Names<'_> {
    /// Reads rows up to the one of a stream that has events. Rows passed over have none; numbers are dense.
    async fn up_to(&mut self, number: i64, findings: &mut Findings) -> Result<(), VerifyError> {
        while !self.done && self.last < number {
            let Some((row, name)) = self.page.next() else {
                let page = self.inspector.streams(self.log.number, self.last, PAGE).await?;
                self.done = page.is_empty();
                self.page = page.into_iter();
                continue;
            };
            if row > self.log.streams {
                // Made after the snapshot, or reported as beyond the head.
                self.done = true;
                break;
            }
            self.numbered(row, findings);
            self.last = row;
            if row < number {
                let finding = Finding::new(
                    Check::Streams,
                    Some(&self.log.log),
                    "events of every stream",
                    format!("none of stream number {row}"),
                );
                findings.add(finding.of(&StreamName::from_stored(name)));
            }
        }
        if self.done && number == i64::MAX {
            self.numbered(self.log.streams + 1, findings);
        }
        Ok(())
    }

    fn numbered(&self, row: i64, findings: &mut Findings) {
        if row != self.last + 1 {
            let expected = format!("stream number {} to have a name", self.last + 1);
            let found = format!("the next that has one is {row}");
            findings.add(Finding::new(Check::Streams, Some(&self.log.log), expected, found));
        }
    }
}

impl Pass<'_> {
    fn open(&mut self, first: &RawEvent) -> Stream {
        self.report.streams += 1;
        let name = first.name.clone().map(StreamName::from_stored);
        let known = name.as_ref().and_then(state_of);
        if let (Some(name), None) = (&name, &known)
            && super::log_pass::KNOWN.contains(&name.aggregate_type())
        {
            let finding = Finding::new(
                Check::Streams,
                Some(self.log),
                "a name as streams of its aggregate have",
                format!("{name}"),
            );
            self.findings.add(finding.at(first.position).of(name));
        }
        Stream { number: first.stream, version: 0, state: known.unwrap_or(State::None) }
    }

    fn take(&mut self, stream: &mut Stream, raw: RawEvent) {
        let expected = stream.version + 1;
        stream.version = raw.version;
        let position = raw.position;
        let name = raw.name.clone().map(StreamName::from_stored);
        if raw.astray {
            let expected = "to be found from the newest event of its stream back";
            let finding =
                Finding::new(Check::Streams, Some(self.log), expected, "a way that leads elsewhere");
            let finding = finding.at(position);
            self.findings.add(match &name {
                Some(name) => finding.of(name),
                None => finding,
            });
        }
        if raw.version != expected {
            let finding = Finding::new(
                Check::Versions,
                Some(self.log),
                format!("version {expected}"),
                format!("version {}", raw.version),
            );
            let finding = finding.at(position);
            self.findings.add(match &name {
                Some(name) => finding.of(name),
                None => finding,
            });
            // What comes after a gap cannot be judged.
            self.give_up(stream);
            return;
        }
        // What cannot be an event, or does not decode, was found in the other pass.
        let Ok(event) = raw.recorded(self.log) else { return self.give_up(stream) };
        if is_newer(&event) {
            if !matches!(stream.state, State::None) {
                self.report.unjudged_streams += 1;
            }
            return self.give_up(stream);
        }
        let judged = match &mut stream.state {
            State::Channel(state) => fold(&mut **state, &event, legal::channel),
            State::Binding(state) => fold(state, &event, legal::binding),
            State::Message(state) => fold(&mut **state, &event, legal::message),
            State::App(state) => fold(state, &event, legal::app),
            State::Person(state) => fold(state, &event, legal::person),
            State::Platform(state) => fold(&mut **state, &event, legal::platform),
            State::Ledger(book) => book.fold(&event, position, &mut self.report.deliveries),
            State::None => return,
        };
        match judged {
            Ok(Ok(())) => {}
            Ok(Err(expected)) => {
                let found = event.kind_name();
                let finding = Finding::new(Check::Legal, Some(self.log), expected, found);
                self.findings.add(finding.at(position).of(&event.stream));
            }
            Err(_) => self.give_up(stream),
        }
    }

    /// Stops folding a stream. Its deliveries are not held against the queue.
    fn give_up(&mut self, stream: &mut Stream) {
        if let State::Ledger(book) = &stream.state {
            self.queue.excuse(book.subject, &book.template);
        }
        stream.state = State::None;
    }

    fn close(&mut self, stream: Option<Stream>) {
        let Some(Stream { state: State::Ledger(book), .. }) = stream else { return };
        for (delivery, open) in book.ledger.outstanding() {
            let sums = &mut self.report.deliveries;
            match open.phase {
                Phase::Reserved => sums.reserved += 1,
                Phase::Started => sums.started += 1,
                Phase::InDoubt => sums.in_doubt += 1,
            }
            let position = book.moved.get(delivery).copied().unwrap_or_default();
            self.queue.expect(
                self.log,
                *delivery,
                (book.subject, &book.template),
                open,
                position,
                self.findings,
            );
        }
    }
}

fn state_of(name: &StreamName) -> Option<State> {
    Some(match name.aggregate_type() {
        "channel" if *name == StreamName::channel() => State::Channel(Box::default()),
        "binding" => {
            name.binding_user()?;
            State::Binding(Binding::default())
        }
        "ledger" => {
            let (subject, template) = name.ledger_parts()?;
            let ledger = Ledger::default();
            State::Ledger(Box::new(Book { subject, template, ledger, moved: BTreeMap::new() }))
        }
        "message" => {
            name.message_id()?;
            State::Message(Box::default())
        }
        "app" => State::App(App::default()),
        "user" | "subject" => State::Person(Person::default()),
        "platform" => State::Platform(Box::default()),
        _ => return None,
    })
}

/// Judges an event and applies it, whether legal or not: the fold is total.
fn fold<A: Decide>(
    state: &mut A,
    event: &Recorded,
    legal: fn(&A, &A::Event) -> legal::Verdict,
) -> Result<legal::Verdict, DecodeError> {
    let decoded = <A::Event as StoredEvent>::decode(event.kind, event.schema, &event.data)?;
    let verdict = legal(state, &decoded);
    state.apply(decoded);
    Ok(verdict)
}

impl Book {
    fn fold(
        &mut self,
        event: &Recorded,
        position: i64,
        sums: &mut Deliveries,
    ) -> Result<legal::Verdict, DecodeError> {
        let decoded: LedgerEvent = event.decode()?;
        let verdict = legal::ledger(&self.ledger, &decoded);
        if verdict.is_ok() {
            self.count(&decoded, sums);
        }
        let delivery = decoded.delivery();
        self.ledger.apply(decoded);
        if let Some(delivery) = delivery {
            match self.ledger.outstanding().contains_key(&delivery) {
                true => self.moved.insert(delivery, position),
                false => self.moved.remove(&delivery),
            };
        }
        let totals = self.ledger.totals();
        Ok(verdict.and_then(|()| match totals.balanced() {
            true => Ok(()),
            false => Err(format!("every grant to be somewhere once: {totals:?}")),
        }))
    }

    /// Counts a delivery that ends, or whose end is corrected.
    fn count(&self, event: &LedgerEvent, sums: &mut Deliveries) {
        match event {
            LedgerEvent::Consumed(_) => sums.sent += 1,
            LedgerEvent::Denied(_) | LedgerEvent::Forfeited(_) => sums.refused += 1,
            LedgerEvent::Released(e) => match e.reason {
                ReleaseReason::Refused { .. } => sums.refused += 1,
                ReleaseReason::RetriesExhausted { .. } => sums.failed += 1,
                ReleaseReason::Retracted => sums.retracted += 1,
                ReleaseReason::Expired => sums.expired += 1,
                ReleaseReason::Suspended | ReleaseReason::NoGrant => sums.skipped += 1,
            },
            LedgerEvent::SettledLate(e) => match e.outcome {
                LateOutcome::Sent { .. } => {
                    if !self.ledger.outstanding().contains_key(&e.delivery) {
                        sums.not_sent = sums.not_sent.saturating_sub(1);
                    }
                    sums.sent += 1;
                }
                LateOutcome::NotSent => sums.not_sent += 1,
            },
            LedgerEvent::Granted(_)
            | LedgerEvent::Opened(_)
            | LedgerEvent::Consented(_)
            | LedgerEvent::Rejected(_)
            | LedgerEvent::Suspended(_)
            | LedgerEvent::Reserved(_)
            | LedgerEvent::Admitted(_)
            | LedgerEvent::Started(_)
            | LedgerEvent::Postponed(_)
            | LedgerEvent::Doubted(_)
            | LedgerEvent::DriftFound(_)
            | LedgerEvent::Corroborated(_)
            | LedgerEvent::TapNoted(_)
            | LedgerEvent::Confirmed(_)
            | LedgerEvent::Undelivered(_)
            | LedgerEvent::StrangerReported(_)
            | LedgerEvent::Adjusted(_)
            | LedgerEvent::Cleared(_) => {}
        }
    }
}
