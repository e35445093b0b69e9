//! Questions of analysts: activity per template and day, stock and its burn-down, reach of a template, loss of a message,
//! drift and doubts.
//!
//! Days are worked out here, in the zone asked for, and handed to the database as plain moments: it never has to know a
//! time zone. Every answer says the position it stands at and when that event was recorded.

mod activity;
mod days;
mod doubts;
mod drift;
mod findings;
mod loss;
mod reach;
mod table;

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};
use subledger_domain::{ChannelCode, LogName, MessageId, TemplateId, Timestamp};
use subledger_store::Position;

use super::{Queries, at, parsed};
use crate::{
    BUCKET_MICROS, Holdings, Measure, PageRequest, QueryError, ReportTemplateRow,
    database::{Param, Statement, ask, statement},
};

pub use activity::ActivityCounts;
pub use days::{
    DEFAULT_REPORT_DAYS, DEFAULT_ZONE, MAX_REPORT_DAYS, ReachAges, ReportDay, ReportDays, ReportError,
};
pub use doubts::{DoubtCount, DoubtCounts, DoubtFilter, DoubtReport, DoubtState};
pub use drift::{DriftCount, DriftCounts, DriftFilter, DriftReport};
pub use findings::{Entries, Group};
pub use loss::{Loss, LossReason};
pub use reach::{AGES, Reach, ReachBand};
pub use table::ReportTable;

/// The most templates of one page of a report.
pub const MAX_REPORT_TEMPLATES: u32 = 100;

/// The most lines (templates times days) of one page of a report: what an answer may hold in memory.
pub const MAX_REPORT_LINES: usize = 5_000;

/// How often and after what pause the read models are asked again while they do not stand at one position.
const APART_TRIES: u32 = 10;
const APART_AGAIN: Duration = Duration::from_millis(20);

/// How finely activity is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grain {
    /// A line per template and day.
    #[default]
    Day,
    /// A line per template.
    Total,
}

/// A report, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report<T> {
    /// What was asked for.
    pub value: T,
    /// The position up to which the read model had applied the channel's log; zero if it has not begun.
    pub position: Position,
    /// When the event at that position was recorded.
    pub recorded_at: Option<Timestamp>,
}

/// A page of a report by template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines<T> {
    /// The lines, by template and day.
    pub lines: Vec<T>,
    /// The templates of this page, those without lines too.
    pub templates: Vec<TemplateId>,
    /// The cursor of the next page; none after the last template.
    pub next: Option<String>,
}

/// What happened to a template on a day, or in the whole period. Only what is not nothing has a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityLine {
    /// The template.
    pub template: TemplateId,
    /// The day's place among the days asked for; none for the whole period.
    pub day: Option<usize>,
    /// Every measure with its classes; sums that matter are in [`ActivityCounts`].
    pub classes: BTreeMap<Measure, BTreeMap<String, u64>>,
}

impl ActivityLine {
    /// How much of a measure there was, all classes together.
    pub fn of(&self, measure: Measure) -> u64 {
        self.classes.get(&measure).map_or(0, |classes| classes.values().sum())
    }

    /// How much of one class of a measure there was.
    pub fn of_class(&self, measure: Measure, class: &str) -> u64 {
        self.classes.get(&measure).and_then(|classes| classes.get(class)).copied().unwrap_or(0)
    }
}

/// The grants of a template at the end of a day, and what moved on that day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockLine {
    /// The template.
    pub template: TemplateId,
    /// The day's place among the days asked for.
    pub day: usize,
    /// Where the grants were when the day ended, or are now if it has not.
    pub closing: Holdings,
    /// Grants recorded on that day, imported ones included.
    pub granted: u64,
    /// Grants spent on that day.
    pub consumed: u64,
    /// Grants found void on that day.
    pub voided: u64,
}

/// The stock of a page of templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    /// Every template of the page and where its grants are now.
    pub now: Vec<ReportTemplateRow>,
    /// The stock at the end of each day; days before the first grant have no line, nor have days after that of the event
    /// the answer stands at.
    pub days: Lines<StockLine>,
}

/// A page as the database tells it: its templates, and what there is about each and each day.
#[derive(Deserialize)]
struct Found<T, C> {
    /// The two read models that reports are made of did not stand at one position.
    #[serde(deserialize_with = "crate::rows::flag")]
    apart: bool,
    templates: Vec<T>,
    cells: Vec<C>,
}

impl<T, C> Default for Found<T, C> {
    fn default() -> Self {
        Self { apart: false, templates: Vec::new(), cells: Vec::new() }
    }
}

/// Cells of (template, day, measure, class, amount).
type ActivityFound = Found<TemplateId, (TemplateId, usize, Measure, String, u64)>;
/// Cells of (template, day or -1 for the one before the first, stock at its end if any grant was recorded by then).
type StockFound = Found<ReportTemplateRow, (TemplateId, i64, Option<Holdings>)>;

