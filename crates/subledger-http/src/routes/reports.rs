//! Reports for analysts: activity, stock, reach, loss, drift and doubts, as JSON or CSV.
//!
//! The channel is a parameter and not part of the path, because these are read by tools that know one address and vary its
//! parameters. It is checked like the channel of a path.

pub(crate) mod findings;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use subledger_domain::{MessageId, TemplateId};
use subledger_engine::{Engine, EngineError};
use subledger_projection::{
    DEFAULT_ZONE, Grain, PageRequest, ProjectionName, Reach, ReachAges, Report, ReportDays, ReportError,
    ReportTable, check_report_page,
};
use subledger_store::Position;
use utoipa::IntoParams;

use super::shown::shown;
use crate::{
    extract::{Deployment, Query, Read, Scope, parse_id, position},
    problem::ApiError,
    reply::POSITION,
    views::{ActivityView, GrainWord, LossView, ReachView, ReportFormat, StockView},
};

/// Templates of a page when the caller does not say.
const DEFAULT_LIMIT: u32 = 10;
/// In an answer as CSV: the cursor of the next page of templates, if there is one.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("subledger-next-cursor");
const CSV: &str = "text/csv";

/// Parameters of the activity report.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ActivityQuery {
    /// The channel's code.
    #[param(example = "wechatmp123")]
    channel: String,
    /// Only this template.
    template_id: Option<String>,
    /// The first day. 30 days up to `to` by default, and at most 400.
    #[param(example = "2026-03-01", format = Date)]
    from: Option<String>,
    /// The last day, included. Today by default.
    #[param(example = "2026-03-31", format = Date)]
    to: Option<String>,
    /// The time zone of the days, as IANA name. Asia/Shanghai by default.
    #[param(example = "Asia/Shanghai")]
    zone: Option<String>,
    /// Lines per day, or one for the whole period.
    #[serde(default)]
    #[param(inline)]
    grain: GrainWord,
    /// JSON by default; without this parameter the header `Accept` is asked.
    #[param(inline)]
    format: Option<ReportFormat>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Templates wanted, 10 by default; times days at most 5,000.
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<u32>,
    /// Read your own write: answer only once this position of the channel's log is shown.
    min_position: Option<u64>,
}

/// Parameters of the stock report.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StockQuery {
    /// The channel's code.
    #[param(example = "wechatmp123")]
    channel: String,
    /// Only this template.
    template_id: Option<String>,
    /// The first day. 30 days up to `to` by default, and at most 400.
    #[param(example = "2026-03-01", format = Date)]
    from: Option<String>,
    /// The last day, included. Today by default.
    #[param(example = "2026-03-31", format = Date)]
    to: Option<String>,
    /// The time zone of the days, as IANA name. Asia/Shanghai by default.
    #[param(example = "Asia/Shanghai")]
    zone: Option<String>,
    /// JSON by default; without this parameter the header `Accept` is asked.
    #[param(inline)]
    format: Option<ReportFormat>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Templates wanted, 10 by default; times days at most 5,000.
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<u32>,
    /// Read your own write: answer only once this position of the channel's log is shown.
    min_position: Option<u64>,
}

/// Parameters of the reach report.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReachQuery {
    /// The channel's code.
    #[param(example = "wechatmp123")]
    channel: String,
    /// The template.
    template_id: String,
    /// The time zone in which today begins, as IANA name. Asia/Shanghai by default.
    #[param(example = "Asia/Shanghai")]
    zone: Option<String>,
    /// JSON by default; without this parameter the header `Accept` is asked.
    #[param(inline)]
    format: Option<ReportFormat>,
    /// Read your own write: answer only once this position of the channel's log is shown.
    min_position: Option<u64>,
}

/// Parameters of the loss report.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LossQuery {
    /// The channel's code.
    #[param(example = "wechatmp123")]
    channel: String,
    /// The message's id.
    msgid: String,
    /// JSON by default; without this parameter the header `Accept` is asked.
    #[param(inline)]
    format: Option<ReportFormat>,
    /// Read your own write: answer only once this position of the channel's log is shown.
    min_position: Option<u64>,
}

/// Report what happened, by template and day.
///
/// What users answered to popups, grants, sends by outcome and class of error, doubts, drift. Every grant that moved is in
/// exactly one of `moves`, so the sums of all days are the ledgers' totals.
#[utoipa::path(get, path = "/reports/activity", tag = "reports", params(ActivityQuery),
    security(("api_key" = ["read"])),
    responses((status = 200, content((ActivityView = "application/json"), (String = "text/csv")))))]
