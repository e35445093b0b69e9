//! Users: who they are, what they tap, what they switch off.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::apps::Created;
use super::input::{Body, Path};
use crate::act::SettingPlace;
use crate::error::ControlError;
use crate::sandbox::Sandbox;
use crate::tap::TapSpec;
use crate::user::{SettingState, UserCounts};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    openid: Option<String>,
}

pub(super) async fn create(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
    Body(user): Body<NewUser>,
) -> Result<Created, ControlError> {
    let openid = sandbox.create_user(&appid, user.openid.as_deref())?;
    Ok((StatusCode::CREATED, Json(json!({ "openid": openid }))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCode {
    openid: String,
}

pub(super) async fn create_login_code(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
    Body(wanted): Body<NewCode>,
) -> Result<Created, ControlError> {
    let code = sandbox.create_login_code(&appid, &wanted.openid)?;
    Ok((StatusCode::CREATED, Json(json!({ "code": code }))))
}

pub(super) async fn tap(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
    Body(spec): Body<TapSpec>,
) -> Result<Json<Value>, ControlError> {
    sandbox.tap(&appid, &spec).map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SettingChange {
    openid: String,
    template_id: Option<String>,
    state: Option<SettingState>,
    main_switch: Option<bool>,
    #[serde(default)]
    place: SettingPlace,
}

pub(super) async fn change_setting(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
    Body(change): Body<SettingChange>,
) -> Result<Json<UserCounts>, ControlError> {
    let switch = change
        .main_switch
        .map(|on| if on { SettingState::MainSwitchOn } else { SettingState::MainSwitchOff });
    if switch.is_none() && change.state.is_none() {
        return Err(ControlError::invalid("state", "or main_switch is required"));
    }
    for state in switch.into_iter().chain(change.state) {
        let template_id = change.template_id.as_deref();
        sandbox.change_setting_at(change.place, &appid, &change.openid, template_id, state)?;
    }
    sandbox.counts(&appid, &change.openid).map(Json)
}

pub(super) async fn counts(
    State(sandbox): State<Sandbox>,
    Path((appid, openid)): Path<(String, String)>,
) -> Result<Json<UserCounts>, ControlError> {
    sandbox.counts(&appid, &openid).map(Json)
}

pub(super) async fn setting(
    State(sandbox): State<Sandbox>,
    Path((appid, openid)): Path<(String, String)>,
) -> Result<Json<Value>, ControlError> {
    sandbox.setting_object(&appid, &openid).map(Json)
}
