//! Faults, journals, sums, order of checks, clock, reset.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::apps::Created;
use super::input::{Body, Path, Query};
use crate::act::ActEntry;
use crate::check::SendCheck;
use crate::error::ControlError;
use crate::fault::FaultSpec;
use crate::journal::{JournalPage, JournalQuery, Page};
use crate::reality::Reality;
use crate::sandbox::Sandbox;
use crate::stats::Stats;

pub(super) async fn inject(
    State(sandbox): State<Sandbox>,
    Body(spec): Body<FaultSpec>,
) -> Result<Created, ControlError> {
    let id = sandbox.inject(spec)?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

pub(super) async fn faults(State(sandbox): State<Sandbox>) -> Json<Value> {
    Json(json!({ "faults": sandbox.faults() }))
}

pub(super) async fn remove_fault(
    State(sandbox): State<Sandbox>,
    Path(id): Path<u64>,
) -> Result<StatusCode, ControlError> {
    sandbox.remove_fault(id).map(|()| StatusCode::NO_CONTENT)
}

pub(super) async fn clear_faults(State(sandbox): State<Sandbox>) -> StatusCode {
    sandbox.clear_faults();
    StatusCode::NO_CONTENT
}

pub(super) async fn journal(
    State(sandbox): State<Sandbox>,
    Query(query): Query<JournalQuery>,
) -> Result<Json<JournalPage>, ControlError> {
    sandbox.journal_page(&query).map(Json)
}

pub(super) async fn acts(
    State(sandbox): State<Sandbox>,
    Query(query): Query<JournalQuery>,
) -> Result<Json<Page<ActEntry>>, ControlError> {
    sandbox.act_page(&query).map(Json)
}

pub(super) async fn stats(State(sandbox): State<Sandbox>) -> Json<Stats> {
    Json(sandbox.stats())
}

pub(super) async fn check_order(State(sandbox): State<Sandbox>) -> Json<Value> {
    Json(json!({ "order": sandbox.check_order() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrder {
    order: Vec<SendCheck>,
}

pub(super) async fn set_check_order(
    State(sandbox): State<Sandbox>,
    Body(new): Body<NewOrder>,
) -> Result<Json<Value>, ControlError> {
    sandbox.set_check_order(new.order)?;
    Ok(Json(json!({ "order": sandbox.check_order() })))
}

pub(super) async fn reality(State(sandbox): State<Sandbox>) -> Json<Reality> {
    Json(sandbox.reality())
}

pub(super) async fn set_reality(
    State(sandbox): State<Sandbox>,
    Body(reality): Body<Reality>,
) -> Result<Json<Reality>, ControlError> {
    sandbox.set_reality(reality)?;
    Ok(Json(sandbox.reality()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Advance {
    seconds: i64,
}

pub(super) async fn advance(
    State(sandbox): State<Sandbox>,
    Body(by): Body<Advance>,
) -> Result<Json<Value>, ControlError> {
    let now = sandbox.advance(by.seconds)?;
    Ok(Json(json!({ "now": now })))
}

pub(super) async fn reset(State(sandbox): State<Sandbox>) -> StatusCode {
    sandbox.reset();
    StatusCode::NO_CONTENT
}
