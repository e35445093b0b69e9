//! Tokens of many apps at once: lost, or refreshed by somebody else.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::input::Body;
use crate::error::ControlError;
use crate::platform::Revoked;
use crate::sandbox::Sandbox;
use crate::token::OthersRefresh;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lost {
    appids: Option<BTreeSet<String>>,
}

pub(super) async fn revoke(
    State(sandbox): State<Sandbox>,
    Body(lost): Body<Lost>,
) -> Result<Json<Revoked>, ControlError> {
    sandbox.revoke_all_tokens(lost.appids.as_ref()).map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    appids: Option<BTreeSet<String>>,
    #[serde(default)]
    mode: OthersRefresh,
}

pub(super) async fn refresh(
    State(sandbox): State<Sandbox>,
    Body(refresh): Body<Refresh>,
) -> Result<Json<Value>, ControlError> {
    let apps = sandbox.refresh_elsewhere(refresh.appids.as_ref(), refresh.mode)?;
    Ok(Json(json!({ "apps": apps })))
}
