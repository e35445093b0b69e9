//! The reports of drift and of doubts: what was found in a period, counted and listed.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Deserialize;
use subledger_engine::{Engine, EngineError};
use subledger_projection::{DoubtFilter, DriftFilter, MAX_PAGE, PageRequest, ProjectionName, ReportTable};
use utoipa::IntoParams;

use super::{csv, days, format, json, known, template};
use crate::{
    extract::{Deployment, Query, Read, position},
    problem::ApiError,
    routes::shown::shown,
    views::{
        DoubtCauseWord, DoubtStateWord, DoubtsView, DriftCauseWord, DriftView, ReportFormat, ReportPart,
    },
};

/// Entries of a page when the caller does not say.
const DEFAULT_ENTRIES: u32 = 50;

/// Parameters of the report of drift.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DriftQuery {
    /// The channel's code.
    #[param(example = "wechatmp123")]
    channel: String,
    /// Only this template.
    template_id: Option<String>,
    /// Only what this explains.
    #[param(inline)]
    cause: Option<DriftCauseWord>,
    /// The first day. 30 days up to `to` by default, and at most 400.
    #[param(example = "2026-03-01", format = Date)]
    from: Option<String>,
    /// The last day, included. Today by default.
    #[param(example = "2026-03-31", format = Date)]
    to: Option<String>,
    /// The time zone of the days, as IANA name. Asia/Shanghai by default.
    #[param(example = "Asia/Shanghai")]
    zone: Option<String>,
    /// What CSV holds; JSON has both.
    #[serde(default)]
    #[param(inline)]
    part: ReportPart,
    /// JSON by default; without this parameter the header `Accept` is asked.
    #[param(inline)]
    format: Option<ReportFormat>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Entries wanted, 50 by default.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Read your own write: answer only once this position of the channel's log is shown.
    min_position: Option<u64>,
}

/// Parameters of the report of doubts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DoubtsQuery {
    /// The channel's code.
    #[param(example = "wechatmp123")]
    channel: String,
    /// Only this template.
    template_id: Option<String>,
    /// Only those with this cause.
    #[param(inline)]
    cause: Option<DoubtCauseWord>,
    /// Only those still open, ended, ended in one way, or corrected.
    #[param(inline)]
    state: Option<DoubtStateWord>,
    /// The first day. 30 days up to `to` by default, and at most 400.
    #[param(example = "2026-03-01", format = Date)]
    from: Option<String>,
    /// The last day, included. Today by default.
    #[param(example = "2026-03-31", format = Date)]
    to: Option<String>,
    /// The time zone of the days, as IANA name. Asia/Shanghai by default.
    #[param(example = "Asia/Shanghai")]
    zone: Option<String>,
    /// What CSV holds; JSON has both.
    #[serde(default)]
    #[param(inline)]
    part: ReportPart,
    /// JSON by default; without this parameter the header `Accept` is asked.
    #[param(inline)]
    format: Option<ReportFormat>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Entries wanted, 50 by default.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Read your own write: answer only once this position of the channel's log is shown.
    min_position: Option<u64>,
}

/// Report drift: where WeChat had nothing left although we believed in grants.
///
/// Counts by template, by age of the newest grant and by what most likely explains it, of everything asked for; and the
/// findings, newest first. The counts come with the first page.
#[utoipa::path(get, path = "/reports/drift", tag = "reports", params(DriftQuery),
    security(("api_key" = ["read"])),
    responses((status = 200, content((DriftView = "application/json"), (String = "text/csv")))))]
