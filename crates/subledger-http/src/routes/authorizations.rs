//! Authorizing a channel's Mini Program to a third-party platform: a link, and where it stands.

use std::{convert::Infallible, time::Instant};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use secrecy::SecretString;
use serde::Deserialize;
use subledger_domain::{ChannelCode, app::Right};
use subledger_engine::{Engine, EngineError, platform::BeginAuthorization};
use utoipa::{IntoParams, ToSchema};

use super::paths::{ChannelPath, Idempotent};
use crate::{
    context::Context,
    extract::{IdempotencyKey, Json, Manage, Scope},
    feed::{ACCEL_BUFFERING, Slot, UNBUFFERED},
    middleware::auth,
    problem::ApiError,
    reply,
    views::AuthorizationView,
};

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "read by the OpenAPI generator only")]
pub(crate) struct AuthorizationPath {
    /// The channel's code.
    #[param(example = "wechatmp123", pattern = "^[A-Za-z0-9]{1,32}$")]
    code: String,
    /// The authorization's id.
    #[param(pattern = "^[0-9a-f-]{36}$")]
    id: String,
}

/// An authorization to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthorizationBody {
    /// The platform; may be left out where there is only one.
    #[schema(example = "wx00000000comp0001")]
    component_appid: Option<String>,
}

/// Begin the authorization of a channel to a third-party platform.
///
/// Hand one of the links to the Mini Program's administrator. A channel that is not set up is set up by the authorization; one
/// that has an AppSecret changes over to the platform. The channel's code may be one that does not exist yet.
#[utoipa::path(post, path = "/channels/{code}/authorization", tag = "platforms", params(ChannelPath, Idempotent),
    request_body = AuthorizationBody, security(("api_key" = ["manage"])),
    responses((status = 201, body = AuthorizationView)))]
pub(crate) async fn begin_authorization(
    scope: Scope<Manage>,
    idempotency_key: IdempotencyKey,
    State(engine): State<Engine>,
    Json(body): Json<AuthorizationBody>,
) -> Result<Response, ApiError> {
    let asked =
        BeginAuthorization { component_appid: body.component_appid, idempotency_key: idempotency_key.0 };
    let (begun, stored) = engine.begin_authorization(&scope.caller, &scope.code, asked).await?;
    let view = AuthorizationView::of(begun, engine.now());
    Ok(reply::replayed(stored, (StatusCode::CREATED, axum::Json(view)).into_response()))
}

/// Show where an authorization stands.
#[utoipa::path(get, path = "/channels/{code}/authorization/{id}", tag = "platforms", params(AuthorizationPath),
    security(("api_key" = ["manage"])), responses((status = 200, body = AuthorizationView)))]
pub(crate) async fn show_authorization(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
) -> Result<axum::Json<AuthorizationView>, ApiError> {
    let found = engine.authorization(&scope.code, id(&scope)?).await?;
    Ok(axum::Json(AuthorizationView::of(found, engine.now())))
}

/// Follow an authorization until it has ended.
///
/// Server-sent events: `status` with the authorization as JSON, at once and whenever it stands elsewhere; comments keep a
/// silent stream open. The stream ends with the authorization.
#[utoipa::path(get, path = "/channels/{code}/authorization/{id}/stream", tag = "platforms", params(AuthorizationPath),
    security(("api_key" = ["manage"])),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(crate) async fn follow_authorization(
    scope: Scope<Manage>,
    State(context): State<Context>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let engine = context.engine().clone();
    let id = id(&scope)?;
    engine.authorization(&scope.code, id).await?;
    let key = auth::bearer(&headers).ok_or_else(ApiError::missing_key)?;
    let slot = context.streams().open(auth::public_part(&key))?;
    let heartbeat = context.settings().heartbeat;
    let follow =
        Follow { engine, code: scope.code, id, key, heartbeat, told: None, over: false, _slot: slot };
    let events = futures::stream::unfold(follow, |mut follow| async move {
        let event = follow.next().await?;
        Some((Ok::<_, Infallible>(event), follow))
    });
    let mut response = Sse::new(events).into_response();
    response.headers_mut().insert(ACCEL_BUFFERING, UNBUFFERED);
    Ok(response)
}

fn id(scope: &Scope<Manage>) -> Result<uuid::Uuid, ApiError> {
    let unknown = "there is no authorization with this id; old ones are deleted";
    scope.text("id").parse().map_err(|_| EngineError::not_found("unknown_authorization", unknown).into())
}

/// One follower.
struct Follow {
    engine: Engine,
    code: ChannelCode,
    id: uuid::Uuid,
    key: SecretString,
    heartbeat: std::time::Duration,
    /// The status that was told last.
    told: Option<&'static str>,
    over: bool,
    _slot: Slot,
}

impl Follow {
    async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        let silent_since = Instant::now();
        loop {
            // The key may have been revoked meanwhile; the engine remembers the answer.
            let rights = self.engine.authenticate(&self.key).await.ok()?;
            rights.require(Right::Manage, Some(&self.code)).ok()?;
            let found = self.engine.authorization(&self.code, self.id).await.ok()?;
            let status = found.status.as_str();
            if self.told != Some(status) {
                self.told = Some(status);
                self.over = status != "waiting";
                let view = AuthorizationView::of(found, self.engine.now());
                return Some(Event::default().event("status").data(serde_json::to_string(&view).ok()?));
            }
            if silent_since.elapsed() >= self.heartbeat {
                return Some(Event::default().comment(""));
            }
            tokio::select! {
                () = self.engine.streams_closed() => return None,
                () = self.engine.authorization_moved() => {}
            }
        }
    }
}
