//! Pushes: where they go, which were made, faults that hit them, waiting for them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::apps::Created;
use super::input::{Body, Path, Query};
use crate::error::ControlError;
use crate::journal::Page;
use crate::push::{
    PushEntry, PushFaultSpec, PushQuery, PushRequest, PushSetup, PushSpec, SettleSpec, Settled, UrlCheck,
};
use crate::sandbox::Sandbox;

pub(super) async fn configure(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
    Body(spec): Body<PushSpec>,
) -> Result<Json<PushSetup>, ControlError> {
    sandbox.configure_push(&appid, &spec).await.map(Json)
}

pub(super) async fn show(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
) -> Result<Json<Value>, ControlError> {
    Ok(Json(json!({ "push": sandbox.push_setup(&appid)? })))
}

pub(super) async fn remove(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
) -> Result<StatusCode, ControlError> {
    sandbox.remove_push(&appid).map(|()| StatusCode::NO_CONTENT)
}

pub(super) async fn check(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
) -> Result<Json<UrlCheck>, ControlError> {
    sandbox.check_push(&appid).await.map(Json)
}

pub(super) async fn request(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
    Body(request): Body<PushRequest>,
) -> Result<Created, ControlError> {
    let seq = sandbox.push_request(&appid, &request)?;
    Ok((StatusCode::CREATED, Json(json!({ "seq": seq }))))
}

pub(super) async fn list(
    State(sandbox): State<Sandbox>,
    Query(query): Query<PushQuery>,
) -> Result<Json<Page<PushEntry>>, ControlError> {
    sandbox.push_page(&query).map(Json)
}

pub(super) async fn settle(
    State(sandbox): State<Sandbox>,
    Body(spec): Body<SettleSpec>,
) -> Result<Json<Settled>, ControlError> {
    sandbox.settle(&spec).await.map(Json)
}

pub(super) async fn inject(
    State(sandbox): State<Sandbox>,
    Body(spec): Body<PushFaultSpec>,
) -> Result<Created, ControlError> {
    let id = sandbox.inject_push_fault(spec)?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

pub(super) async fn faults(State(sandbox): State<Sandbox>) -> Json<Value> {
    Json(json!({ "faults": sandbox.push_faults() }))
}

pub(super) async fn remove_fault(
    State(sandbox): State<Sandbox>,
    Path(id): Path<u64>,
) -> Result<StatusCode, ControlError> {
    sandbox.remove_push_fault(id).map(|()| StatusCode::NO_CONTENT)
}

pub(super) async fn clear_faults(State(sandbox): State<Sandbox>) -> StatusCode {
    sandbox.clear_push_faults();
    StatusCode::NO_CONTENT
}
