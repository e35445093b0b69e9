//! The relay of a channel's pushes: configure, show, stop, test, try again.

use axum::extract::State;
use subledger_engine::Engine;
use subledger_projection::ProjectionName;

use super::{paths::ChannelPath, shown::shown};
use crate::{
    extract::{Json, Manage, Query, Read, ReadQuery, Scope, position},
    problem::ApiError,
    reply::{Acknowledged, At, Written, acknowledged},
    views::{Redriven, RelayBody, RelaySetView, RelayStateView, RelayTestView},
};

/// Relay the pushes of a channel to a back end of yours.
///
/// WeChat knows one push URL per Mini Program. What it pushes is forwarded to yours, signed by the Standard Webhooks scheme,
/// tried again for three days, in order per user. The signing secret is made here and shown once.
#[utoipa::path(put, path = "/channels/{code}/relay", tag = "channels", params(ChannelPath), request_body = RelayBody,
    security(("api_key" = ["manage"])), responses((status = 200, body = Written<RelaySetView>)))]
pub(crate) async fn configure_relay(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<RelayBody>,
) -> Result<Written<RelaySetView>, ApiError> {
    let done = engine.configure_relay(&scope.caller, &scope.code, body.into()).await?;
    let secrets = engine.channel_secrets(&scope.code).await?.into();
    Ok(Written::of(done, |set| RelaySetView::of(set, secrets)))
}

/// Show the relay of a channel and how it goes.
#[utoipa::path(get, path = "/channels/{code}/relay", tag = "channels", params(ChannelPath, ReadQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = At<RelayStateView>)))]
pub(crate) async fn show_relay(
    scope: Scope<Read>,
    Query(query): Query<ReadQuery>,
    State(engine): State<Engine>,
) -> Result<At<RelayStateView>, ApiError> {
    scope.ready(&engine, position(query.min_position)).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Channels]).await?;
    let answer = engine.queries().channel(&scope.code).await?;
    let row = answer.value.ok_or_else(subledger_engine::EngineError::unknown_channel)?;
    let report = engine.relay_report(&scope.code).await?;
    Ok(At::new(answer.position, RelayStateView::of(row.relay, report, engine.now())))
}

/// Relay the pushes of a channel no more.
///
/// What waits is given up; configure the relay anew and redrive to have it sent after all.
#[utoipa::path(delete, path = "/channels/{code}/relay", tag = "channels", params(ChannelPath),
    security(("api_key" = ["manage"])), responses((status = 200, body = Written<Acknowledged>)))]
pub(crate) async fn stop_relay(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
) -> Result<Written<Acknowledged>, ApiError> {
    Ok(acknowledged(engine.stop_relay(&scope.caller, &scope.code).await?))
}

/// Send a signed test event to the back end, and tell what came back.
#[utoipa::path(post, path = "/channels/{code}/relay/test", tag = "channels", params(ChannelPath),
    security(("api_key" = ["manage"])), responses((status = 200, body = At<RelayTestView>)))]
pub(crate) async fn test_relay(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
) -> Result<At<RelayTestView>, ApiError> {
    let tested = engine.test_relay(&scope.code).await?;
    let head = engine.store().head(&scope.log).await?;
    Ok(At::new(head.position, tested.into()))
}

/// Have pushes wait again whose relay was given up.
#[utoipa::path(post, path = "/channels/{code}/relay/redrive", tag = "channels", params(ChannelPath),
    security(("api_key" = ["manage"])), responses((status = 200, body = At<Redriven>)))]
pub(crate) async fn redrive_relay(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
) -> Result<At<Redriven>, ApiError> {
    let redriven = engine.redrive_relay(&scope.code, None).await?;
    let head = engine.store().head(&scope.log).await?;
    Ok(At::new(head.position, Redriven { redriven }))
}
