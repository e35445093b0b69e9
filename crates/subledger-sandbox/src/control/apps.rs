//! Apps, their templates and tokens.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::input::{Body, Path};
use crate::app::{AppSettings, AppSpec, AppView};
use crate::error::ControlError;
use crate::sandbox::Sandbox;
use crate::template::Template;

/// What creating something answers.
pub(super) type Created = (StatusCode, Json<Value>);

pub(super) async fn list(State(sandbox): State<Sandbox>) -> Json<Value> {
    Json(json!({ "apps": sandbox.apps() }))
}

pub(super) async fn create(
    State(sandbox): State<Sandbox>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Created, ControlError> {
    let (mut spec, switches) = credentials(body)?;
    spec.settings = merged(&AppSettings::default(), switches)?;
    let appid = spec.appid.clone();
    sandbox.create_app(spec)?;
    Ok((StatusCode::CREATED, Json(json!({ "appid": appid }))))
}

fn credentials(mut body: Map<String, Value>) -> Result<(AppSpec, Map<String, Value>), ControlError> {
    let mut take = |field: &'static str| match body.remove(field) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(ControlError::invalid(field, "is required, as text")),
    };
    let spec = AppSpec::new(&take("appid")?, &take("secret")?);
    Ok((spec, body))
}

pub(super) async fn show(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
) -> Result<Json<AppView>, ControlError> {
    sandbox.app(&appid).map(Json)
}

#[derive(Deserialize)]
pub(super) struct Change {
    secret: Option<String>,
    #[serde(flatten)]
    switches: Map<String, Value>,
}

pub(super) async fn change(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
    Body(change): Body<Change>,
) -> Result<Json<AppView>, ControlError> {
    let settings = merged(&sandbox.app(&appid)?.settings, change.switches)?;
    if let Some(secret) = &change.secret {
        sandbox.change_secret(&appid, secret)?;
    }
    sandbox.change_app(&appid, |s| *s = settings)?;
    sandbox.app(&appid).map(Json)
}

/// Lays `switches` over `base`; a switch that does not exist is refused, so that a misspelt one is noticed.
fn merged(base: &AppSettings, switches: Map<String, Value>) -> Result<AppSettings, ControlError> {
    let bad = |e: serde_json::Error| ControlError::invalid("body", e.to_string());
    let mut value = serde_json::to_value(base).map_err(bad)?;
    for (name, given) in switches {
        match (value.get_mut(&name), given) {
            (None, _) => return Err(ControlError::invalid("body", format!("no switch {name:?}"))),
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
            (Some(old), new) => *old = new,
        }
    }
    serde_json::from_value(value).map_err(bad)
}

pub(super) async fn create_template(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
    Body(template): Body<Template>,
) -> Result<Created, ControlError> {
    let id = sandbox.create_template(&appid, template)?;
    Ok((StatusCode::CREATED, Json(json!({ "priTmplId": id }))))
}

pub(super) async fn delete_template(
    State(sandbox): State<Sandbox>,
    Path((appid, id)): Path<(String, String)>,
) -> Result<StatusCode, ControlError> {
    sandbox.delete_template(&appid, &id).map(|()| StatusCode::NO_CONTENT)
}

pub(super) async fn revoke_tokens(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
) -> Result<StatusCode, ControlError> {
    sandbox.revoke_tokens(&appid).map(|()| StatusCode::NO_CONTENT)
}