pub(crate) async fn report_drift(
    caller: Deployment<Read>,
    Query(query): Query<DriftQuery>,
    State(engine): State<Engine>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let scope = caller.in_channel(&query.channel)?;
    let days = days(&engine, query.from.as_deref(), query.to.as_deref(), query.zone.as_deref())?;
    let page = page(query.cursor, query.limit)?;
    let filter =
        DriftFilter { template: template(query.template_id.as_deref())?, cause: query.cause.map(Into::into) };
    let (format, part) = (format(query.format, &headers), query.part);
    one_page(format, part, &page)?;
    scope.ready(&engine, position(query.min_position)).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Ledgers]).await?;
    let report = engine.queries().report_drift(&scope.code, &days, &filter, &page).await?;
    if let Some(template) = filter.template.as_ref().filter(|_| !report.value.recorded) {
        known(&scope, &engine, template).await?;
    }
    let (at, next) = (report.position, report.value.next.clone());
    match (format, part) {
        (ReportFormat::Json, _) => Ok(json(&DriftView::new(report, &scope.code, &days), at)),
        (ReportFormat::Csv, ReportPart::Entries) => {
            csv(&ReportTable::of_drift(&report, &scope.code, &days), at, next)
        }
        (ReportFormat::Csv, ReportPart::Counts) => {
            csv(&ReportTable::of_drift_counts(&report, &scope.code, &days), at, None)
        }
    }
}

/// Report doubts: deliveries whose answer was hidden.
///
/// Counts by template, by time in doubt, by what hid the answer and by what ended it, of all doubts that began in the
/// period; and the doubts, newest first. Those still open are measured until the moment of the answer, `as_of`. The counts
/// come with the first page.
#[utoipa::path(get, path = "/reports/doubts", tag = "reports", params(DoubtsQuery),
    security(("api_key" = ["read"])),
    responses((status = 200, content((DoubtsView = "application/json"), (String = "text/csv")))))]
pub(crate) async fn report_doubts(
    caller: Deployment<Read>,
    Query(query): Query<DoubtsQuery>,
    State(engine): State<Engine>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let scope = caller.in_channel(&query.channel)?;
    let days = days(&engine, query.from.as_deref(), query.to.as_deref(), query.zone.as_deref())?;
    let page = page(query.cursor, query.limit)?;
    let filter = DoubtFilter {
        template: template(query.template_id.as_deref())?,
        cause: query.cause.map(Into::into),
        state: query.state.map(Into::into),
    };
    let (format, part) = (format(query.format, &headers), query.part);
    one_page(format, part, &page)?;
    scope.ready(&engine, position(query.min_position)).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Messages]).await?;
    let as_of = engine.store().clock().now();
    let report = engine.queries().report_doubts(&scope.code, &days, &filter, as_of, &page).await?;
    if let Some(template) = filter.template.as_ref().filter(|_| !report.value.recorded) {
        known(&scope, &engine, template).await?;
    }
    let (at, next) = (report.position, report.value.next.clone());
    match (format, part) {
        (ReportFormat::Json, _) => Ok(json(&DoubtsView::new(report, &scope.code, &days, as_of), at)),
        (ReportFormat::Csv, ReportPart::Entries) => {
            csv(&ReportTable::of_doubts(&report, &scope.code, &days, as_of), at, next)
        }
        (ReportFormat::Csv, ReportPart::Counts) => {
            csv(&ReportTable::of_doubt_counts(&report, &scope.code, &days, as_of), at, None)
        }
    }
}

fn page(cursor: Option<String>, limit: Option<u32>) -> Result<PageRequest, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_ENTRIES);
    if !(1..=MAX_PAGE).contains(&limit) {
        let detail = format!("limit: must be 1 to {MAX_PAGE} entries; found {limit}");
        return Err(EngineError::field("bad_limit", "/limit", "bad_limit", detail).into());
    }
    Ok(PageRequest { limit, after: cursor })
}

/// Counts have one page.
fn one_page(format: ReportFormat, part: ReportPart, page: &PageRequest) -> Result<(), ApiError> {
    if format == ReportFormat::Csv && part == ReportPart::Counts && page.after.is_some() {
        let detail = "cursor: counts have one page; leave it out, or ask for part=entries";
        return Err(EngineError::field("invalid_query", "/cursor", "one_page", detail.to_owned()).into());
    }
    Ok(())
}
