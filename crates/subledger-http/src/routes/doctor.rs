//! The doctor: what is wrong, and what to do about it.

use axum::{Json, extract::State};
use subledger_engine::Engine;

use super::paths::ChannelPath;
use crate::{
    extract::{Deployment, Manage, Scope},
    problem::ApiError,
    views::DoctorView,
};

/// Look at the deployment and at the channels this key may use.
///
/// Reads only. WeChat is reached, at most once in half a minute, but not called on behalf of a channel; ask for one channel to
/// have that tried.
#[utoipa::path(get, path = "/doctor", tag = "service", security(("api_key" = ["manage"])),
    responses((status = 200, body = DoctorView)))]
pub(crate) async fn examine(
    key: Deployment<Manage>,
    State(engine): State<Engine>,
) -> Result<Json<DoctorView>, ApiError> {
    let allowed: Option<Vec<_>> =
        key.rights.channels.as_ref().map(|channels| channels.iter().cloned().collect());
    Ok(Json(engine.doctor(allowed.as_deref()).await?.into()))
}

/// Look at one channel, its calls to WeChat included.
///
/// Reads only. WeChat is called at most once in half a minute; whoever asks again gets what was found before. A token is never
/// fetched where that would take it from another system.
#[utoipa::path(get, path = "/channels/{code}/doctor", tag = "channels", params(ChannelPath),
    security(("api_key" = ["manage"])), responses((status = 200, body = DoctorView)))]
pub(crate) async fn examine_channel(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
) -> Result<Json<DoctorView>, ApiError> {
    Ok(Json(engine.doctor_channel(&scope.code).await?.into()))
}
