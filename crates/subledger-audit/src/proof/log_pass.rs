//! The pass in order of position: head, positions, chain, time, readability, message plans.

use std::mem;

use subledger_domain::{
    app::AppEvent, binding::BindingEvent, channel::ChannelEvent, kind_by_number, ledger::LedgerEvent,
    message::MessageEvent, person::PersonEvent, platform::PlatformEvent,
};
use subledger_store::{ChainCheck, ChainError, Inspector, Link, LogSnapshot, Position, RawEvent, Recorded};

use super::{
    PAGE, Progress, VerifyError,
    finding::{Check, Finding, Findings},
    models::Running,
    plans::Plans,
    queue::Queue,
    receipts::Receipts,
    report::LogReport,
};

/// The aggregates this version knows; streams of others belong to a newer one.
pub(super) const KNOWN: [&str; 8] =
    ["channel", "binding", "ledger", "message", "app", "user", "subject", "platform"];

/// What else takes note of the events.
pub(super) struct Reading<'a, 'r> {
    pub(super) queue: &'a mut Queue,
    pub(super) receipts: &'a mut Receipts<'r>,
}

struct Pass<'a, 'r> {
    log: &'a LogSnapshot,
    findings: &'a mut Findings,
    report: &'a mut LogReport,
    /// The position of the event before, as stored.
    last: i64,
    /// Its link, if it could be read.
    link: Option<Link>,
    recorded_at: i64,
    plans: Plans,
    reading: Reading<'a, 'r>,
}

/// Runs the pass. The comparison of read models, if any, gets every event up to the first that is wrong.
pub(super) async fn run(
    inspector: &Inspector,
    log: &LogSnapshot,
    mut models: Option<&mut Running<'_>>,
    reading: Reading<'_, '_>,
    report: &mut LogReport,
    findings: &mut Findings,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), VerifyError> {
    let mut pass = Pass {
        log,
        findings,
        report,
        last: 0,
        link: Some(Link::default()),
        recorded_at: i64::MIN,
        plans: Plans::default(),
        reading,
    };
    loop {
        progress(Progress {
            log: log.log.clone(),
            step: "reading the log",
            done: u64::try_from(pass.last).unwrap_or(0),
            total: u64::try_from(log.position).unwrap_or(0),
        });
        let mut page = inspector.events(log.number, pass.last, PAGE).await?;
        page.retain(|event| event.position <= log.position);
        if page.is_empty() {
            break;
        }
        let mut sound = Vec::with_capacity(page.len());
        for raw in page {
            let whole = pass.take(raw);
            match (whole, models.as_deref_mut()) {
                (Some(event), Some(models)) if !models.broken => sound.push(event),
                (None, Some(models)) => models.broken = true,
                _ => {}
            }
        }
        if let Some(models) = models.as_deref_mut() {
            models.apply(&sound).await?;
        }
        pass.reading.receipts.compare(pass.findings).await?;
    }
    pass.end();
    Ok(())
}

impl Pass<'_, '_> {
    fn finding(
        &mut self,
        check: Check,
        position: i64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        self.findings.add(Finding::new(check, Some(&self.log.log), expected, found).at(position));
    }

    /// Judges one event; gives it back if nothing is wrong with it as an event.
    fn take(&mut self, raw: RawEvent) -> Option<Recorded> {
        self.report.events += 1;
        let (position, mut whole) = (raw.position, true);
        let expected = self.last + 1;
        if position != expected {
            self.finding(
                Check::Positions,
                expected,
                format!("position {expected}"),
                format!("position {position}"),
            );
            self.link = None;
            whole = false;
        }
        self.last = position;
        if raw.recorded_at < self.recorded_at {
            let expected = format!("a time from {} on (microseconds)", self.recorded_at);
            self.finding(Check::Time, position, expected, raw.recorded_at.to_string());
            whole = false;
        }
        self.recorded_at = raw.recorded_at;
        let number = raw.stream;
        if raw.name.is_none() {
            self.finding(
                Check::Streams,
                position,
                "a stream that has a name",
                format!("stream number {number}, which has none"),
            );
            self.link = None;
            return None;
        }
        let event = match raw.recorded(&self.log.log) {
            Ok(event) => event,
            Err(error) => {
                self.finding(Check::Events, position, "columns that an event can have", error.to_string());
                self.link = None;
                return None;
            }
        };
        whole &= self.chain(&event);
        whole &= self.read(&event);
        whole.then_some(event)
    }

