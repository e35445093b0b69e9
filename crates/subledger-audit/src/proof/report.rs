//! What a verification came to, for people and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use subledger_domain::LogName;
use subledger_store::LogSnapshot;

use super::finding::{Check, Finding, Findings};

/// What a verification came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub clean: bool,
    /// The logs that were looked at, by name.
    pub logs: Vec<LogReport>,
    /// Whether the read models were compared.
    pub read_models: bool,
    /// What is wrong: log by log, lowest position first. At most [`super::MAX_KEPT`] per log and check.
    pub findings: Vec<Finding>,
    /// How much is wrong in all.
    pub total_findings: u64,
}

impl Report {
    pub(super) fn new(logs: Vec<LogReport>, findings: Findings, read_models: bool) -> Self {
        let (findings, total_findings) = findings.into_parts();
        Self { clean: total_findings == 0, logs, read_models, findings, total_findings }
    }

    /// The first bad event, or whatever else is wrong first.
    pub fn first(&self) -> Option<&Finding> {
        self.findings.first()
    }

    /// Adds findings of another look.
    pub fn add(&mut self, more: Vec<Finding>) {
        self.total_findings += more.len() as u64;
        self.findings.extend(more);
        self.clean = self.total_findings == 0;
    }
}

/// One log.
#[derive(Debug, Clone, Serialize)]
pub struct LogReport {
    /// The log.
    pub log: LogName,
    /// Its head: everything up to here was looked at.
    pub position: i64,
    /// The link of its head, hexadecimal.
    pub link: String,
    /// Events read.
    pub events: u64,
    /// Streams read.
    pub streams: u64,
    /// Receipts looked at.
    pub receipts: u64,
    /// Rows in the queue.
    pub queued: u64,
    /// Where every recipient of every message is, according to the events.
    pub deliveries: Deliveries,
    /// Events of kinds or schemas newer than this program, by number and schema: read over, not judged.
    pub newer: BTreeMap<String, u64>,
    /// Streams that could not be judged because of those.
    pub unjudged_streams: u64,
    /// Read models that were compared and are equal.
    pub read_models: Vec<String>,
    /// What a reader should know besides.
    pub notes: Vec<String>,
}

/// Where recipients are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Deliveries {
    /// Messages accepted.
    pub messages: u64,
    /// Recipients asked for.
    pub targeted: u64,
    /// Not planned yet.
    pub unplanned: u64,
    /// Waiting, reserved.
    pub reserved: u64,
    /// Handed over, no answer yet.
    pub started: u64,
    /// In doubt.
    pub in_doubt: u64,
    /// Sent.
    pub sent: u64,
    /// Refused by WeChat.
    pub refused: u64,
    /// Given up after retries.
    pub failed: u64,
    /// Expired.
    pub expired: u64,
    /// Taken back.
    pub retracted: u64,
    /// Settled as not sent.
    pub not_sent: u64,
    /// Skipped, at once or when their turn came.
    pub skipped: u64,
}

impl Deliveries {
    fn accounted(&self) -> u64 {
        self.unplanned
            + self.reserved
            + self.started
            + self.in_doubt
            + self.sent
            + self.refused
            + self.failed
            + self.expired
            + self.retracted
            + self.not_sent
            + self.skipped
    }
}

impl LogReport {
    pub(super) fn new(log: &LogSnapshot) -> Self {
        Self {
            log: log.log.clone(),
            position: log.position,
            link: hex::encode(&log.link),
            events: 0,
            streams: 0,
            receipts: log.receipts,
            queued: log.queue.len() as u64,
            deliveries: Deliveries::default(),
            newer: BTreeMap::new(),
            unjudged_streams: 0,
            read_models: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The last equation: every recipient of every message is somewhere, once. Message by message it has been checked
    /// where the recipients were planned; a log whose events are not all readable cannot be summed up.
    pub(super) fn settle(&mut self, findings: &mut Findings) {
        let sums = &self.deliveries;
        let unreadable = [Check::Positions, Check::Events, Check::Streams, Check::Versions]
            .iter()
            .any(|check| findings.count(&self.log, *check) > 0);
        if unreadable || self.unjudged_streams > 0 {
            self.notes.push("recipients were not summed up: not every event could be read".to_owned());
        } else if sums.targeted != sums.accounted() {
            let expected = format!("{} recipients targeted", sums.targeted);
            let found = format!("{} with a state", sums.accounted());
            findings.add(Finding::new(Check::Messages, Some(&self.log), expected, found));
        }
    }
}
