//! The secrets of a channel, without their values.

use axum::extract::State;
use subledger_engine::Engine;

use super::paths::ChannelPath;
use crate::{
    extract::{Query, Read, ReadQuery, Scope, position},
    problem::ApiError,
    reply::At,
    views::SecretsView,
};

/// Show which secrets a channel uses: a fingerprint and a date for each.
///
/// Secrets are handed in and never handed out. To compare two, compare fingerprints: those of the same secret are the same
/// within one deployment.
#[utoipa::path(get, path = "/channels/{code}/secrets", tag = "channels", params(ChannelPath, ReadQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = At<SecretsView>)))]
pub(crate) async fn list_secrets(
    scope: Scope<Read>,
    Query(query): Query<ReadQuery>,
    State(engine): State<Engine>,
) -> Result<At<SecretsView>, ApiError> {
    scope.ready(&engine, position(query.min_position)).await?;
    let head = engine.store().head(&scope.log).await?;
    Ok(At::new(head.position, engine.channel_secrets(&scope.code).await?.into()))
}
