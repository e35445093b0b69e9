//! What WeChat pushed: list, look, try again, and how it fares.

use axum::extract::State;
use serde::Deserialize;
use subledger_domain::LogName;
use subledger_engine::{Engine, EngineError};
use subledger_store::{PushFilter, PushKey, PushPage as Place};
use utoipa::{IntoParams, ToSchema};

use super::paths::{ChannelPath, PushKeyPath};
use crate::{
    cursor,
    extract::{Json, Manage, Query, Read, ReadQuery, Scope, limit, position},
    problem::ApiError,
    reply::{At, Page, Written},
    views::{
        PushBodyView, PushDetailView, PushHealthView, PushKindWord, PushStateWord, PushView, RedoneView,
    },
};

/// Parameters of the list of pushes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PushesQuery {
    /// Only of this kind.
    #[param(inline)]
    kind: Option<PushKindWord>,
    /// Only in this state.
    #[param(inline)]
    state: Option<PushStateWord>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 50 by default.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// Which pushes to try again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedoBody {
    /// Only this one.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    key: Option<String>,
}

fn key(text: &str) -> Result<PushKey, ApiError> {
    let wrong = |error: subledger_store::PushKeyError| {
        EngineError::field("bad_push_key", "/push", "bad_push_key", error.to_string())
    };
    Ok(text.parse().map_err(wrong)?)
}

/// List what WeChat pushed, the newest first.
///
/// Pushes are kept for a time (30 days by default), sealed.
#[utoipa::path(get, path = "/channels/{code}/pushes", tag = "pushes", params(ChannelPath, PushesQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = Page<PushView>)))]
pub(crate) async fn list_pushes(
    scope: Scope<Read>,
    Query(query): Query<PushesQuery>,
    State(engine): State<Engine>,
) -> Result<Page<PushView>, ApiError> {
    let limit = limit(query.limit)?;
    engine.registered(&scope.code).await?;
    let filter = PushFilter {
        kind: query.kind.map(Into::into),
        state: query.state.map(Into::into),
        ..PushFilter::default()
    };
    let before = cursor::decode::<u64>("pushes", query.cursor.as_deref())?;
    let place = before.map_or(Place::Newest, Place::Before);
    let head = engine.store().head(&scope.log).await?;
    let mut rows = engine.store().pushes(&scope.log, &filter, place, limit.saturating_add(1)).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_cursor = match rows.last() {
        Some(last) if more => Some(cursor::encode("pushes", &last.id)?),
        _ => None,
    };
    let items = rows.into_iter().map(PushView::from).collect();
    Ok(Page { items, next_cursor, position: head.position.0 })
}

/// Show a push and what it says.
///
/// The user stands in it as `subject`. The body as it came needs another right.
#[utoipa::path(get, path = "/channels/{code}/pushes/{push}", tag = "pushes", params(PushKeyPath),
    security(("api_key" = ["read"])), responses((status = 200, body = At<PushDetailView>)))]
pub(crate) async fn show_push(
    scope: Scope<Read>,
    State(engine): State<Engine>,
) -> Result<At<PushDetailView>, ApiError> {
    let push = engine.push(&scope.code, key(scope.text("push"))?).await?;
    let head = engine.store().head(&scope.log).await?;
    Ok(At::new(head.position, push.into()))
}

/// Show the body of a push as it came.
///
/// It names a user.
#[utoipa::path(get, path = "/channels/{code}/pushes/{push}/body", tag = "pushes", params(PushKeyPath),
    security(("api_key" = ["manage"])), responses((status = 200, body = At<PushBodyView>)))]
pub(crate) async fn show_push_body(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
) -> Result<At<PushBodyView>, ApiError> {
    let push = engine.push(&scope.code, key(scope.text("push"))?).await?;
    let head = engine.store().head(&scope.log).await?;
    Ok(At::new(head.position, PushBodyView::of(push.body)))
}

/// Read and act on pushes again.
///
/// Those that could not be read or acted on: after another EncodingAESKey was entered, after an upgrade, after an original id
/// was corrected. Up to a thousand in one request. What was acted on is never acted on again.
#[utoipa::path(post, path = "/channels/{code}/pushes/redo", tag = "pushes", params(ChannelPath), request_body = RedoBody,
    security(("api_key" = ["manage"])), responses((status = 200, body = Written<RedoneView>)))]
pub(crate) async fn redo_pushes(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<RedoBody>,
) -> Result<Written<RedoneView>, ApiError> {
    let key = body.key.as_deref().map(key).transpose()?;
    let redone = engine.redo_pushes(&scope.caller, &scope.code, key).await?;
    let head = engine.store().head(&scope.log).await?;
    Ok(Written { answer: redone.into(), position: head.position.0, replayed: false })
}

/// Show how a channel's pushes fare.
///
/// Counts of what is kept, what the node that answers has refused since it started, and hints.
#[utoipa::path(get, path = "/channels/{code}/push-health", tag = "pushes", params(ChannelPath, ReadQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = At<PushHealthView>)))]
pub(crate) async fn show_push_health(
    scope: Scope<Read>,
    Query(query): Query<ReadQuery>,
    State(engine): State<Engine>,
) -> Result<At<PushHealthView>, ApiError> {
    scope.ready(&engine, position(query.min_position)).await?;
    let head = engine.store().head(&LogName::channel(&scope.code)).await?;
    let health = engine.push_health(&scope.code).await?;
    Ok(At::new(head.position, PushHealthView::of(&scope.code, health)))
}
