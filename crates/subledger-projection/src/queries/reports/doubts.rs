//! Doubts: how often answers were hidden, for how long and how it ended, by template, time in doubt, cause and end.

use std::ops::AddAssign;

use serde::Serialize;
use subledger_domain::{ChannelCode, MessageId, SubjectId, TemplateId, Timestamp, ledger::DoubtCause};
use subledger_store::Position;

use super::{
    Report, ReportDays, ReportTable,
    drift::seconds,
    findings::{self, ByTemplate, ByWord, Entries, Found, Group, coded, maybe_coded},
    table::{grouped, moment},
};
use crate::{
    DOUBT_CAUSES, DoubtEnd, DoubtRow, PageRequest, Queries, QueryError,
    database::{Param, statement},
    doubt_cause_word,
    rows::{DOUBT_AGES, codes::Coded},
};

/// The word for a doubt that has not ended.
const OPEN: &str = "open";

/// Which ends of doubts are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoubtState {
    /// Still open.
    Open,
    /// Ended, however.
    Ended,
    /// Ended by this.
    EndedBy(DoubtEnd),
    /// Settled as not sent, and later proved to have been sent.
    Corrected,
}

impl DoubtState {
    /// Their names, for a list of what may be asked for.
    pub const NAMES: [&'static str; 7] =
        [OPEN, "ended", "sent_event", "late_answer", "by_hand", "deadline", "corrected"];

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            OPEN => Some(Self::Open),
            "ended" => Some(Self::Ended),
            "corrected" => Some(Self::Corrected),
            name if Self::NAMES.contains(&name) => DoubtEnd::from_name(name).map(Self::EndedBy),
            _ => None,
        }
    }

    /// What the statements know it by; the numbers of [`DoubtEnd`] begin at 1.
    fn code(self) -> i64 {
        match self {
            Self::Open => 0,
            Self::Ended => -1,
            Self::EndedBy(end) => end.code(),
            Self::Corrected => -2,
        }
    }
}

/// Which doubts are wanted; what is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DoubtFilter {
    /// Of this template.
    pub template: Option<TemplateId>,
    /// With this cause.
    pub cause: Option<DoubtCause>,
    /// In this state.
    pub state: Option<DoubtState>,
}

/// How many doubts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DoubtCount {
    /// How many began.
    pub doubts: u64,
    /// How many of them are still open.
    pub open: u64,
    /// How many were settled as not sent and later proved to have been sent.
    pub corrected: u64,
}

impl AddAssign for DoubtCount {
    fn add_assign(&mut self, other: Self) {
        self.doubts = self.doubts.saturating_add(other.doubts);
        self.open = self.open.saturating_add(other.open);
        self.corrected = self.corrected.saturating_add(other.corrected);
    }
}

/// Counts of doubts, grouped in four ways. The groups by age, by cause and by end each add up to `total`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DoubtCounts {
    /// All of them.
    pub total: DoubtCount,
    /// By template, those with the most first; at most [`super::MAX_REPORT_TEMPLATES`], the rest is in `total` alone.
    pub by_template: Vec<Group<DoubtCount>>,
    /// By the time in doubt, for open ones until now: every class of [`DOUBT_AGES`].
    pub by_age: Vec<Group<DoubtCount>>,
    /// By what hid the answer: each of [`DOUBT_CAUSES`].
    pub by_cause: Vec<Group<DoubtCount>>,
    /// By what ended them: `open`, then each end that is no mere correction.
    pub by_end: Vec<Group<DoubtCount>>,
}

/// The report of doubts.
pub type DoubtReport = Report<Entries<DoubtRow, DoubtCounts>>;

/// Template, age, cause, end (0 is open), doubts, corrected ones.
type Cell = (String, usize, i64, i64, u64, u64);
/// Began when and where, message, index, attempt, template, subject, cause, then ended when, by what, with which outcome, and
/// corrected when, by what.
type Told = (
    (Timestamp, Position),
    (MessageId, u32, u16),
    TemplateId,
    Option<SubjectId>,
    i64,
    (Option<Timestamp>, Option<i64>, Option<i64>),
    (Option<Timestamp>, Option<i64>),
);

impl Queries {
    /// Doubts that began on these days: counts of all of them with the first page, and one page of them, newest first.
    /// `as_of` is the moment until which open ones are measured. `page.limit` counts doubts, at most [`crate::MAX_PAGE`].
    pub async fn report_doubts(
        &self,
        code: &ChannelCode,
        days: &ReportDays,
        filter: &DoubtFilter,
        as_of: Timestamp,
        page: &PageRequest,
    ) -> Result<DoubtReport, QueryError> {
        const QUERY: &str = "report_doubts";
        let period = (days.from(), days.until());
        let mut params = findings::params(period, filter.template.as_ref(), page, QUERY)?;
        params.push(Param::MaybeInt(filter.cause.map(Coded::code)));
        params.push(serde_json::json!(DOUBT_AGES.bounds).to_string().into());
        params.push(Param::MaybeInt(filter.state.map(DoubtState::code)));
        params.push(as_of.micros().into());
        let found: Report<Option<Found<Cell, Told>>> =
            self.report(code, statement!(findings::DOUBTS), params).await?;
        let Found { known, groups, entries } = found.value.unwrap_or_default();
        let mut entries = findings::rows(entries, row)?;
        let next = findings::cut(&mut entries, page.limit, QUERY, |row| (row.began_at, row.position))?;
        let counts = if page.after.is_none() { Some(counts(groups)?) } else { None };
        let value = Entries { recorded: known, counts, entries, next };
        Ok(Report { value, position: found.position, recorded_at: found.recorded_at })
    }
}

