//! Channels: set up, show, change the secret and the policy, pause and resume.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::future::join_all;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use subledger_domain::{ChannelCode, LogName};
use subledger_engine::{Engine, channels::NewChannel};
use subledger_projection::ProjectionName;
use subledger_store::Claimable;
use utoipa::ToSchema;

use super::{
    paths::{ChannelPath, Idempotent},
    shown::shown,
};
use crate::{
    cursor,
    extract::{
        ChannelsQuery, Deployment, IdempotencyKey, Json, Manage, Query, Read, ReadQuery, Scope, limit,
        parse_id, position,
    },
    problem::ApiError,
    reply::{Acknowledged, At, Written, acknowledged},
    views::{ChannelView, PolicyChangeBody, PolicyView, QueueView, SecretsView, TokenModeWord},
};

/// A Mini Program to set up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewChannelBody {
    /// The code, chosen by you: 1 to 32 letters and digits.
    #[schema(example = "wechatmp123", pattern = "^[A-Za-z0-9]{1,32}$")]
    code: String,
    /// A name for people.
    #[schema(example = "门店小程序", max_length = 100)]
    name: String,
    /// The Mini Program's AppID.
    #[schema(example = "wx00000000demo0001")]
    appid: String,
    /// Its AppSecret; in external mode, the credential for the token server. Kept encrypted, never shown again.
    #[schema(value_type = String, format = Password, write_only)]
    secret: SecretString,
    /// How access tokens are obtained. A platform is authorized, not set.
    #[serde(default)]
    token_mode: TokenModeWord,
    /// The company's token server; in external mode, and there only: https, without user name, password or query.
    #[serde(default)]
    token_url: Option<String>,
    /// How the channel treats what WeChat leaves open.
    #[serde(default)]
    policy: PolicyView,
}

/// Another AppSecret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialsBody {
    /// The AppSecret. Kept encrypted, never shown again.
    #[schema(value_type = String, format = Password, write_only)]
    secret: SecretString,
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonBody {
    /// The reason, kept in the books.
    #[schema(example = "maintenance of the Mini Program", max_length = 500)]
    pub(super) reason: String,
}

/// A channel that was set up.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChannelCreated {
    /// Its code.
    #[schema(example = "wechatmp123")]
    code: String,
    #[serde(flatten)]
    secrets: SecretsView,
}

/// The channels of a page. Each stands in a log of its own and says its own position.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChannelPage {
    /// The channels, by code.
    items: Vec<At<ChannelView>>,
    /// Hand it back as `cursor` for the next page; null after the last row.
    next_cursor: Option<String>,
}

/// List the channels this key may use.
#[utoipa::path(get, path = "/channels", tag = "channels", params(ChannelsQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = ChannelPage)))]
pub(crate) async fn list_channels(
    key: Deployment<Read>,
    Query(query): Query<ChannelsQuery>,
    State(engine): State<Engine>,
) -> Result<axum::Json<ChannelPage>, ApiError> {
    let limit = limit(query.limit)?;
    let logs: Vec<LogName> = engine.store().logs().borrow().clone();
    join_all(logs.iter().filter(|log| log.as_str() != LogName::MAIN).map(|log| engine.caught_up(log, None)))
        .await;
    let mut channels = engine.queries().channels().await?;
    if let Some(allowed) = &key.rights.channels {
        channels.retain(|channel| allowed.contains(&channel.value.code));
    }
    let code =
        |channel: &subledger_projection::Answer<subledger_projection::ChannelRow>| channel.value.code.clone();
    channels.sort_by_key(code);
    let (rows, next_cursor) =
        cursor::cut("channels", channels, code, query.cursor.as_deref(), limit as usize)?;
    let keys: Vec<_> = rows.iter().map(|row| (row.value.appid.as_str(), row.value.token_mode)).collect();
    let tokens = engine.token_states(&keys).await?;
    let now = engine.now();
    let view = |row: subledger_projection::Answer<subledger_projection::ChannelRow>| {
        let of = (row.value.appid.clone(), row.value.token_mode.as_str().to_owned());
        At::new(row.position, ChannelView::of(row.value, tokens.get(&of), now))
    };
    let items = rows.into_iter().map(view).collect();
    Ok(axum::Json(ChannelPage { items, next_cursor }))
}

/// Set a channel up.
///
/// WeChat is asked first: an unknown AppID, a wrong secret or a refused address comes back as `wechat_refused` with WeChat's
/// code, its text and what to do; nothing is recorded then.
#[utoipa::path(post, path = "/channels", tag = "channels", params(Idempotent), request_body = NewChannelBody,
    security(("api_key" = ["manage"])), responses((status = 201, body = Written<ChannelCreated>)))]