pub(crate) async fn report_activity(
    caller: Deployment<Read>,
    Query(query): Query<ActivityQuery>,
    State(engine): State<Engine>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let scope = caller.in_channel(&query.channel)?;
    let days = days(&engine, query.from.as_deref(), query.to.as_deref(), query.zone.as_deref())?;
    let grain = Grain::from(query.grain);
    let lines = if grain == Grain::Day { days.days.len() } else { 1 };
    let page = page(query.cursor, query.limit, lines)?;
    let template = template(query.template_id.as_deref())?;
    scope.ready(&engine, position(query.min_position)).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Ledgers, ProjectionName::Messages]).await?;
    let report =
        engine.queries().report_activity(&scope.code, &days, grain, template.as_ref(), &page).await?;
    if let (Some(template), []) = (&template, report.value.templates.as_slice()) {
        known(&scope, &engine, template).await?;
    }
    let (at, next) = (report.position, report.value.next.clone());
    match format(query.format, &headers) {
        ReportFormat::Csv => csv(&ReportTable::of_activity(&report, &scope.code, &days), at, next),
        ReportFormat::Json => Ok(json(&ActivityView::new(report, &scope.code, &days), at)),
    }
}

/// Report the stock of grants and its burn-down.
///
/// Where the grants of each template are now, and were at the end of each day.
#[utoipa::path(get, path = "/reports/stock", tag = "reports", params(StockQuery),
    security(("api_key" = ["read"])),
    responses((status = 200, content((StockView = "application/json"), (String = "text/csv")))))]
pub(crate) async fn report_stock(
    caller: Deployment<Read>,
    Query(query): Query<StockQuery>,
    State(engine): State<Engine>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let scope = caller.in_channel(&query.channel)?;
    let days = days(&engine, query.from.as_deref(), query.to.as_deref(), query.zone.as_deref())?;
    let page = page(query.cursor, query.limit, days.days.len())?;
    let template = template(query.template_id.as_deref())?;
    scope.ready(&engine, position(query.min_position)).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Ledgers]).await?;
    let report = engine.queries().report_stock(&scope.code, &days, template.as_ref(), &page).await?;
    if let (Some(template), []) = (&template, report.value.now.as_slice()) {
        known(&scope, &engine, template).await?;
    }
    let (at, next) = (report.position, report.value.days.next.clone());
    match format(query.format, &headers) {
        ReportFormat::Csv => csv(&ReportTable::of_stock(&report, &scope.code, &days), at, next),
        ReportFormat::Json => Ok(json(&StockView::new(report, &scope.code, &days), at)),
    }
}

/// Report who can be reached with a template.
///
/// How many bound users hold at least one open grant, by the age of their last tap.
#[utoipa::path(get, path = "/reports/reach", tag = "reports", params(ReachQuery),
    security(("api_key" = ["read"])),
    responses((status = 200, content((ReachView = "application/json"), (String = "text/csv")))))]
pub(crate) async fn report_reach(
    caller: Deployment<Read>,
    Query(query): Query<ReachQuery>,
    State(engine): State<Engine>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let scope = caller.in_channel(&query.channel)?;
    let template: TemplateId = parse_id("bad_template_id", "/template_id", &query.template_id)?;
    let zone = query.zone.as_deref().unwrap_or(DEFAULT_ZONE);
    let ages = ReachAges::new(zone, engine.store().clock().now()).map_err(refused)?;
    scope.ready(&engine, position(query.min_position)).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Bindings, ProjectionName::Ledgers]).await?;
    let found = engine.queries().report_reach(&scope.code, &template, &ages).await?;
    let Report { value: Some(value), position: at, recorded_at } = found else {
        // The channel exists, but this node's read models have not begun.
        return Err(not_shown());
    };
    if !value.recorded {
        known(&scope, &engine, &template).await?;
    }
    let report: Report<Reach> = Report { value, position: at, recorded_at };
    match format(query.format, &headers) {
        ReportFormat::Csv => {
            csv(&ReportTable::of_reach(&report, &scope.code, &template, &ages.zone), at, None)
        }
        ReportFormat::Json => Ok(json(&ReachView::new(report, &scope.code, &template, &ages.zone), at)),
    }
}

