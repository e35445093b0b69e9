//! User tokens: a back end asks for one with its API key, and the user's own device reports taps with it.

use std::time::Duration;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use subledger_domain::ReportId;
use subledger_engine::{
    Engine,
    grants::{ClientReport, Tapper},
};
use utoipa::ToSchema;

use super::{
    client_reports::ReportView,
    paths::ChannelPath,
    person::{Person, wrong_person},
};
use crate::{
    extract::{Grant, Json, Own, Scope, SmallJson, parse_id},
    middleware::auth::Admitted,
    moment::Moment,
    problem::{ApiError, Problem},
    reply::replayed,
};

/// Bytes of a report from a user's device at most: twenty templates take less than half of it.
const MAX_OWN_REPORT_BYTES: usize = 16 * 1_024;

/// Whom a token is for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "userid": "zhangsan", "ttl_s": 7200 }))]
pub(crate) struct UserTokenBody {
    /// The user, by your own id; must be bound in the channel. Not together with `openid`.
    userid: Option<String>,
    /// The user, by openid. Not together with `userid`.
    openid: Option<String>,
    /// Seconds until the token stops working.
    #[schema(minimum = 60, maximum = 86400, default = 7200)]
    ttl_s: Option<u64>,
}

/// A token, for the user who is logged in and nobody else. It is not kept here and cannot be shown again.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserTokenView {
    /// The token: what the Mini Program sends as `Authorization: Bearer …`.
    token: String,
    /// When it stops working.
    expires_at: Moment,
}

/// Ask for a user token.
///
/// With it the user's Mini Program reports taps of this user in this channel, and can do nothing else. It stops working when
/// it expires, or when the API key that asked for it is revoked. A repetition gives another token; both are good.
#[utoipa::path(post, path = "/channels/{code}/user-tokens", tag = "client-reports", params(ChannelPath),
    request_body = UserTokenBody, security(("api_key" = ["grant"])),
    responses((status = 200, body = UserTokenView)))]
pub(crate) async fn issue_user_token(
    scope: Scope<Grant>,
    Extension(Admitted { rights, .. }): Extension<Admitted>,
    State(engine): State<Engine>,
    Json(body): Json<UserTokenBody>,
) -> Result<axum::Json<UserTokenView>, ApiError> {
    let who = Person::of(body.userid.as_deref(), body.openid.as_deref(), "").map_err(wrong_person)?;
    let ttl = body.ttl_s.map(Duration::from_secs);
    let issued = engine.issue_user_token(&scope.caller, &rights, &scope.code, who.into(), ttl).await?;
    let token = issued.token.expose_secret().to_owned();
    Ok(axum::Json(UserTokenView { token, expires_at: issued.expires_at.into() }))
}

/// A report of one call of `wx.requestSubscribeMessage`. Whose and where, the token says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "report_id": "mp-mm7k2x8w-8f2k1q0z7wa",
    "tapped_at": "2026-03-01T08:00:00.000Z",
    "result": {
        "errMsg": "requestSubscribeMessage:ok",
        "zun-LzcQyW-edafCVvzPkK4de2Rllr1fFpw2A_x0oXE": "accept"
    }
}))]
pub(crate) struct OwnReportBody {
    /// The report's id, made by the device: the same id and content again changes nothing. Each user has ids of its own.
    #[schema(max_length = 128)]
    report_id: String,
    /// When, by the device's clock; never taken as later than now.
    tapped_at: Moment,
    /// The result object, whole and as it came.
    #[schema(value_type = Object)]
    result: Map<String, Value>,
}

/// What a report came to. The position of the channel's log is not told: it counts what others do.
#[derive(Serialize, ToSchema)]
pub(crate) struct OwnReportView {
    #[serde(flatten)]
    report: ReportView,
    /// Whether this is the stored answer of an earlier, identical request.
    replayed: bool,
}

impl IntoResponse for OwnReportView {
    fn into_response(self) -> Response {
        replayed(self.replayed, axum::Json(self).into_response())
    }
}

/// Report a tap of one's own.
///
/// Does what reporting it through the back end does. A report that came through the back end before, for the same person
/// named in the same way, is not counted again.
#[utoipa::path(post, path = "/client-reports", tag = "client-reports", request_body = OwnReportBody,
    security(("UserToken" = [])),
    responses(
        (status = 200, body = OwnReportView),
        (status = 401, description = "No token, or none that is good: `missing_token`, `bad_token`, `token_expired`; \
            `api_key_not_accepted` for an API key. Fetch a new token and send the report again.",
            body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The user is no longer bound in the channel: `unknown_user`.",
            body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "This user reports more often than allowed: `rate_limited`, with `Retry-After`.",
            body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn report_own_tap(
    own: Own,
    State(engine): State<Engine>,
    SmallJson(body): SmallJson<OwnReportBody, MAX_OWN_REPORT_BYTES>,
) -> Result<OwnReportView, ApiError> {
    let id: ReportId = parse_id("bad_report_id", "/report_id", &body.report_id)?;
    let who = Tapper::Holder(own.holder.who);
    let report = ClientReport { id, who, tapped_at: Some(body.tapped_at.0), result: body.result };
    let done = engine.record_report(&own.caller, &own.holder.channel, report).await?;
    Ok(OwnReportView { report: done.answer.into(), replayed: done.replayed })
}
