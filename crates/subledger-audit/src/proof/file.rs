//! Checking an exported file, with nothing but the file.

use std::{
    collections::HashMap,
    io::{self, BufRead, Read},
};

use serde::Serialize;
use subledger_domain::{LogName, kind_by_number};
use subledger_store::{ChainCheck, ChainError, Link, Position, Recorded, SigningKey};

use super::{
    finding::{Check, Finding, Findings},
    format::{End, EndLine, EventLine, FORMAT, Header, digits},
};

/// The longest line that can be an event: the store takes no payload above 1 MiB, and JSON at most sextuples it.
const MAX_LINE: u64 = 16 << 20;

/// What the check of a file came to.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// Whether nothing is wrong.
    pub clean: bool,
    /// Whether the signer was compared with a key that the caller knew. If not, the signer is only as trusted as the file.
    pub signer_known: bool,
    /// The sections that end as they should, in order.
    pub sections: Vec<Section>,
    /// What is wrong, in order; at most [`super::MAX_KEPT`] per log and check.
    pub findings: Vec<Finding>,
    /// How much is wrong in all.
    pub total_findings: u64,
}

impl FileReport {
    /// The first bad line.
    pub fn first(&self) -> Option<&Finding> {
        self.findings.first()
    }
}

/// One log of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The log.
    pub log: LogName,
    /// It begins after this position.
    pub after: u64,
    /// It ends here.
    pub position: u64,
    /// The link there, hexadecimal.
    pub link: String,
    /// Events in it.
    pub events: u64,
    /// When it was exported, microseconds since 1970.
    pub exported_at: i64,
    /// The public key it was signed with.
    pub key: String,
}

/// Checks a file. Without a key, the signer is only as trusted as the file.
pub fn check_file(reader: impl BufRead, key: Option<SigningKey>) -> io::Result<FileReport> {
    let mut file = File::new(reader, key);
    while file.next()?.is_some() {}
    Ok(file.report())
}

/// What a file says next.
pub(super) enum Step {
    /// An event, whatever is wrong with it.
    Event { log: LogName, position: u64, link: Link },
    /// A section ended properly.
    End(Section),
}

struct Open {
    log: LogName,
    after: u64,
    key: String,
    /// The position of the line before.
    last: u64,
    /// The link there, unless a line could not be read.
    link: Option<Link>,
    recorded_at: i64,
    events: u64,
    /// Versions by stream: a hash, because only whether they are equal matters.
    versions: HashMap<[u8; 16], u64>,
}

/// What must be read next where no section is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The header of the first section.
    First,
    /// The header of another.
    Another,
    /// Another header. What stands before it belongs to no section, and was said to.
    AnotherAfterOddLines,
}

/// A file while it is read. Memory holds one line, and the versions of the streams of one section.
pub(super) struct File<R> {
    reader: R,
    key: Option<SigningKey>,
    line: u64,
    open: Option<Open>,
    awaited: Awaited,
    sections: Vec<Section>,
    findings: Findings,
}

