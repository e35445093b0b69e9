//! Drift: how often and how much our balances and WeChat's differed, by template, age of the newest grant and cause.

use std::ops::AddAssign;

use serde::Serialize;
use subledger_domain::{ChannelCode, MessageId, SubjectId, TemplateId, Timestamp};
use subledger_store::Position;

use super::{
    Report, ReportDays, ReportTable,
    findings::{self, ByTemplate, ByWord, Entries, Found, Group, coded},
    table::{grouped, moment},
};
use crate::{
    DriftCause, DriftRow, PageRequest, Queries, QueryError,
    database::{Param, statement},
    rows::{GRANT_AGES, codes::Coded},
};

/// Which findings of drift are wanted; what is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriftFilter {
    /// Of this template.
    pub template: Option<TemplateId>,
    /// Explained by this.
    pub cause: Option<DriftCause>,
}

/// How much drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DriftCount {
    /// How often it was found.
    pub found: u64,
    /// How many grants were void.
    pub grants: u64,
}

impl AddAssign for DriftCount {
    fn add_assign(&mut self, other: Self) {
        self.found = self.found.saturating_add(other.found);
        self.grants = self.grants.saturating_add(other.grants);
    }
}

/// Counts of drift, grouped in three ways. The groups by age and those by cause each add up to `total`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriftCounts {
    /// All of it.
    pub total: DriftCount,
    /// By template, those found most often first; at most [`super::MAX_REPORT_TEMPLATES`], the rest is in `total` alone.
    pub by_template: Vec<Group<DriftCount>>,
    /// By the age of the newest grant: every class of [`GRANT_AGES`].
    pub by_age: Vec<Group<DriftCount>>,
    /// By what most likely explains it: every [`DriftCause`].
    pub by_cause: Vec<Group<DriftCount>>,
}

/// The report of drift.
pub type DriftReport = Report<Entries<DriftRow, DriftCounts>>;

/// Template, age, cause, findings, grants.
type Cell = (String, usize, i64, u64, u64);
/// When, where, template, subject, message, index, grants, explained, cause, newest grant, newest change of settings.
type Told = (
    Timestamp,
    Position,
    TemplateId,
    SubjectId,
    MessageId,
    u32,
    u32,
    u32,
    i64,
    Option<Timestamp>,
    Option<Timestamp>,
);

impl Queries {
    /// Findings of drift that were recorded on these days: counts of all of them with the first page, and one page of them,
    /// newest first. `page.limit` counts findings, at most [`crate::MAX_PAGE`].
    pub async fn report_drift(
        &self,
        code: &ChannelCode,
        days: &ReportDays,
        filter: &DriftFilter,
        page: &PageRequest,
    ) -> Result<DriftReport, QueryError> {
        const QUERY: &str = "report_drift";
        let period = (days.from(), days.until());
        let mut params = findings::params(period, filter.template.as_ref(), page, QUERY)?;
        params.push(Param::MaybeInt(filter.cause.map(Coded::code)));
        params.push(serde_json::json!(GRANT_AGES.bounds).to_string().into());
        let found: Report<Option<Found<Cell, Told>>> =
            self.report(code, statement!(findings::DRIFT), params).await?;
        let Found { known, groups, entries } = found.value.unwrap_or_default();
        let mut entries = findings::rows(entries, row)?;
        let next = findings::cut(&mut entries, page.limit, QUERY, |row| (row.found_at, row.position))?;
        let counts = if page.after.is_none() { Some(counts(groups)?) } else { None };
        let value = Entries { recorded: known, counts, entries, next };
        Ok(Report { value, position: found.position, recorded_at: found.recorded_at })
    }
}

fn row(told: Told) -> Result<DriftRow, QueryError> {
    let (found_at, position, template, subject, message, index, grants, explained, cause, granted, settings) =
        told;
    Ok(DriftRow {
        found_at,
        position,
        template,
        subject,
        message,
        index,
        grants,
        explained,
        cause: coded(cause)?,
        last_grant_at: granted,
        last_settings_at: settings,
    })
}

fn counts(cells: Vec<Cell>) -> Result<DriftCounts, QueryError> {
    let mut total = DriftCount::default();
    let mut by_template = ByTemplate::new();
    let mut by_age = ByWord::new(GRANT_AGES.words.iter().copied());
    let mut by_cause = ByWord::new(DriftCause::ALL.iter().map(|cause| cause.as_str()));
    for (template, age, cause, found, grants) in cells {
        let count = DriftCount { found, grants };
        total += count;
        by_template.add(template, count);
        by_age.add(GRANT_AGES.words.get(age).copied().unwrap_or_default(), count);
        by_cause.add(coded::<DriftCause>(cause)?.as_str(), count);
    }
    Ok(DriftCounts {
        total,
        by_template: by_template.groups(|count| count.found),
        by_age: by_age.groups(),
        by_cause: by_cause.groups(),
    })
}

impl DriftRow {
    /// How old the newest grant was when the drift was found, in microseconds; below zero if its evidence is of the future.
    pub fn age_micros(&self) -> Option<i64> {
        self.last_grant_at.map(|granted| self.found_at.micros().saturating_sub(granted.micros()))
    }

    /// Its class of [`GRANT_AGES`].
    pub fn age(&self) -> &'static str {
        GRANT_AGES.word(self.age_micros())
    }
}

impl ReportTable {
    /// A row per finding of drift.
    pub fn of_drift(report: &DriftReport, code: &ChannelCode, days: &ReportDays) -> Self {
        const COLUMNS: [&str; 13] = [
            "zone",
            "found_at",
            "template_id",
            "cause",
            "age",
            "age_seconds",
            "grants",
            "explained",
            "last_grant_at",
            "last_settings_at",
            "msgid",
            "index",
            "subject",
        ];
        let row = |row: &DriftRow| {
            vec![
                days.zone.clone(),
                moment(row.found_at),
                row.template.to_string(),
                row.cause.as_str().to_owned(),
                row.age().to_owned(),
                row.age_micros().map(seconds).unwrap_or_default(),
                row.grants.to_string(),
                row.explained.to_string(),
                row.last_grant_at.map(moment).unwrap_or_default(),
                row.last_settings_at.map(moment).unwrap_or_default(),
                row.message.to_string(),
                row.index.to_string(),
                row.subject.to_string(),
            ]
        };
        Self::new(report, code, &COLUMNS, report.value.entries.iter().map(row).collect())
    }

    /// A row per group: all, then by template, by age, by cause.
    pub fn of_drift_counts(report: &DriftReport, code: &ChannelCode, days: &ReportDays) -> Self {
        let rows = report.value.counts.iter().flat_map(|counts| {
            let groups =
                [("template", &counts.by_template), ("age", &counts.by_age), ("cause", &counts.by_cause)];
            let numbers = |count: &DriftCount| [count.found.to_string(), count.grants.to_string()];
            grouped(days, counts.total, groups, numbers)
        });
        let columns = ["zone", "by", "of", "found", "grants"];
        Self::new(report, code, &columns, rows.collect())
    }
}

/// Whole seconds.
pub(super) fn seconds(micros: i64) -> String {
    micros.div_euclid(Timestamp::MICROS_PER_SECOND).to_string()
}