pub(crate) async fn create_channel(
    key: Deployment<Manage>,
    idempotency_key: IdempotencyKey,
    State(engine): State<Engine>,
    Json(body): Json<NewChannelBody>,
) -> Result<Response, ApiError> {
    let code: ChannelCode = parse_id("bad_channel_code", "/code", &body.code)?;
    key.rights.require(subledger_domain::app::Right::Manage, Some(&code))?;
    let new = NewChannel {
        code: code.clone(),
        name: body.name,
        appid: body.appid,
        secret: body.secret,
        token_mode: body.token_mode.into(),
        token_url: body.token_url,
        policy: body.policy.into(),
        idempotency_key: idempotency_key.0,
    };
    let done = engine.register_channel(&key.caller, new).await?;
    let secrets = engine.channel_secrets(&code).await?.into();
    let written = Written::of(done, |()| ChannelCreated { code: code.to_string(), secrets });
    let mut response = (StatusCode::CREATED, written).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/channels/{code}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Show a channel.
#[utoipa::path(get, path = "/channels/{code}", tag = "channels", params(ChannelPath, ReadQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = At<ChannelView>)))]
pub(crate) async fn show_channel(
    scope: Scope<Read>,
    Query(query): Query<ReadQuery>,
    State(engine): State<Engine>,
) -> Result<At<ChannelView>, ApiError> {
    scope.ready(&engine, position(query.min_position)).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Channels]).await?;
    let answer = engine.queries().channel(&scope.code).await?;
    let row = answer.value.ok_or_else(subledger_engine::EngineError::unknown_channel)?;
    let quota = engine.quota(&scope.code).await?;
    let mut tokens = engine.token_states(&[(row.appid.as_str(), row.token_mode)]).await?;
    let token = tokens.drain().next().map(|(_, state)| state);
    Ok(At::new(answer.position, ChannelView::of(row, token.as_ref(), engine.now()).with_quota(quota)))
}

/// Use another AppSecret, or another credential for the token server.
///
/// A token is fetched with it first; the old one stays in use if that fails.
#[utoipa::path(post, path = "/channels/{code}/credentials", tag = "channels", params(ChannelPath),
    request_body = CredentialsBody, security(("api_key" = ["manage"])),
    responses((status = 200, body = Written<SecretsView>)))]
pub(crate) async fn replace_credentials(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<CredentialsBody>,
) -> Result<Written<SecretsView>, ApiError> {
    let done = engine.replace_credentials(&scope.caller, &scope.code, body.secret).await?;
    let secrets = engine.channel_secrets(&scope.code).await?.into();
    Ok(Written::of(done, |()| secrets))
}

/// Stop sending.
///
/// Messages are still accepted; what waits keeps waiting until its `expires_at`.
#[utoipa::path(post, path = "/channels/{code}/pause", tag = "channels", params(ChannelPath),
    request_body = ReasonBody, security(("api_key" = ["manage"])),
    responses((status = 200, body = Written<Acknowledged>)))]
pub(crate) async fn pause_channel(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<ReasonBody>,
) -> Result<Written<Acknowledged>, ApiError> {
    Ok(acknowledged(engine.pause_channel(&scope.caller, &scope.code, body.reason).await?))
}

/// Go on sending.
#[utoipa::path(post, path = "/channels/{code}/resume", tag = "channels", params(ChannelPath),
    request_body = ReasonBody, security(("api_key" = ["manage"])),
    responses((status = 200, body = Written<Acknowledged>)))]
pub(crate) async fn resume_channel(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<ReasonBody>,
) -> Result<Written<Acknowledged>, ApiError> {
    Ok(acknowledged(engine.resume_channel(&scope.caller, &scope.code, body.reason).await?))
}

/// Change some policies of a channel.
///
/// The body names what changes; everything else stays.
#[utoipa::path(patch, path = "/channels/{code}/policy", tag = "channels", params(ChannelPath),
    request_body = PolicyChangeBody, security(("api_key" = ["manage"])),
    responses((status = 200, body = Written<Acknowledged>)))]
pub(crate) async fn amend_policy(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<PolicyChangeBody>,
) -> Result<Written<Acknowledged>, ApiError> {
    Ok(acknowledged(engine.amend_policy(&scope.caller, &scope.code, body.into()).await?))
}

/// Set the policies of a channel.
///
/// The body is the whole policy; what is left out takes its default.
#[utoipa::path(put, path = "/channels/{code}/policy", tag = "channels", params(ChannelPath),
    request_body = PolicyView, security(("api_key" = ["manage"])),
    responses((status = 200, body = Written<Acknowledged>)))]
pub(crate) async fn change_policy(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<PolicyView>,
) -> Result<Written<Acknowledged>, ApiError> {
    Ok(acknowledged(engine.change_policy(&scope.caller, &scope.code, body.into()).await?))
}

/// Show how much undone work a channel has.
#[utoipa::path(get, path = "/channels/{code}/queue", tag = "channels", params(ChannelPath, ReadQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = At<QueueView>)))]
pub(crate) async fn show_queue(
    scope: Scope<Read>,
    Query(query): Query<ReadQuery>,
    State(engine): State<Engine>,
) -> Result<At<QueueView>, ApiError> {
    scope.ready(&engine, position(query.min_position)).await?;
    // The head before the rows: they show at least what it says.
    let head = engine.store().head(&scope.log).await?;
    let stats = engine.store().queue_stats(&scope.log, Claimable::All).await?;
    Ok(At::new(head.position, stats.into()))
}
