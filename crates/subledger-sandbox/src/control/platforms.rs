//! Third-party platforms: what is set up, what administrators do with their links, their tickets, tokens and journal.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::apps::{Change, Created, chosen, merged, take_text};
use super::input::{Body, Path, Query};
use crate::error::ControlError;
use crate::journal::Page;
use crate::platform::{
    AuthorizeSpec, Authorized, ComponentCheck, PlatformEntry, PlatformQuery, PlatformSettings, PlatformSpec,
    PlatformView, Revoked,
};
use crate::reality::RealityView;
use crate::sandbox::Sandbox;

pub(super) async fn list(State(sandbox): State<Sandbox>) -> Json<Value> {
    Json(json!({ "platforms": sandbox.platforms() }))
}

pub(super) async fn create(
    State(sandbox): State<Sandbox>,
    Body(mut body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<PlatformView>), ControlError> {
    let component = take_text(&mut body, "component_appid")?;
    let mut spec = PlatformSpec::new(&component, &take_text(&mut body, "secret")?);
    spec.settings = merged(&PlatformSettings::default(), body)?;
    Ok((StatusCode::CREATED, Json(sandbox.create_platform(spec)?)))
}

pub(super) async fn show(
    State(sandbox): State<Sandbox>,
    Path(component): Path<String>,
) -> Result<Json<PlatformView>, ControlError> {
    sandbox.platform(&component).map(Json)
}

pub(super) async fn change(
    State(sandbox): State<Sandbox>,
    Path(component): Path<String>,
    Body(change): Body<Change>,
) -> Result<Json<PlatformView>, ControlError> {
    let settings = merged(&sandbox.platform(&component)?.settings, change.switches)?;
    sandbox.change_platform(&component, |s| *s = settings)?;
    if let Some(secret) = &change.secret {
        sandbox.change_platform_secret(&component, secret)?;
    }
    sandbox.platform(&component).map(Json)
}

pub(super) async fn push_ticket(
    State(sandbox): State<Sandbox>,
    Path(component): Path<String>,
) -> Result<Created, ControlError> {
    let push = sandbox.push_ticket(&component)?;
    let ticket = sandbox.platform(&component)?.ticket;
    Ok((StatusCode::CREATED, Json(json!({ "ticket": ticket, "push": push }))))
}

pub(super) async fn authorize(
    State(sandbox): State<Sandbox>,
    Path(component): Path<String>,
    Body(spec): Body<AuthorizeSpec>,
) -> Result<Json<Authorized>, ControlError> {
    sandbox.authorize(&component, &spec).map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    appid: String,
}

pub(super) async fn deauthorize(
    State(sandbox): State<Sandbox>,
    Path(component): Path<String>,
    Body(account): Body<Account>,
) -> Result<Json<Value>, ControlError> {
    let push = sandbox.deauthorize(&component, &account.appid)?;
    Ok(Json(json!({ "push": push })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sets {
    permission_sets: BTreeSet<u32>,
}

pub(super) async fn change_sets(
    State(sandbox): State<Sandbox>,
    Path((component, appid)): Path<(String, String)>,
    Body(sets): Body<Sets>,
) -> Result<Json<Value>, ControlError> {
    let push = sandbox.change_permission_sets(&component, &appid, &sets.permission_sets)?;
    Ok(Json(json!({ "push": push })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ended {
    appid: Option<String>,
    #[serde(default)]
    own: bool,
}

pub(super) async fn revoke_tokens(
    State(sandbox): State<Sandbox>,
    Path(component): Path<String>,
    Body(ended): Body<Ended>,
) -> Result<Json<Revoked>, ControlError> {
    sandbox.revoke_platform_tokens(&component, ended.appid.as_deref(), ended.own).map(Json)
}

pub(super) async fn reality(
    State(sandbox): State<Sandbox>,
    Path(component): Path<String>,
) -> Result<Json<RealityView>, ControlError> {
    sandbox.platform_reality(&component).map(Json)
}

pub(super) async fn set_reality(
    State(sandbox): State<Sandbox>,
    Path(component): Path<String>,
    Body(given): Body<Map<String, Value>>,
) -> Result<Json<RealityView>, ControlError> {
    let (base, reality) = chosen(&sandbox, given)?;
    sandbox.set_platform_reality(&component, base, reality)?;
    sandbox.platform_reality(&component).map(Json)
}

pub(super) async fn journal(
    State(sandbox): State<Sandbox>,
    Query(query): Query<PlatformQuery>,
) -> Result<Json<Page<PlatformEntry>>, ControlError> {
    sandbox.platform_page(&query).map(Json)
}

pub(super) async fn order(State(sandbox): State<Sandbox>) -> Json<Value> {
    Json(json!({ "order": sandbox.component_order() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrder {
    order: Vec<ComponentCheck>,
}

pub(super) async fn set_order(
    State(sandbox): State<Sandbox>,
    Body(new): Body<NewOrder>,
) -> Result<Json<Value>, ControlError> {
    sandbox.set_component_order(new.order)?;
    Ok(Json(json!({ "order": sandbox.component_order() })))
}
