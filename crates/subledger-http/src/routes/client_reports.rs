//! Client reports: what `wx.requestSubscribeMessage` returned, handed in whole.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use subledger_domain::ReportId;
use subledger_engine::{
    Engine,
    grants::{ClientReport, RecordedChoice, ReportAnswer},
};
use utoipa::ToSchema;

use super::{
    paths::ChannelPath,
    person::{Person, wrong_person},
};
use crate::{
    extract::{Grant, Json, Scope, parse_id},
    moment::Moment,
    problem::ApiError,
    reply::Written,
    views::{ChoiceWord, TapResultWord},
};

/// A report of one call of `wx.requestSubscribeMessage`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "report_id": "9f1c2a7e-1",
    "userid": "zhangsan",
    "tapped_at": "2026-03-01T16:00:00+08:00",
    "result": {
        "errMsg": "requestSubscribeMessage:ok",
        "zun-LzcQyW-edafCVvzPkK4de2Rllr1fFpw2A_x0oXE": "accept"
    }
}))]
pub(crate) struct ReportBody {
    /// The report's id, made by the client: the same id and content again changes nothing.
    #[schema(max_length = 128)]
    report_id: String,
    /// Who tapped, by your own id. Not together with `openid`.
    userid: Option<String>,
    /// Who tapped, by openid. Not together with `userid`.
    openid: Option<String>,
    /// When, by the client's clock; never taken as later than now.
    tapped_at: Option<Moment>,
    /// The result object, whole and as it came.
    #[schema(value_type = Object)]
    result: Map<String, Value>,
}

/// What one template of a report came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChoiceView {
    /// The template.
    template_id: String,
    /// What was chosen.
    choice: ChoiceWord,
    /// The new grant's number in its ledger, if this was an accept of a one-time template.
    lot: Option<u64>,
    /// Whether it was counted.
    tap: TapResultWord,
    /// Open grants after it.
    balance: u64,
    /// Whether the channel's template list knows the template; refresh it if not.
    listed: bool,
}

/// What a report came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReportView {
    /// The choices recorded, by template.
    choices: Vec<ChoiceView>,
    /// The `errCode` of a popup that failed.
    popup_error: Option<i64>,
}

impl From<RecordedChoice> for ChoiceView {
    fn from(choice: RecordedChoice) -> Self {
        Self {
            template_id: choice.template.to_string(),
            choice: choice.choice.into(),
            lot: choice.lot,
            tap: choice.tap.into(),
            balance: choice.balance,
            listed: choice.listed,
        }
    }
}

impl From<ReportAnswer> for ReportView {
    fn from(answer: ReportAnswer) -> Self {
        let choices = answer.choices.into_iter().map(ChoiceView::from).collect();
        Self { choices, popup_error: answer.popup_error }
    }
}

/// Report a tap.
///
/// Each `accept…` of a one-time template adds one grant. A popup that failed records nothing. The report's id takes the
/// place of an `Idempotency-Key`.
#[utoipa::path(post, path = "/channels/{code}/client-reports", tag = "client-reports", params(ChannelPath),
    request_body = ReportBody, security(("api_key" = ["grant"])),
    responses((status = 200, body = Written<ReportView>)))]
pub(crate) async fn report_tap(
    scope: Scope<Grant>,
    State(engine): State<Engine>,
    Json(body): Json<ReportBody>,
) -> Result<Written<ReportView>, ApiError> {
    let report = parse(body)?;
    Ok(Written::of(engine.record_report(&scope.caller, &scope.code, report).await?, ReportView::from))
}

/// The same without a decision and a record: the answer that the first tap of a user would get. See `noop_router`.
#[cfg(feature = "noop")]
pub(crate) async fn report_tap_noop(
    _scope: Scope<Grant>,
    State(_engine): State<Engine>,
    Json(body): Json<ReportBody>,
) -> Result<Written<ReportView>, ApiError> {
    let report = parse(body)?;
    let templates = report.result.keys().filter(|key| *key != "errMsg").cloned();
    let choice = |template_id| ChoiceView {
        template_id,
        choice: subledger_domain::ledger::Choice::Accept.into(),
        lot: Some(1),
        tap: TapResultWord::Counted,
        balance: 1,
        listed: true,
    };
    let answer = ReportView { choices: templates.map(choice).collect(), popup_error: None };
    let position = subledger_store::Position(1);
    Ok(Written::of(subledger_store::Done { answer, position, replayed: false }, std::convert::identity))
}

fn parse(body: ReportBody) -> Result<ClientReport, ApiError> {
    let id: ReportId = parse_id("bad_report_id", "/report_id", &body.report_id)?;
    let who = Person::of(body.userid.as_deref(), body.openid.as_deref(), "").map_err(wrong_person)?;
    Ok(ClientReport { id, who: who.into(), tapped_at: body.tapped_at.map(|at| at.0), result: body.result })
}
