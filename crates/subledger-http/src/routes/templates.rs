//! Templates: refresh from WeChat, list, show, and check values before sending.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use subledger_domain::{TemplateId, template_values};
use subledger_engine::{Engine, EngineError};
use subledger_projection::{Answer, ProjectionName, TemplateRow};
use utoipa::ToSchema;

use super::{
    data::Data,
    paths::{ChannelPath, TemplatePath},
    shown::shown,
};
use crate::{
    cursor,
    extract::{
        Json, Manage, NoBody, PastPageQuery, PastReadQuery, Query, Read, ReadQuery, Scope, limit, position,
        refused,
    },
    problem::ApiError,
    reply::{At, Page, Past, Written},
    views::{FindingView, RefreshView, TemplateView},
};

/// Values to check.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LintBody {
    /// Values by key.
    data: Data,
}

/// What the linter says.
#[derive(Serialize, ToSchema)]
pub(crate) struct Findings {
    /// Whether a message with these values would be accepted.
    sendable: bool,
    /// What may go wrong, in the order of the template's keys.
    findings: Vec<FindingView>,
}

/// Read the template list from WeChat.
#[utoipa::path(post, path = "/channels/{code}/templates/refresh", tag = "templates", params(ChannelPath),
    security(("api_key" = ["manage"])), responses((status = 200, body = Written<RefreshView>)))]
pub(crate) async fn refresh_templates(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    _: NoBody,
) -> Result<Written<RefreshView>, ApiError> {
    Ok(Written::of(engine.refresh_templates(&scope.caller, &scope.code).await?, RefreshView::from))
}

/// List the templates of a channel, vanished ones included.
#[utoipa::path(get, path = "/channels/{code}/templates", tag = "templates", params(ChannelPath, PastPageQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = Past<Page<TemplateView>>)))]
pub(crate) async fn list_templates(
    scope: Scope<Read>,
    Query(query): Query<PastPageQuery>,
    State(engine): State<Engine>,
) -> Result<Past<Page<TemplateView>>, ApiError> {
    let limit = limit(query.limit)?;
    let then = scope.then(&engine, query.at.as_deref(), query.min_position).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Channels]).await?;
    let answer = match &then {
        Some(then) => {
            let position = then.point.position;
            let past = then.history.templates(&scope.code, position).await.map_err(refused)?;
            if past.channel.is_none() {
                return Ok(Past::not_yet(then.point));
            }
            Answer { value: past.templates, position }
        }
        None => engine.queries().templates(&scope.code).await?,
    };
    let id = |row: &TemplateRow| row.id.clone();
    let mut rows = answer.value;
    rows.sort_by_key(id);
    let (rows, next_cursor) = cursor::cut("templates", rows, id, query.cursor.as_deref(), limit as usize)?;
    let page = Page {
        items: rows.into_iter().map(TemplateView::from).collect(),
        next_cursor,
        position: answer.position.0,
    };
    Ok(match then {
        Some(then) => Past::then(then.point, page),
        None => Past::Now(page),
    })
}

/// Show a template.
#[utoipa::path(get, path = "/channels/{code}/templates/{template_id}", tag = "templates",
    params(TemplatePath, PastReadQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = Past<At<TemplateView>>)))]
pub(crate) async fn show_template(
    scope: Scope<Read>,
    Query(query): Query<PastReadQuery>,
    State(engine): State<Engine>,
) -> Result<Past<At<TemplateView>>, ApiError> {
    let Some(then) = scope.then(&engine, query.at.as_deref(), query.min_position).await? else {
        shown(&scope, &engine, query.min_position, &[ProjectionName::Channels]).await?;
        let answer = find(&scope, &engine, None).await?;
        return Ok(Past::Now(At::new(answer.position, answer.value.into())));
    };
    let id: TemplateId = scope.id("template_id", "bad_template_id")?;
    let position = then.point.position;
    let past = then.history.templates(&scope.code, position).await.map_err(refused)?;
    match past.templates.into_iter().find(|row| row.id == id) {
        Some(row) => Ok(Past::then(then.point, At::new(position, row.into()))),
        // One that is known now was listed later; any other never was.
        None => find(&scope, &engine, None).await.map(|_| Past::not_yet(then.point)),
    }
}

/// Check values without sending.
///
/// Records nothing. A blocking finding would refuse a message; an advisory one would come back as a warning.
#[utoipa::path(post, path = "/channels/{code}/templates/{template_id}/lint", tag = "templates",
    params(TemplatePath, ReadQuery), request_body = LintBody, security(("api_key" = ["read"])),
    responses((status = 200, body = At<Findings>)))]
pub(crate) async fn lint_values(
    scope: Scope<Read>,
    Query(query): Query<ReadQuery>,
    State(engine): State<Engine>,
    Json(body): Json<LintBody>,
) -> Result<At<Findings>, ApiError> {
    let answer = find(&scope, &engine, query.min_position).await?;
    let findings = template_values::lint(&answer.value.keys, &body.data.0);
    let sendable = answer.value.listed && !findings.iter().any(template_values::Finding::is_blocking);
    let findings = findings.into_iter().map(FindingView::from).collect();
    Ok(At::new(answer.position, Findings { sendable, findings }))
}

async fn find(
    scope: &Scope<Read>,
    engine: &Engine,
    min_position: Option<u64>,
) -> Result<Answer<TemplateRow>, ApiError> {
    let id: TemplateId = scope.id("template_id", "bad_template_id")?;
    scope.ready(engine, position(min_position)).await?;
    let Answer { value, position } = engine.queries().template(&scope.code, &id).await?;
    let detail =
        "the channel's template list does not have this template; refresh the list if it was added at WeChat";
    let value = value.ok_or_else(|| EngineError::not_found("unknown_template", detail))?;
    Ok(Answer { value, position })
}
