//! Access tokens: lend one, replace one, say where they come from.

use std::time::Instant;

use axum::{extract::State, http::StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use subledger_engine::{Engine, EngineError, tokens::TokenSourceWish};
use utoipa::{IntoParams, ToSchema};

use super::paths::ChannelPath;
use crate::{
    context::Context,
    extract::{Json, Manage, Query, Scope, Token},
    problem::ApiError,
    reply::{Acknowledged, Written, acknowledged},
    views::{TokenLeaseView, TokenModeWord, TokenReplacedView},
};

/// What is asked of a lease.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LeaseQuery {
    /// The version of a token lent before that WeChat refused you (40001, 40014, 42001). If it still is the newest, it is replaced
    /// first, once, whoever asks; otherwise you get the newer one.
    refused_version: Option<u64>,
}

/// A forced refresh.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "force": true }))]
pub(crate) struct RefreshTokenBody {
    /// Must be true: without force there is nothing to ask for, tokens are replaced by themselves.
    force: bool,
}

/// Where tokens are to come from.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "token_mode": "external", "token_url": "https://tokens.example.com/wechatmp123", "secret": "…"
}))]
pub(crate) struct TokenSourceBody {
    /// `stable`, `normal` or `external`. A platform is authorized, not set.
    token_mode: TokenModeWord,
    /// The AppSecret; in external mode, the credential that the token server is sent as `Authorization: Bearer`. May be left out if
    /// the channel has one of that sort. Kept encrypted, never shown again.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    #[serde(default)]
    secret: Option<SecretString>,
    /// The token server, in external mode: https, without user name, password or query.
    #[serde(default)]
    token_url: Option<String>,
}

/// Borrow the access token of a channel.
///
/// For other systems of the company that call WeChat for this Mini Program: one place fetches tokens, everybody else asks here.
/// The token may be used until it ends; ask again before, or when WeChat refuses it. Each lease is recorded with the app, the
/// version and the end of the token. Limited per app and channel (`rate_limited`).
#[utoipa::path(get, path = "/channels/{code}/token", tag = "tokens", params(ChannelPath, LeaseQuery),
    security(("api_key" = ["token"])), responses((status = 200, body = Written<TokenLeaseView>)))]
pub(crate) async fn lease_token(
    scope: Scope<Token>,
    Query(query): Query<LeaseQuery>,
    State(context): State<Context>,
) -> Result<Written<TokenLeaseView>, ApiError> {
    if let Some(limiter) = context.lease_limiter() {
        let borrower = format!("{} {}", scope.code, scope.caller.app);
        limiter.take(&borrower, Instant::now()).map_err(|wait| {
            let detail =
                "this app borrows the token of this channel more often than allowed; keep it until it ends";
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(wait)
        })?;
    }
    let done = context.engine().lease_token(&scope.caller, &scope.code, query.refused_version).await?;
    Ok(Written::of(done, Into::into))
}

/// Replace the access token of a channel although it lives.
///
/// For an emergency, such as a token that leaked: it kills the token of every other system that shares it. At most 20 in 24 hours
/// and 30 seconds apart, because WeChat allows no more (`forced_too_soon`). Tokens are otherwise replaced by themselves.
#[utoipa::path(post, path = "/channels/{code}/token/refresh", tag = "tokens", params(ChannelPath),
    request_body = RefreshTokenBody, security(("api_key" = ["manage"])),
    responses((status = 200, body = Written<TokenReplacedView>)))]
pub(crate) async fn refresh_token(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<RefreshTokenBody>,
) -> Result<Written<TokenReplacedView>, ApiError> {
    if !body.force {
        let rule =
            "must be true: without force there is nothing to ask for, tokens are replaced by themselves";
        return Err(EngineError::field("bad_refresh", "/force", "must_be_true", rule).into());
    }
    Ok(Written::of(engine.force_token(&scope.caller, &scope.code).await?, Into::into))
}

/// Say where the access tokens of a channel come from.
///
/// A token is fetched from there first; nothing changes if that fails.
#[utoipa::path(put, path = "/channels/{code}/token-source", tag = "tokens", params(ChannelPath),
    request_body = TokenSourceBody, security(("api_key" = ["manage"])),
    responses((status = 200, body = Written<Acknowledged>)))]
pub(crate) async fn set_token_source(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<TokenSourceBody>,
) -> Result<Written<Acknowledged>, ApiError> {
    let wish = TokenSourceWish { mode: body.token_mode.into(), secret: body.secret, url: body.token_url };
    Ok(acknowledged(engine.change_token_source(&scope.caller, &scope.code, wish).await?))
}
