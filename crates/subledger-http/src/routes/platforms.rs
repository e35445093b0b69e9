//! Third-party platforms: set up, shown, their tickets asked for.

use axum::extract::{Path, State, rejection::PathRejection};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use subledger_engine::{Engine, EngineError, ErrorKind, platform::PlatformRequest};
use utoipa::{IntoParams, ToSchema};

use crate::{
    extract::{Deployment, Json, Manage, NoBody},
    problem::ApiError,
    reply::Written,
    views::PlatformView,
};

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "read by the OpenAPI generator only")]
pub(crate) struct PlatformPath {
    /// The platform's appid.
    #[param(example = "wx00000000comp0001", pattern = "^[A-Za-z0-9]{4,64}$")]
    component_appid: String,
}

/// A third-party platform as it is to be from now on. Secrets that are left out stay; the first time each is needed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlatformBody {
    /// A name for people.
    #[schema(example = "门店平台", max_length = 100)]
    name: String,
    /// Where browsers and WeChat reach this service: scheme and host, nothing behind it.
    #[schema(example = "https://subledger.example.com")]
    public_url: String,
    /// The platform's AppSecret. Kept encrypted, never shown again.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    secret: Option<SecretString>,
    /// The token that signs WeChat's pushes: 3 to 32 letters and digits. Kept encrypted, never shown again.
    #[schema(value_type = Option<String>, format = Password, write_only, pattern = "^[A-Za-z0-9]{3,32}$")]
    token: Option<SecretString>,
    /// The EncodingAESKey that seals them: 43 letters and digits. Kept encrypted, never shown again. The one before it goes on
    /// opening what comes late.
    #[schema(value_type = Option<String>, format = Password, write_only, pattern = "^[A-Za-z0-9]{43}$")]
    encoding_aes_key: Option<SecretString>,
}

/// The platforms.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlatformList {
    /// By appid.
    items: Vec<PlatformView>,
}

/// What WeChat said.
#[derive(Serialize, ToSchema)]
pub(crate) struct TicketAsked {
    /// WeChat's words: `ok` if pushes had stopped, `in a normal state` if they had not.
    message: String,
}

/// A platform concerns every channel, so a key that is limited to some may not touch it.
fn whole(key: &Deployment<Manage>) -> Result<(), ApiError> {
    if key.rights.channels.is_none() {
        return Ok(());
    }
    let detail = "a third-party platform concerns every channel, and this key is limited to some (manage)";
    Err(EngineError::new(ErrorKind::Forbidden, "missing_right", detail).into())
}

fn appid(path: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    let unknown = "no third-party platform with this appid is set up here";
    path.map(|Path(appid)| appid).map_err(|_| EngineError::not_found("unknown_platform", unknown).into())
}

/// List the third-party platforms.
#[utoipa::path(get, path = "/platforms", tag = "platforms", security(("api_key" = ["manage"])),
    responses((status = 200, body = PlatformList)))]
pub(crate) async fn list_platforms(
    key: Deployment<Manage>,
    State(engine): State<Engine>,
) -> Result<axum::Json<PlatformList>, ApiError> {
    whole(&key)?;
    let items = engine.list_platforms().await?.into_iter().map(Into::into).collect();
    Ok(axum::Json(PlatformList { items }))
}

/// Show a third-party platform.
///
/// How its tickets come is in `ticket`, with what to do if they do not. Secrets are known by a fingerprint and a date.
#[utoipa::path(get, path = "/platforms/{component_appid}", tag = "platforms", params(PlatformPath),
    security(("api_key" = ["manage"])), responses((status = 200, body = PlatformView)))]
pub(crate) async fn show_platform(
    key: Deployment<Manage>,
    path: Result<Path<String>, PathRejection>,
    State(engine): State<Engine>,
) -> Result<axum::Json<PlatformView>, ApiError> {
    whole(&key)?;
    Ok(axum::Json(engine.platform(&appid(path)?).await?.into()))
}

/// Set a third-party platform up, or change it.
///
/// The answer says what to enter in the open platform's console. Repeating the request changes nothing.
#[utoipa::path(put, path = "/platforms/{component_appid}", tag = "platforms", params(PlatformPath),
    request_body = PlatformBody, security(("api_key" = ["manage"])),
    responses((status = 200, body = Written<PlatformView>)))]
pub(crate) async fn configure_platform(
    key: Deployment<Manage>,
    path: Result<Path<String>, PathRejection>,
    State(engine): State<Engine>,
    Json(body): Json<PlatformBody>,
) -> Result<Written<PlatformView>, ApiError> {
    whole(&key)?;
    let PlatformBody { name, public_url, secret, token, encoding_aes_key } = body;
    let request = PlatformRequest { name, public_url, secret, token, key: encoding_aes_key };
    let done = engine.configure_platform(&key.caller, &appid(path)?, request).await?;
    Ok(Written::of(done, Into::into))
}

/// Ask WeChat to push tickets again.
///
/// It stops when the push URL fails for long. This is also done by itself when none came for 30 minutes.
#[utoipa::path(post, path = "/platforms/{component_appid}/start-ticket", tag = "platforms", params(PlatformPath),
    security(("api_key" = ["manage"])), responses((status = 200, body = Written<TicketAsked>)))]
pub(crate) async fn start_ticket_push(
    key: Deployment<Manage>,
    path: Result<Path<String>, PathRejection>,
    State(engine): State<Engine>,
    _: NoBody,
) -> Result<Written<TicketAsked>, ApiError> {
    whole(&key)?;
    let done = engine.start_ticket_push(&key.caller, &appid(path)?).await?;
    Ok(Written::of(done, |message| TicketAsked { message }))
}