/// Refuses a page that an answer could not hold: more than [`MAX_REPORT_TEMPLATES`] templates, or with that many days more
/// than [`MAX_REPORT_LINES`] lines.
pub fn check_report_page(limit: u32, days: usize) -> Result<(), ReportError> {
    let rule = |detail| Err(ReportError { parameter: "limit", rule: "bad_limit", detail });
    if !(1..=MAX_REPORT_TEMPLATES).contains(&limit) {
        return rule(format!("must be 1 to {MAX_REPORT_TEMPLATES} templates; found {limit}"));
    }
    if (limit as usize).saturating_mul(days) > MAX_REPORT_LINES {
        return rule(format!(
            "templates times days must be at most {MAX_REPORT_LINES}; found {limit} times {days}: ask for fewer days, or for fewer templates a page"
        ));
    }
    Ok(())
}

impl Queries {
    /// What happened in a period, by template and day. `page.limit` counts templates; see [`check_report_page`].
    pub async fn report_activity(
        &self,
        code: &ChannelCode,
        days: &ReportDays,
        grain: Grain,
        template: Option<&TemplateId>,
        page: &PageRequest,
    ) -> Result<Report<Lines<ActivityLine>>, QueryError> {
        const QUERY: &str = "report_activity";
        let periods = match grain {
            Grain::Day => days.days.iter().map(|day| (day.from, day.until)).collect(),
            Grain::Total => vec![(days.from(), days.until())],
        };
        let params = page_params(&(0..).zip(periods).collect::<Vec<_>>(), template, page, QUERY)?;
        let report: Report<ActivityFound> = self.counted(code, statement!(reports::ACTIVITY), params).await?;
        let Found { mut templates, cells, .. } = report.value;
        let next = cut(&mut templates, page.limit, QUERY, TemplateId::as_str)?;
        let mut lines: Vec<ActivityLine> = Vec::new();
        for (template, day, measure, class, amount) in cells {
            if templates.binary_search(&template).is_err() {
                continue;
            }
            let day = (grain == Grain::Day).then_some(day);
            let fits = |line: &&mut ActivityLine| line.template == template && line.day == day;
            let line = match lines.last_mut().filter(fits) {
                Some(line) => line,
                None => {
                    lines.push(ActivityLine { template, day, classes: BTreeMap::new() });
                    let Some(line) = lines.last_mut() else { continue };
                    line
                }
            };
            line.classes.entry(measure).or_default().insert(class, amount);
        }
        let value = Lines { lines, templates, next };
        Ok(Report { value, position: report.position, recorded_at: report.recorded_at })
    }

    /// Where the grants of each template are now, and were at the end of each day. `page.limit` counts templates.
    pub async fn report_stock(
        &self,
        code: &ChannelCode,
        days: &ReportDays,
        template: Option<&TemplateId>,
        page: &PageRequest,
    ) -> Result<Report<Stock>, QueryError> {
        const QUERY: &str = "report_stock";
        // What moved on the first day is told by the stock before it.
        let mut periods = vec![(-1, (days.from(), days.from()))];
        periods.extend((0..).zip(days.days.iter().map(|day| (day.from, day.until))));
        let params = page_params(&periods, template, page, QUERY)?;
        let report: Report<StockFound> = self.counted(code, statement!(reports::STOCK), params).await?;
        let Found { templates: mut now, cells, .. } = report.value;
        // What comes after the newest event is not known yet, even to be as it was.
        let begun = days.days.partition_point(|day| report.recorded_at.is_some_and(|at| day.from <= at));
        now.sort_by(|a, b| a.template.cmp(&b.template));
        let next = cut(&mut now, page.limit, QUERY, |row| row.template.as_str())?;
        let templates: Vec<TemplateId> = now.iter().map(|row| row.template.clone()).collect();
        let mut lines: Vec<StockLine> = Vec::new();
        let mut before = Holdings::default();
        for (template, day, closing) in cells {
            let Ok(day) = usize::try_from(day) else {
                before = closing.unwrap_or_default();
                continue;
            };
            let Some(closing) = closing else { continue };
            if day < begun && templates.binary_search(&template).is_ok() {
                lines.push(StockLine {
                    template,
                    day,
                    closing,
                    granted: closing.granted.saturating_sub(before.granted),
                    consumed: closing.consumed.saturating_sub(before.consumed),
                    voided: closing.voided.saturating_sub(before.voided),
                });
            }
            before = closing;
        }
        let value = Stock { now, days: Lines { lines, templates, next } };
        Ok(Report { value, position: report.position, recorded_at: report.recorded_at })
    }

    /// How many users can be reached with a template, by the age of the last tap; none if nobody follows the
    /// channel's log yet.
    pub async fn report_reach(
        &self,
        code: &ChannelCode,
        template: &TemplateId,
        ages: &ReachAges,
    ) -> Result<Report<Option<Reach>>, QueryError> {
        let ages = ages.since.map(Timestamp::micros);
        let ages = serde_json::json!(ages).to_string();
        let params = vec![template.as_str().into(), ages.into()];
        let found: Report<Option<reach::Found>> =
            self.report(code, statement!(reports::REACH), params).await?;
        let value = found.value.map(reach::Found::reach);
        Ok(Report { value, position: found.position, recorded_at: found.recorded_at })
    }

