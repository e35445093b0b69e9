//! What was found wrong: where, what was expected, what is there.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use subledger_domain::{LogName, StreamName};

/// Findings kept per check and log; the ones at the lowest positions. All are counted.
pub const MAX_KEPT: usize = 20;

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The head of a log is its last event.
    Head,
    /// Positions follow each other without a gap.
    Positions,
    /// Every link is the hash of the link before and the event.
    Chain,
    /// Time does not run backwards within a log.
    Time,
    /// Every event has columns an event can have and decodes as its kind.
    Events,
    /// Versions of a stream follow each other without a gap.
    Versions,
    /// Streams have one number and one name, and events.
    Streams,
    /// Every event may follow the ones before it in its stream.
    Legal,
    /// The recipients of a message are its skipped and its reserved ones, each once.
    Messages,
    /// Receipts point into the log.
    Receipts,
    /// The queue holds exactly the open deliveries, each in its state.
    Queue,
    /// The read models are what the log leads to.
    ReadModels,
    /// Rows can be read at all.
    Readable,
    /// A file has the form of an export.
    Format,
    /// The end of a file is signed.
    Signature,
    /// The database still holds what was exported.
    Exported,
}

impl Check {
    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Positions => "positions",
            Self::Chain => "chain",
            Self::Time => "time",
            Self::Events => "events",
            Self::Versions => "versions",
            Self::Streams => "streams",
            Self::Legal => "legal",
            Self::Messages => "messages",
            Self::Receipts => "receipts",
            Self::Queue => "queue",
            Self::ReadModels => "read_models",
            Self::Readable => "readable",
            Self::Format => "format",
            Self::Signature => "signature",
            Self::Exported => "exported",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// The log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogName>,
    /// The bad event, or the place where one is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    /// The stream concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The line of the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Finding {
    pub(super) fn new(
        check: Check,
        log: Option<&LogName>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            check,
            log: log.cloned(),
            position: None,
            stream: None,
            line: None,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// The same, at a position.
    pub(super) fn at(mut self, position: i64) -> Self {
        self.position = Some(position);
        self
    }

    /// The same, about a stream.
    pub(super) fn of(mut self, stream: &StreamName) -> Self {
        self.stream = Some(stream.as_str().to_owned());
        self
    }

    /// The same, on a line of a file.
    pub(super) fn on(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// Log by log, lowest position first; what has no position comes last.
    fn order(&self) -> (Option<&LogName>, i64, u64, Check) {
        (self.log.as_ref(), self.position.unwrap_or(i64::MAX), self.line.unwrap_or(u64::MAX), self.check)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.check)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(log) = &self.log {
            write!(f, ", log {log}")?;
        }
        if let Some(position) = self.position {
            write!(f, ", position {position}")?;
        }
        if let Some(stream) = &self.stream {
            write!(f, ", stream {stream}")?;
        }
        write!(f, ": expected {}; found {}", self.expected, self.found)
    }
}

/// Findings as they come, bounded.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: BTreeMap<(Option<LogName>, Check), Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    count: u64,
    findings: Vec<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        let kept = self.kept.entry((finding.log.clone(), finding.check)).or_default();
        kept.count += 1;
        if kept.findings.len() < MAX_KEPT {
            kept.findings.push(finding);
            return;
        }
        let highest = kept.findings.iter_mut().max_by(|a, b| a.order().cmp(&b.order()));
        if let Some(highest) = highest
            && finding.order() < highest.order()
        {
            *highest = finding;
        }
    }

    /// Counts findings that were not handed over one by one.
    pub(super) fn uncounted(&mut self, check: Check, log: &LogName, more: u64) {
        if more > 0 {
            self.kept.entry((Some(log.clone()), check)).or_default().count += more;
        }
    }

    /// How many there are of one check in one log.
    pub(super) fn count(&self, log: &LogName, check: Check) -> u64 {
        self.kept.get(&(Some(log.clone()), check)).map_or(0, |kept| kept.count)
    }

    /// All that are kept, in order, and how many there were.
    pub(super) fn into_parts(self) -> (Vec<Finding>, u64) {
        let total = self.kept.values().map(|kept| kept.count).sum();
        let mut findings: Vec<Finding> = self.kept.into_values().flat_map(|kept| kept.findings).collect();
        findings.sort_by(|a, b| a.order().cmp(&b.order()));
        (findings, total)
    }
}
