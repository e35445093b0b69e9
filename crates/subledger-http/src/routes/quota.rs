//! WeChat's daily quota of a channel: look, ask anew, clear.

use axum::extract::State;
use subledger_engine::Engine;

use super::{channels::ReasonBody, paths::ChannelPath};
use crate::{
    extract::{Json, Manage, NoBody, Query, Read, ReadQuery, Scope, position},
    problem::ApiError,
    reply::{Acknowledged, At, Written, acknowledged},
    views::QuotaView,
};

/// Show how much of WeChat's daily quota of sending is used up, and how long it lasts.
///
/// WeChat is asked every few minutes while the channel sends; what was sent from here since is counted in.
#[utoipa::path(get, path = "/channels/{code}/quota", tag = "channels", params(ChannelPath, ReadQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = At<QuotaView>)))]
pub(crate) async fn show_quota(
    scope: Scope<Read>,
    Query(query): Query<ReadQuery>,
    State(engine): State<Engine>,
) -> Result<At<QuotaView>, ApiError> {
    scope.ready(&engine, position(query.min_position)).await?;
    let head = engine.store().head(&scope.log).await?;
    Ok(At::new(head.position, engine.quota(&scope.code).await?.into()))
}

/// Ask WeChat for the quota now.
#[utoipa::path(post, path = "/channels/{code}/quota/refresh", tag = "channels", params(ChannelPath),
    security(("api_key" = ["manage"])), responses((status = 200, body = At<QuotaView>)))]
pub(crate) async fn refresh_quota(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    _: NoBody,
) -> Result<At<QuotaView>, ApiError> {
    let quota = engine.refresh_quota(&scope.code).await?;
    let head = engine.store().head(&scope.log).await?;
    Ok(At::new(head.position, quota.into()))
}

/// Have WeChat set the day's counts back.
///
/// Of all calls of the account, sending included. WeChat allows ten a month, whoever asks; when they are used up it refuses with
/// 48006. Held bulk goes on; deliveries that WeChat had refused for the quota keep waiting for the next day.
#[utoipa::path(post, path = "/channels/{code}/quota/clear", tag = "channels", params(ChannelPath),
    request_body = ReasonBody, security(("api_key" = ["manage"])),
    responses((status = 200, body = Written<Acknowledged>)))]
pub(crate) async fn clear_quota(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<ReasonBody>,
) -> Result<Written<Acknowledged>, ApiError> {
    Ok(acknowledged(engine.clear_quota(&scope.caller, &scope.code, body.reason).await?))
}