    /// Where the recipients of a message were lost; none if there is no such message.
    pub async fn report_loss(
        &self,
        code: &ChannelCode,
        message: MessageId,
    ) -> Result<Report<Option<Loss>>, QueryError> {
        let params = vec![message.as_bytes().into()];
        let found: Report<Option<loss::Found>> = self.report(code, statement!(reports::LOSS), params).await?;
        let value = found.value.and_then(|found| found.loss(message));
        Ok(Report { value, position: found.position, recorded_at: found.recorded_at })
    }

    /// Calls of send begun since a moment that is a quarter of an hour's beginning, by channel; `code` or all. Channels without
    /// any are left out.
    pub async fn attempts_since(
        &self,
        code: Option<&ChannelCode>,
        since: Timestamp,
    ) -> Result<BTreeMap<LogName, u64>, QueryError> {
        let params = [Param::MaybeText(code.map(ChannelCode::to_string)), first_bucket(since).into()];
        let rows: Vec<(String, i64)> =
            ask(&self.store, "counting attempts", statement!(reports::ATTEMPTS), &params).await?;
        Ok(rows
            .into_iter()
            .map(|(log, begun)| (LogName::new(log), u64::try_from(begun).unwrap_or(0)))
            .collect())
    }

    /// A report of what ledgers and messages counted. The two move together but for moments, and but for one that is stopped
    /// at an event: then the answer names the position of the one that is behind.
    async fn counted<T: DeserializeOwned, C: DeserializeOwned>(
        &self,
        code: &ChannelCode,
        statement: Statement,
        params: Vec<Param>,
    ) -> Result<Report<Found<T, C>>, QueryError> {
        let mut tries = 0;
        loop {
            let found: Report<Option<Found<T, C>>> = self.report(code, statement, params.clone()).await?;
            tries += 1;
            if tries == APART_TRIES || !found.value.as_ref().is_some_and(|found| found.apart) {
                let value = found.value.unwrap_or_default();
                return Ok(Report { value, position: found.position, recorded_at: found.recorded_at });
            }
            tokio::time::sleep(APART_AGAIN).await;
        }
    }

    /// One answer of one statement; nothing at position zero where nobody follows the log yet.
    async fn report<T: DeserializeOwned>(
        &self,
        code: &ChannelCode,
        statement: Statement,
        params: Vec<Param>,
    ) -> Result<Report<Option<T>>, QueryError> {
        let params: Vec<_> = std::iter::once(Param::from(code.as_str())).chain(params).collect();
        let rows: Vec<(i64, String)> = ask(&self.store, "answering a report", statement, &params).await?;
        let Some((position, found)) = rows.first() else {
            return Ok(Report { value: None, position: Position(0), recorded_at: None });
        };
        let position = at(*position);
        Ok(Report {
            value: Some(parsed(found)?),
            position,
            recorded_at: self.recorded_at(code, position).await?,
        })
    }

    /// When the event at a position was recorded. Asked of the log after the report: a recorded event never changes.
    async fn recorded_at(
        &self,
        code: &ChannelCode,
        position: Position,
    ) -> Result<Option<Timestamp>, QueryError> {
        let Some(before) = position.0.checked_sub(1) else { return Ok(None) };
        let events = self.store.read_log(&LogName::channel(code), Position(before), 1).await?;
        Ok(events.first().map(|event| event.recorded_at))
    }
}

/// The first bucket that does not begin before a moment.
fn first_bucket(at: Timestamp) -> i64 {
    -(-at.micros()).div_euclid(BUCKET_MICROS)
}

fn page_params(
    periods: &[(i64, (Timestamp, Timestamp))],
    template: Option<&TemplateId>,
    page: &PageRequest,
    query: &str,
) -> Result<Vec<Param>, QueryError> {
    if !(1..=MAX_REPORT_TEMPLATES).contains(&page.limit) {
        return Err(QueryError::Limit);
    }
    let after: String = page.key(query)?.unwrap_or_default();
    let periods: Vec<_> = periods
        .iter()
        .map(|(day, (since, until))| {
            serde_json::json!({ "day": day, "since": first_bucket(*since), "until": first_bucket(*until) })
        })
        .collect();
    Ok(vec![
        serde_json::Value::Array(periods).to_string().into(),
        after.into(),
        super::surplus(page.limit),
        Param::MaybeText(template.map(TemplateId::to_string)),
    ])
}

/// Cuts the surplus template off that only tells that there are more; gives the cursor to go on with.
fn cut<T>(
    templates: &mut Vec<T>,
    limit: u32,
    query: &str,
    key: impl Fn(&T) -> &str,
) -> Result<Option<String>, QueryError> {
    let more = templates.len() > limit as usize;
    templates.truncate(limit as usize);
    match templates.last() {
        Some(last) if more => {
            let bytes = serde_json::to_vec(&(query, key(last))).map_err(|_| QueryError::Cursor)?;
            Ok(Some(URL_SAFE_NO_PAD.encode(bytes)))
        }
        _ => Ok(None),
    }
}