impl<R: BufRead> File<R> {
    pub(super) fn new(reader: R, key: Option<SigningKey>) -> Self {
        Self {
            reader,
            key,
            line: 0,
            open: None,
            awaited: Awaited::First,
            sections: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// The next event or end; nothing at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Step>> {
        loop {
            let mut text = Vec::new();
            (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut text)?;
            if text.is_empty() {
                self.ended();
                return Ok(None);
            }
            self.line += 1;
            if self.awaited == Awaited::First && !self.is_header(&text) {
                return Ok(None);
            }
            if text.last() != Some(&b'\n') {
                let what = if text.len() as u64 == MAX_LINE { "is too long" } else { "is cut off" };
                self.add(Check::Format, "a line with its end", format!("a line that {what}"));
                if text.len() as u64 == MAX_LINE {
                    return Ok(None);
                }
            }
            let step = match self.open.take() {
                None => {
                    self.header(&text);
                    None
                }
                Some(open) if text.starts_with(b"{\"end\":") => self.end(open, &text),
                Some(open) => self.event(open, &text),
            };
            if step.is_some() {
                return Ok(step);
            }
        }
    }

    pub(super) fn report(self) -> FileReport {
        let (findings, total_findings) = self.findings.into_parts();
        FileReport {
            clean: total_findings == 0,
            signer_known: self.key.is_some(),
            sections: self.sections,
            findings,
            total_findings,
        }
    }

    fn add(&mut self, check: Check, expected: impl Into<String>, found: impl Into<String>) {
        let log = self.open.as_ref().map(|open| open.log.clone());
        self.findings.add(Finding::new(check, log.as_ref(), expected, found).on(self.line));
    }

    fn add_at(&mut self, check: Check, log: &LogName, position: u64, expected: String, found: String) {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        self.findings.add(Finding::new(check, Some(log), expected, found).at(position).on(self.line));
    }

    /// Whether the first line is a header. If not, this file is no export, and no other line of it is looked at.
    fn is_header(&mut self, text: &[u8]) -> bool {
        let Err(error) = serde_json::from_slice::<Header>(text) else { return true };
        let expected = format!(r#"the header of an export, {{"format":"{FORMAT}","log":…}}"#);
        // Where in the line the parser stumbled would read as where in the file.
        let error = error.to_string();
        let what = error.split(" at line ").next().unwrap_or_default();
        self.add(Check::Format, expected, format!("no header ({what}): this is no export of subledger"));
        false
    }

    fn header(&mut self, text: &[u8]) {
        let header: Header = match serde_json::from_slice(text) {
            Ok(header) => header,
            Err(error) => {
                if self.awaited != Awaited::AnotherAfterOddLines {
                    self.awaited = Awaited::AnotherAfterOddLines;
                    let expected = "the header of another section, or the end of the file";
                    self.add(Check::Format, expected, format!("{error}"));
                }
                return;
            }
        };
        self.awaited = Awaited::Another;
        if header.format != FORMAT {
            self.add(Check::Format, FORMAT, header.format.clone());
        }
        let link = digits(&header.after_link).map(Link).ok();
        if link.is_none() || (header.after == 0 && link != Some(Link::default())) {
            self.add(Check::Format, "the link before the first event", header.after_link.clone());
        }
        let key: Option<SigningKey> = digits(&header.key).map(SigningKey).ok();
        if key.is_none_or(|key| key.id() != header.key_id) {
            self.add(
                Check::Format,
                "a key and its first digits",
                format!("{} {}", header.key, header.key_id),
            );
        }
        self.open = Some(Open {
            log: LogName::new(header.log),
            after: header.after,
            key: header.key,
            last: header.after,
            link,
            recorded_at: i64::MIN,
            events: 0,
            versions: HashMap::new(),
        });
    }

    fn event(&mut self, mut open: Open, text: &[u8]) -> Option<Step> {
        let parsed = serde_json::from_slice::<EventLine<'_>>(text).map_err(|error| error.to_string());
        let event = parsed.and_then(|line| {
            let known = kind_by_number(line.kind).is_none_or(|kind| kind.name == line.name);
            let name = if known { None } else { Some(format!("kind {} called {}", line.kind, line.name)) };
            line.recorded().map(|event| (event, name))
        });
        let (event, misnamed) = match event {
            Ok(event) => event,
            Err(what) => {
                open.link = None;
                let (log, next) = (open.log.clone(), open.last + 1);
                self.open = Some(open);
                self.add_at(Check::Format, &log, next, "an event".to_owned(), what);
                return None;
            }
        };
        let (log, position) = (open.log.clone(), event.position.0);
        if let Some(found) = misnamed {
            self.add_at(Check::Format, &log, position, "the name of the event's kind".to_owned(), found);
        }
        if event.log != log {
            self.add_at(
                Check::Format,
                &log,
                position,
                format!("an event of log {log}"),
                event.log.to_string(),
            );
        }
        self.follow(&mut open, &event);
        let link = event.link;
        self.open = Some(open);
        Some(Step::Event { log, position, link })
    }

    /// Position, link, time and version of an event against those before it.
    fn follow(&mut self, open: &mut Open, event: &Recorded) {
        let (log, position) = (open.log.clone(), event.position.0);
        let expected = open.last.saturating_add(1);
        if position != expected {
            let words = (format!("position {expected}"), format!("position {position}"));
            self.add_at(Check::Positions, &log, expected, words.0, words.1);
            open.link = None;
        }
        open.last = position;
        open.events += 1;
        if let Some(before) = open.link.replace(event.link) {
            let mut check = ChainCheck::after(Position(position.saturating_sub(1)), before);
            if let Err(ChainError::Broken { .. } | ChainError::Gap { .. }) = check.next(event) {
                let expected = "a link that is the hash of the link before and of this event".to_owned();
                self.add_at(Check::Chain, &log, position, expected, hex::encode(event.link.0));
            }
        }
        let at = event.recorded_at.micros();
        if at < open.recorded_at {
            let expected = format!("a time from {} on (microseconds)", open.recorded_at);
            self.add_at(Check::Time, &log, position, expected, at.to_string());
        }
        open.recorded_at = at;
        let hash = blake3::hash(event.stream.as_str().as_bytes());
        let mut stream = [0; 16];
        stream.copy_from_slice(&hash.as_bytes()[..16]);
        let before = open.versions.insert(stream, event.version);
        // A section that begins in the middle of a log begins in the middle of its streams.
        let first = if open.after == 0 { 1 } else { event.version.max(1) };
        let expected = before.map_or(first, |version| version.saturating_add(1));
        if event.version != expected {
            let words =
                (format!("version {expected} of {}", event.stream), format!("version {}", event.version));
            self.add_at(Check::Versions, &log, position, words.0, words.1);
        }
    }

    fn end(&mut self, open: Open, text: &[u8]) -> Option<Step> {
        let (log, last) = (open.log.clone(), open.last);
        let end: End = match serde_json::from_slice::<EndLine>(text) {
            Ok(line) => line.end,
            Err(error) => {
                self.add_at(
                    Check::Format,
                    &log,
                    last,
                    "the signed end of the section".to_owned(),
                    error.to_string(),
                );
                return None;
            }
        };
        let held = (end.log.as_str(), end.position, end.events) == (log.as_str(), last, open.events);
        if !held {
            let expected = format!("the end of log {log} at position {last} after {} events", open.events);
            let found = format!("log {}, position {}, {} events", end.log, end.position, end.events);
            self.add_at(Check::Head, &log, last + 1, expected, found);
        } else if let Some(link) = open.link
            && end.link != hex::encode(link.0)
        {
            let expected = format!("the end to carry the last link {}", hex::encode(link.0));
            self.add_at(Check::Head, &log, last, expected, end.link.clone());
        }
        self.signature(&log, &open.key, &end);
        let section = Section {
            log,
            after: open.after,
            position: end.position,
            link: end.link,
            events: end.events,
            exported_at: end.exported_at,
            key: end.key,
        };
        self.sections.push(section.clone());
        Some(Step::End(section))
    }

    fn signature(&mut self, log: &LogName, header_key: &str, end: &End) {
        let signed = end.attestation().and_then(|signed| {
            signed.verify().map_err(|error| error.to_string())?;
            Ok(signed)
        });
        let expected = match (&signed, &self.key) {
            (Err(_), _) => "a signature that the key in the file made".to_owned(),
            (Ok(signed), Some(key)) if signed.key != *key => format!("a signature of key {key}"),
            (Ok(_), _) if end.key != header_key => format!("the key of the header, {header_key}"),
            _ => return,
        };
        let found = match signed {
            Ok(signed) => format!("one of key {}", signed.key),
            Err(what) => what,
        };
        self.add_at(Check::Signature, log, end.position, expected, found);
    }

    /// At the end of the file no section may be open.
    fn ended(&mut self) {
        self.line += 1;
        match self.open.take() {
            Some(open) => {
                let expected = "an event, or the signed end of the section".to_owned();
                let found = "the end of the file: it is cut off".to_owned();
                self.add_at(Check::Head, &open.log, open.last.saturating_add(1), expected, found);
            }
            None if self.line == 1 => self.add(Check::Format, "the header of an export", "an empty file"),
            None => {}
        }
    }
}