fn row(told: Told) -> Result<DoubtRow, QueryError> {
    let ((began_at, position), (message, index, attempt), template, subject, cause, end, correction) = told;
    let ((ended_at, ended, outcome), (corrected_at, corrected)) = (end, correction);
    Ok(DoubtRow {
        message,
        index,
        attempt,
        template,
        subject,
        cause: coded(cause)?,
        began_at,
        position,
        ended_at,
        ended: maybe_coded(ended)?,
        outcome: maybe_coded(outcome)?,
        corrected_at,
        corrected: maybe_coded(corrected)?,
    })
}

fn counts(cells: Vec<Cell>) -> Result<DoubtCounts, QueryError> {
    let mut total = DoubtCount::default();
    let mut by_template = ByTemplate::new();
    let mut by_age = ByWord::new(DOUBT_AGES.words.iter().copied());
    let mut by_cause = ByWord::new(DOUBT_CAUSES.into_iter().map(doubt_cause_word));
    let ends = DoubtEnd::ALL.iter().filter(|end| **end != DoubtEnd::NoPermission).map(|end| end.as_str());
    let mut by_end = ByWord::new(std::iter::once(OPEN).chain(ends));
    for (template, age, cause, end, doubts, corrected) in cells {
        let end = maybe_coded::<DoubtEnd>(Some(end).filter(|end| *end != 0))?;
        let count = DoubtCount { doubts, open: if end.is_none() { doubts } else { 0 }, corrected };
        total += count;
        by_template.add(template, count);
        by_age.add(DOUBT_AGES.words.get(age).copied().unwrap_or_default(), count);
        by_cause.add(doubt_cause_word(coded(cause)?), count);
        by_end.add(end.map_or(OPEN, DoubtEnd::as_str), count);
    }
    Ok(DoubtCounts {
        total,
        by_template: by_template.groups(|count| count.doubts),
        by_age: by_age.groups(),
        by_cause: by_cause.groups(),
        by_end: by_end.groups(),
    })
}

impl DoubtRow {
    /// How long it lasted in microseconds, or has until `as_of`; 0 where it began after that.
    pub fn age_micros(&self, as_of: Timestamp) -> i64 {
        let until = self.ended_at.unwrap_or(as_of);
        until.micros().saturating_sub(self.began_at.micros()).max(0)
    }

    /// The class of [`DOUBT_AGES`] of that.
    pub fn age(&self, as_of: Timestamp) -> &'static str {
        DOUBT_AGES.word(Some(self.age_micros(as_of)))
    }

    /// What ended it, or `open`.
    pub fn end_word(&self) -> &'static str {
        self.ended.map_or(OPEN, DoubtEnd::as_str)
    }
}

impl ReportTable {
    /// A row per doubt.
    pub fn of_doubts(report: &DoubtReport, code: &ChannelCode, days: &ReportDays, as_of: Timestamp) -> Self {
        const COLUMNS: [&str; 16] = [
            "zone",
            "as_of",
            "began_at",
            "ended_at",
            "template_id",
            "cause",
            "age",
            "age_seconds",
            "end",
            "outcome",
            "corrected",
            "corrected_at",
            "msgid",
            "index",
            "attempt",
            "subject",
        ];
        let row = |row: &DoubtRow| {
            vec![
                days.zone.clone(),
                moment(as_of),
                moment(row.began_at),
                row.ended_at.map(moment).unwrap_or_default(),
                row.template.to_string(),
                doubt_cause_word(row.cause).to_owned(),
                row.age(as_of).to_owned(),
                seconds(row.age_micros(as_of)),
                row.end_word().to_owned(),
                row.outcome.map(|outcome| outcome.as_str().to_owned()).unwrap_or_default(),
                row.corrected.map(|end| end.as_str().to_owned()).unwrap_or_default(),
                row.corrected_at.map(moment).unwrap_or_default(),
                row.message.to_string(),
                row.index.to_string(),
                row.attempt.to_string(),
                row.subject.map(|subject| subject.to_string()).unwrap_or_default(),
            ]
        };
        Self::new(report, code, &COLUMNS, report.value.entries.iter().map(row).collect())
    }

    /// A row per group: all, then by template, by age, by cause, by end.
    pub fn of_doubt_counts(
        report: &DoubtReport,
        code: &ChannelCode,
        days: &ReportDays,
        as_of: Timestamp,
    ) -> Self {
        let rows = report.value.counts.iter().flat_map(|counts| {
            let groups = [
                ("template", &counts.by_template),
                ("age", &counts.by_age),
                ("cause", &counts.by_cause),
                ("end", &counts.by_end),
            ];
            let numbers = |count: &DoubtCount| {
                [moment(as_of), count.doubts.to_string(), count.open.to_string(), count.corrected.to_string()]
            };
            grouped(days, counts.total, groups, numbers)
        });
        let columns = ["zone", "by", "of", "as_of", "doubts", "open", "corrected"];
        Self::new(report, code, &columns, rows.collect())
    }
}
