//! Apps, their templates and tokens.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::input::{Body, Path};
use crate::app::{AppSettings, AppSpec, AppView};
use crate::books::Books;
use crate::error::ControlError;
use crate::push::PushSpec;
use crate::reality::{Profile, Reality, RealityView};
use crate::sandbox::Sandbox;
use crate::template::Template;

/// What creating something answers.
pub(super) type Created = (StatusCode, Json<Value>);

pub(super) async fn list(State(sandbox): State<Sandbox>) -> Json<Value> {
    Json(json!({ "apps": sandbox.apps() }))
}

/// Everything is read before the app is made, so that a bad part leaves no app behind. A push URL that does not pass its
/// check does not: the answer says so, and it can be set up later.
pub(super) async fn create(
    State(sandbox): State<Sandbox>,
    Body(mut body): Body<Map<String, Value>>,
) -> Result<Created, ControlError> {
    let (push, reality) = (body.remove("push"), body.remove("reality"));
    let (mut spec, switches) = credentials(body)?;
    spec.settings = merged(&AppSettings::default(), switches)?;
    let bad = |e: serde_json::Error| ControlError::invalid("push", e.to_string());
    let push: Option<PushSpec> = push.map(serde_json::from_value).transpose().map_err(bad)?;
    if let Some(push) = &push {
        push.validate()?;
    }
    let reality = match reality {
        Some(Value::Object(given)) => Some(chosen(&sandbox, given)?),
        Some(_) => return Err(ControlError::invalid("reality", "must be an object")),
        None => None,
    };
    let appid = spec.appid.clone();
    sandbox.create_app(spec)?;
    if let Some((base, reality)) = reality {
        sandbox.set_app_reality(&appid, base, reality)?;
    }
    let setup = match &push {
        Some(push) => Some(sandbox.configure_push(&appid, push).await?),
        None => None,
    };
    let mut answer = json!({ "appid": appid });
    if let Some(setup) = setup {
        answer["push"] = json!(setup);
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Reads `{profile?, any switch}`: the switches are laid over the profile, or over the sandbox's own reality.
pub(super) fn chosen(
    sandbox: &Sandbox,
    mut given: Map<String, Value>,
) -> Result<(Option<Profile>, Reality), ControlError> {
    let bad = |e: serde_json::Error| ControlError::invalid("profile", e.to_string());
    let base: Option<Profile> =
        given.remove("profile").map(serde_json::from_value).transpose().map_err(bad)?;
    let ground = base.map_or_else(|| sandbox.reality(), Profile::reality);
    Ok((base, ground.with(given)?))
}

pub(super) async fn reality(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
) -> Result<Json<RealityView>, ControlError> {
    sandbox.app_reality(&appid).map(Json)
}

pub(super) async fn set_reality(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
    Body(given): Body<Map<String, Value>>,
) -> Result<Json<RealityView>, ControlError> {
    let (base, reality) = chosen(&sandbox, given)?;
    sandbox.set_app_reality(&appid, base, reality)?;
    sandbox.app_reality(&appid).map(Json)
}

pub(super) async fn books(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
) -> Result<Json<Books>, ControlError> {
    sandbox.books(&appid).map(Json)
}

fn credentials(mut body: Map<String, Value>) -> Result<(AppSpec, Map<String, Value>), ControlError> {
    let appid = take_text(&mut body, "appid")?;
    let spec = AppSpec::new(&appid, &take_text(&mut body, "secret")?);
    Ok((spec, body))
}

pub(super) fn take_text(body: &mut Map<String, Value>, field: &'static str) -> Result<String, ControlError> {
    match body.remove(field) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(ControlError::invalid(field, "is required, as text")),
    }
}

pub(super) async fn show(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
) -> Result<Json<AppView>, ControlError> {
    sandbox.app(&appid).map(Json)
}

#[derive(Deserialize)]
pub(super) struct Change {
    pub(super) secret: Option<String>,
    #[serde(flatten)]
    pub(super) switches: Map<String, Value>,
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
pub(super) fn merged<T: Serialize + DeserializeOwned>(
    base: &T,
    switches: Map<String, Value>,
) -> Result<T, ControlError> {
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