/// Report where the recipients of a message were lost.
///
/// Targeted, bound, with a grant, handed over, accepted, confirmed; and why the others fell out.
#[utoipa::path(get, path = "/reports/loss", tag = "reports", params(LossQuery),
    security(("api_key" = ["read"])),
    responses((status = 200, content((LossView = "application/json"), (String = "text/csv")))))]
pub(crate) async fn report_loss(
    caller: Deployment<Read>,
    Query(query): Query<LossQuery>,
    State(engine): State<Engine>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let scope = caller.in_channel(&query.channel)?;
    let msgid: MessageId = parse_id("bad_msgid", "/msgid", &query.msgid)?;
    scope.ready(&engine, position(query.min_position)).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Messages]).await?;
    let found = engine.queries().report_loss(&scope.code, msgid).await?;
    let Report { value: Some(value), position: at, recorded_at } = found else {
        let detail = "there is no message with this id in this channel";
        return Err(EngineError::not_found("unknown_message", detail).into());
    };
    let report = Report { value, position: at, recorded_at };
    match format(query.format, &headers) {
        ReportFormat::Csv => csv(&ReportTable::of_loss(&report, &scope.code), at, None),
        ReportFormat::Json => Ok(json(&LossView::new(report, &scope.code), at)),
    }
}

fn refused(error: ReportError) -> ApiError {
    EngineError::field("invalid_query", &format!("/{}", error.parameter), error.rule, error.to_string())
        .into()
}

fn not_shown() -> ApiError {
    let detail = "the read models of this channel have not begun; try again";
    ApiError::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "not_caught_up", detail)
}

fn days(
    engine: &Engine,
    from: Option<&str>,
    to: Option<&str>,
    zone: Option<&str>,
) -> Result<ReportDays, ApiError> {
    ReportDays::new(from, to, zone.unwrap_or(DEFAULT_ZONE), engine.store().clock().now()).map_err(refused)
}

fn page(cursor: Option<String>, limit: Option<u32>, days: usize) -> Result<PageRequest, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    check_report_page(limit, days).map_err(|error| {
        ApiError::from(EngineError::field("bad_limit", "/limit", error.rule, error.to_string()))
    })?;
    Ok(PageRequest { limit, after: cursor })
}

fn template(text: Option<&str>) -> Result<Option<TemplateId>, ApiError> {
    text.map(|text| parse_id("bad_template_id", "/template_id", text)).transpose()
}

/// Nothing was recorded about this template. That is an empty report if WeChat lists it, and a slip if it does not.
async fn known(scope: &Scope<Read>, engine: &Engine, template: &TemplateId) -> Result<(), ApiError> {
    match engine.queries().template(&scope.code, template).await?.value {
        Some(_) => Ok(()),
        None => {
            let detail = "the channel neither lists this template nor has anything recorded about it";
            Err(EngineError::not_found("unknown_template", detail).into())
        }
    }
}

/// The parameter, or else what the header `Accept` would rather have.
fn format(asked: Option<ReportFormat>, headers: &HeaderMap) -> ReportFormat {
    if let Some(asked) = asked {
        return asked;
    }
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut as_csv, mut as_json) = (0.0, 0.0);
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
        let quality: f32 = quality.unwrap_or(0.0);
        if kind.eq_ignore_ascii_case(CSV) {
            as_csv = quality;
        } else if kind.eq_ignore_ascii_case("application/json") {
            as_json = quality;
        }
    }
    if as_csv > as_json { ReportFormat::Csv } else { ReportFormat::Json }
}

fn json(view: &impl Serialize, at: Position) -> Response {
    (
        [(POSITION, HeaderValue::from(at.0)), (header::VARY, HeaderValue::from_static("accept"))],
        axum::Json(view),
    )
        .into_response()
}

fn csv(table: &ReportTable, at: Position, next: Option<String>) -> Result<Response, ApiError> {
    let broken =
        |error: &dyn std::fmt::Display| ApiError::internal(format!("a report cannot be written: {error}"));
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(&table.columns).map_err(|error| broken(&error))?;
    for row in &table.rows {
        writer.write_record(row).map_err(|error| broken(&error))?;
    }
    let body = writer.into_inner().map_err(|error| broken(&error))?;
    let mut response = (
        [
            (POSITION, HeaderValue::from(at.0)),
            (header::VARY, HeaderValue::from_static("accept")),
            (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present")),
        ],
        body,
    )
        .into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
        response.headers_mut().insert(NEXT_CURSOR, next);
    }
    Ok(response)
}