    fn chain(&mut self, event: &Recorded) -> bool {
        let Some(before) = self.link.replace(event.link) else { return true };
        let mut check = ChainCheck::after(Position(event.position.0.saturating_sub(1)), before);
        match check.next(event) {
            Ok(()) => true,
            Err(ChainError::Broken { .. } | ChainError::Gap { .. }) => {
                let finding = Finding::new(
                    Check::Chain,
                    Some(&self.log.log),
                    "a link that is the hash of the link before and of this event",
                    format!(
                        "link {}: one of them was changed after it was written",
                        hex::encode(event.link.0)
                    ),
                );
                let position = i64::try_from(event.position.0).unwrap_or(i64::MAX);
                self.findings.add(finding.at(position).of(&event.stream));
                false
            }
        }
    }

    /// Decodes the event, and hands it to the plans of the messages.
    fn read(&mut self, event: &Recorded) -> bool {
        let decoded = match event.stream.aggregate_type() {
            _ if is_newer(event) => {
                let name = format!("{} schema {}", event.kind_name(), event.schema);
                *self.report.newer.entry(name).or_default() += 1;
                return true;
            }
            "ledger" => event.decode::<LedgerEvent>().map(|decoded| {
                self.plans.ledger(event, &decoded, self.findings);
                self.reading.receipts.ledger(event, &decoded);
            }),
            "message" => event.decode::<MessageEvent>().map(|decoded| {
                self.plans.message(event, &decoded, self.findings);
                self.reading.queue.message(event, &decoded);
            }),
            "channel" => event.decode::<ChannelEvent>().map(drop),
            "binding" => event.decode::<BindingEvent>().map(drop),
            "app" => event.decode::<AppEvent>().map(drop),
            "user" | "subject" => event.decode::<PersonEvent>().map(drop),
            "platform" => event.decode::<PlatformEvent>().map(drop),
            _ => Ok(()),
        };
        let Err(error) = decoded else { return true };
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        let found = format!("{error}{}", source.unwrap_or_default());
        let expected = format!("an event of kind {} that decodes", event.kind_name());
        let position = i64::try_from(event.position.0).unwrap_or(i64::MAX);
        self.findings.add(
            Finding::new(Check::Events, Some(&self.log.log), expected, found).at(position).of(&event.stream),
        );
        false
    }

    /// Compares the end with the head.
    fn end(&mut self) {
        let log = self.log;
        if let Some(beyond) = log.event_beyond {
            let expected = format!("position {} to be the last, as the head says", log.position);
            self.finding(Check::Head, beyond, expected, format!("an event at position {beyond}"));
        }
        if self.last < log.position {
            let expected = format!("events up to position {}, as the head says", log.position);
            self.finding(Check::Head, self.last + 1, expected, format!("the last at position {}", self.last));
        } else if let Some(link) = self.link {
            if link.0[..] != log.link[..] {
                let expected = format!("the head to carry the last link {}", hex::encode(link.0));
                self.finding(Check::Head, self.last, expected, hex::encode(&log.link));
            }
            if self.last > 0 && self.recorded_at != log.recorded_at {
                let expected = format!("the head to carry the time {}", self.recorded_at);
                self.finding(Check::Head, self.last, expected, log.recorded_at.to_string());
            }
        }
        let plans = mem::take(&mut self.plans);
        plans.finish(&log.log, self.report, self.findings);
    }
}

/// Whether an event is of a kind, a schema or an aggregate that only a newer version knows.
pub(super) fn is_newer(event: &Recorded) -> bool {
    match kind_by_number(event.kind) {
        None => true,
        Some(kind) => event.schema > kind.schema || !KNOWN.contains(&event.stream.aggregate_type()),
    }
}
